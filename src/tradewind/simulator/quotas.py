"""Many small runs under quotas: the generator files of Kueue's own performance test.

Cohorts of queues, each queue with a quota, a limit of what it may borrow within its cohort, and
sets of workloads that come one after the other at an interval. A unit is one core here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tradewind.base.errors import InvalidData, Location
from tradewind.scheduler.nodes import WHOLE, Ask, Node
from tradewind.scheduler.queues import Queue
from tradewind.simulator.replay import Job
from tradewind.simulator.traces import checked
from tradewind.specs.faults import Problem, reject
from tradewind.specs.nodes import compose

# More of them is a mistake.
QUEUES, JOBS = 5_000, 1_000_000
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Some = Annotated[int, Field(ge=1, le=1_000_000)]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Workload(_Read):
    """What one asks for: units, for so many milliseconds."""

    className: str
    runtimeMs: Some
    priority: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 0
    request: Some


class WorkloadsSet(_Read):
    """So many times all these workloads, at an interval in milliseconds."""

    count: Some
    creationIntervalMs: Count
    workloads: Annotated[list[Workload], Field(min_length=1)]


class QueuesSet(_Read):
    """So many queues alike."""

    className: str
    count: Some
    nominalQuota: Count
    borrowingLimit: Count | None = None
    lendingLimit: Count | None = None
    # So this scheduler does it.
    reclaimWithinCohort: Literal["Any"] = "Any"
    withinClusterQueue: Literal["LowerPriority"] = "LowerPriority"
    workloadsSets: list[WorkloadsSet]


class Cohort(_Read):
    """So many cohorts alike."""

    className: str
    count: Some
    queuesSets: Annotated[list[QueuesSet], Field(min_length=1)]


class Generator(_Read):
    """The whole file."""

    cohorts: Annotated[list[Cohort], Field(min_length=1)]

    def queues(self) -> list[Queue]:
        """A cohort is a queue above its own, and lends and borrows nothing."""
        found = []
        for cohort, name in self._cohorts():
            found.append(Queue(name=name, borrow=(("cpu", 0),), lend=(("cpu", 0),)))
            for each, queue in _queues(cohort, name):
                found.append(Queue(name=queue, parent=name, borrow=_units(each.borrowingLimit),
                                   lend=_units(each.lendingLimit),
                                   guarantee=_units(each.nominalQuota)))  # fmt: skip
        return found

    def nodes(self) -> list[Node]:
        """One machine that holds all quotas."""
        units = sum(each.nominalQuota for cohort, name in self._cohorts()
                    for each, _ in _queues(cohort, name))  # fmt: skip
        return [Node(name="units", cpu=units * WHOLE)]

    def jobs(self) -> list[Job]:
        """All that come, by their moment in seconds."""
        found = []
        for cohort, above in self._cohorts():
            for each, queue in _queues(cohort, above):
                for number, several in enumerate(each.workloadsSets):
                    for at in range(several.count):
                        found += [
                            _job(f"{queue}-{number}-{at}-{which}", queue, one,
                                 at * several.creationIntervalMs / 1000)
                            for which, one in enumerate(several.workloads)
                        ]  # fmt: skip
        return sorted(found, key=lambda job: job.at)

    def _cohorts(self) -> list[tuple[Cohort, str]]:
        return [(each, f"{each.className}-{number}-{at}")
                for number, each in enumerate(self.cohorts)
                for at in range(each.count)]  # fmt: skip


def _units(count: int | None) -> tuple[tuple[str, int], ...]:
    return () if count is None else (("cpu", count * WHOLE),)


def _queues(cohort: Cohort, above: str) -> list[tuple[QueuesSet, str]]:
    return [(each, f"{above}-{each.className}-{number}-{at}")
            for number, each in enumerate(cohort.queuesSets)
            for at in range(each.count)]  # fmt: skip


def _job(name: str, queue: str, one: Workload, at: float) -> Job:
    return Job(name=name, at=at, seconds=one.runtimeMs / 1000, queue=queue, keeps=False,
               owner=one.className, priority=one.priority,
               parts=((Ask(cpu=one.request * WHOLE), 1),))  # fmt: skip


def read(path: Path) -> Generator:
    """Raises NotFound, InvalidData for what is no such file (located)."""
    problems: list[Problem] = []
    roots = compose(checked(path), str(path), problems)
    if problems:
        reject(problems)
    hint = "wanted: a generator of Kueue's performance test"
    if len(roots) != 1 or not isinstance(roots[0].value, dict):
        raise InvalidData("not a list of cohorts under `cohorts`", where=Location(str(path), 1),
                          hint=hint)  # fmt: skip
    try:
        found = Generator.model_validate(roots[0].value)
    except ValidationError as error:
        first = error.errors()[0]
        where = roots[0].location(str(path), first["loc"], key=first["type"] == "extra_forbidden")
        raise InvalidData(first["msg"], where=where, hint=hint) from None
    _check(found, Location(file=str(path)))
    return found


def _check(found: Generator, place: Location) -> None:
    """Counts multiply: whether it is more than anybody means, or nothing."""
    each = [(cohort.count * queue.count, queue)
            for cohort in found.cohorts for queue in cohort.queuesSets]  # fmt: skip
    queues = sum(times for times, _ in each) + sum(cohort.count for cohort in found.cohorts)
    jobs = sum(times * one.count * len(one.workloads)
               for times, queue in each for one in queue.workloadsSets)  # fmt: skip
    if queues > QUEUES or jobs > JOBS:
        raise InvalidData(f"{queues:,} queues with {jobs:,} workloads; at most {QUEUES:,} with "
                          f"{JOBS:,}", where=place)  # fmt: skip
    if not jobs:
        raise InvalidData("queues without workloads", where=place)
