"""What next for a function: launch it, publish its result. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.kinds import one_task
from tradewind.records.placements import Placement
from tradewind.records.steering import Decision, Publish, View


def next(view: View, now: float) -> Sequence[Decision]:
    """See `one_task.next_steps`."""
    return one_task.next_steps(view, now, _outputs)


def _outputs(view: View, placement: Placement) -> tuple[list[Publish], dict[str, Any]]:
    """The output; of an array, the list of its items' outputs in their order."""
    if not placement.task.roles[0].items:
        return one_task.published_outputs(view, placement)
    values = [unit.outputs.get("output", {}) for unit in one_task.finished_units(view)]
    if values and all(value.get("kind") == "json" and "value" in value for value in values):
        return [], {"output": {"kind": "json", "value": [value["value"] for value in values]}}
    return [], {"output": {"kind": "parts", "parts": values}}
