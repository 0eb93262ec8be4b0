"""What next for a function: launch it, publish its result. Pure.

The parts of one table (backend `partitions`) are published together. With `consistency: soft` those
that have ended are published while others still work: in sets, each a version that holds all parts
so far. A set is remembered before it is published, so that a replay publishes the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.kinds import one_task
from tradewind.records.placements import Placement
from tradewind.records.states import PlacementState
from tradewind.records.steering import Decision, Publish, Remember, View, WakeAt
from tradewind.records.tasks import Array

# How often finished parts are looked for, in seconds.
GROWS = 0.5


def next(view: View, now: float) -> Sequence[Decision]:
    """See `one_task.next_steps`."""
    return [*_growing(view, now), *one_task.next_steps(view, now, _outputs)]


def _outputs(view: View, placement: Placement) -> tuple[list[Publish], dict[str, Any]]:
    """The output; of an array, the list of its items' outputs in their order."""
    if not placement.task.roles[0].items:
        return one_task.published_outputs(view, placement)
    units = one_task.finished_units(view)
    if placement.task.roles[0].entry.call:
        number = int(view.run.memory.get("set", 0)) + 1
        return [_together(view, number, [each.index for each in units])], {}
    values = [unit.outputs.get("output", {}) for unit in units]
    if values and all(value.get("kind") == "json" and "value" in value for value in values):
        return [], {"output": {"kind": "json", "value": [value["value"] for value in values]}}
    return [], {"output": {"kind": "parts", "parts": values}}


def _growing(view: View, now: float) -> Sequence[Decision]:
    """Show what has ended so far, and look again. The whole comes with the end."""
    placement = view.placement
    if view.run.spec.get("consistency") != "soft" or placement is None:
        return []
    role = placement.task.roles[0]
    if placement.state is not PlacementState.RUNNING or not role.entry.call:
        return []
    if not isinstance(role.shape, Array):
        return []
    number, members = int(view.run.memory.get("set", 0)), view.run.memory.get("members", [])
    ended = [each.index for each in one_task.finished_units(view)]
    decided: list[Decision] = [WakeAt(at=now + GROWS)]
    if number == view.run.memory.get("shown", 0):
        if not len(members) < len(ended) < role.shape.count:
            return decided
        number, members = number + 1, ended
        decided.append(Remember(memory={"set": number, "members": members}))
    return [*decided, _together(view, number, members), Remember(memory={"shown": number})]


def _together(view: View, number: int, members: Sequence[int]) -> Publish:
    """These parts as one version. The number of the set is in its name and in its commit."""
    ended = {each.index: each.outputs["output"] for each in one_task.finished_units(view)}
    return Publish(
        kind="dataset",
        name=str(view.run.spec.get("output") or view.run.name),
        slot="output",
        origin=f"{view.run.id}/output/{number}",
        body={"set": number, "parts": [ended[index] for index in members]},
    )
