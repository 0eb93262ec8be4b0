"""Who waits for a run with a deadline is told at once when it is late, or surely will be.

Sure is its age; of what works, how long it says by its progress that it takes; of what has not
begun, the start that its plan quotes. An array has more to go by, and more that can be done about
it (`promise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradewind.base.units import format_duration
from tradewind.control import probing
from tradewind.control.draft import Draft
from tradewind.records.placements import Attempt, Placement
from tradewind.records.states import AttemptState, PlacementState, RunState
from tradewind.records.steering import View
from tradewind.records.tasks import Array
from tradewind.specs import from_document
from tradewind.specs.common import Workload
from tradewind.store.rows import Progress

# How often a run with a deadline is looked at while it works, in seconds, and as a part of the time
# that it has.
LOOK, LOOKS = 1.0, 0.01
# Of less than this part of the work its start is too much to tell how long it will be.
TELLING = 0.1

_WORDS = "likely late: "
_BEFORE_WORK = frozenset({RunState.PLANNED, RunState.QUEUED, RunState.PLACED})
_WHY = {
    RunState.PROBING: "it is still measured",
    RunState.QUEUED: "it has no place yet",
    RunState.PLACED: "it has not begun yet",
    RunState.RUNNING: "it still works",
}


def look(draft: Draft, view: View, told: Callable[[], Sequence[Progress]]) -> None:
    """At the end of a pass. `told` gives what the units of the run said of their progress."""
    run = draft.run
    if not run.spec.get("performance") or run.kind == "service" or "ask" in run.memory:
        return
    placement = _working(draft, view)
    if run.state is RunState.STOPPING or (placement is not None and _is_array(placement)):
        return
    spec = from_document(run.spec)
    assert isinstance(spec, Workload) and spec.performance is not None
    deadline, begins = run.created + spec.performance, 0.0
    if run.state in _BEFORE_WORK:
        begins = float(run.plan.get("grounds", {}).get("fixed", 0.0))
    ends = draft.now + begins
    if placement is not None and (whole := _ends(view, placement, told())):
        ends = max(ends, whole)
    if draft.now >= deadline or ends > deadline:
        tell(draft, spec.performance, ends, _WHY.get(run.state, "it has not begun yet"))
    else:
        all_well(draft)
    if draft.now < deadline:
        look_at(draft, deadline - begins if draft.now < deadline - begins else deadline)
        if placement is not None:
            look_at(draft, draft.now + max(LOOK, LOOKS * spec.performance))


def _working(draft: Draft, view: View) -> Placement | None:
    """Its own work, if that has begun."""
    placement = view.placement
    if placement is None or placement.number < draft.run.number or probing.is_probe(placement):
        return None
    return placement if placement.state is PlacementState.RUNNING else None


def _is_array(placement: Placement) -> bool:
    return isinstance(placement.task.roles[0].shape, Array)


def _ends(view: View, placement: Placement, told: Sequence[Progress]) -> float:
    """When the slowest of its processes will end, by what they say; 0 where none says."""
    said = {(each.role, each.index): each for each in told if each.placement == placement.id}
    working = [
        each
        for each in view.attempts
        if each.placement == placement.id and each.state is AttemptState.RUNNING and each.started
    ]
    found = [(each, whole(each, said.get((each.role, each.index)))) for each in working]
    return max((each.started + long for each, long in found if long is not None), default=0.0)


def whole(attempt: Attempt, said: Progress | None) -> float | None:
    """How long a unit will have worked when it ends, by what it said of its progress."""
    if said is None or said.at <= attempt.started or said.total <= 0:
        return None
    share = said.done / said.total
    return (said.at - attempt.started) / share if TELLING <= share <= 1 else None


# --- words ---------------------------------------------------------------------------------------


def tell(draft: Draft, performance: float, ends: float, why: str) -> None:
    """Tell its people, the first time as an event; `ends` is now where nothing more is known: then
    the words stay the same for as long as that is so."""
    run = draft.run
    about = "about " + format_duration(round(ends - run.created))
    if ends <= draft.now:
        about = "more than " + format_duration(performance)
        ends = max(ends, run.created + performance)
    text = (
        f"{_WORDS}ends {about} after it was accepted, "
        f"{format_duration(performance)} were asked for; {why}"
    )
    if not run.memory.get("late"):
        draft.note("promise.at_risk", forecast=ends - run.created, why=why)
    if run.waiting and not run.waiting.startswith(_WORDS):
        text = f"{text}; {run.waiting}"
    draft.set(memory={**run.memory, "late": True}, waiting=text)


def all_well(draft: Draft) -> None:
    """It will be in time after all."""
    if draft.run.memory.get("late"):
        draft.set(memory={**draft.run.memory, "late": False}, waiting="")


def look_at(draft: Draft, at: float) -> None:
    """Have it looked at then, if not before."""
    draft.set(wake=min(at, draft.run.wake or at))


def beside(waiting: str, why: str) -> str:
    """What is stored and what is known now of why a run waits, as one text: that it is late
    stays."""
    return f"{waiting}; {why}" if why and waiting.startswith(_WORDS) else why or waiting
