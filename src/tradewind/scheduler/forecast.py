"""When a waiting run will start: an estimate with an interval that holds nine times out of ten.

The scheduler itself is carried on, on a copy of its state, in virtual time, until the run has its
place: what works ends when it is said to, or after a time drawn from how long such runs have lived,
and what came lately comes once more. How far such estimates were off so far, those for runs that
still wait included, makes the interval: conformal prediction (Vovk et al., "Algorithmic Learning in
a Random World", 2005) over the logarithm of the real wait by the predicted one, among earlier
estimates of about the same size, whose level follows what was missed lately (Gibbs and Candes,
"Adaptive Conformal Inference Under Distribution Shift", 2021). Nothing here is random: the same
history gives the same answers.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Place,
    Reject,
    Released,
    SchedulerEvent,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.held import Held
from tradewind.scheduler.order import FEWEST, Shortest, survival
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.rows import FirstFit

Floats = NDArray[np.float64]
Json = dict[str, Any]

# The part of all intervals that is to hold.
HOLDS = 0.9
# What happens in such a part of the time since the question happens at once: an estimate is not
# more exact than that, and a thousand ends are not a thousand decisions.
STEP = 0.08
# After so many arrivals, beginnings, ends and decisions the rest is reckoned from the work that is
# ahead.
MOST = 600
# So many arrivals are remembered, and so many estimates; so many of about the same size are looked
# at, and fewer than that tell nothing: then an interval is so many times as wide each way.
ARRIVALS, KNOWN, NEAR, FEW, WIDE = 1500, 1500, 300, 60, 30.0
# How fast the width follows what was missed. The truth comes late: faster than this it swings.
LEARNS = 0.01
# Less than so many devices are as many.
NARROW = 1 / 16
# No side of an interval is nearer to its middle than this part of it.
EXACT = 0.02
PARTS = ((1 - HOLDS) / 2, 0.5, (1 + HOLDS) / 2)
# Nobody cares for less, in seconds.
LEAST = 1.0
# Draws are spread evenly by this part of one: no two runs get the same luck.
GOLDEN = (math.sqrt(5) - 1) / 2
# The steps of a table of how long runs live.
AGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When a run starts, in seconds from `at`: about after `wait`, nine times out of ten between
    `low` and `high`. `rolled` is what carrying the scheduler on has told, `width` that of the run
    (devices, or without any cores)."""

    run: str
    at: float
    wait: float
    low: float
    high: float
    rolled: float
    width: float


# --- how long runs live --------------------------------------------------------------------------


@dataclass(slots=True)
class Lifetimes:
    """How much longer runs work of which nobody knows it, from the ends that the order has seen."""

    version: int = -1
    _tables: dict[float, tuple[list[float], list[float]]] = field(default_factory=dict)

    def left(self, cluster: Cluster, width: float, attained: float, luck: float) -> float:
        """Seconds that a run of so many devices still works that has worked so long: in a part
        `luck` of all cases it is less."""
        ages, alive = self._table(cluster, width)
        service = attained * width
        if not ages:
            return max(attained, 60.0)
        now = _between(service, ages, alive)
        wanted = now * (1 - luck)
        if wanted <= alive[-1] or now <= 0:
            # Longer than anything that was seen: it is as likely to go on as to have come so far.
            return max(max(service, ages[-1]) / max(1 - luck, 0.05) - service, service) / width
        at = next(step for step in range(_first(ages, service), len(ages)) if alive[step] <= wanted)
        part = (alive[at - 1] - wanted) / (alive[at - 1] - alive[at]) if at else 0.0
        until = ages[at - 1] + part * (ages[at] - ages[at - 1]) if at else ages[0]
        return max(until - service, 0.0) / width

    def _table(self, cluster: Cluster, width: float) -> tuple[list[float], list[float]]:
        order = cluster.order
        if order is None:
            return [], []
        if order.version != self.version:
            self.version, self._tables = order.version, {}
        if width not in self._tables:
            self._tables[width] = _lives(cluster, order, width)
        return self._tables[width]


def _lives(cluster: Cluster, order: Shortest, width: float) -> tuple[list[float], list[float]]:
    """Ages in devices times seconds, and the part of runs that lives longer than each."""
    services, alone = order.services(width)
    ended = np.sort(services)
    if len(ended) < FEWEST:
        return [], []
    going = [(each.width, each.attained) for each in cluster.line.waiting.values()]
    going += [(held.asked.width, held.attained(cluster.now)) for held in cluster.held.values()
              if not held.of]  # fmt: skip
    others = np.sort([wide * had for wide, had in going if not alone or wide == width])
    last = max(float(ended[-1]), float(others[-1]) if len(others) else 0.0)
    ages = np.concatenate([[0.0], np.geomspace(max(ended[0], 1.0), last * 1.001 + 1, AGES)])
    return ages.tolist(), survival(ages, ended, others).tolist()


