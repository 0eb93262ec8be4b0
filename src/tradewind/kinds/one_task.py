"""Steering for kinds that carry out one task: launch, retry by rule, publish, finish.

Gangs are tried again here, each time with a new placement; items of an array and replicas are tried
again by the engine. A lost placement is the platform's fault and never counts against the user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tradewind.base.errors import BY_CODE, Broken, UserError
from tradewind.records.placements import Attempt, Placement
from tradewind.records.states import AttemptState, PlacementState, RunState
from tradewind.records.steering import Decision, Finish, Launch, Publish, View
from tradewind.records.tasks import Gang

MOST_LOSSES = 16
LOSS_DELAY = 0.2

# Trying again cannot mend these: the same input meets the same end.
_FINAL = frozenset({"environment", "input", "output", "refused"})

Outputs = Callable[[View, Placement], tuple[list[Publish], dict[str, Any]]]


def next_steps(view: View, now: float, outputs: Outputs) -> Sequence[Decision]:
    """What to do for a run with one task. `outputs` says what its success publishes."""
    run, placement = view.run, view.placement
    if run.state is RunState.PLANNED:
        return [Launch()]
    if run.state is RunState.STOPPING and (placement is None or placement.number < run.number):
        return [Finish(state=RunState.STOPPED)]
    if placement is None or placement.number < run.number or run.state is RunState.QUEUED:
        return []
    match placement.state:
        case PlacementState.SUCCEEDED:
            published, result = outputs(view, placement)
            return [*published, Finish(state=RunState.SUCCEEDED, result=result)]
        case PlacementState.FAILED:
            return _failed(view, placement, now)
        case PlacementState.LOST:
            return _lost(view, placement, now)
        case PlacementState.STOPPED:
            if run.state is RunState.STOPPING:
                return [Finish(state=RunState.STOPPED)]
            return _lost(view, placement, now)
    return []


def _failed(view: View, placement: Placement, now: float) -> Sequence[Decision]:
    if view.run.state is RunState.STOPPING:
        return [Finish(state=RunState.STOPPED)]
    role = placement.task.roles[0]
    reason = placement.reason
    times = deaths(view, placement) if isinstance(role.shape, Gang) else 0
    if 0 < times <= role.restart.deaths:
        return [Launch(at=now + LOSS_DELAY, counted=False, why="its process was killed")]
    again = (
        isinstance(role.shape, Gang)
        and view.run.tries < role.restart.most
        and reason.get("reason") not in _FINAL
    )
    if again:
        tries = view.run.tries + 1
        delay = role.restart.delay(tries)
        why = f"try {tries} of {role.restart.most + 1} failed: {reason.get('message', '')}"
        return [Launch(at=now + delay, why=why)]
    return [Finish(state=RunState.FAILED, error=error_of(told(reason, times)))]


def deaths(view: View, placement: Placement) -> int:
    """How often a process of this task was killed by somebody else, the last time with this end; 0
    when it ended in another way."""
    if placement.reason.get("signal") != "SIGKILL":
        return 0
    return sum(
        each.state is PlacementState.FAILED and each.reason.get("signal") == "SIGKILL"
        for each in view.placements
        if each.task.name == placement.task.name
    )


def told(reason: dict[str, Any], times: int) -> dict[str, Any]:
    """How a process ended, with how often it was killed."""
    if times < 2:
        return reason
    return {**reason, "message": f"{reason.get('message', '')}, for the {times}th time"}


def _lost(view: View, placement: Placement, now: float) -> Sequence[Decision]:
    if view.run.state is RunState.STOPPING:
        return [Finish(state=RunState.STOPPED)]
    if view.run.losses >= MOST_LOSSES:
        error = Broken(
            f"the task was lost {view.run.losses + 1} times",
            hint="something ends processes on this pool: look at `tw doctor` and the system's log",
        )
        return [Finish(state=RunState.FAILED, error=error.to_json())]
    delay = LOSS_DELAY * 2 ** min(view.run.losses, 6)
    done = set(placement.done)
    done.update(each.index for each in _succeeded(view) if _is_array(placement))
    return [
        Launch(
            at=now + delay, counted=False, why="its processes were lost", done=tuple(sorted(done))
        )
    ]


def _is_array(placement: Placement) -> bool:
    return placement.task.roles[0].shape.shape == "array"


def _succeeded(view: View) -> list[Attempt]:
    return [each for each in view.attempts if each.state is AttemptState.SUCCEEDED]


def finished_units(view: View) -> list[Attempt]:
    """The successful attempt of each unit, in order of index; a newer placement's wins."""
    numbers = {each.id: each.number for each in view.placements}
    best: dict[int, Attempt] = {}
    for attempt in sorted(_succeeded(view), key=lambda each: numbers.get(each.placement, 0)):
        best[attempt.index] = attempt
    return [best[index] for index in sorted(best)]


def published_outputs(view: View, placement: Placement) -> tuple[list[Publish], dict[str, Any]]:
    """Tables become versions of their datasets, model folders versions of their models; the rest
    is kept as the run's result."""
    units = finished_units(view)
    produced = dict(units[0].outputs) if units else {}
    declared = placement.task.roles[0].outputs
    published = []
    for slot, body in produced.items():
        kind = _registered(body.get("kind", ""), declared[slot].kind if slot in declared else "")
        if kind and declared[slot].target:
            published.append(
                Publish(
                    kind=kind,
                    name=declared[slot].target,
                    slot=slot,
                    origin=f"{placement.id}/{slot}",
                    body=body,
                )
            )
    return published, produced


def _registered(kind: str, declared: str) -> str:
    if declared == "model":
        return "model"
    return "dataset" if kind == "table" and declared == "result" else ""


def error_of(reason: dict[str, Any]) -> dict[str, Any]:
    """The error body of a run from how its process ended (`exit` of a report)."""
    kind = BY_CODE.get(str(reason.get("code")), UserError)
    if not issubclass(kind, UserError):
        kind = UserError
    if reason.get("reason") == "lost":
        kind = Broken
    body = kind(
        str(reason.get("message") or "the task failed"), hint=str(reason.get("hint", ""))
    ).to_json()
    extra: dict[str, Any] = {
        key: reason[key]
        for key in ("reason", "type", "traceback", "status", "signal", "role", "index")
        if key in reason
    }
    return {**body, **extra}
