"""What the machine is told and what it decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from tradewind.records.placements import Seat
from tradewind.records.tasks import Layout
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.nodes import WHOLE, Node, Spot
from tradewind.scheduler.queues import DEFAULT, Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChanged:
    """A pool has these nodes from now on. `firm`: more than this it will not have; otherwise what
    it lacks may come back, and is waited for. `most` is what may be held of it together, of what
    its nodes have more (empty: all that they have)."""

    pool: str
    nodes: tuple[Node, ...]
    firm: bool = True
    most: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGone:
    """A pool can take nothing any more; `why` says so in words."""

    pool: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesChanged:
    """These are the queues from now on. Who waits or holds in one that is gone stays where it is,
    and nothing is guaranteed to it."""

    queues: tuple[Queue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run wants a place for all its `parts` at once. `pool` is the pool of its plan; `stands`: it
    goes on until it is stopped. `priority`: the higher, the sooner. `left` is the seconds it still
    needs (None: nobody knows), `attained` those it has had, of which nothing is lost; `restart` the
    seconds that beginning again takes. `keeps`: it may be interrupted, and its work is kept.
    `layout` is how its processes are to stand to each other (None: that is all the same). Saying it
    again changes nothing."""

    run: str
    pool: str
    parts: Parts
    since: float
    queue: str = DEFAULT
    project: str = DEFAULT
    stands: bool = False
    priority: int = 0
    left: float | None = None
    attained: float = 0.0
    restart: float = 0.0
    keeps: bool = False
    layout: Layout | None = None
    width: float = field(init=False)

    def __post_init__(self) -> None:
        """`width` is devices, or without any cores."""
        milli = sum(ask.milli * count for ask, count in self.parts)
        cpu = sum(ask.cpu * count for ask, count in self.parts)
        object.__setattr__(self, "width", (milli or cpu) / WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A run no longer waits (stopped, failed)."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupied:
    """A run holds this much of a pool (told at start, from the store). `seats` are the places of
    its processes, one after the other, as far as they are known."""

    run: str
    pool: str
    parts: Parts
    queue: str = DEFAULT
    project: str = DEFAULT
    stands: bool = False
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A run has given its place back. `ended`: its work is done."""

    run: str
    ended: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Widened:
    """A run holds this much of its pool from now on, in place of what it held."""

    run: str
    parts: Parts


SchedulerEvent = (
    PoolChanged | PoolGone | QueuesChanged | Waiting | Withdrawn | Occupied | Widened | Released
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """This run starts now, on this pool; its share is held from this decision on. `spots` are those
    of its parts, one process after the other."""

    run: str
    pool: str
    spots: tuple[Spot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preempt:
    """This run gives its place to another one: stop it, then say `Released` and `Waiting`."""

    run: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """This run can never start on its pool."""

    run: str
    why: str


Decided = Place | Preempt | Reject
