"""What the scheduler is told of a run: what it waits for, what it holds."""

from __future__ import annotations

from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.tasks import Task
from tradewind.scheduler import demand
from tradewind.scheduler.events import Occupied, Waiting

# What a run remembers of the work of earlier placements that it need not do again, in seconds.
KEPT = "kept"


def waiting(run: Run, pool: str, task: Task, priority: int) -> Waiting:
    """It wants a place for this."""
    return Waiting(
        run=run.id,
        pool=pool,
        parts=demand.parts(task.processes()),
        since=run.created,
        queue=run.queue,
        project=run.project,
        priority=priority,
        left=expected(run),
        stands=task.stands(),
    )


def occupied(run: Run, placement: Placement, priority: int) -> Occupied:
    """It has had this place since it was placed."""
    return Occupied(
        run=run.id,
        pool=placement.pool,
        parts=demand.parts(placement.task.processes()),
        began=placement.placed,
        queue=run.queue,
        project=run.project,
        priority=priority,
        left=expected(run),
        stands=placement.task.stands(),
        seats=placement.seats,
    )


def expected(run: Run) -> float | None:
    """The seconds that it still needs by its plan, without what it has kept; None where nobody
    knows."""
    seconds = (run.plan.get("seconds") or {}).get("p50")
    return None if seconds is None else max(0.0, seconds - run.memory.get(KEPT, 0.0))
