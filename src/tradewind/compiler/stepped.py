"""Plans of a training by its width, from what the steps of earlier runs took. Pure.

Seconds are a start and so many steps. What a step takes at a width comes from `training`: between
the measured widths and beyond them by its formula, with an interval to match. What a run took
beside its steps (imports, its input, the model that it saves) is its start, so that at a measured
width the figure is the whole time that was measured.

Nobody says how many samples a step has: steps do. A training that makes as many of them at any
width shares the samples of a step among its workers; one that makes half as many with two workers
gives each of them as many as before. Until two widths have run, the first is taken to hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from tradewind.compiler import crowd, price, training
from tradewind.compiler.elsewhere import STRANGE
from tradewind.compiler.facts import Pace, PastRun, PoolFacts
from tradewind.compiler.learning import SEEN
from tradewind.compiler.model import JITTER
from tradewind.compiler.sizes import grown, holds, left, powers
from tradewind.compiler.timing import BESIDE, COLD
from tradewind.records.plans import Interval, Option, Plan

# Gaps between the steps that were told: so many at least, and so many first ones that say nothing
# (caches are cold, code is compiled), or half of them if that is fewer.
LEAST_GAPS, FIRST_GAPS = 4, 3


def pace(told: Sequence[tuple[int, float]]) -> tuple[int, float] | None:
    """How many steps were made and the seconds of one, from the numbers of steps and when each was
    told, in the order they came; None where these are too few. A step that several workers tell, or
    that is made again, counts when it was told first."""
    first: dict[int, float] = {}
    for step, at in told:
        first.setdefault(step, at)
    steps = sorted(first)
    pairs = list(pairwise(steps))
    if len(pairs) < LEAST_GAPS:
        return None
    each = [(first[after] - first[before]) / (after - before) for before, after in pairs]
    seconds = median(each[min(FIRST_GAPS, len(each) // 2) :])
    # The first that was told ends as long a stride as the others.
    stride = round(median(after - before for before, after in pairs))
    return (steps[-1] - steps[0] + stride, seconds) if seconds > 0 else None


def plans(
    option: Option, pool: PoolFacts, past: Sequence[PastRun], pools: Sequence[PoolFacts], rows: int
) -> list[Plan]:
    """One for each width that it may have and this pool holds; none where no step was timed. By
    runs on this pool, if there are any."""
    timed = [(each, each.pace) for each in past if each.pace is not None and each.seconds > 0]
    here = [each for each in timed if each[1].pool == pool.name]
    if not timed:
        return []
    known = _Known(tuple(here or timed), {each.name: each for each in pools}, rows, not here)
    found, model = [], known.model(option)
    for width in known.widths(option):
        sized = grown(replace(option, width=width), known.busy, pool)
        together = price.times(sized.resources, width)
        open_to = left(pool) if option.elastic else pool
        if width <= holds(sized.resources, open_to) and together.within(open_to.capacity):
            found.append(_plan(sized, pool, known, model))
    return found


def nodes(option: Option, width: int, pool: PoolFacts | None) -> int:
    """As few machines as hold so many; 1 where the pool is not known."""
    if pool is None or pool.machines == 1:
        return 1
    each = holds(option.resources, replace(pool, capacity=pool.largest, sizes=()))
    return math.ceil(width / max(1, each))


@dataclass(frozen=True, slots=True)
class _Known:
    """Earlier runs whose steps were timed, the pools that there are, the rows of the input now, and
    whether all of them ran on other pools."""

    runs: tuple[tuple[PastRun, Pace], ...]
    pools: dict[str, PoolFacts]
    rows: int
    strange: bool

    @property
    def measured(self) -> list[int]:
        """The widths that ran."""
        return sorted({past.width for past, _ in self.runs})

    @property
    def busy(self) -> float:
        """How many cores a worker keeps busy where there are enough."""
        return max(past.cpu / crowd.quiet(past) / past.width for past, _ in self.runs)

    def share(self, width: int, pool: PoolFacts | None) -> float:
        """The share of these that each of so many has on a pool."""
        wanted = width * self.busy
        return 1.0 if pool is None or not wanted else min(1.0, pool.capacity.cpu / wanted)

    def widths(self, option: Option) -> list[int]:
        """Its least and its most, between them powers of two and what ran."""
        least, most = option.width, max(option.width, option.widest)
        between = [each for each in (*powers(most), *self.measured) if least <= each <= most]
        return sorted({least, most, *between})

    def start(self) -> float:
        """Seconds beside the steps, alone on the machine."""
        return median(
            max(0.0, past.seconds - pace.steps * pace.seconds) * _alone(past)
            for past, pace in self.runs
        )

    def steps(self, width: int) -> tuple[float, float]:
        """How many it makes: the middle, and the most. Those of runs over as many rows as now; if
        there are none, at the most in proportion to them."""
        same = [each for each in self.runs if each[0].rows == self.rows]
        by_width: dict[int, list[float]] = {}
        upper: dict[int, list[float]] = {}
        for past, pace in same or self.runs:
            more = max(1.0, self.rows / past.rows) if past.rows and self.rows else 1.0
            by_width.setdefault(past.width, []).append(float(pace.steps))
            upper.setdefault(past.width, []).append(pace.steps * more)
        near = min(by_width, key=lambda each: (abs(math.log(each / width)), each))
        fewer = (near / width) ** _falls({each: median(by_width[each]) for each in by_width})
        return median(by_width[near]) * fewer, max(upper[near]) * fewer

    def layout(self, option: Option, width: int, pool: PoolFacts | None) -> training.Layout:
        """With the samples of a worker in one step as a share of all that are seen."""
        middle, _ = self.steps(width)
        return training.Layout(nodes(option, width, pool), width, 1.0 / (middle * width))

    def model(self, option: Option) -> training.Model:
        """Of the step times, as they would have been alone with all the cores that it can use."""
        points = []
        for past, pace in self.runs:
            pool = self.pools.get(pace.pool)
            seconds = pace.seconds * _alone(past) * self.share(past.width, pool)
            points.append(training.Point(self.layout(option, past.width, pool), seconds))
        return training.fit(points)

    def basis(self, width: int) -> str:
        """What it is known from, in words."""
        count = len(self.runs)
        runs, at = ("s" if count > 1 else ""), ("s" if len(self.measured) > 1 else "")
        text = f"step times of {count} earlier run{runs} at width{at} "
        text += ", ".join(map(str, self.measured))
        if self.strange:
            text += " on other pools"
        return text if width in self.measured else f"{text}; never run at {width}"


def _falls(steps: dict[int, float]) -> float:
    """The power of the width by which steps become fewer: 0 as many at any, 1 half at double."""
    one, other = min(steps), max(steps)
    if one == other:
        return 0.0
    return min(1.0, max(0.0, math.log(steps[one] / steps[other]) / math.log(other / one)))


def _alone(past: PastRun) -> float:
    """The share of its time that an earlier run would have taken without its neighbours."""
    return crowd.quiet(past) / past.seconds


def _plan(option: Option, pool: PoolFacts, known: _Known, model: training.Model) -> Plan:
    step = model.at(known.layout(option, option.width, pool))
    each = step.seconds / known.share(option.width, pool)
    middle, most = known.steps(option.width)
    start, work = known.start(), middle * each
    # What ran before is never surer than a function that did.
    wide = max(step.interval.p90 / step.seconds, math.exp(SEEN)) * (STRANGE if known.strange else 1)
    computes, threads = min(1.0, known.busy), max(1.0, known.busy)
    slow, slowest = (
        1 + computes * (crowd.slower(load, threads, option.width) - 1)
        for load in (pool.load, crowd.most(pool.load))
    )
    upper = (start * COLD + most * each * wide) * slowest + JITTER
    held = Interval(p50=(start + work) * slow, p90=upper)
    part = price.share(price.times(option.resources, option.width), pool.capacity)
    basis = known.basis(option.width)
    if pool.load is not None and crowd.busy(pool.load):
        basis += f"; {crowd.said(pool.load, start + work)}"
    return Plan(
        pool=pool.name,
        engine=pool.engine,
        option=option,
        seconds=Interval(p50=held.p50 + BESIDE.p50, p90=held.p90 + BESIDE.p90),
        price=Interval(
            p50=price.cost(held.p50, pool.price, part), p90=price.cost(held.p90, pool.price, part)
        ),
        basis=basis,
        grounds={"family": "steps", "step": each, "steps": round(middle), "fixed": start},
    )