def _first(ages: Sequence[float], service: float) -> int:
    return max(bisect.bisect_right(ages, service), 1)


def _between(service: float, ages: Sequence[float], alive: Sequence[float]) -> float:
    at = _first(ages, service)
    if at >= len(ages):
        return alive[-1]
    part = (service - ages[at - 1]) / (ages[at] - ages[at - 1])
    return alive[at - 1] + part * (alive[at] - alive[at - 1])


# --- carrying the scheduler on -------------------------------------------------------------------


@dataclass(slots=True)
class Roll:
    """One run's way to its place, in virtual time, on a copy. Nobody is interrupted in it beyond
    those who have been told: who could make room for whoever waits has been asked already, and to
    ask for each virtual moment again takes most of the time of a decision."""

    cluster: Cluster
    run: str
    pool: str
    lives: Lifetimes
    coming: Iterable[tuple[float, Waiting]] = ()
    """What comes, by when, the next one first."""
    _ends: list[tuple[float, str, float, bool]] = field(default_factory=list)
    """When, who, since when it works, and whether it only makes room."""
    _heard: float = -math.inf
    _drawn: int = 0
    _events: int = 0
    _began: float = 0.0

    def wait(self) -> float | None:
        """Seconds until it is placed; None where it never is."""
        self._began = self.cluster.now
        self._trim()
        told: list[SchedulerEvent] = []
        for held in self.cluster.held.values():
            if held.asked.pool == self.pool or self.cluster.tree.limited:
                self._end(held)
        self._events = 0
        coming = iter(self.coming)
        first = next(coming, None)
        while self._events < MOST:
            if self._decide(told):
                return self.cluster.now - self._began
            moment = min(self._ends[0][0] if self._ends else math.inf,
                         first[0] if first else math.inf, self._patience())  # fmt: skip
            if moment == math.inf or self.cluster.asked(self.run) is None:
                return None
            past = self.cluster.now - self._began
            moment = max(moment, self.cluster.now + max(LEAST, past * STEP))
            told = self._over(moment)
            while first is not None and first[0] <= moment:
                told.append(first[1])
                first = next(coming, None)
                self._events += 1
            self.cluster.now = moment
            self._events += 1
        return self.cluster.now - self._began + self._rest()

    def _rest(self) -> float:
        """Seconds that what is ahead of it takes, if as many devices work on it as now."""
        cluster = self.cluster
        mine = cluster.line.waiting.get(self.run)
        if mine is None:  # room is made for it
            return 0.0
        key = cluster.key(mine)
        ahead = [each for each in cluster.line.waiting.values() if cluster.key(each) < key]
        work = sum(each.width * self._left(each, each.attained) for each in ahead)
        works = sum(held.asked.width for held in cluster.held.values())
        return work / max(works, 1e-9)

    def _trim(self) -> None:
        """Leave out those that wait and cannot start before it."""
        cluster = self.cluster
        mine = cluster.line.waiting.get(self.run)
        if mine is not None:
            out = behind(cluster, mine)
            gone = [Withdrawn(run=each.run) for each in cluster.line.waiting.values() if out(each)]
            cluster.feed(gone, cluster.now)

    def _parting(self) -> None:
        """Who has been told to go since it was last asked takes as long as others did."""
        cluster, now = self.cluster, self.cluster.now
        for due in cluster.due.values():
            for run in due.staying if self._heard < due.told <= now else ():
                gone = max(now, due.told + cluster.parting)
                heapq.heappush(self._ends, (gone, run, cluster.held[run].began, True))
        self._heard = now

    def _leaves(self, held: Held) -> list[SchedulerEvent]:
        run = held.asked.run
        if held.of:
            return [Released(run=run, ended=False)]
        asked, had = held.asked, held.attained(self.cluster.now)
        keeps = held.keeps(self.cluster.now)
        kept = had if keeps else asked.attained
        left = held.left(self.cluster.now) if keeps else asked.left
        return [Released(run=run, ended=False), replace(asked, attained=kept, left=left)]

    def _patience(self) -> float:
        return min((due.until for due in self.cluster.due.values()
                    if due.told > self.cluster.now), default=math.inf)  # fmt: skip

    def _over(self, moment: float) -> list[SchedulerEvent]:
        told: list[SchedulerEvent] = []
        while self._ends and self._ends[0][0] <= moment:
            _, run, began, leaves = heapq.heappop(self._ends)
            held = self.cluster.held.get(run)
            if held is not None and held.began == began and (held.by or not leaves):
                told += self._leaves(held) if leaves else [Released(run=run, ended=False)]
                self._events += 1
        return told

    def _decide(self, told: list[SchedulerEvent]) -> bool:
        """Whether it is placed now."""
        cluster, now = self.cluster, self.cluster.now
        while True:
            cluster.feed(told, now)
            for each in cluster.decide(now):
                if isinstance(each, Place) and each.run == self.run:
                    return True
                if isinstance(each, Place):
                    self._end(cluster.held[each.run])
                if isinstance(each, Reject) and each.run == self.run:
                    return False
            self._parting()
            told = self._over(now)
            if not told:
                return False

    def _end(self, held: Held) -> None:
        """Note when it will end."""
        cluster, asked = self.cluster, held.asked
        self._events += 1
        if asked.stands or held.of:
            return
        left = held.left(cluster.now) or self._left(replace(asked, left=None),
                                                    held.attained(cluster.now))  # fmt: skip
        begins = max(0.0, held.began + asked.restart - cluster.now)
        heapq.heappush(self._ends, (cluster.now + begins + left, asked.run, held.began, False))

    def _left(self, asked: Waiting, attained: float) -> float:
        """Seconds that it still works, where nobody knows drawn."""
        self._drawn += 1
        luck = (self._drawn * GOLDEN) % 1.0
        if asked.left is not None:
            return asked.left
        return self.lives.left(self.cluster, asked.width, attained, luck)


