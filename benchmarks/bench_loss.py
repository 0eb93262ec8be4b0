"""How much work is lost when urgent jobs, and queues that want back what they lent, interrupt
others.

    .venv/bin/python benchmarks/bench_loss.py [--quick]

Claim: at most half of what is lost where, as in Kubernetes and Kueue, those of the lowest priority
go first and of these the newest, one after the other until it fits and nobody in vain. Both replay
the same jobs on the same machines by the same code; only the order in which victims are considered
differs. Two histories of the Philly trace, with its gangs, on fewer machines than it had:

- priorities: by seed 7 in 10 jobs have priority 0, 2 have 1, 1 has 2; one queue
- guarantees: each tenant is a queue that is guaranteed its part of all work, and borrows the rest;
  priorities as before

Of the jobs, by seed, some keep no work when they are interrupted, some save it every half hour,
some always keep it: how many is said beside each figure. Half of the machines have devices of three
times the price; the trace tells none. Lost is what a job has worked since it was last saved, with
the minute of a restart: devices times hours times price. Durations are not told to the scheduler.
A few interruptions of jobs that have worked for days make most of the losses, so seeds differ much:
their losses are added up, and each seed's ratio stands beside. Traces as in `bench_openb.py`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

import numpy as np
from bench_muri import FOLDER
from harness import Figure, Result, bench

from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Place,
    PoolChanged,
    Preempt,
    QueuesChanged,
    SchedulerEvent,
)
from tradewind.scheduler.going import Cost, Foes
from tradewind.scheduler.line import File
from tradewind.scheduler.nodes import WHOLE, Ints, Mask, Node
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.queues import Queue
from tradewind.scheduler.room import Room
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator import traces
from tradewind.simulator.replay import Job, Replay

TRACE = FOLDER / "philly_jobs.csv"
MACHINES, SIZE = 20, 8
PRICES = (("cheap", 1.0), ("dear", 3.0))
COUNT, SEEDS = 3_000, (1, 2, 3, 4)
RESTART, EVERY = 60.0, 1800.0
HALF = 0.5
# Of ten jobs so many keep nothing, save it at times, keep all.
MIXES = ((10, 0, 0), (4, 4, 2))


class Newest(Foes):
    """Of those who may go the lowest priority first, then whoever began last."""

    def cheapest(self, who: Mask) -> tuple[Ints, list[Cost]]:
        """The rows of these, and their ranks."""
        runs, slots = self._going.runs, np.flatnonzero(who)
        priority, age = -runs["first"][slots], -runs["began"][slots]
        order = np.lexsort((age, priority))
        return slots[order], list(zip(priority[order].tolist(), age[order].tolist(), strict=True))


class Peer(Cluster):
    """The scheduler, with the peer's order of victims."""

    def _foes(self, pool: Pool) -> Foes:
        return Newest(pool.going, pool.nodes, self.order, self.now)

    def _patient(self, pool: Pool, file: File, found: Room) -> bool:
        return False


@dataclass
class Losses:
    """Hears what is placed and interrupted: `price` of what was lost in hours, by how it is kept,
    and how often anybody was interrupted."""

    replay: Replay
    nodes: Sequence[Node]
    lost: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    times: int = 0
    _price: dict[str, float] = field(default_factory=dict)
    _known: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __call__(self, events: Sequence[SchedulerEvent], decisions: Sequence[Decided]) -> None:
        prices = dict(PRICES)
        for each in decisions:
            if isinstance(each, Place):
                self._price[each.run] = sum(
                    len(spot.devices) * prices[self.nodes[spot.node].devices[0][0]]
                    for spot in each.spots
                )
            elif isinstance(each, Preempt):
                outcome = self.replay.outcomes[each.run]
                more = outcome.lost - self._known[each.run]
                self._known[each.run] = outcome.lost
                self.lost[how(outcome.job)] += more * self._price[each.run] / 3600
                self.times += 1


def how(job: Job) -> str:
    """In words, how its work is kept."""
    return "always kept" if job.keeps else "saved at times" if job.saved else "not kept"


