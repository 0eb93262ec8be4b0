"""What would start a waiting run now: the smallest changes of it that do, each tried out on a copy
of the scheduler. Whoever makes the change at that moment sees the run start, at once or as soon as
those it interrupts have gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tradewind.base.units import format_bytes
from tradewind.records.tasks import Layout
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Place,
    Preempt,
    Released,
    Resize,
    SchedulerEvent,
    Shrunk,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.nodes import WHOLE, Ask

# Priorities are from minus this to this.
HIGHEST = 1000
# CPU is looked for in such steps (thousandths of a core), memory in such (bytes), a share of a
# device in such (thousandths), and none below such a part of what is asked for: with less hardly
# anything works that asked for so much.
CPU_STEP, MEMORY_STEP, SHARE_STEP, PART = 250, 1 << 28, 50, 0.25


@dataclass(frozen=True, slots=True)
class Processes:
    """So many processes in the place of `instead`, of the part at `part`. The work is the same:
    what is known to be left of it takes so much longer."""

    count: int
    instead: int
    part: int = 0

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        ask, _ = waiting.parts[self.part]
        fewer = replace(waiting, parts=_with(waiting.parts, self.part, ask, self.count))
        slower = waiting.width / fewer.width if fewer.width else 1.0
        left = None if waiting.left is None else waiting.left * slower
        return replace(fewer, left=left)

    def __str__(self) -> str:
        return f"with {_processes(self.count)} instead of {self.instead}"


@dataclass(frozen=True, slots=True)
class Cpu:
    """So much CPU for each process of the part at `part`, in thousandths of a core."""

    each: int
    instead: int
    part: int = 0

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        ask, count = waiting.parts[self.part]
        less = replace(ask, cpu=self.each)
        return replace(waiting, parts=_with(waiting.parts, self.part, less, count))

    def __str__(self) -> str:
        return (
            f"with {self.each / WHOLE:g} CPU instead of {self.instead / WHOLE:g} for each process"
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """So much memory for each process of the part at `part`, in bytes."""

    each: int
    instead: int
    part: int = 0

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        ask, count = waiting.parts[self.part]
        less = replace(ask, memory=self.each)
        return replace(waiting, parts=_with(waiting.parts, self.part, less, count))

    def __str__(self) -> str:
        each, instead = format_bytes(self.each), format_bytes(self.instead)
        return f"with {each} instead of {instead} of memory for each process"


@dataclass(frozen=True, slots=True)
class Share:
    """So much of a device for each process of the part at `part`, in thousandths, which asks for
    one or a part of one. What is known to be left of the work takes so much longer."""

    each: int
    instead: int
    part: int = 0

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        ask, count = waiting.parts[self.part]
        less = replace(waiting, parts=_with(waiting.parts, self.part,
                                            replace(ask, share=self.each), count))  # fmt: skip
        left = None if waiting.left is None else waiting.left * self.instead / self.each
        return replace(less, left=left)

    def __str__(self) -> str:
        each, instead = self.each / WHOLE, self.instead / WHOLE
        return f"with {each:g} of a device instead of {instead:g} for each process"


@dataclass(frozen=True, slots=True)
class AnyModel:
    """Devices of any model, wherever one or several are named and no further ones."""

    instead: tuple[str, ...]

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        return replace(waiting, parts=tuple(
            (ask if ask.others else replace(ask, models=frozenset()), count)
            for ask, count in waiting.parts
        ))  # fmt: skip

    def __str__(self) -> str:
        return f"with devices of any model instead of {' or '.join(self.instead)}"


@dataclass(frozen=True, slots=True)
class OtherPool:
    """Another pool."""

    pool: str
    instead: str

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        return replace(waiting, pool=self.pool)

    def __str__(self) -> str:
        return f"on pool {self.pool!r} instead of {self.instead!r}"


@dataclass(frozen=True, slots=True)
class Priority:
    """Another priority."""

    priority: int
    instead: int

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        return replace(waiting, priority=self.priority)

    def __str__(self) -> str:
        return f"with priority {self.priority} instead of {self.instead}"


@dataclass(frozen=True, slots=True)
class Preferred:
    """How its processes stand to each other is preferred where it was required."""

    instead: Layout

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        layout = waiting.layout and replace(waiting.layout, strictly=False)
        return replace(waiting, layout=layout)

    def __str__(self) -> str:
        together, spread = self.instead.together, self.instead.spread
        said = [f"in one {together}"] * bool(together) + [f"evenly over each {spread}"] * bool(
            spread
        )
        return f"with its processes {' and '.join(said)} where there is room, not only so"


One = Processes | Cpu | Memory | Share | AnyModel | OtherPool | Priority | Preferred


@dataclass(frozen=True, slots=True)
class All:
    """Several changes at the same time."""

    changes: tuple[One, ...]

    def of(self, waiting: Waiting) -> Waiting:
        """The run, so changed."""
        for change in self.changes:
            waiting = change.of(waiting)
        return waiting

    def __str__(self) -> str:
        return ", ".join(map(str, self.changes)) or "as it is"


Change = One | All


@dataclass(frozen=True, slots=True)
class Start:
    """A change that starts the run: at once, or when those that it `interrupts` have gone."""

    change: Change
    interrupts: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.interrupts:
            return str(self.change)
        have = "has" if len(self.interrupts) == 1 else "have"
        return f"{self.change}, once {', '.join(self.interrupts)} {have} made room for it"


def would(cluster: Cluster, run: str, change: Change) -> Start | None:
    """Whether this change starts a waiting run now, and how; None where it does not, or does not
    wait. The cluster stays as it is. Raises IndexError for a part that the run does not have."""
    mine = cluster.asked(run)
    return None if mine is None else _Trial(cluster, mine).start(change)


def smallest(cluster: Cluster, run: str) -> list[Start]:
    """The smallest change of each kind that starts a waiting run now: fewer processes, less CPU or
    memory or a lesser part of a device for each, any model of devices, its processes not only in
    one domain, another pool, a higher priority. Nothing where none does, and where the run starts
    as it is, or does not wait. The cluster stays as it is."""
    mine = cluster.asked(run)
    if mine is None or _Trial(cluster, mine).start(Priority(mine.priority, mine.priority)):
        return []
    trial = _Trial(cluster, mine)
    found = (_least(trial, changes) for changes in _kinds(cluster, mine))
    # Placers learn from what comes: what was found beside other trials is tried again alone.
    alone = (would(cluster, run, change) for change in found if change is not None)
    return [start for start in alone if start is not None]


def widest(waiting: Waiting) -> int:
    """The part of which there are most processes."""
    return max(range(len(waiting.parts)), key=lambda at: waiting.parts[at][1], default=0)


@dataclass(slots=True)
class _Trial:
    """Tries changes out, on one copy as long as nothing comes of them."""

    cluster: Cluster
    mine: Waiting
    _twin: Cluster | None = field(default=None)

    def start(self, change: Change) -> Start | None:
        """How the run starts with it; None where it does not."""
        twin = self._twin or self.cluster.copy()
        self._twin = None
        run, now = self.mine.run, twin.now
        twin.feed([Withdrawn(run=run), change.of(self.mine)], now)
        decisions = twin.decide(now)
        if not decisions and run in twin.line.waiting:
            self._twin = twin
            return None
        if _placed(decisions, run):
            return Start(change)
        going = [each for each in decisions if isinstance(each, Preempt | Resize)]
        mine = sorted(each.run for each in going if each.by == run)
        if not mine:
            return None
        for each in going:
            twin.feed(_gone(twin, each), now)
        return Start(change, tuple(mine)) if _placed(twin.decide(now), run) else None


def _gone(twin: Cluster, told: Preempt | Resize) -> Iterator[SchedulerEvent]:
    """It has done as it was told."""
    held, now = twin.held[told.run], twin.now
    if isinstance(told, Resize):
        yield Shrunk(run=told.run, grown=told.grown)
    else:
        yield Released(run=told.run, ended=False)
        yield replace(held.asked, attained=held.attained(now), left=held.left(now))


def _placed(decisions: Sequence[Decided], run: str) -> bool:
    return any(isinstance(each, Place) and each.run == run for each in decisions)


# Changes of one kind, the largest first: if one does not do, the ones after it do not either.
Changes = tuple[int, Callable[[int], Change]]


def _least(trial: _Trial, changes: Changes) -> Change | None:
    """The smallest that does, by halving: of `count` changes the one at 0 is the largest."""
    count, make = changes
    if not count or trial.start(make(0)) is None:
        return None
    does, not_any_more = 0, count
    while not_any_more - does > 1:
        middle = (does + not_any_more) // 2
        if trial.start(make(middle)) is None:
            not_any_more = middle
        else:
            does = middle
    return make(does)


def _kinds(cluster: Cluster, mine: Waiting) -> Iterator[Changes]:
    yield _fewer(mine)
    asks = [ask for ask, _ in mine.parts]
    yield _less([ask.cpu for ask in asks], CPU_STEP, Cpu)
    yield _less([ask.memory for ask in asks], MEMORY_STEP, Memory)
    # Less than a whole device is asked of a single one.
    yield _less([ask.share * (ask.devices == 1) for ask in asks], SHARE_STEP, Share)
    models = {model for ask, _ in mine.parts if not ask.others for model in ask.models}
    yield _one(AnyModel(tuple(sorted(models))) if models else None)
    binds = mine.layout is not None and mine.layout.binds
    yield _one(Preferred(mine.layout) if mine.layout is not None and binds else None)
    for pool in sorted(cluster.pools):
        yield _one(OtherPool(pool, mine.pool) if pool != mine.pool else None)
    yield _higher(cluster, mine)


def _one(change: Change | None) -> Changes:
    return (0, _nothing) if change is None else (1, lambda at: change)


def _nothing(at: int) -> Change:
    raise LookupError("there is no change of this kind")


def _fewer(mine: Waiting) -> Changes:
    """Of the part of which there are most."""
    part = max(range(len(mine.parts)), key=lambda at: mine.parts[at][1], default=None)
    if part is None:
        return 0, _nothing
    instead = mine.parts[part][1]
    return instead - 1, lambda at: Processes(at + 1, instead, part)


def _less(each: Sequence[int], step: int, make: Callable[[int, int, int], Change]) -> Changes:
    """Of the part whose processes ask for most of it, where part by part they ask for so much."""
    part = max(range(len(each)), key=lambda at: each[at], default=None)
    if part is None:
        return 0, _nothing
    instead = each[part]
    first = max(1, -int(-instead * PART // step))
    count = -(-instead // step) - first
    return max(0, count), lambda at: make((first + at) * step, instead, part)


def _higher(cluster: Cluster, mine: Waiting) -> Changes:
    """Only against those that it meets a priority means anything."""
    others = [held.asked for held in cluster.held.values()]
    others += [*cluster.line.waiting.values(), *(due.asked for due in cluster.due.values())]
    met = {other.priority for other in others if other.run != mine.run}
    able = {priority for each in met for priority in (each, each + 1)}
    ranked = sorted((each for each in able if mine.priority < each <= HIGHEST), reverse=True)
    return len(ranked), lambda at: Priority(ranked[at], mine.priority)


def _with(parts: Parts, at: int, ask: Ask, count: int) -> Parts:
    return (*parts[:at], (ask, count), *parts[at + 1 :])


def _processes(count: int) -> str:
    return f"{count} process" + "es" * (count != 1)