def ever(cluster: Cluster, mine: Waiting) -> bool:
    """Whether it fits when all have gone that do not go on until they are stopped."""
    pool = cluster.pools.get(mine.pool)
    if pool is None:
        return False
    nodes = pool.nodes.copy()
    then = Pool(nodes, FirstFit(nodes))
    for held in cluster.held.values():
        if held.asked.pool == mine.pool and not held.asked.stands:
            then.free(held.asked.parts, held.spots)
    for due in cluster.due.values():
        if due.asked.pool == mine.pool:
            then.reserve(due.reserved, -1)
    return then.lay(mine.parts, layout=mine.layout) is not None


def behind(cluster: Cluster, mine: Waiting) -> Callable[[Waiting], bool]:
    """Whether one that waits, or will, cannot start before this one: it is of another pool, and
    shares no quota; or it is later in the same project, and needs no less."""
    key, limited = cluster.key(mine), bool(cluster.tree.limited)

    def found(other: Waiting) -> bool:
        if other.pool != mine.pool:
            return not limited
        same = other.project == mine.project and other.queue == mine.queue
        if not same or other.run == mine.run or _smaller(other, mine):
            return False
        return cluster.key(other) > key

    return found


def _smaller(other: Waiting, mine: Waiting) -> bool:
    """Whether it may fit where the other does not."""
    if other.layout != mine.layout:
        return True
    if other.parts == mine.parts:
        return False
    if len(other.parts) != 1 or len(mine.parts) != 1:
        return True
    (ask, count), (wants, more) = other.parts[0], mine.parts[0]
    return (
        ask.cpu < wants.cpu or ask.memory < wants.memory or ask.milli < wants.milli
        or count < more or (bool(wants.models) and ask.models != wants.models)
    )  # fmt: skip


# --- how far estimates are off -------------------------------------------------------------------


@dataclass(slots=True)
class Calibration:
    """What earlier estimates were worth. `_size` is the logarithm of what was rolled and that of
    the width, `_off` that of the real wait by what was rolled; as long as a run waits, what it has
    waited since is the least that this can be."""

    _size: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=KNOWN))
    _off: deque[float] = field(default_factory=lambda: deque(maxlen=KNOWN))
    _open: dict[str, list[Estimate]] = field(default_factory=dict)
    _wider: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """By side, low and high, the logarithm of how many times as far from the middle it stands."""

    @classmethod
    def of(cls, told: Json) -> Calibration:
        """What an earlier one has `told`."""
        made = cls(_wider=[float(each) for each in told["wider"]])
        for rolled, width, off in told["known"]:
            made._size.append((rolled, width))
            made._off.append(off)
        return made

    def told(self) -> Json:
        """What it has learned, but for those that still wait."""
        known = zip(self._size, self._off, strict=True)
        return {"known": [[*size, off] for size, off in known], "wider": [*self._wider]}

    def expect(self, estimate: Estimate) -> None:
        """It was given, and will be held against what happens."""
        self._open.setdefault(estimate.run, []).append(estimate)

    def started(self, run: str, now: float) -> list[tuple[Estimate, float]]:
        """It has its place: the estimates that were given for it, with the real waits."""
        found = [(each, now - each.at) for each in self._open.pop(run, ())]
        for each, wait in found:
            self._size.append(_size(each.rolled, each.width))
            self._off.append(_off(wait, each))
            for side, missed in enumerate((wait < each.low, wait > each.high)):
                self._wider[side] += LEARNS * (missed - (1 - HOLDS) / 2)
        return found

    def withdrawn(self, run: str) -> None:
        """It will not start: nothing is learned from it."""
        self._open.pop(run, None)

    def span(self, rolled: float, width: float, now: float) -> tuple[float, float, float]:
        """Low, middle and high, in seconds, for what was rolled for a run of such a width."""
        waits = [each for every in self._open.values() for each in every]
        size = np.array([*self._size, *(_size(each.rolled, each.width) for each in waits)])
        off = np.array([*self._off, *(_off(now - each.at, each) for each in waits)])
        known = np.arange(len(off)) < len(self._off)
        apart = np.abs(size.reshape(-1, 2) - _size(rolled, width)).sum(axis=1)
        near = np.argsort(apart, kind="stable")[:NEAR]
        if known[near].sum() < FEW:
            logs = (-math.log(WIDE), 0.0, math.log(WIDE))
        else:
            least, middle, most = quantiles(off[near], known[near], PARTS)
            logs = (middle - max(middle - least, EXACT) * math.exp(self._wider[0]), middle,
                    middle + max(most - middle, EXACT) * math.exp(self._wider[1]))  # fmt: skip
        low, wait, high = (max(0.0, (rolled + LEAST) * math.exp(log) - LEAST) for log in logs)
        return low, wait, high


