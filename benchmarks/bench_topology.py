"""How often gangs stand in one rack, what that costs them in waiting, and how fast it is decided.

    .venv/bin/python benchmarks/bench_topology.py [--quick]

Claims: on 64 racks of 16 nodes, of 8 devices in two islands of fast links, as few gangs cross
racks as by the rule of Kueue's topology-aware scheduling, to a point (in the quick run one wide
gang is half of one), and far fewer than by first-fit, with no longer waiting; one that must be in
one rack always is. Who asks for no topology is placed as fast where nodes tell their racks as where
they do not: at 5,000 nodes at least 2,000 a second.

The gangs are made from a seed. Kueue's rule (`BestFit`) is written anew here after its
documentation, for a preferred rack: the domain with the least room that holds all, of the narrowest
level that has one; in it the fewest narrower ones, the largest first and for the rest the one with
the least room that holds it. Everybody else (order, backfilling, devices of a node) is the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

import numpy as np
from harness import Figure, Result, bench, percentile

from tradewind.records.tasks import Layout
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import Decided, Place, PoolChanged, SchedulerEvent, Waiting
from tradewind.scheduler.nodes import Ask, Ints, Mask, Node, Spot
from tradewind.scheduler.pool import Make, Pool
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value
from tradewind.simulator.replay import Job, Replay

ZONES, RACKS, NODES, DEVICES = 4, 16, 16, 8
ISLANDS = ((0, 1, 2, 3), (4, 5, 6, 7))
SEED, LOAD = 7, 0.92
# Devices of a process, processes, and of how many jobs of a hundred that is.
SIZES = [(1, 1, 30), (2, 1, 10), (4, 1, 10), (8, 1, 14), (1, 8, 6), (4, 4, 6), (8, 2, 10),
         (8, 4, 7), (8, 8, 4), (8, 12, 2), (8, 20, 1)]  # fmt: skip
RACK = Layout(together="rack")
MUST = Layout(together="rack", strictly=True)
FAST = 5_000


def nodes(told: bool = True, racks: int = ZONES * RACKS) -> tuple[Node, ...]:
    where = [(("zone", f"z{at // RACKS}"), ("rack", f"r{at}")) if told else ()
             for at in range(racks)]  # fmt: skip
    return tuple(
        Node(name=f"n{rack}-{at}", cpu=96_000, memory=1 << 40, devices=(("a100", DEVICES),),
             where=where[rack], links=ISLANDS if told else ())
        for rack in range(racks) for at in range(NODES)
    )  # fmt: skip


def jobs(count: int, layout: Layout | None) -> list[Job]:
    """As many devices are asked for at a time as keep such a part of all busy."""
    random, found, now = Random(SEED), list[Job](), 0.0
    weights = [part for _, _, part in SIZES]
    mean = sum(each * many * part for each, many, part in SIZES) / sum(weights)
    seconds = 3600.0
    pause = mean * seconds / (LOAD * ZONES * RACKS * NODES * DEVICES)
    for at in range(count):
        now += random.expovariate(1 / pause)
        each, many, _ = random.choices(SIZES, weights)[0]
        ask = Ask(cpu=8000 * each, devices=each)
        lasts = seconds * random.lognormvariate(-0.5, 1.0)
        found.append(Job(name=str(at), at=now, seconds=lasts, parts=((ask, many),), keeps=False,
                         layout=layout if many > 1 else None))  # fmt: skip
    return found


class Kueue(Pool):
    """Lays out by Kueue's rule whoever prefers one rack."""

    def lay(
        self,
        parts: Parts,
        among: Mask | None = None,
        layout: Layout | None = None,
        beside: Sequence[Spot] = (),
    ) -> tuple[Spot, ...] | None:
        if layout is None:
            return super().lay(parts, among)
        [(ask, count)] = parts
        room = self.nodes.counts(ask)
        room = room if among is None else np.where(among, room, 0)
        if room.sum() < count:
            return None
        rows = self._down(room, np.ones(len(room), dtype=np.bool_), count, self._level(room, count))
        spots = []
        for row, many in rows:
            for _ in range(many):
                spots.append(self.nodes.at(row, ask))
                self.nodes.take(spots[-1], ask)
        return tuple(spots)

    def _level(self, room: Ints, count: int) -> int:
        """The narrowest one, from the rack on, of which one domain holds all; -1 where none."""
        levels = self.levels()
        for at in (1, 0):
            if levels.sums(levels.names[at], room).max() >= count:
                return at
        return -1

    def _down(self, room: Ints, inside: Mask, count: int, at: int) -> list[tuple[int, int]]:
        """Of the domains of a level inside of one that is wider: the fewest."""
        levels = self.levels()
        name = levels.names[max(at, 0)]
        sums = levels.sums(name, np.where(inside, room, 0))
        found: list[tuple[int, int]] = []
        while count > 0:
            enough = np.flatnonzero(sums >= count)
            best = int(enough[sums[enough].argmin()] if len(enough) else sums.argmax())
            takes = min(count, int(sums[best]))
            count, sums[best] = count - takes, -1
            if name == levels.names[-1]:
                found.append((best, takes))
            else:
                there = inside & (levels.of[name] == best)
                found += self._down(room, there, takes, max(at, 0) + 1)
        return found


class Peer(Cluster):
    """The same scheduler with that rule."""

    def _change(self, event: PoolChanged) -> None:
        super()._change(event)
        pool = self.pools[event.pool]
        self.pools[event.pool] = Kueue(pool.nodes, pool.placer, pool.firm)


