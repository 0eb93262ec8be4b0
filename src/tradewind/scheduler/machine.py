"""First come, first fit, as a machine.

It holds which placements occupy which pool and who waits, eats events, and returns decisions. The
same events give the same state and the same decisions; `copy()` gives a machine to ask "what if".
Nothing here reads a clock or a store: `since` and ids come in with the events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from tradewind.base.units import format_bytes
from tradewind.records.tasks import Lot, Resources, room


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChanged:
    """A pool has this capacity from now on, and its biggest machine holds `largest` (left out: it
    is one machine); `sizes` are its machines one by one (empty: not told). `firm`: more than this
    it will not have; otherwise what it lacks may come back, and is waited for."""

    pool: str
    capacity: Resources
    largest: Resources | None = None
    sizes: tuple[Lot, ...] = ()
    firm: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGone:
    """A pool can take nothing any more; `why` says so in words."""

    pool: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run wants a place. `pool` is the pool of its plan; `each` are its processes, none of which
    may be spread over machines; `stands`: it goes on until it is stopped. Saying it again changes
    nothing."""

    run: str
    pool: str
    demand: Resources
    since: float
    each: tuple[Lot, ...] = ()
    stands: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A run no longer waits (stopped, failed)."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupied:
    """A run holds this much of a pool (told at start, from the store)."""

    run: str
    pool: str
    demand: Resources
    stands: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A run has given its place back."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Widened:
    """A run holds this much of its pool from now on, in place of what it held."""

    run: str
    demand: Resources


SchedulerEvent = PoolChanged | PoolGone | Waiting | Withdrawn | Occupied | Widened | Released


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """This run starts now, on this pool; its share is held from this decision on."""

    run: str
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """This run can never start on its pool."""

    run: str
    why: str


@dataclass(slots=True)
class _Pool:
    capacity: Resources
    largest: Resources
    sizes: tuple[Lot, ...] = ()
    firm: bool = True
    cpu: float = 0.0
    memory: int = 0
    accelerators: dict[str, int] = field(default_factory=dict)

    def never(self, waiting: Waiting) -> str:
        """Why it could not start even if nothing else were here, in words; empty when it could."""
        for lot in waiting.each:
            if not lot.each.within(self.largest):
                return (
                    f"no machine of pool {waiting.pool!r} can hold one process of this: it needs "
                    f"{lot.each}, the largest machine has {self.largest}"
                )
            if self.sizes and (held := room(lot.each, self.sizes)) < lot.count:
                return (
                    f"the machines of pool {waiting.pool!r} hold {held} processes of this at the "
                    f"same time, not {lot.count}: each needs {lot.each}, all on one machine"
                )
        lacks = _Pool(self.capacity, self.largest).lacks(waiting.demand)
        return f"pool {waiting.pool!r}: {lacks}" if lacks else ""

    def lacks(self, demand: Resources) -> str:
        """What is missing right now, in words; empty when it fits."""
        free = self.capacity.cpu - self.cpu
        memory = max(0, self.capacity.memory - self.memory)
        if demand.cpu > free + 1e-9:
            return f"needs {demand.cpu:g} CPU, {max(0.0, free):g} free"
        if demand.memory > memory:
            return f"needs {format_bytes(demand.memory)} of memory, {format_bytes(memory)} free"
        for name, count in demand.accelerators.items():
            have = self.capacity.accelerators.get(name, 0) - self.accelerators.get(name, 0)
            if count > have:
                return f"needs {count} {name}, {max(0, have)} free"
        return ""

    def less(self, demand: Resources) -> Self:
        """The same, with this much held."""
        self.hold(demand, +1)
        return self

    def hold(self, demand: Resources, sign: int) -> None:
        self.cpu += sign * demand.cpu
        self.memory += sign * demand.memory
        for name, count in demand.accelerators.items():
            self.accelerators[name] = self.accelerators.get(name, 0) + sign * count


