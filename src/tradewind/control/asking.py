"""What the scheduler is told of a run: what it waits for, what it holds."""

from __future__ import annotations

from dataclasses import replace

from tradewind.control import bill, growth
from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.tasks import Task
from tradewind.scheduler import demand
from tradewind.scheduler.events import Occupied, Waiting


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
        left=bill.expected(run),
        stands=task.stands(),
        layout=task.layout,
        grows=growth.most(run, task),
    )


def occupied(run: Run, placement: Placement, priority: int) -> Occupied:
    """It has had this place since it was placed."""
    asked = waiting(run, placement.pool, placement.task, priority)
    return Occupied(
        asked=replace(asked, parts=growth.parts(run, placement)),
        began=placement.placed,
        grown=growth.grown(run, placement),
        seats=placement.seats,
    )
