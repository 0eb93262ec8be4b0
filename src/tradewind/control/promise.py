"""Keep what was promised while a run works: its budget, and its deadline.

A run is ended when it has cost its whole budget. An array that is forecast to pass its deadline
takes more items at once, as far as its pool has room and its budget lasts; otherwise its people
are told at once. The forecast is plain: the items that are left, each as long as the middle of
those that have ended, by as many as work at the same time (list scheduling; Graham 1966).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tradewind.base.errors import Refused
from tradewind.base.units import format_duration, format_money
from tradewind.compiler import price
from tradewind.compiler.facts import PoolFacts
from tradewind.control import bill
from tradewind.control.draft import Draft
from tradewind.records.placements import Attempt, Placement
from tradewind.records.states import AttemptState
from tradewind.records.steering import View
from tradewind.records.tasks import Array, Resources
from tradewind.specs import from_document
from tradewind.specs.common import Workload

# How often a run with a deadline is looked at, in seconds.
LOOK = 1.0
# Part of the time to the deadline that a forecast has to leave: what it does not see (the last
# commit, a slower item) comes on top.
MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Wider:
    """The placement should hold so much from now on, to work on `width` items at once."""

    placement: Placement
    width: int
    demand: Resources


def watch(
    draft: Draft, view: View, placement: Placement, pool: PoolFacts, free: Resources
) -> Wider | None:
    """Look at a working placement: raise Refused when its budget is spent, widen it, or tell that
    it is going to be late. `free` is what its pool has left."""
    spec = from_document(draft.run.spec)
    assert isinstance(spec, Workload)
    if spec.budget:
        _within(draft, placement, pool, spec.budget)
    if spec.performance and isinstance(placement.task.roles[0].shape, Array):
        keep = _Keeping(draft, placement, pool, free, spec.performance, spec.budget or 0)
        return keep.in_time(view)
    return None


def _within(draft: Draft, placement: Placement, pool: PoolFacts, budget: int) -> None:
    spent = draft.run.price + bill.accrued(draft.run, placement, pool, draft.now)
    if spent >= budget:
        raise Refused(
            f"ended at {format_money(spent)}: its budget of {format_money(budget)} is spent",
            hint="raise `budget`, or give it less to do; `tw quote` says what it takes",
        )
    each = price.cost(
        1.0, pool.price, price.share(bill.demand(draft.run, placement), pool.capacity)
    )
    if each:
        _look_at(draft, draft.now + (budget - spent) / each)


def _look_at(draft: Draft, at: float) -> None:
    draft.set(wake=min(at, draft.run.wake or at))


@dataclass(frozen=True, slots=True)
class _Keeping:
    """One look at an array with a deadline."""

    draft: Draft
    placement: Placement
    pool: PoolFacts
    free: Resources
    performance: float
    budget: int

    def in_time(self, view: View) -> Wider | None:
        """Nothing when it will be; more at once if that helps; else its people are told."""
        now, run, role = self.draft.now, self.draft.run, self.placement.task.roles[0]
        assert isinstance(role.shape, Array)
        _look_at(self.draft, now + LOOK)
        mine = [each for each in view.attempts if each.placement == self.placement.id]
        left = _left(mine, role.shape.count - len(self.placement.done), now)
        width = bill.width(run, self.placement)
        time = run.created + self.performance - now
        ends = left.seconds / width
        if not left.seconds or ends <= time * (1 - MARGIN):
            self._all_well()
            return None
        wanted = left.items if time <= 0 else math.ceil(left.seconds / (time * (1 - MARGIN)))
        room = _room(role.resources, self.free, most=min(wanted, left.items) - width)
        if room and not self._too_dear(left.seconds, role.resources):
            return Wider(self.placement, width + room, price.times(role.resources, width + room))
        if ends > time:
            self._tell(now + ends, self._why(left, width, role.resources))
        return None

    def _too_dear(self, seconds: float, one: Resources) -> bool:
        if not self.budget:
            return False
        run, part = self.draft.run, price.share(one, self.pool.capacity)
        spent = run.price + bill.accrued(run, self.placement, self.pool, self.draft.now)
        return spent + price.cost(seconds, self.pool.price, part) > self.budget

    def _why(self, left: _Left, width: int, one: Resources) -> str:
        if left.items <= width:
            return "nothing is left that could be done at the same time"
        if self._too_dear(left.seconds, one):
            return f"what is left would pass its budget of {format_money(self.budget)}"
        return f"pool {self.pool.name!r} has no room for more at once"

    def _tell(self, ends: float, why: str) -> None:
        run = self.draft.run
        text = (
            f"likely late: ends about {format_duration(round(ends - run.created))} after it was "
            f"accepted, {format_duration(self.performance)} were asked for; {why}"
        )
        if not run.memory.get("late"):
            self.draft.note("promise.at_risk", forecast=ends - run.created, why=why)
        self.draft.set(memory={**run.memory, "late": True}, waiting=text)

    def _all_well(self) -> None:
        if self.draft.run.memory.get("late"):
            self.draft.set(memory={**self.draft.run.memory, "late": False}, waiting="")


@dataclass(frozen=True, slots=True)
class _Left:
    seconds: float
    items: int


def _left(attempts: Sequence[Attempt], count: int, now: float) -> _Left:
    """The work that is left, in seconds of one process, and of how many items."""
    ended = [each for each in attempts if each.state is AttemptState.SUCCEEDED]
    running = [each for each in attempts if each.state is AttemptState.RUNNING and each.started]
    ages = [now - each.started for each in running]
    took = [each.ended - each.started for each in ended]
    # Before any has ended: as long again as the oldest has worked by now.
    one = median(took) if took else 2 * max(ages, default=0.0)
    items = count - len({each.index for each in ended})
    return _Left(max(0.0, items * one - sum(min(age, one) for age in ages)), items)


def _room(one: Resources, free: Resources, most: int) -> int:
    """How many more of these fit into what is free."""
    for more in range(most, 0, -1):
        if price.times(one, more).within(free):
            return more
    return 0


def widened(draft: Draft, wider: Wider) -> None:
    """Write down from when on it holds more: the bill is by what was held."""
    known = draft.run.memory.get("widths", {})
    steps = [*known.get(wider.placement.id, ()), [draft.now, wider.width]]
    draft.set(memory={**draft.run.memory, "widths": {**known, wider.placement.id: steps}})
    draft.note("promise.widened", placement=wider.placement.id, width=wider.width)
    if draft.run.memory.get("late"):
        draft.set(memory={**draft.run.memory, "late": False}, waiting="")