@cache
def trace(count: int) -> tuple[Job, ...]:
    """The first so many, by when they came."""
    _, rows = traces.table(TRACE, (traces.PHILLY,))
    return tuple(sorted(traces.philly(rows, SIZE), key=lambda job: job.at)[:count])


def jobs(seed: int, count: int, mix: tuple[int, int, int], queues: bool) -> list[Job]:
    """Those of the trace with a priority and a way to keep work, drawn one by one."""
    draw, found = Random(seed), []
    for job in trace(count):
        priority = draw.choices((0, 1, 2), (7, 2, 1))[0]
        [kind] = draw.choices(("none", "some", "all"), mix)
        found.append(
            replace(job, priority=priority, restart=RESTART, keeps=kind == "all",
                    saved=EVERY if kind == "some" else 0.0,
                    queue=job.owner if queues else job.queue)
        )  # fmt: skip
    return found


def nodes() -> list[Node]:
    """Those that are dear and those that are not, in turn."""
    return [Node(name=f"n{at}", cpu=0, devices=((PRICES[at % 2][0], SIZE),))
            for at in range(MACHINES)]  # fmt: skip


def tenants(there: Sequence[Job]) -> tuple[Queue, ...]:
    """Each is guaranteed its part of all work of either price, in whole devices."""
    work: dict[str, float] = defaultdict(float)
    for job in there:
        ((ask, count),) = job.parts
        work[job.owner] += job.seconds * ask.devices * count
    whole = MACHINES * SIZE // 2
    return tuple(
        Queue(name=name, guarantee=tuple(
            (model, int(whole * amount / sum(work.values())) * WHOLE) for model, _ in PRICES))
        for name, amount in sorted(work.items())
    )  # fmt: skip


def replayed(make: type[Cluster], there: list[Job], queues: bool) -> Losses:
    """First come, first served among equal priorities of a queue."""
    cluster = make(FirstFit)
    cluster.feed([PoolChanged(pool="p", nodes=tuple(nodes()), prices=PRICES),
                  QueuesChanged(queues=tenants(there) if queues else ())])  # fmt: skip
    replay = Replay(cluster, "p", there, known=False)
    losses = Losses(replay, nodes())
    replay.hear = losses
    replay.run()
    return losses


def told(found: Sequence[Losses]) -> str:
    """The mean of the seeds: how often, and whose work."""
    kinds = sorted({kind for each in found for kind in each.lost})
    parts = ", ".join(f"{kind} {sum(each.lost[kind] for each in found) / len(found):,.0f}"
                      for kind in kinds)  # fmt: skip
    return f"{sum(each.times for each in found) // len(found):,} times interrupted; lost: {parts}"


def body(result: Result) -> None:
    count = 1_000 if result.quick else COUNT
    for queues, name in ((False, "priorities"), (True, "guarantees")):
        for mix in MIXES:
            ours, peers = [], []
            for seed in SEEDS[: 1 if result.quick else None]:
                there = jobs(seed, count, mix, queues)
                ours.append(replayed(Cluster, there, queues))
                peers.append(replayed(Peer, there, queues))
            ratios = [sum(one.lost.values()) / sum(other.lost.values())
                      for one, other in zip(ours, peers, strict=True)]  # fmt: skip
            whole = [sum(sum(each.lost.values()) for each in found) for found in (ours, peers)]
            of = f"{name}, of ten jobs {mix[0]} keep nothing, {mix[1]} save, {mix[2]} keep all"
            note = f"seeds {', '.join(f'{each:.3f}' for each in ratios)}; {told(ours)}"
            result.add(Figure(f"{of}: lost, by what the peer loses", whole[0] / whole[1], "x", HALF,
                              note=note))  # fmt: skip
            lost = whole[1] / len(peers)
            result.peer(Figure(f"{of}: lowest priority, then newest", lost, "price hours",
                               note=told(peers)))  # fmt: skip


if __name__ == "__main__":
    if not TRACE.is_file():
        print(f"loss: skipped, {FOLDER} has no traces; TRADEWIND_TRACES names their folder")
        sys.exit(0)
    bench("loss", __doc__, body)
