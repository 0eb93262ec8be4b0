"""What one step hands to the next: references into the results of child runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.base.errors import InvalidData
from tradewind.records.steering import Child
from tradewind.specs import Reference

Outputs = dict[str, Any]
"""Slot → stored output, as in `Run.result`, with `run` and `slot` saying where it is kept."""


def of(child: Child) -> Outputs:
    """A finished child's outputs."""
    return {slot: {**body, "run": child.id, "slot": slot} for slot, body in child.result.items()}


def select(outputs: Outputs | list[Any] | None, reference: Reference) -> Any:
    """The output that a reference means; None where the step was skipped.

    A list (of a `foreach`) gives the list of what each item's output says. Raises InvalidData.
    """
    if outputs is None:
        return None
    if isinstance(outputs, list):
        return [select(each, reference) for each in outputs]
    slot = reference.output
    if slot not in outputs:
        known = ", ".join(outputs) or "nothing"
        raise InvalidData(f"{reference}: the step gave {known}, and no {slot!r}")
    found = outputs[slot]
    for key in reference.path[1:]:
        found = inside(found, key, reference)
    return found


def inside(found: Any, key: str, reference: Reference) -> Any:
    """One step down into an output, a value or an item. Raises InvalidData."""
    value = found.get("value") if isinstance(found, dict) and "kind" in found else found
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    if isinstance(value, dict) and key in value:
        return value[key]
    known = ", ".join(map(str, value)) if isinstance(value, dict) else f"a {type(value).__name__}"
    raise InvalidData(f"{reference}: there is no {key!r} in it; it holds {known or 'nothing'}")


def given(selected: Any, reference: Reference) -> Any:
    """An output that a step reads; of a step that was skipped there is none. Raises InvalidData for
    that of a function that returned nothing, where the reference does not say `| null`."""
    found = selected if isinstance(selected, Mapping) and "run" in selected else {}
    nothing = found.get("kind") == "json" and found.get("value", found) is None
    if nothing and not reference.optional:
        raise InvalidData(
            f"{reference}: the step {reference.root} returned None (nothing): let it return a table"
            f" or a value, or write {reference} | null; to only wait for it, name it in `after`"
        )
    return selected


def as_input(selected: Any) -> Any:
    """How an output is written as an input of the next run: `name@3`, `model:name/3`,
    `run:ID/SLOT`; a plain value as {"value": …}, to be handed on as a parameter."""
    if isinstance(selected, list):
        parts = [as_input(each) for each in selected]
        if all(isinstance(part, dict) for part in parts):
            return {"value": [part["value"] for part in parts]}
        return parts
    if not isinstance(selected, dict) or "kind" not in selected:
        return {"value": selected}
    if selected["kind"] == "dataset":
        return f"{selected['name']}@{selected['version']}"
    if selected["kind"] == "model":
        return f"model:{selected['name']}/{selected['version']}"
    if selected["kind"] == "json" and "value" in selected:
        return {"value": selected["value"]}
    return f"run:{selected['run']}/{selected.get('slot', 'output')}"


def as_value(selected: Any, reference: Reference) -> Any:
    """A plain JSON value, for a parameter or a comparison. Raises InvalidData for anything else."""
    if isinstance(selected, list):
        return [as_value(each, reference) for each in selected]
    if isinstance(selected, Mapping) and "kind" in selected and "run" in selected:
        if selected["kind"] != "json" or "value" not in selected:
            large = selected["kind"] == "json"
            raise InvalidData(
                f"{reference} is {'too large' if large else 'a ' + selected['kind']}, not a value",
                hint="hand it on as an `input`, or return a "
                + ("smaller value: up to 64 KiB" if large else "JSON value"),
            )
        return selected["value"]
    return selected
