"""Peers' orders, in the simulation of Muri's authors: at every arrival and end all jobs are ordered
anew and laid out on an empty cluster; what does not fit is passed over, and every job that works
loses the time of a restart, moved or not (Zhao et al., SIGCOMM 2022, and its artifact).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tradewind.scheduler.events import Waiting
from tradewind.scheduler.nodes import Node, Nodes
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator.replay import Job, Outcome, Tell, nobody

# Service, in devices times seconds, after which Tiresias puts a job one queue further back.
QUEUES = (3_250.0, 7_200.0, 18_000.0)
CLOSE = 1e-6


@dataclass(slots=True)
class Work:
    """A job that has come: its width in devices and whether it wants whole ones, the seconds that
    it needs still and has had, what it owes of a restart, and since when it has its place."""

    job: Job
    width: float
    whole: bool
    left: float
    attained: float = 0.0
    owes: float = 0.0
    since: float = 0.0


Order = Callable[[Work], float]
ORDERS: dict[str, Order] = {
    "fifo": lambda work: -math.inf if work.attained or work.owes else 0.0,
    "srtf": lambda work: work.left,
    "srsf": lambda work: work.left * work.width,
    "tiresias": lambda work: float(bisect.bisect(QUEUES, work.attained * work.width)),
}


def replay(
    nodes: Sequence[Node],
    jobs: Sequence[Job],
    order: Order,
    tell: Tell = nobody,
) -> list[Outcome]:
    """What becomes of the jobs; those that never fit are left out. `tell` hears how far it is, in
    parts of all."""
    empty = Pool(Nodes(nodes), FirstFit(Nodes(nodes)))
    coming = sorted((job for job in jobs if empty.could(job.parts)), key=lambda job: job.at)
    outcomes = {job.name: Outcome(job) for job in coming}
    here: list[Work] = []
    running: list[Work] = []
    now, at = 0.0, 0
    while at < len(coming) or here:
        ends = min((now + work.owes + work.left for work in running), default=math.inf)
        then = min(ends, coming[at].at if at < len(coming) else math.inf)
        for work in running:
            _pass(work, then - now)
        now = then
        for work in [work for work in running if work.left <= CLOSE]:
            here.remove(work)
            outcomes[work.job.name].ended = now
            outcomes[work.job.name].spans.append((work.since, now))
        while at < len(coming) and coming[at].at <= now:
            job, at = coming[at], at + 1
            here.append(Work(job, _width(job), _whole(job), job.seconds))
        # Every job comes once and ends once.
        tell((2 * at - len(here)) / (2 * len(coming)))
        before = {id(work) for work in running}
        # Of equals whoever came first: the list is in that order.
        running = _laid(nodes, sorted(here, key=order))
        for work in running:
            work.owes = work.job.restart
            outcome = outcomes[work.job.name]
            outcome.began = now if outcome.began < 0 else outcome.began
            if id(work) not in before:
                work.since = now
            before.discard(id(work))
        for work in here:
            if id(work) in before:
                outcomes[work.job.name].interrupted += 1
                outcomes[work.job.name].spans.append((work.since, now))
    return list(outcomes.values())


def _width(job: Job) -> float:
    return Waiting(run=job.name, pool="", parts=job.parts, since=0.0).width


def _whole(job: Job) -> bool:
    return any(ask.devices and not ask.partial for ask, _ in job.parts)


def _pass(work: Work, seconds: float) -> None:
    owed = min(work.owes, seconds)
    work.owes -= owed
    work.left = max(0.0, work.left - (seconds - owed))
    work.attained += seconds - owed


def _laid(nodes: Sequence[Node], line: list[Work]) -> list[Work]:
    """Who gets a place, first come first."""
    free = Nodes(nodes)
    pool = Pool(free, FirstFit(free))
    found = []
    full = not free.idle.any()
    for work in line:
        # What wants a whole device is not tried where none is idle.
        if not (full and work.whole) and pool.lay(work.job.parts) is not None:
            found.append(work)
            full = not free.idle.any()
    return found
