"""What next for a pipeline: submit the steps whose needs are met, until all have ended. Pure.

Everything is derived from the child runs, by key: `train` for a step, `train#2` for the third item
of a `foreach`, `train~2` for the third round of an `until`. So a replay decides the same again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from tradewind.base.errors import TradewindError, UserError
from tradewind.base.ids import canonical
from tradewind.kinds.pipeline import outputs
from tradewind.records.states import ENDED, RunState
from tradewind.records.steering import (
    Child,
    Decision,
    Finish,
    Note,
    StopChild,
    Submit,
    View,
    WakeAt,
)
from tradewind.specs import PipelineSpec, Reference, Step, fill, from_document, parse_reference
from tradewind.specs import to_document as document_of

_FAILED = frozenset({RunState.FAILED, RunState.STOPPED})


@dataclass(slots=True)
class _Progress:
    """How far one step is. `gives` is what it gives to others once `done`."""

    done: bool = False
    failed: str = ""
    gives: Any = None


class _Walk:
    """One look at a pipeline: its spec and its children by key."""

    def __init__(self, view: View, spec: PipelineSpec) -> None:
        self.spec = spec
        self.nested = view.run.pinned.get("inputs", {})
        self.children = {child.key: child for child in view.children}
        self.steps: dict[str, _Progress] = {}
        self.submits: list[Submit] = []
        self.notes: list[Note] = []

    def lookup(self, item: Any = None) -> Any:
        """What `fill` asks for a reference."""

        def value(reference: Reference) -> Any:
            return outputs.as_value(self.select(reference, item), reference)

        return value

    def select(self, reference: Reference, item: Any = None) -> Any:
        """The output, parameter or item that a reference means."""
        if reference.root == "params":
            return self.spec.params[reference.path[0]]
        if reference.root == "item":
            found = item
            for key in reference.path:
                found = outputs.inside(found, key, reference)
            return found
        return outputs.select(self.steps[reference.root].gives, reference)

    def child(self, key: str, step: Step, item: Any = None) -> Child | None:
        """The child of this key; if there is none yet, it is submitted."""
        found = self.children.get(key)
        if found is None:
            self.submits.append(Submit(key=key, spec=_document(self, step, item)))
        return found


@lru_cache(maxsize=64)
def _parsed(text: str) -> PipelineSpec:
    """The spec of a pinned document. Kept, since a pipeline is looked at after every step."""
    return cast(PipelineSpec, from_document(json.loads(text)))


def next(view: View, now: float) -> Sequence[Decision]:
    """Submit what may start; finish when every step has ended or one has failed."""
    live = [child for child in view.children if not _settled(child)]
    stops: list[Decision] = [StopChild(run=child.id) for child in live]
    if view.run.state is RunState.STOPPING:
        return stops or [Finish(state=RunState.STOPPED)]
    walk = _Walk(view, _parsed(canonical(view.run.pinned["spec"])))
    limit, started = walk.spec.timeout, view.run.started
    if limit is not None and started and now >= started + limit:
        return stops or [_out_of_time(limit)]
    for name in walk.spec.order():
        step = walk.spec.step(name)
        walk.steps[name] = _step(walk, step)
    wake = [WakeAt(at=(started or now) + limit)] if limit is not None else []
    failed = [(name, each) for name, each in walk.steps.items() if each.failed]
    if failed:
        # What runs goes on to its end, since its result may be reused; nothing new begins.
        name, progress = failed[0]
        return [*walk.notes, *(wake if live else [_failure(walk, name, progress.failed)])]
    if all(progress.done for progress in walk.steps.values()):
        try:
            return [*walk.notes, Finish(state=RunState.SUCCEEDED, result=_result(walk))]
        except TradewindError as error:
            return [Finish(state=RunState.FAILED, error=error.to_json())]
    return [*walk.notes, *walk.submits, *wake]


def _out_of_time(limit: float) -> Finish:
    error = UserError(f"ran longer than {limit:g}s", hint="raise `timeout`, or give it less to do")
    return Finish(state=RunState.FAILED, error={**error.to_json(), "reason": "timeout"})


def _settled(child: Child) -> bool:
    """Whether nothing more is awaited from it: it ended, or it serves."""
    return child.state in ENDED or (child.kind == "service" and child.ready)


def _step(walk: _Walk, step: Step) -> _Progress:
    needed = [walk.steps[name] for name in step.needs()]
    if any(each.failed for each in needed) or not all(each.done for each in needed):
        return _Progress()
    try:
        if step.when is not None and not _holds(walk, step):
            return _Progress(done=True)
        if step.foreach is not None:
            return _each(walk, step)
        if step.until is not None:
            return _rounds(walk, step)
        return _of(walk.child(step.name, step))
    except TradewindError as error:
        return _Progress(failed=error.message)


def _holds(walk: _Walk, step: Step) -> bool:
    assert step.when is not None
    reference = step.when.reference
    return step.when.holds(outputs.as_value(walk.select(reference), reference))


def _of(child: Child | None) -> _Progress:
    if child is None or not _settled(child):
        return _Progress()
    if child.state in _FAILED:
        return _Progress(failed=str(child.error.get("message") or f"it was {child.state}"))
    return _Progress(done=True, gives=outputs.of(child))


def _each(walk: _Walk, step: Step) -> _Progress:
    """One child for each item, `at_once` of them together."""
    if isinstance(step.foreach, str):
        reference = parse_reference(step.foreach)
        items = outputs.as_value(walk.select(reference), reference)
        if not isinstance(items, list):
            raise UserError(f"{reference} is not a list, so there is nothing to go through")
    else:
        items = fill(step.foreach, walk.lookup())
    parts: list[_Progress] = []
    running = 0
    for index, item in enumerate(items):
        key = f"{step.name}#{index}"
        known = key in walk.children
        if not known and step.at_once is not None and running >= step.at_once:
            return _Progress()
        part = _of(walk.child(key, step, item))
        if part.failed:
            return part
        running += not part.done
        parts.append(part)
    if all(part.done for part in parts):
        return _Progress(done=True, gives=[part.gives for part in parts])
    return _Progress()


def _rounds(walk: _Walk, step: Step) -> _Progress:
    """Again until its own output says enough, or the bound is reached, which is said."""
    assert step.until is not None
    condition, most = step.until.condition, step.until.max
    for index in range(most):
        part = _of(walk.child(f"{step.name}~{index}", step))
        if not part.done or part.failed:
            return part
        value = outputs.as_value(
            outputs.select(part.gives, condition.reference), condition.reference
        )
        if condition.holds(value):
            return part
    rounds = f"{most} round{'s' if most > 1 else ''}"
    wanted = condition.model_dump()
    text = f"step {step.name!r} ended after its {rounds} (`max`): {wanted} never held"
    walk.notes.append(Note(text=text))
    return part


def _document(walk: _Walk, step: Step, item: Any) -> dict[str, Any]:
    """The child's spec: what the step uses, with its inputs and parameters filled in."""
    nested = walk.nested.get(step.uses) if isinstance(step.uses, str) else None
    if nested is not None:
        document: dict[str, Any] = dict(nested["value"])
    elif isinstance(step.uses, str):
        document = {"kind": "function", "name": step.name, "entry": step.uses}
    else:
        document = document_of(step.uses)
    # A repeated step that took its last round's result would repeat for nothing.
    document["cache"] = step.cached and (step.until is None or step.cache is True)
    if step.params:
        filled = fill(step.params, walk.lookup(item))
        document["params"] = {**document.get("params", {}), **filled}
    bound = dict(_inputs(walk, step, item))
    values = {name: each["value"] for name, each in bound.items() if isinstance(each, dict)}
    if values:
        document["params"] = {**document.get("params", {}), **values}
    bound = {name: each for name, each in bound.items() if name not in values}
    if document["kind"] == "service":
        if "model" in bound:
            document["model"] = str(bound.pop("model")).removeprefix("model:")
    elif bound:
        document["input"] = {**document.get("input", {}), **bound}
    own = step.model_dump(mode="json", include={"retries", "timeout"}, exclude_none=True)
    return {**document, **own}