@dataclass(slots=True)
class Seen:
    """Where gangs stood: `gangs` of several processes, of which so many in `one` rack; of their
    pairs of processes how many `crossed` racks; of processes of several devices that one island
    could hold how many had them `linked`."""

    machine: Cluster
    gangs: int = 0
    one: int = 0
    pairs: int = 0
    crossed: int = 0
    several: int = 0
    linked: int = 0

    def hear(self, events: Sequence[SchedulerEvent], decisions: Sequence[Decided]) -> None:
        rack = self.machine.pools["racks"].levels().of["rack"]
        for each in decisions:
            if not isinstance(each, Place) or each.run not in self.machine.held:
                continue
            parts = self.machine.held[each.run].asked.parts
            self._islands(parts, each.spots)
            if len(each.spots) > 1:
                racks = Counter(int(rack[spot.node]) for spot in each.spots)
                many = len(each.spots)
                self.gangs += 1
                self.one += len(racks) == 1
                self.pairs += many * (many - 1) // 2
                self.crossed += (many**2 - sum(there**2 for there in racks.values())) // 2

    def _islands(self, parts: Parts, spots: Sequence[Spot]) -> None:
        for spot in spots:
            if 2 <= parts[0][0].devices <= len(ISLANDS[0]):
                self.several += 1
                self.linked += len({device // len(ISLANDS[0]) for device in spot.devices}) == 1


def carried(result: Result, name: str, make: Make, layout: Layout | None, count: int,
            kind: type[Cluster] = Cluster) -> tuple[Seen, float]:  # fmt: skip
    """One policy over all gangs; the waiting in seconds too."""
    machine = kind(make, shoves=False)
    machine.feed([PoolChanged(pool="racks", nodes=nodes())])
    seen = Seen(machine)
    replay = Replay(machine, "racks", jobs(count, layout), hear=seen.hear)
    began = time.process_time()
    found = replay.run()
    spent = time.process_time() - began
    waits = [each.began - each.job.at for each in found]
    wide = [each.began - each.job.at for each in found if each.job.parts[0][1] > 1]
    result.note(
        f"{name}: {len(found)} of {count} ended, {100 * seen.one / seen.gangs:.1f} % of "
        f"{seen.gangs} gangs in one rack, {100 * seen.crossed / seen.pairs:.2f} % of their pairs "
        f"across racks, {100 * seen.linked / max(1, seen.several):.1f} % of the processes of 2 "
        f"to 4 devices in one island; waiting {fmean(waits):.1f} s, of gangs {fmean(wide):.1f} s, "
        f"99th percentile {percentile(wide, 0.99):.0f} s; {len(found) / spent:,.0f} placements a "
        "second of CPU time, virtual time and all"
    )
    return seen, fmean(wide)


def fast(told: bool, layout: Layout | None, count: int, many: int = 1) -> float:
    """Placements a second of gangs of so many processes of one device, on nodes that tell their
    racks or do not."""
    machine = Cluster(Value, shoves=False)
    known = nodes(told, -(-FAST // NODES))[:FAST]
    machine.feed([PoolChanged(pool="racks", nodes=known)])
    parts = ((Ask(cpu=4000, devices=1), many),)

    def rounds(first: int, last: int) -> float:
        began = time.process_time()
        for at in range(first, last):
            machine.feed([Waiting(run=str(at), pool="racks", parts=parts, since=float(at),
                                  layout=layout)], float(at))  # fmt: skip
            machine.decide(float(at))
        return time.process_time() - began

    rounds(0, 200)
    spent = rounds(200, 200 + count)
    assert len(machine.held) == 200 + count
    return count / spent


def body(result: Result) -> None:
    count = 4_000 if result.quick else 20_000
    ours, waits = carried(result, "ours, one rack preferred", Value, RACK, count)
    must, _ = carried(result, "ours, one rack required", Value,
                      MUST, count)  # fmt: skip
    first, longer = carried(result, "first-fit without topology", FirstFit, None, count)
    peer, theirs = carried(result, "rule of Kueue", Value, RACK, count, Peer)
    crossing = [100 * (1 - each.one / each.gangs) for each in (ours, first, peer)]
    pairs = [100 * each.crossed / each.pairs for each in (ours, first, peer)]
    result.add(Figure("gangs across racks", crossing[0], "%", crossing[2] + 1.0))
    result.add(Figure("pairs of processes across racks", pairs[0], "%", pairs[2] + 1.0))
    result.add(Figure("gangs across racks where one is required", 100 * (1 - must.one / must.gangs),
                      "%", 1e-9))  # fmt: skip
    result.add(Figure("mean waiting of gangs", waits, "s", min(longer, theirs) * 1.05 + 1.0))
    for name, at in (("first-fit", 1), ("rule of Kueue", 2)):
        result.peer(Figure(f"{name}: gangs across racks", crossing[at], "%"))
        result.peer(Figure(f"{name}: pairs of processes across racks", pairs[at], "%"))
    result.peer(Figure("first-fit: mean waiting of gangs", longer, "s"))
    result.peer(Figure("rule of Kueue: mean waiting of gangs", theirs, "s"))
    some = 1_000 if result.quick else 4_000
    plain = fast(False, None, some)
    told = fast(True, None, some)
    gangs = [fast(True, layout, some // 8, 8) for layout in (None, RACK, MUST)]
    for name, rate in (("nodes that tell nothing", plain), ("nodes that tell racks", told)):
        result.add(Figure(f"a placement at 5,000 nodes, {name}", 1e6 / rate, "µs", 500.0,
                          note=f"{rate:,.0f} a second"))  # fmt: skip
    for name, rate in zip(("anywhere", "in one rack if it can be", "in one rack"), gangs,
                          strict=True):  # fmt: skip
        result.add(Figure(f"a gang of 8 at 5,000 nodes, {name}", 1e6 / rate, "µs",
                          note=f"{8 * rate:,.0f} processes a second"))  # fmt: skip


if __name__ == "__main__":
    bench("topology", __doc__, body)
