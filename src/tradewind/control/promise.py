"""Keep what was promised while a run works: its budget, and its deadline.

A run is ended when it has cost its whole budget; of one that is late its people are told (`late`).
An array that is forecast to pass its deadline takes more items at once, as far as its pool has room
and its budget lasts; otherwise that is told at once. The forecast is plain: the items that are
left, each as long as the middle of those that have ended, by as many as work at the same time (list
scheduling; Graham 1966). Of what works, how far it says that it is tells how long it will be. Until
an item has ended, or told, no more is known than that none is shorter than the oldest has worked:
that alone warns nobody too early, and to take more at once a guess does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tradewind.base.errors import Refused
from tradewind.base.units import format_money
from tradewind.compiler import price
from tradewind.compiler.facts import PoolFacts
from tradewind.control import bill, family, late, probing
from tradewind.control.draft import Draft
from tradewind.records.placements import Attempt, Placement
from tradewind.records.states import AttemptState
from tradewind.records.steering import View
from tradewind.records.tasks import Array, Resources
from tradewind.specs import from_document
from tradewind.specs.common import Workload
from tradewind.store.rows import Progress

# Part of the time to the deadline that a forecast has to leave: what it does not see (the last
# commit, a slower item) comes on top.
MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Wider:
    """The placement should work on `width` items at once from now on."""

    placement: Placement
    width: int


def watch(
    draft: Draft,
    view: View,
    placement: Placement,
    pool: PoolFacts,
    room: Callable[[Resources], int],
    told: Callable[[], Sequence[Progress]],
) -> Wider | None:
    """Look at a working placement: raise Refused when its budget is spent, widen it, or tell that
    it is going to be late. `room` says how many more processes of a size its pool has a place for,
    `told` gives what the units of the run said of their progress."""
    spec = from_document(draft.run.spec)
    most = family.budget(draft.run) or 0
    if most:
        _within(draft, placement, pool, most)
    if not isinstance(spec, Workload):  # an import below a run with a budget
        return None
    if spec.performance and isinstance(placement.task.roles[0].shape, Array):
        keep = _Keeping(draft, placement, pool, room, spec.performance, most)
        return keep.in_time(view, told())
    return None


def _within(draft: Draft, placement: Placement, pool: PoolFacts, budget: int) -> None:
    spent = draft.run.price + bill.accrued(draft.run, placement, pool, draft.now)
    if spent >= budget and probing.is_probe(placement):
        raise probing.spent(draft.run, placement.task, pool, spent, budget)
    if spent >= budget:
        left = draft.run.memory.get(family.ALLOWED) == budget
        whose = "what was left of its pipeline's" if left else "its"
        raise Refused(
            f"ended at {format_money(spent)}: {whose} budget of {format_money(budget)} is spent",
            hint="raise `budget`, or give it less to do; `tw quote` says what it takes",
        )
    each = price.cost(
        1.0, pool.price, price.share(bill.demand(draft.run, placement), pool.capacity)
    )
    if each:
        late.look_at(draft, draft.now + (budget - spent) / each)


@dataclass(frozen=True, slots=True)
class _Keeping:
    """One look at an array with a deadline."""

    draft: Draft
    placement: Placement
    pool: PoolFacts
    room: Callable[[Resources], int]
    performance: float
    budget: int

    def in_time(self, view: View, told: Sequence[Progress]) -> Wider | None:
        """Nothing when it will be; more at once if that helps; else its people are told."""
        now, run, role = self.draft.now, self.draft.run, self.placement.task.roles[0]
        assert isinstance(role.shape, Array)
        late.look_at(self.draft, now + late.LOOK)
        mine = [each for each in view.attempts if each.placement == self.placement.id]
        said = {each.index: each for each in told if each.placement == self.placement.id}
        left = _left(mine, said, role.shape.count - len(self.placement.done), now)
        width = bill.width(run, self.placement)
        time = run.created + self.performance - now
        ends = left.seconds / width
        if not left.seconds or ends <= time * (1 - MARGIN):
            late.all_well(self.draft)
            return None
        wanted = left.items if time <= 0 else math.ceil(left.seconds / (time * (1 - MARGIN)))
        more = min(wanted, left.items) - width
        more = min(more, self.room(role.resources)) if more > 0 else 0
        if more and not self._too_dear(left.seconds, role.resources):
            return Wider(self.placement, width + more)
        surely = left.least / width
        if surely > time:
            why = self._why(left, width, role.resources)
            late.tell(self.draft, self.performance, now + surely if left.told else now, why)
        return None

    def _too_dear(self, seconds: float, one: Resources) -> bool:
        if not self.budget:
            return False
        run, part = self.draft.run, price.share(one, self.pool.capacity)
        spent = run.price + bill.accrued(run, self.placement, self.pool, self.draft.now)
        return spent + price.cost(seconds, self.pool.price, part) > self.budget

    def _why(self, left: _Left, width: int, one: Resources) -> str:
        if not left.told:
            return "no part has ended yet, and nothing tells how long one takes"
        if left.items <= width:
            return "nothing is left that could be done at the same time"
        if self._too_dear(left.seconds, one):
            return f"what is left would pass its budget of {format_money(self.budget)}"
        return f"pool {self.pool.name!r} has no room for more at once"


@dataclass(frozen=True, slots=True)
class _Left:
    """Of so many items: `seconds` as far as one can guess, `least` as far as there is evidence, and
    whether any has `told` how long it takes."""

    seconds: float
    least: float
    items: int
    told: bool


def _left(
    attempts: Sequence[Attempt], said: Mapping[int, Progress], count: int, now: float
) -> _Left:
    """The work that is left, in seconds of one process, and of how many items."""
    ended = [each for each in attempts if each.state is AttemptState.SUCCEEDED]
    running = [each for each in attempts if each.state is AttemptState.RUNNING and each.started]
    whole = [(now - each.started, late.whole(each, said.get(each.index))) for each in running]
    took = [each.ended - each.started for each in ended]
    took = took or [seconds for _, seconds in whole if seconds is not None]
    oldest = max((age for age, _ in whole), default=0.0)
    # Before any tells: as long again as the oldest has worked by now, and surely so long.
    guess, least = (median(took), median(took)) if took else (2 * oldest, oldest)
    items = count - len({each.index for each in ended})
    return _Left(_sum(whole, items, guess), _sum(whole, items, least), items, bool(took))


def _sum(running: Sequence[tuple[float, float | None]], items: int, one: float) -> float:
    """Seconds of all items that are left, each `one` long if it does not say how long it is."""
    working = sum(max(0.0, (one if whole is None else whole) - age) for age, whole in running)
    return max(0.0, working + (items - len(running)) * one)


def widened(draft: Draft, wider: Wider) -> None:
    """Write down from when on it holds more."""
    bill.widen(draft, wider.placement, wider.width)
    draft.note("promise.widened", placement=wider.placement.id, width=wider.width)
    late.all_well(draft)
