"""How long it takes to choose a place on thousands of machines.

    .venv/bin/python benchmarks/bench_placing.py [--quick]

Claim: over 5,000 machines at least 2,000 processes are placed a second, one after the other; the
published floor of kube-scheduler is 680 to 810 pods a second (scheduler_perf, 5,000 nodes and
10,000 pods after 1,000). Over 10,000 machines of 8 devices, of which nine in ten devices are held
and where one ends as another comes, 99 of 100 decisions take at most 5 ms. Both with the default
placer, and with a hundred different asks of which a few make up the most.
"""

from __future__ import annotations

import gc
import statistics
import time
from random import Random

from harness import Figure, Result, bench, percentile

from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Place,
    PoolChanged,
    Released,
    SchedulerEvent,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.nodes import WHOLE, Ask, Node
from tradewind.scheduler.value import Value

POOL = "bench"
# Model, cores, and of so many machines one is such.
MODELS = (("A100", 128, 0.15), ("A10", 96, 0.5), ("V100", 64, 0.15), ("T4", 104, 0.2))
ASKS = 100
PACE, PUBLISHED = 2000, 810
SLOWEST = 5.0


def machines(count: int, random: Random) -> tuple[Node, ...]:
    """Of 8 devices each, models in no order."""
    kinds = random.choices(MODELS, [weight for _, _, weight in MODELS], k=count)
    return tuple(
        Node(name=f"n{at:05}", cpu=cores * WHOLE, memory=cores << 32, devices=((model, 8),))
        for at, (model, cores, _) in enumerate(kinds)
    )


def asks(random: Random) -> list[Ask]:
    """So many different ones, the frequent ones first: shares of devices, whole ones, a few gangs
    of one machine, some without devices; every tenth names models."""
    found: dict[Ask, None] = {}
    while len(found) < ASKS:
        devices = random.choices((0, 1, 2, 4, 8), (12, 80, 4, 2, 2))[0]
        share = random.randrange(10, 95) * 10 if devices == 1 and random.random() < 0.5 else WHOLE
        cpu = random.randrange(5, 40) * 500 * max(1, devices) * (1 + share) // WHOLE
        named = devices and random.random() < 0.1
        models = frozenset(random.sample([name for name, _, _ in MODELS], 2)) if named else ()
        found[Ask(cpu=cpu, memory=cpu << 20, devices=devices, share=share,
                  models=frozenset(models))] = None  # fmt: skip
    return list(found)


class Traffic:
    """Processes that come to a cluster, and end as others come."""

    def __init__(self, nodes: int) -> None:
        self._random = Random(1)
        self._cluster = Cluster(Value)
        self._cluster.feed([PoolChanged(pool=POOL, nodes=machines(nodes, self._random))])
        self._asks = asks(self._random)
        self._weights = [1 / (1 + rank) for rank in range(ASKS)]
        self._came = 0
        self._held: list[tuple[str, Ask]] = []
        self.milli = 0

    def come(self, ends: bool = False) -> tuple[float, bool]:
        """One comes, and before it another `ends`: how many seconds that takes, and whether it has
        found a place; otherwise it goes."""
        events: list[SchedulerEvent] = [self._end()] if ends and self._held else []
        ask = self._random.choices(self._asks, self._weights)[0]
        run = str(self._came)
        self._came += 1
        events.append(Waiting(run=run, pool=POOL, parts=((ask, 1),), since=float(self._came)))
        begin = time.perf_counter()
        self._cluster.feed(events)
        placed = any(isinstance(each, Place) for each in self._cluster.decide())
        took = time.perf_counter() - begin
        if placed:
            self._held.append((run, ask))
            self.milli += ask.milli
        else:
            self._cluster.feed([Withdrawn(run=run)])
        return took, placed

    def _end(self) -> Released:
        at = self._random.randrange(len(self._held))
        self._held[at], self._held[-1] = self._held[-1], self._held[at]
        run, ask = self._held.pop()
        self.milli -= ask.milli
        return Released(run=run)


def placed(result: Result, nodes: int, count: int) -> None:
    """How many find a place in a second, after a tenth as many before."""
    traffic = Traffic(nodes)
    for _ in range(count // 10):
        traffic.come()
    gc.collect()
    found = [traffic.come() for _ in range(count)]
    pace = sum(there for _, there in found) / sum(took for took, _ in found)
    note = f"{pace:,.0f} a second (target {PACE:,}); kube-scheduler's published floor {PUBLISHED}"
    result.add(Figure(f"{nodes:,} machines: 1,000 places", 1e6 / pace, "ms", 1e6 / PACE, note=note))


def decided(result: Result, nodes: int, count: int) -> None:
    """How long one decision takes where most is held."""
    traffic = Traffic(nodes)
    while traffic.milli < 0.9 * nodes * 8 * WHOLE:
        traffic.come()
    for _ in range(count // 10):
        traffic.come(ends=True)
    gc.collect()
    times = [1e3 * traffic.come(ends=True)[0] for _ in range(count)]
    note = f"median {statistics.median(times):.2f} ms, longest {max(times):.1f} ms"
    result.add(Figure(f"{nodes:,} machines of 8: 99 of 100 decisions", percentile(times, 0.99),
                      "ms", SLOWEST, note=note))  # fmt: skip


def body(result: Result) -> None:
    small = 5 if result.quick else 1
    placed(result, 5_000 // small, 10_000 // small)
    decided(result, 10_000 // small, 10_000 // small)


if __name__ == "__main__":
    bench("placing", __doc__, body)
