"""What `steer` sees and what it may decide: a view in, decisions out, nothing else.

Control carries the decisions out in one transaction with the run they belong to, so that a decision
happens once or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradewind.records.placements import Attempt, Placement
from tradewind.records.runs import Run
from tradewind.records.states import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What a parent may know of a child run."""

    id: str
    key: str
    kind: str
    name: str
    state: RunState
    result: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    cached_from: str = ""
    ended: float = 0.0
    ready: bool = False
    waiting: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that a kind may know about its run. `metrics` holds the last value of each."""

    run: Run
    placements: tuple[Placement, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    children: tuple[Child, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def placement(self) -> Placement | None:
        """The newest placement, if there is one."""
        return max(self.placements, key=lambda each: each.number, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Ask for a place for the run's task, not before `at` (s since 1970, 0: now). `counted` says
    whether the try before it counts against the user's retries."""

    at: float = 0.0
    counted: bool = True
    why: str = ""
    done: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Make a child run. (parent, key) is unique: a replay submits nothing twice."""

    key: str
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Change the width of a placement."""

    placement: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopChild:
    """Stop a child run."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeAt:
    """Look at this run again at this time (s since 1970), even if nothing happens."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Make an output visible: the next version of a dataset or a model.

    `origin` is unique for the output (placement and slot): publishing twice is publishing once.
    """

    kind: str
    name: str
    slot: str
    origin: str
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Keep a value on the run for the next `next` (an `until` count, a chosen branch)."""

    memory: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Tell people something that changes nothing. Deciding it again tells nothing twice."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The run has ended."""

    state: RunState
    result: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)


Decision = Launch | Submit | Resize | StopChild | WakeAt | Publish | Remember | Note | Finish
