"""How often it is true what a waiting run is told of its start, and how long the answer takes.

    .venv/bin/python benchmarks/bench_estimates.py [--quick] [--no-peers]

Claim: over a week of Philly's log, on clusters on which people wait, 80 to 95 % of the intervals
that are to hold nine times out of ten do, asked in the order of the log by one who does not know
the future: when a run begins to wait, and again whenever it has waited about three times as long.
With 1,000 waiting one answer takes at most 100 ms, and so does what would start the run now.
The peer tells the mean of the last waits of runs of the same width, and 1.64 deviations each way.
Traces as in `bench_openb.py`.
"""

from __future__ import annotations

import os
import statistics
import sys
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import Figure, Result, bench, percentile, timed

from tradewind.scheduler import whatif
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import Decided, Place, PoolChanged, SchedulerEvent, Waiting
from tradewind.scheduler.forecast import Forecast
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator.filling import POOL
from tradewind.simulator.replay import Replay
from tradewind.simulator.simulate import scene

FOLDER = Path(os.environ.get("TRADEWIND_TRACES") or Path(__file__).parents[2] / "shared" / "traces")
TRACE = FOLDER / "philly_jobs.csv"
# A week in which many come; of so many runs one is asked about.
FIRST, LAST, QUICK, EACH = 20_000, 32_000, 26_000, 8
# A run is asked about again after so many seconds, and then after so many times what it has waited.
AGAIN, LATER = 120.0, 2.0
LINE, ANSWERS, LIMIT = 1000, 100, 100.0
# The peer looks at so many waits.
LOOKS, DEVIATIONS = 100, 1.64
Spans = list[tuple[float, float, float]]


@dataclass
class Asker:
    """Whoever asks, and notes what was told: low, high and the real wait, in seconds."""

    cluster: Cluster
    forecast: Forecast = field(default_factory=Forecast)
    ours: Spans = field(default_factory=list)
    peers: Spans = field(default_factory=list)
    fullest: Cluster | None = None
    came: list[Waiting] = field(default_factory=list)
    most: int = 0
    _next: dict[str, float] = field(default_factory=dict)
    _told: dict[tuple[str, float], tuple[float, float]] = field(default_factory=dict)
    _waits: dict[float, deque[float]] = field(default_factory=dict)

    def hear(self, events: Sequence[SchedulerEvent], decisions: Sequence[Decided]) -> None:
        now, waiting = self.cluster.now, self.cluster.line.waiting
        for each in decisions:
            if isinstance(each, Place):
                self._next.pop(each.run, None)
                self._compare(each.run, now)
        for event in events:
            if isinstance(event, Waiting):
                self._comes(event, now)
        for run in [run for run, at in self._next.items() if at <= now and run in waiting]:
            self._ask(run)
            self._next[run] = now + max(AGAIN, LATER * (now - waiting[run].since))
        if len(waiting) > self.most:
            self.most, self.fullest = len(waiting), self.cluster.copy()

    def _comes(self, event: Waiting, now: float) -> None:
        if event.since == now:
            self.forecast.came(event, now)
            self.came.append(event)
        if event.run in self.cluster.line.waiting and zlib.crc32(event.run.encode()) % EACH == 0:
            self._ask(event.run)
            self._next[event.run] = now + AGAIN

    def _ask(self, run: str) -> None:
        estimate = self.forecast.ask(self.cluster, run)
        if estimate is not None:
            self.forecast.expect(estimate)
            known = self._waits.get(self.cluster.line.waiting[run].width, ())
            if len(known) > 1:
                mean, off = statistics.fmean(known), DEVIATIONS * statistics.stdev(known)
                self._told[run, estimate.at] = max(0.0, mean - off), mean + off

    def _compare(self, run: str, now: float) -> None:
        width = self.cluster.held[run].asked.width if run in self.cluster.held else 0.0
        for estimate, wait in self.forecast.started(run, now):
            self.ours.append((estimate.low, estimate.high, wait))
            told = self._told.pop((run, estimate.at), None)
            if told is not None:
                self.peers.append((*told, wait))
            self._waits.setdefault(width, deque(maxlen=LOOKS)).append(wait)


def replayed(nodes: str, known: bool, keeps: bool, last: int) -> Asker:
    there = scene(TRACE, nodes)
    jobs = sorted(there.jobs, key=lambda job: job.at)[FIRST:last]
    cluster = Cluster(FirstFit, Shortest())
    cluster.feed([PoolChanged(pool=POOL, nodes=tuple(there.nodes))])
    asker = Asker(cluster)
    Replay(cluster, POOL, [replace(job, keeps=keeps) for job in jobs], known, hear=asker.hear).run()
    return asker


def figure(name: str, spans: Spans, target: float = 0.0) -> Figure:
    held = [low <= wait <= high for low, high, wait in spans]
    wide = statistics.median((high - low) / max(wait, 1.0) for low, high, wait in spans)
    under = sum(wait < low for low, _, wait in spans) / len(spans)
    missed = 100 - 100 * sum(held) / len(held)
    note = f"{len(spans):,} intervals hold {100 - missed:.1f} % ({100 * under:.1f} % started "
    note += f"sooner); the median one is {wide:.1f} waits wide, the median wait "
    note += f"{statistics.median(wait for _, _, wait in spans):,.0f} s"
    return Figure(f"{name}: missed", missed, "%", target, note=note)


def answers(result: Result, name: str, asker: Asker) -> None:
    """With a line of a thousand, made of those that came last."""
    cluster = asker.fullest
    assert cluster is not None
    last = asker.came[-LINE:]
    number = 0
    while len(cluster.line.waiting) < LINE:
        again = replace(last[number % len(last)], run=f"again {number}", since=cluster.now)
        cluster.feed([again], cluster.now)
        cluster.decide(cluster.now)
        number += 1
    line = sorted(cluster.line.waiting.values(), key=lambda each: cluster.key(each))
    runs = [each.run for each in line[:: LINE // ANSWERS]]
    for what, call in (("when", asker.forecast.ask), ("what would start it", whatif.smallest)):
        took = [1e3 * timed(lambda: call(cluster, run)) for run in runs]  # noqa: B023
        note = f"50th {percentile(took, 0.5):.0f} ms, {len(runs)} places in a line of {LINE:,}"
        worst = percentile(took, 0.99)
        result.add(Figure(f"{name}: {what}, 99th percentile", worst, "ms", LIMIT, note=note))


def body(result: Result) -> None:
    last = QUICK if result.quick else LAST
    for nodes, known, keeps in (
        ("52x8", True, False), ("56x8", False, False), ("44x8", True, True), ("44x8", False, True),
    ):  # fmt: skip
        asker = replayed(nodes, known, keeps, last)
        name = f"{'known' if known else 'unknown'}{', may be interrupted' if keeps else ''}"
        result.add(figure(name, asker.ours, target=20.0))
        if os.environ.get("TRADEWIND_BENCH_PEERS"):
            result.peer(figure(f"{name}: mean of the last", asker.peers))
        if not keeps:
            answers(result, name, asker)


if __name__ == "__main__":
    if not TRACE.is_file():
        print(f"estimates: skipped, there is no {TRACE}; TRADEWIND_TRACES names its folder")
        sys.exit(0)
    bench("estimates", __doc__, body)
