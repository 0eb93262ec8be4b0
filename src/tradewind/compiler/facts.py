"""What the compiler may know: pools with their prices, and how earlier runs went."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.records.tasks import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """One pool. `capacity` is what may be used at the same time, on `machines` machines of which
    the biggest holds `largest`; `price` is nanodollars per hour of the whole pool; `as_of` says
    when and from where the price was taken."""

    name: str
    engine: str
    capacity: Resources
    largest: Resources
    price: int
    machines: int = 1
    as_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine of the catalogue: `price` in nanodollars per hour, on demand, `memory` in bytes."""

    name: str
    cpu: float
    memory: int
    price: int
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """How one earlier run of the same function went: wall seconds in tasks, core-seconds of CPU,
    peak bytes of memory."""

    seconds: float
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything together. `history` is newest first; `elsewhere` are machines to compare with."""

    pools: tuple[PoolFacts, ...]
    history: tuple[PastRun, ...] = ()
    elsewhere: tuple[Machine, ...] = ()
