"""How much work is lost when runs of higher priority interrupt others.

    .venv/bin/python benchmarks/bench_loss.py [--quick]

Claim: at most half of what is lost where, as in Kubernetes and Kueue, those of the lowest priority
go first and of these the newest. Both over the same jobs in the same order on the same machines;
only who is interrupted differs. The jobs are those of the Philly trace with whole devices, as they
came, on fewer machines, so that they wait; by seed one in ten has priority 2, two in ten have 1.
Lost is what a job had worked since it began, in devices times hours; a part of the jobs keeps its
work, as with checkpoints. Traces as in `bench_openb.py`.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import Figure, Result, bench

from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged
from tradewind.scheduler.going import Cost, Foes
from tradewind.scheduler.nodes import Ints, Mask
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator import traces
from tradewind.simulator.replay import Job, Outcome, Replay

FOLDER = Path(os.environ.get("TRADEWIND_TRACES") or Path(__file__).parents[2] / "shared" / "traces")
TRACE = FOLDER / "philly_jobs.csv"
MACHINES, SIZE = "20x8", 8
COUNT, SEEDS = 12_000, (1, 2, 3)
HALF = 0.5


class Newest(Foes):
    """The lowest priority first, then whoever began last."""

    def cheapest(self, who: Mask) -> tuple[Ints, list[Cost]]:
        """The rows of these, and their ranks."""
        runs, slots = self._going.runs, np.flatnonzero(who)
        priority, age = -runs["first"][slots], -runs["began"][slots]
        order = np.lexsort((age, priority))
        return slots[order], list(zip(priority[order].tolist(), age[order].tolist(), strict=True))


class Peer(Cluster):
    """The scheduler, with another choice of whom to interrupt."""

    def _foes(self, pool: Pool) -> Foes:
        return Newest(pool.going, pool.nodes, self.order, self.now)


def jobs(seed: int, count: int, keeps: float) -> list[Job]:
    """Those of the trace, some of them more urgent; a part `keeps` its work."""
    _, rows = traces.table(TRACE, (traces.PODS, traces.MURI, traces.PHILLY))
    found = sorted(traces.philly(rows, SIZE), key=lambda job: job.at)[:count]
    draw = random.Random(seed)
    return [
        replace(job, priority=draw.choices((0, 1, 2), (7, 2, 1))[0], keeps=draw.random() < keeps)
        for job in found
    ]


def replayed(make: type[Cluster], there: list[Job]) -> list[Outcome]:
    """First come, first served among equal priorities."""
    cluster = make(FirstFit)
    cluster.feed([PoolChanged(pool="p", nodes=tuple(traces.nodes(MACHINES)))])
    return Replay(cluster, "p", there, known=False).run()


def lost(outcomes: list[Outcome]) -> float:
    """Devices times hours."""
    return sum(each.lost * each.job.parts[0][0].milli * each.job.parts[0][1] / 1000
               for each in outcomes) / 3600  # fmt: skip


def body(result: Result) -> None:
    count = 4_000 if result.quick else COUNT
    for keeps, words in ((0.0, "nobody keeps his work"), (0.5, "half of them keep it")):
        ratios, ours, theirs, times = [], 0.0, 0.0, [0, 0]
        for seed in SEEDS:
            there = jobs(seed, count, keeps)
            mine, peer = replayed(Cluster, there), replayed(Peer, there)
            ratios.append(lost(mine) / max(lost(peer), 1e-9))
            ours, theirs = ours + lost(mine), theirs + lost(peer)
            for at, each in enumerate((mine, peer)):
                times[at] += sum(one.interrupted for one in each)
        note = f"{ours / 3:,.0f} device-hours of {times[0] // 3:,} interrupted on average"
        name = f"{words}: lost work, by that of the peer"
        result.add(Figure(name, sorted(ratios)[1], "of it", HALF, note=note))
        note = f"of {times[1] // 3:,} interrupted"
        name = f"{words}: priority, then newest"
        result.peer(Figure(name, theirs / 3, "device-hours", note=note))


if __name__ == "__main__":
    if not TRACE.is_file():
        print(f"loss: skipped, {FOLDER} has no traces; TRADEWIND_TRACES names their folder")
        sys.exit(0)
    bench("loss", __doc__, body)