def _inputs(walk: _Walk, step: Step, item: Any) -> Iterator[tuple[str, Any]]:
    for name, value in step.input.items():
        if isinstance(value, str) and value.startswith("$"):
            reference = parse_reference(value)
            yield name, outputs.as_input(outputs.given(walk.select(reference, item), reference))
        else:
            yield name, value


def _result(walk: _Walk) -> dict[str, Any]:
    """The outputs that the pipeline declares; without any, those of the steps nobody waits for."""
    if walk.spec.outputs:
        return {
            name: _shown(walk.select(parse_reference(text)))
            for name, text in walk.spec.outputs.items()
        }
    last = [name for name, later in walk.spec.dependents().items() if not later]
    result: dict[str, Any] = {}
    for name in last:
        gives = walk.steps[name].gives
        if isinstance(gives, dict):
            result.update({slot if len(last) == 1 else f"{name}.{slot}": body
                           for slot, body in gives.items()})  # fmt: skip
    return result


def _shown(selected: Any) -> dict[str, Any]:
    if isinstance(selected, dict) and "kind" in selected:
        return selected
    return {"kind": "json", "value": selected}


def _failure(walk: _Walk, name: str, message: str) -> Finish:
    keys = [key for key in walk.children if key.partition("#")[0].partition("~")[0] == name]
    ended = [walk.children[key] for key in keys]
    failed = [each for each in ended if each.state in _FAILED]
    child = failed[0] if failed else None
    error = UserError(f"step {name!r} failed: {message}").to_json()
    if child is not None:
        error = {**child.error, **error, "hint": child.error.get("hint", ""), "run": child.id}
    return Finish(state=RunState.FAILED, error={**error, "step": name})