def _size(rolled: float, width: float) -> tuple[float, float]:
    """Twice as wide is as far away as a wait that is 2.7 times as long."""
    return math.log(rolled + LEAST), math.log2(max(width, NARROW))


def _off(wait: float, estimate: Estimate) -> float:
    return math.log((max(wait, 0.0) + LEAST) / (estimate.rolled + LEAST))


def quantiles(
    values: Floats, known: NDArray[np.bool_], parts: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Below which value these parts lie, where some are known to be more than their value only
    (the product-limit estimator: Kaplan and Meier, 1958). Beyond the last one that is known it is
    the largest, and twice that where it cannot be told."""
    order = np.lexsort((~known, values))
    ranked, ends = values[order], known[order]
    alive = np.cumprod(1 - ends / np.arange(len(ranked), 0, -1))
    found = []
    for part in parts:
        beyond = np.flatnonzero(alive <= 1 - part + 1e-12)
        found.append(float(ranked[beyond[0]] if len(beyond) else ranked[-1] + math.log(2)))
    return found[0], found[1], found[2]


# --- what is asked -------------------------------------------------------------------------------


@dataclass(slots=True)
class Forecast:
    """Gives estimates, and learns what they are worth. Tell it what comes (`came`), which
    estimates count (`expect`: each that is given at a moment that does not depend on what it says),
    who starts and who goes."""

    calibration: Calibration = field(default_factory=Calibration)
    _lives: Lifetimes = field(default_factory=Lifetimes)
    _came: deque[tuple[float, Waiting]] = field(default_factory=lambda: deque(maxlen=ARRIVALS))

    def came(self, waiting: Waiting, now: float) -> None:
        """A run asks for its place for the first time."""
        self._came.append((now, waiting))

    def expect(self, estimate: Estimate) -> None:
        """Learn from what becomes of it."""
        self.calibration.expect(estimate)

    def started(self, run: str, now: float) -> list[tuple[Estimate, float]]:
        """It has its place; the estimates that were given, with the real waits in seconds."""
        return self.calibration.started(run, now)

    def withdrawn(self, run: str) -> None:
        """It does not wait any more, and has not started."""
        self.calibration.withdrawn(run)

    def ask(self, cluster: Cluster, run: str) -> Estimate | None:
        """When this one starts; None where it does not wait, and where it does not start however
        much ends. The cluster stays as it is."""
        found = cluster.asked(run)
        if found is None or not ever(cluster, found):
            return None
        now = cluster.now
        coming = self._again(cluster, found)
        ahead = cluster.copy(FirstFit, shoves=False)
        rolled = Roll(ahead, run, found.pool, self._lives, coming).wait()
        if rolled is None:
            return None
        low, wait, high = self.calibration.span(rolled, found.width, now)
        return Estimate(run=run, at=now, wait=wait, low=low, high=high, rolled=rolled,
                        width=found.width)  # fmt: skip

    def _again(self, cluster: Cluster, mine: Waiting) -> Iterable[tuple[float, Waiting]]:
        """What came lately comes again, without what cannot start before this one. The last that
        came is the first: nearby times are alike."""
        now, out = cluster.now, behind(cluster, mine)
        for at, (then, waiting) in enumerate(reversed(self._came)):
            if not out(waiting):
                when = now + (now - then)
                yield when, replace(waiting, run=f"{waiting.run} again {at}", since=when)