class Machine:
    """The scheduler's whole state."""

    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}
        # In the order in which they came: among those that wait since the same moment, first come.
        self._waiting: dict[str, Waiting] = {}
        self._held: dict[str, tuple[str, Resources]] = {}
        self._standing: set[str] = set()
        self._gone: dict[str, str] = {}

    def copy(self) -> Self:
        """An independent machine in the same state."""
        twin = type(self)()
        twin._waiting = dict(self._waiting)
        twin._held = dict(self._held)
        twin._standing = set(self._standing)
        twin._gone = dict(self._gone)
        for name, pool in self._pools.items():
            twin._pools[name] = replace(pool, accelerators=dict(pool.accelerators))
        return twin

    def feed(self, events: Iterable[SchedulerEvent]) -> None:
        """Take in what happened."""
        for event in events:
            match event:
                case PoolChanged():
                    self._change(event)
                case PoolGone():
                    self._pools.pop(event.pool, None)
                    self._gone[event.pool] = event.why
                case Waiting():
                    if event.run not in self._held:
                        self._waiting.setdefault(event.run, event)
                case Withdrawn():
                    self._waiting.pop(event.run, None)
                case Occupied():
                    self._hold(event.run, event.pool, event.demand, event.stands)
                case Widened():
                    self._widen(event.run, event.demand)
                case Released():
                    self._release(event.run)

    def decide(self) -> list[Place | Reject]:
        """Who starts now, in order of arrival; one that does not fit lets smaller ones pass."""
        decisions: list[Place | Reject] = []
        full: set[str] = set()
        for waiting in self._line():
            if len(full) == len(self._pools):
                break
            if waiting.pool in full:
                continue
            pool = self._pools.get(waiting.pool)
            if pool is None:
                continue
            never = pool.never(waiting)
            if never and pool.firm:
                del self._waiting[waiting.run]
                decisions.append(Reject(run=waiting.run, why=never))
            elif not never and not pool.lacks(waiting.demand):
                self._hold(waiting.run, waiting.pool, waiting.demand, waiting.stands)
                decisions.append(Place(run=waiting.run, pool=waiting.pool))
            elif pool.capacity.cpu - pool.cpu < 1e-9:
                full.add(waiting.pool)  # nothing fits on no CPU: do not read the rest of the line
        return decisions

    def why(self, run: str) -> str:
        """What a waiting run waits for, in words; empty when it does not wait."""
        return self.reasons([run]).get(run, "")

    def reasons(self, runs: Collection[str]) -> dict[str, str]:
        """What those of the runs that wait are waiting for, in words."""
        asked = set(runs) & self._waiting.keys()
        found: dict[str, str] = {}
        ahead: dict[str, int] = {}
        for waiting in self._line() if asked else ():
            before = ahead.get(waiting.pool, 0)
            ahead[waiting.pool] = before + 1
            if waiting.run in asked:
                found[waiting.run] = self._reason(waiting, before)
        return found

    def _reason(self, waiting: Waiting, ahead: int) -> str:
        pool = self._pools.get(waiting.pool)
        if pool is None:
            why = self._gone.get(waiting.pool)
            return f"pool {waiting.pool!r}: {why}" if why else f"pool {waiting.pool!r} is not there"
        if never := pool.never(waiting):
            return f"{never}; it waits until there is more"
        lacks = pool.lacks(waiting.demand) or "about to start"
        standing = self.standing(waiting.pool)
        if _Pool(pool.capacity, pool.largest).less(standing).lacks(waiting.demand):
            lacks += f"; what services hold ({standing}) is free when they are stopped"
        return f"pool {waiting.pool!r}: {lacks}" + (f"; {ahead} ahead of it" if ahead else "")

    def _line(self) -> list[Waiting]:
        """Who waits, first come first. A list of its own: `why` is asked from other threads."""
        return sorted(list(self._waiting.values()), key=lambda each: each.since)

    def holds(self, run: str) -> str:
        """The pool that this run holds a place on, or nothing."""
        return self._held[run][0] if run in self._held else ""

    def holders(self, pool: str) -> set[str]:
        """The runs that hold a place there."""
        return {run for run, (held, _) in list(self._held.items()) if held == pool}

    def free(self, pool: str) -> Resources:
        """How much of a pool nobody holds."""
        known = self._pools.get(pool)
        if known is None:
            return Resources(cpu=0.0)
        names = known.capacity.accelerators
        return Resources(
            cpu=max(0.0, known.capacity.cpu - known.cpu),
            memory=max(0, known.capacity.memory - known.memory),
            accelerators={n: max(0, names[n] - known.accelerators.get(n, 0)) for n in names},
        )

    def used(self, pool: str) -> Resources:
        """How much of a pool is held. Asked from other threads, like `why`."""
        return _sum(demand for held, demand in list(self._held.values()) if held == pool)

    def standing(self, pool: str) -> Resources:
        """How much of it is held by what goes on until it is stopped. Asked like `used`."""
        held = [self._held[run] for run in list(self._standing) if run in self._held]
        return _sum(demand for where, demand in held if where == pool)

    def _change(self, event: PoolChanged) -> None:
        self._gone.pop(event.pool, None)
        largest = event.largest or event.capacity
        known = self._pools.get(event.pool)
        if known is not None:
            known.capacity, known.largest = event.capacity, largest
            known.sizes, known.firm = event.sizes, event.firm
            return
        pool = self._pools[event.pool] = _Pool(event.capacity, largest, event.sizes, event.firm)
        for held, demand in self._held.values():
            if held == event.pool:
                pool.hold(demand, +1)

    def _hold(self, run: str, pool: str, demand: Resources, stands: bool) -> None:
        self._waiting.pop(run, None)
        if run in self._held:
            return
        self._held[run] = (pool, demand)
        if stands:
            self._standing.add(run)
        if pool in self._pools:
            self._pools[pool].hold(demand, +1)

    def _widen(self, run: str, demand: Resources) -> None:
        if run not in self._held:
            return
        pool, before = self._held[run]
        self._held[run] = (pool, demand)
        if pool in self._pools:
            self._pools[pool].hold(before, -1)
            self._pools[pool].hold(demand, +1)

    def _release(self, run: str) -> None:
        self._waiting.pop(run, None)
        if run not in self._held:
            return
        pool, demand = self._held.pop(run)
        self._standing.discard(run)
        if pool in self._pools:
            self._pools[pool].hold(demand, -1)


def _sum(demands: Iterable[Resources]) -> Resources:
    counted = _Pool(Resources(), Resources())
    for demand in demands:
        counted.hold(demand, +1)
    return Resources(
        cpu=round(counted.cpu, 9), memory=counted.memory, accelerators=counted.accelerators
    )
