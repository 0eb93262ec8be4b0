"""Quotas for jobs that a table tells: the queues and projects of a file that `tw apply` takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tradewind.base.errors import InvalidData, Location, TradewindError
from tradewind.scheduler import amounts, demand
from tradewind.scheduler.events import QueuesChanged
from tradewind.scheduler.nodes import Node, Nodes
from tradewind.scheduler.queues import DEFAULT, check, may_guarantee
from tradewind.simulator.replay import Job
from tradewind.specs import ProjectSpec, QueueSpec, read_placed
from tradewind.specs.faults import Written

# What devices are called here of which a table of machines tells no model.
UNNAMED = "device"


@dataclass(frozen=True, slots=True)
class Tree:
    """What was read."""

    file: str
    queues: dict[str, QueueSpec]
    projects: dict[str, ProjectSpec]
    places: dict[str, Written]

    def told(self) -> QueuesChanged:
        """As the scheduler hears of it."""
        return QueuesChanged(queues=tuple(map(demand.queue, self.queues.values())),
                             caps=demand.caps(self.projects.values()))  # fmt: skip

    def check(self, nodes: Sequence[Node]) -> None:
        """Raises InvalidSpec for what is no tree, Refused for guarantees above what these machines
        have; located."""
        queues = self.told().queues
        try:
            check(queues)
            may_guarantee(queues, amounts.whole(Nodes(nodes)), {})
        except TradewindError as error:
            if error.where is not None:
                written = self.places[error.where.file.partition("/")[2]]
                error.where = written.location(self.file, (error.where.field,))
            raise

    def of(self, jobs: Iterable[Job]) -> list[Job]:
        """These jobs with the priority of their queue where they say none. Raises InvalidData for a
        queue in which nothing can wait."""
        above = {spec.parent for spec in self.queues.values()}
        able = sorted({DEFAULT, *self.queues} - above)
        found = []
        for job in jobs:
            if job.queue not in able:
                why = "is shared out to those below it" if job.queue in above else "is not in it"
                raise InvalidData(f"queue {job.queue!r}, of job {job.name!r}, {why}",
                                  where=Location(file=self.file),
                                  hint=f"queues: {', '.join(able)}")  # fmt: skip
            spec = self.queues.get(job.queue)
            rank = job.priority if job.priority is not None else spec.priority if spec else 0
            found.append(replace(job, priority=rank))
        return found


def read(path: Path) -> Tree:
    """Raises NotFound, InvalidSpec for a file that holds anything else (located)."""
    queues: dict[str, QueueSpec] = {}
    projects: dict[str, ProjectSpec] = {}
    places: dict[str, Written] = {}
    for spec, written in read_placed(path):
        where = written.location(str(path), ("kind",))
        if not isinstance(spec, QueueSpec | ProjectSpec):
            hint = "wanted: kind: queue, and kind: project with a quota"
            raise InvalidData(f"a {spec.kind} where queues are told", hint=hint, where=where)
        if isinstance(spec, QueueSpec):
            queues[spec.name], places[spec.name] = spec, written
        else:
            projects[spec.name] = spec
    return Tree(str(path), queues, projects, places)


def named(nodes: Iterable[Node]) -> list[Node]:
    """A quota is of a class of devices: those of no model get one."""
    return [
        replace(node, devices=tuple((model or UNNAMED, count) for model, count in node.devices))
        for node in nodes
    ]
