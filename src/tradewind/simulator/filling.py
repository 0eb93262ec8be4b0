"""Processes that come one after the other to a shared cluster of devices, and never leave: how much
of it can be given away before nothing fits any more. The experiment of Weng et al., "Beware of
Fragmentation" (USENIX ATC 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from tradewind.base.errors import InvalidData
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import Place, PoolChanged, Waiting, Withdrawn
from tradewind.scheduler.nodes import WHOLE, Ask, Node
from tradewind.scheduler.pool import Make

LOAD = 1.3
POOL = "trace"


def arrivals(pods: Sequence[Ask], capacity: int, seed: int) -> list[Ask]:
    """The trace in the order of this seed, made longer or shorter to 130 % of the capacity."""
    if not any(ask.milli for ask in pods):
        raise InvalidData("nothing in this trace asks for a device")
    random = Random(seed)
    found = list(pods)
    random.shuffle(found)
    asked, enough = sum(ask.milli for ask in found), LOAD * capacity
    while asked > enough:
        asked -= found.pop(random.randrange(len(found))).milli
    while True:
        more = pods[random.randrange(len(pods))]
        if asked + more.milli > enough:
            return found
        asked += more.milli
        found.append(more)


@dataclass(frozen=True, slots=True)
class Filling:
    """By arrival, how much was asked for so far and how much has a place, in parts of all."""

    arrived: np.ndarray
    allocated: np.ndarray

    def at(self, percent: int) -> float:
        """The mean allocation, in percent, over the arrivals at which so many percent had been
        asked for; where there is no such one, what it was after the last one before."""
        asked = np.rint(100 * self.arrived)
        there = self.allocated[asked == percent]
        if len(there):
            return float(100 * there.mean())
        before = self.allocated[asked < percent]
        return float(100 * before[-1]) if len(before) else 0.0


def fill(nodes: Sequence[Node], make: Make, asks: Sequence[Ask], seed: int) -> Filling:
    """One after the other: it has a place at once or never. The order of the nodes, which breaks
    ties, is drawn from the seed."""
    order = list(nodes)
    Random(seed).shuffle(order)
    cluster = Cluster(make)
    # It may grow: who finds no place is told so here, not refused for ever.
    cluster.feed([PoolChanged(pool=POOL, nodes=tuple(order), firm=False)])
    capacity = sum(count for node in nodes for _, count in node.devices) * WHOLE
    arrived, allocated = [], []
    so_far = held = 0
    for at, ask in enumerate(asks):
        run = str(at)
        cluster.feed([Waiting(run=run, pool=POOL, parts=((ask, 1),), since=float(at))])
        if any(isinstance(each, Place) for each in cluster.decide()):
            held += ask.milli
        else:
            cluster.feed([Withdrawn(run=run)])
        so_far += ask.milli
        arrived.append(so_far / capacity)
        allocated.append(held / capacity)
    return Filling(np.array(arrived), np.array(allocated))
