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
    its nodes have more (empty: all that they have). `prices` are of one core and one device of each
    class, in any currency (empty: not known)."""

    pool: str
    nodes: tuple[Node, ...]
    firm: bool = True
    most: tuple[tuple[str, int], ...] = ()
    prices: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGone:
    """A pool can take nothing any more; `why` says so in words."""

    pool: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesChanged:
    """These are the queues from now on, and the most that all runs of a project may hold. Who waits
    or holds in a queue that is gone stays where it is, and nothing is guaranteed to it."""

    queues: tuple[Queue, ...]
    caps: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run wants a place for all its `parts` at once. `pool` is the pool of its plan; `stands`: it
    goes on until it is stopped. `priority`: the higher, the sooner. `left` is the seconds it still
    needs (None: nobody knows), `attained` those it has had, of which nothing is lost; `restart` the
    seconds that beginning again takes. `keeps`: it may be interrupted, and its work is kept.
    `layout` is how its processes are to stand to each other (None: that is all the same). `grows`:
    so many more processes of its first part it may have while nobody else wants their places.
    Saying it again changes nothing."""

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
    grows: int = 0
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
    """A run holds what it has `asked` for (told at start, from the store), and of the processes
    that it may have beyond these as many as `grown`. `seats` are the places of all of them, one
    after the other, as far as they are known. `began` is when it got them (None: now)."""

    asked: Waiting
    began: float | None = None
    grown: int = 0
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A run has given its place back. `ended`: its work is done."""

    run: str
    ended: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a run that has a place has done until `at` is not lost when it is interrupted."""

    run: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Widened:
    """A run holds this much of its pool from now on, in place of what it held."""

    run: str
    parts: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """A run has no more than so many processes beyond those that it waited with."""

    run: str
    grown: int


SchedulerEvent = (
    PoolChanged | PoolGone | QueuesChanged | Waiting | Withdrawn | Occupied | Saved | Widened
    | Shrunk | Released
)  # fmt: skip


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
class Resize:
    """This run works with so many processes from now on beyond those that it waited with. Where
    that is more than it had, their places are held from this decision on. Where it is less, they
    are given to `by`: end them, then say `Shrunk`."""

    run: str
    grown: int
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """This run can never start on its pool."""

    run: str
    why: str


Decided = Place | Preempt | Resize | Reject
