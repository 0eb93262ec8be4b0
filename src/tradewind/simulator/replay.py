"""Runs that come over time, work and end, in virtual time over the real scheduler."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tradewind.records.tasks import Layout
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Place,
    Reject,
    Released,
    Resize,
    Saved,
    SchedulerEvent,
    Waiting,
)
from tradewind.scheduler.queues import DEFAULT

# Hears how far a simulation is, from 0 to 1.
Tell = Callable[[float], None]
# Hears what happened at one moment, and what was decided, when both are over.
Hear = Callable[[Sequence[SchedulerEvent], Sequence[Decided]], None]


def nobody(part: float) -> None:
    """Nobody wants to know how far it is."""


def unheard(events: Sequence[SchedulerEvent], decisions: Sequence[Decided]) -> None:
    """Nobody wants to know what happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a trace: comes at `at` (seconds), works for `seconds`; `restart` is what beginning
    takes, each time. `keeps`: its work is kept when it is interrupted; else it is `saved` every so
    many seconds (0: never). `layout` is how its processes are to stand to each other. `owner` is
    whose it is or of which class, for the figures."""

    name: str
    at: float
    seconds: float
    parts: Parts
    owner: str = ""
    restart: float = 0.0
    priority: int | None = None
    queue: str = DEFAULT
    project: str = DEFAULT
    keeps: bool = True
    layout: Layout | None = None
    saved: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What became of a job: when it first began and when it ended (-1: never), how often it was
    interrupted and how many seconds of work were lost by that; `spans` is when it held its place,
    from when to when."""

    job: Job
    began: float = -1.0
    ended: float = -1.0
    interrupted: int = 0
    lost: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Replay:
    """One trace, carried out. `known`: the scheduler is told how long each takes. `tell` hears how
    far it is, in parts of all, `hear` what happens at each moment."""

    machine: Cluster
    pool: str
    jobs: Sequence[Job]
    known: bool = True
    tell: Tell = nobody
    hear: Hear = unheard
    now: float = 0.0
    events: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _running: dict[str, tuple[float, Waiting, int]] = field(default_factory=dict)
    _ends: list[tuple[float, int, str]] = field(default_factory=list)
    _saves: list[tuple[float, int, str]] = field(default_factory=list)
    _number: int = 0
    _over: int = 0
    _asked: dict[str, Waiting] = field(default_factory=dict)

    def run(self) -> list[Outcome]:
        """Until nothing is left; what can never start is left out of the account."""
        self.outcomes = {job.name: Outcome(job) for job in self.jobs}
        coming = sorted(self.jobs, key=lambda job: job.at)
        at = 0
        while at < len(coming) or self._ends:
            end = self._ends[0][0] if self._ends else float("inf")
            self.now = min(end, coming[at].at if at < len(coming) else end)
            told: list[SchedulerEvent] = []
            while self._ends and self._ends[0][0] <= self.now:
                told += self._ended(*heapq.heappop(self._ends))
            while at < len(coming) and coming[at].at <= self.now:
                told.append(self._asks(coming[at], 0.0))
                at += 1
            self.events += len(told)
            # Every job comes once and ends once.
            self.tell((at + self._over) / (2 * len(coming)))
            told += self._saved()
            happened, decided = [*told], list[Decided]()
            while told:
                self.machine.feed(told, self.now)
                decisions = self.machine.decide(self.now)
                told = [event for each in decisions for event in self._do(each)]
                happened += told
                decided += decisions
            self.hear(happened, decided)
        return [each for each in self.outcomes.values() if each.ended >= 0]

    def _asks(self, job: Job, attained: float) -> Waiting:
        asked = self._asked[job.name] = Waiting(
            run=job.name,
            pool=self.pool,
            parts=job.parts,
            since=job.at,
            priority=job.priority or 0,
            left=job.seconds - attained if self.known else None,
            attained=attained,
            restart=job.restart,
            queue=job.queue,
            project=job.project,
            keeps=job.keeps,
            layout=job.layout,
        )
        return asked

    def _ended(self, at: float, number: int, name: str) -> list[SchedulerEvent]:
        if name not in self._running or self._running[name][2] != number:
            return []  # it was interrupted since
        began, _, _ = self._running.pop(name)
        self._over += 1
        self.outcomes[name].ended = at
        self.outcomes[name].spans.append((began, at))
        return [Released(run=name)]

    def _do(self, decision: Decided) -> list[SchedulerEvent]:
        self.events += 1
        outcome = self.outcomes[decision.run]
        if isinstance(decision, Place):
            if outcome.began < 0:
                outcome.began = self.now
            self._start(outcome)
            return []
        if isinstance(decision, Reject | Resize):  # no job of a trace grows
            return []
        began, asked, _ = self._running.pop(decision.run)
        worked = self._kept(outcome.job, self.now - began - asked.restart)
        outcome.interrupted += 1
        outcome.spans.append((began, self.now))
        outcome.lost += self.now - began - worked
        back = self._asks(outcome.job, asked.attained + worked)
        return [Released(run=decision.run, ended=False), back]

    def _start(self, outcome: Outcome) -> None:
        job = outcome.job
        asked = self._asked.pop(job.name)
        self._number += 1
        self._running[job.name] = (self.now, asked, self._number)
        end = self.now + job.restart + job.seconds - asked.attained
        heapq.heappush(self._ends, (end, self._number, job.name))
        if job.saved and not job.keeps:
            first = self.now + job.restart + job.saved
            heapq.heappush(self._saves, (first, self._number, job.name))

    def _saved(self) -> Iterator[SchedulerEvent]:
        """What has been saved since it was last asked; a moment of its own that is not."""
        while self._saves and self._saves[0][0] <= self.now:
            due, number, name = heapq.heappop(self._saves)
            if name in self._running and self._running[name][2] == number:
                each = self.outcomes[name].job.saved
                at = due + (self.now - due) // each * each
                heapq.heappush(self._saves, (at + each, number, name))
                yield Saved(run=name, at=at)

    @staticmethod
    def _kept(job: Job, worked: float) -> float:
        """Of so many seconds of work those that are not lost."""
        if job.keeps:
            return max(0.0, worked)
        return max(0.0, worked) // job.saved * job.saved if job.saved else 0.0
