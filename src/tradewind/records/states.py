"""The one transition table: every state of a run and of a placement, and who may move it.

A state has one owner: the function of `control` that the table names. The store refuses any other
transition, and a write-back needs a live claim (see `store`). Read this before `control/road.py`.
"""

from __future__ import annotations

from enum import StrEnum

from tradewind.base.errors import Bug


class RunState(StrEnum):
    """Where a run stands on the road."""

    ACCEPTED = "accepted"  # stored and flushed to disk: it will not be lost
    PINNED = "pinned"  # every name has become a digest
    PROBING = "probing"  # probes measure the work, as tasks of this run
    PLANNED = "planned"  # the plan is chosen and priced
    QUEUED = "queued"  # waits for a place, or for the delay before a retry; `waiting` says why
    PLACED = "placed"  # has a place; the request is on its way to the engine
    RUNNING = "running"  # work, or child runs, go on
    STOPPING = "stopping"  # somebody asked to stop it; the engine ends its tasks
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.STOPPED})
LIVE = frozenset(RunState) - ENDED


class PlacementState(StrEnum):
    """One launch of a task on a pool."""

    PLACED = "placed"  # decided and stored, not yet acknowledged by the engine
    LAUNCHED = "launched"  # the engine has it
    RUNNING = "running"  # at least one process has started
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"  # the engine knows nothing of it any more: infrastructure, not the user


PLACEMENT_ENDED = frozenset(
    {
        PlacementState.SUCCEEDED,
        PlacementState.FAILED,
        PlacementState.STOPPED,
        PlacementState.LOST,
    }
)


class AttemptState(StrEnum):
    """One try at a gang, an item or a replica."""

    PREPARING = "preparing"  # code, environment and inputs are brought to the place
    RUNNING = "running"
    READY = "ready"  # a replica that answers
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


ATTEMPT_ENDED = frozenset(
    {AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.STOPPED, AttemptState.LOST}
)

_R = RunState
RUN_TRANSITIONS: dict[tuple[RunState, RunState], str] = {
    (_R.ACCEPTED, _R.PINNED): "road.pin",
    (_R.ACCEPTED, _R.FAILED): "road.pin",
    (_R.PINNED, _R.SUCCEEDED): "road.pin",  # the same pinned spec has succeeded before
    (_R.PINNED, _R.PROBING): "road.plan",
    (_R.PROBING, _R.PLANNED): "road.plan",
    (_R.PROBING, _R.FAILED): "road.plan",
    (_R.PINNED, _R.PLANNED): "road.plan",
    (_R.PINNED, _R.FAILED): "road.plan",
    (_R.PLANNED, _R.QUEUED): "road.steer",
    (_R.PLANNED, _R.RUNNING): "road.steer",  # a kind that only steers child runs
    (_R.PLANNED, _R.FAILED): "road.steer",
    (_R.QUEUED, _R.PLACED): "road.place",
    (_R.QUEUED, _R.FAILED): "road.place",
    (_R.PLACED, _R.RUNNING): "road.steer",
    (_R.PLACED, _R.QUEUED): "road.steer",  # the launch was lost or refused: place again
    (_R.PLACED, _R.SUCCEEDED): "road.steer",  # finished before its start was seen
    (_R.PLACED, _R.FAILED): "road.steer",
    (_R.RUNNING, _R.QUEUED): "road.steer",  # a retry
    (_R.RUNNING, _R.SUCCEEDED): "road.steer",
    (_R.RUNNING, _R.FAILED): "road.steer",
    (_R.STOPPING, _R.STOPPED): "road.steer",
    (_R.STOPPING, _R.SUCCEEDED): "road.steer",  # it finished before the stop reached it
    (_R.STOPPING, _R.FAILED): "road.steer",
    **{(state, _R.STOPPING): "road.stop" for state in LIVE if state is not _R.STOPPING},
}

_P = PlacementState
PLACEMENT_TRANSITIONS: dict[tuple[PlacementState, PlacementState], str] = {
    # A fast task may start and end before anybody hears that it was launched.
    (old, new): "report.take"
    for old, later in (
        (_P.PLACED, (_P.LAUNCHED, _P.RUNNING)),
        (_P.LAUNCHED, (_P.RUNNING,)),
        (_P.RUNNING, ()),
    )
    for new in (*later, *PLACEMENT_ENDED)
}


def may_move(old: RunState, new: RunState) -> bool:
    """Whether the table has this step."""
    return (old, new) in RUN_TRANSITIONS


def _reachable() -> frozenset[tuple[RunState, RunState]]:
    pairs = set(RUN_TRANSITIONS)
    while True:
        longer = {(a, d) for a, b in pairs for c, d in pairs if b is c} - pairs
        if not longer:
            return frozenset(pairs)
        pairs |= longer


# One write may carry a run through several states; each step was checked when it was taken.
REACHABLE = _reachable()


def check_move(old: RunState, new: RunState) -> None:
    """Raise Bug for a step that the table does not have."""
    if not may_move(old, new):
        raise Bug(f"a run cannot go from {old} to {new}")


def check_walk(old: RunState, new: RunState) -> None:
    """Raise Bug unless steps of the table lead from one state to the other."""
    if (old, new) not in REACHABLE:
        raise Bug(f"no way leads a run from {old} to {new}")
