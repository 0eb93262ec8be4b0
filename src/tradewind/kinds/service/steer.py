"""What next for a service: launch it, put it into service when it is ready, keep it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.kinds import one_task
from tradewind.records.states import AttemptState, PlacementState, RunState
from tradewind.records.steering import Decision, Finish, Publish, Remember, View
from tradewind.records.tasks import starting_width

SERVED = "served"


def next(view: View, now: float) -> Sequence[Decision]:
    """A service has no end of its own: only a stop, or replicas that cannot be had."""
    placement = view.placement
    if placement is not None and placement.state is PlacementState.SUCCEEDED:
        if view.run.state is RunState.STOPPING:
            return [Finish(state=RunState.STOPPED)]
        ended = {"reason": "error", "message": "its replicas ended by themselves"}
        return [Finish(state=RunState.FAILED, error=one_task.error_of(ended))]
    decisions = list(one_task.next_steps(view, now, one_task.published_outputs))
    if decisions or placement is None or view.run.state is not RunState.RUNNING:
        return decisions
    ready = [
        each
        for each in view.attempts
        if each.placement == placement.id and each.state is AttemptState.READY
    ]
    enough = len(ready) >= starting_width(placement.task.roles[0].shape)
    if enough and view.run.memory.get(SERVED) != placement.id:
        return [
            Publish(kind="service", name=view.run.name, slot="output", origin=placement.id),
            Remember(memory={SERVED: placement.id}),
        ]
    return []
