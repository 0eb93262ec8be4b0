"""How fast jobs are carried out in virtual time over the real scheduler, and how soon it puts those
who wait in order again.

    .venv/bin/python benchmarks/bench_events.py [--quick]

Claim: the trace of Philly (Jeon et al., USENIX ATC 2019) on 64 machines of 8 devices, under the
default policy with known durations, takes at most a minute of CPU time for a million events: runs
that come or end, and decisions. When the order has learned, 10,000 runs that wait are put in order
anew in at most 100 ms. Traces as in `bench_openb.py`.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from random import Random

from harness import Figure, Result, bench, median, repeat

from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged, Waiting
from tradewind.scheduler.nodes import Ask
from tradewind.scheduler.order import FEWEST, Shortest
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator import filling, traces
from tradewind.simulator.replay import Replay
from tradewind.simulator.simulate import scene

FOLDER = Path(os.environ.get("TRADEWIND_TRACES") or Path(__file__).parents[2] / "shared" / "traces")
TRACE = FOLDER / "philly_jobs.csv"
CLUSTER = "64x8"
# The contended part of the trace is at its beginning.
QUICK = 15_000
MILLION, MINUTE = 1_000_000, 60.0
RUNS, SORTED = 10_000, 100.0
WIDTHS = (1, 1, 1, 2, 4, 8)


def replayed(result: Result) -> Figure:
    """Seconds of CPU time for a million events; events a minute beside."""
    there = scene(TRACE, CLUSTER)
    jobs = sorted(there.jobs, key=lambda job: job.at)[: QUICK if result.quick else None]
    replay = Replay(cluster(), filling.POOL, jobs)
    begin = time.process_time()
    ended = len(replay.run())
    seconds = time.process_time() - begin
    pace = replay.events / seconds * 60
    note = f"{pace:,.0f} events a minute (target {MILLION:,}); {replay.events:,} of {ended:,} jobs"
    return Figure("a million events", seconds / replay.events * MILLION, "s", MINUTE, note=note)


def cluster() -> Cluster:
    """Machines that nobody uses yet, under the default policy."""
    found = Cluster(FirstFit, Shortest())
    found.feed([PoolChanged(pool=filling.POOL, nodes=tuple(traces.nodes(CLUSTER)))])
    return found


def crowded(random: Random) -> tuple[Cluster, Shortest]:
    """So many who wait, half of them without a known end; and the order, which has learned."""
    order = Shortest()
    machine = Cluster(FirstFit, order)
    machine.feed(
        Waiting(
            run=str(at),
            pool=filling.POOL,
            parts=((Ask(devices=random.choice(WIDTHS)), 1),),
            since=float(at),
            left=random.expovariate(1 / 3600) if at % 2 else None,
            attained=random.choice((0.0, random.expovariate(1 / 600))),
        )
        for at in range(RUNS)
    )
    for _ in range(10 * FEWEST):
        order.ended(random.choice(WIDTHS), random.expovariate(1 / 3600))
    return machine, order


def ordered() -> float:
    """Milliseconds in which those who wait are put in order when the order has just learned. There
    are no machines, and so nothing else is decided."""
    machine, order = crowded(Random(1))
    order.learn([])
    gc.collect()
    begin = time.process_time()
    machine.decide(1.0)
    return (time.process_time() - begin) * 1e3


def body(result: Result) -> None:
    result.add(replayed(result))
    times = repeat(ordered, 3 if result.quick else 9)
    result.add(median(f"{RUNS:,} who wait, in order anew", times, "ms", SORTED))


if __name__ == "__main__":
    if not TRACE.is_file():
        print(f"events: skipped, {FOLDER} has no traces; TRADEWIND_TRACES names their folder")
        sys.exit(0)
    bench("events", __doc__, body)
