"""How wide an elastic gang works: what the scheduler gives and takes back, told to its engine."""

from __future__ import annotations

from dataclasses import replace

from tradewind.control import bill, family
from tradewind.control.draft import Draft
from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.steering import View
from tradewind.records.tasks import Array, Gang, Task
from tradewind.scheduler import demand
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.events import Shrunk


def most(run: Run, task: Task) -> int:
    """How many more processes it may have than it starts with. Not where a budget was said, since
    wider is seldom cheaper; nor after a failure, which may have come of its width."""
    shape = task.roles[0].shape
    if not isinstance(shape, Gang) or run.state is RunState.PROBING:
        return 0
    return 0 if run.tries or family.budget(run) else max(0, shape.most - shape.least)


def parts(run: Run, placement: Placement) -> Parts:
    """What it holds now, but for what an elastic gang has grown by."""
    first, *others = placement.task.processes()
    if isinstance(placement.task.roles[0].shape, Array):
        first = replace(first, count=bill.width(run, placement))
    return demand.parts([first, *others])


def grown(run: Run, placement: Placement) -> int:
    """By how many it has grown, as far as its engine was told."""
    shape = placement.task.roles[0].shape
    return max(0, bill.width(run, placement) - shape.least) if isinstance(shape, Gang) else 0


def follow(draft: Draft, view: View, placement: Placement, machine: Answering) -> int:
    """The width that its engine is to be told; 0 where it works as it should. What it has given
    back is free when it works without it, and not when it was told to."""
    shape, run = placement.task.roles[0].shape, draft.run
    if not isinstance(shape, Gang) or shape.most == shape.least:
        return 0
    told, wanted = bill.width(run, placement), shape.least + machine.grown(run.id)
    if wanted != told:
        bill.widen(draft, placement, wanted)
        draft.placements[placement.id] = replace(placement, seats=machine.stays(run.id))
        draft.note("run.resized", placement=placement.id, width=wanted, before=told)
        return wanted
    mine = [each.width for each in view.attempts if each.placement == placement.id]
    if mine and (mine[-1] or shape.least) != told:
        return told  # it is at it, or has not heard
    machine.feed([Shrunk(run=run.id, grown=told - shape.least)], draft.now)
    return 0
