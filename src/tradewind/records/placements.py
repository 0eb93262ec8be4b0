"""Where a task was put, and what became of each try."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradewind.records.states import AttemptState, PlacementState
from tradewind.records.tasks import Resources, Task


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one process was put: the name of its node, and the numbers of its devices there."""

    node: str
    devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One launch of one task on one pool.

    `number` counts the launches of this task and is its fencing number: outputs and reports of a
    lower number are dropped once a higher one exists. `lease` is the number of the pool's lease
    under which it was decided. `done` are the array items that earlier placements finished;
    `seats` the places of its processes, one after the other (empty: not told).
    """

    id: str
    run: str
    task: Task
    number: int
    pool: str
    engine: str
    lease: int
    demand: Resources
    state: PlacementState = PlacementState.PLACED
    done: tuple[int, ...] = ()
    handle: dict[str, Any] = field(default_factory=dict)
    placed: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    reason: dict[str, Any] = field(default_factory=dict)
    seats: tuple[Seat, ...] = ()


def placement_id(run: str, task: str, number: int) -> str:
    """Deterministic, so that launching twice is launching once."""
    return f"{run}-{task}-{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a gang (index 0), an item or a replica, as reports told it.

    `number` counts the tries of this unit within its placement, from 1. `usage` holds `cpu`
    (core-seconds), `memory` (peak bytes). `outputs` maps slot → what was staged and stored. `exit`
    of one that has not ended says what it waits for: `reason` `waiting`, `message`, `native`.
    `width` is that of a gang's newest epoch, 0 where nothing was told.
    """

    placement: str
    run: str
    task: str
    role: str
    index: int
    number: int
    state: AttemptState
    started: float = 0.0
    ended: float = 0.0
    exit: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    width: int = 0
