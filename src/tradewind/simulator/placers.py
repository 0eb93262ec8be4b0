"""Peers' ways to choose a node, to compare ours with: as the simulator of Weng et al., "Beware of
Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC
2023), has them. Scores are whole numbers from 0 to 100 there, and so here: what differs by less is
equal, and of equals the first node is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random

import numpy as np

from tradewind.scheduler.nodes import WHOLE, Ask, Ints, Mask, Nodes, Spot
from tradewind.scheduler.rows import Rows, Scores

# What a node has at most; loads are told in parts of it.
MOST_CPU, MOST_DEVICES = 128_000, 8 * WHOLE
# The most frequent shapes of a trace up to so much of it are its typical ones.
TYPICAL = 0.95


class Anywhere:
    """A random node that fits, a random device that fits."""

    def __init__(self, nodes: Nodes, random: Random) -> None:
        self._nodes, self._random = nodes, random

    def arrived(self, ask: Ask, count: int = 1) -> None:
        """It learns nothing."""

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        fit = self._nodes.fit(ask)
        rows = np.flatnonzero(fit if among is None else fit & among)
        if not len(rows):
            return None
        row = int(rows[self._random.randrange(len(rows))])
        if not ask.partial:
            return self._nodes.at(row, ask)
        able = np.flatnonzero(self._nodes.left(ask.models)[row] >= ask.share)
        return self._nodes.at(row, ask, int(able[self._random.randrange(len(able))]))

    def on(self, nodes: Nodes) -> Anywhere:
        twin = Random()
        twin.setstate(self._random.getstate())
        return Anywhere(nodes, twin)


class Scored:
    """The node with the best score, and on it the tightest device."""

    def __init__(self, nodes: Nodes, score: Callable[[Nodes, Ask, Ints], Scores]) -> None:
        """`score`: the higher the better."""
        self._nodes, self._score = nodes, score
        self._rows = Rows(nodes, lambda ask, rows: -score(nodes, ask, rows))

    def arrived(self, ask: Ask, count: int = 1) -> None:
        """It learns nothing."""

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        row = self._rows.best(ask, among)
        return None if row < 0 else self._nodes.at(row, ask)

    def on(self, nodes: Nodes) -> Scored:
        return Scored(nodes, self._score)


def best_fit(nodes: Nodes, ask: Ask, rows: Ints) -> Scores:
    """Least left over of CPU and devices, in equal parts."""
    cpu = (nodes.cpu[rows] - ask.cpu) / MOST_CPU
    devices = (nodes.devices[rows].sum(axis=1) - ask.milli) / MOST_DEVICES
    found: Scores = np.floor((1 - 0.5 * cpu - 0.5 * devices) * 100)
    return found


def dot_product(nodes: Nodes, ask: Ask, rows: Ints) -> Scores:
    """The smallest product of what is asked for and what is free (Grandl et al., "Multi-resource
    packing for cluster schedulers", SIGCOMM 2014, turned round)."""
    cpu = nodes.cpu[rows] / MOST_CPU * (ask.cpu / MOST_CPU)
    devices = nodes.devices[rows].sum(axis=1) / MOST_DEVICES * (ask.milli / MOST_DEVICES)
    found: Scores = np.floor((1 - (cpu + devices) / 2) * 100)
    return found


def packing(nodes: Nodes, ask: Ask, rows: Ints) -> Scores:
    """Shared devices first, then idle ones of nodes in use, then idle nodes."""
    if not ask.devices:
        return np.zeros(len(rows))
    idle, has = nodes.idle[rows], nodes.has[rows]
    if ask.partial:
        left = nodes.devices[rows]
        shared = np.where((left >= ask.share) & (left < WHOLE), left, WHOLE).min(axis=1)
        used = np.where(shared < WHOLE, 100 - shared * 100 // WHOLE // 10, 50 - 1)
    else:
        used = np.full(len(rows), max(50 - ask.devices, 33))
    free = np.maximum(33 - idle, idle)
    return np.where(idle == has, free, used).astype(np.float64)


class Clustering(Scored):
    """What asks for as many devices goes together."""

    def __init__(self, nodes: Nodes) -> None:
        # By node, how many of each sort it holds: those that share a device, and by number.
        self._sorts: list[Counter[int]] = [Counter() for _ in range(len(nodes))]
        super().__init__(nodes, self._scored)

    def _scored(self, nodes: Nodes, ask: Ask, rows: Ints) -> Scores:
        if not ask.devices:
            return np.zeros(len(rows))
        used = 25 * (MOST_DEVICES - nodes.devices[rows].sum(axis=1)) // MOST_DEVICES
        base = [self._base(self._sorts[row], ask) for row in rows.tolist()]
        found: Scores = np.asarray(used + np.array(base), dtype=np.float64)
        return found

    @staticmethod
    def _base(held: Counter[int], ask: Ask) -> int:
        if held[_sort(ask)]:
            return 75 if len(+held) == 1 else 50
        return 0 if +held else 25

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        """What it has chosen is taken to stay: nothing leaves where this is used."""
        spot = super().choose(ask, among)
        if spot is not None and ask.devices:
            self._sorts[spot.node][_sort(ask)] += 1
        return spot

    def on(self, nodes: Nodes) -> Clustering:
        twin = Clustering(nodes)
        twin._sorts = [Counter(held) for held in self._sorts]
        return twin


def _sort(ask: Ask) -> int:
    return 0 if ask.partial else ask.devices


class Gradient:
    """FGD: where the fragmentation grows least, by the typical shapes of the whole trace."""

    def __init__(self, nodes: Nodes, typical: Sequence[tuple[Ask, float]]) -> None:
        self._nodes, self._typical = nodes, tuple(typical)
        asks = [ask for ask, _ in typical]
        self._weight = np.array([weight for _, weight in typical])
        self._cpu = np.array([ask.cpu for ask in asks])
        self._share = np.array([ask.share if ask.devices else WHOLE + 1 for ask in asks])
        self._count = np.array([ask.devices for ask in asks])
        self._able = np.array([nodes.allowed(ask.models) & bool(ask.devices) for ask in asks])
        self._rows = Rows(nodes, lambda ask, rows: -self._scored(ask, rows)[0])

    def arrived(self, ask: Ask, count: int = 1) -> None:
        """It knows the trace from the start."""

    def fragmentation(self, cpu: Ints, devices: Ints, model: Ints) -> Scores:
        """Thousandths of devices that a typical process cannot use, of each of these nodes."""
        left = devices.sum(axis=-1)
        enough = devices[..., None, :] >= self._share[:, None]
        fits = (enough.sum(axis=-1) >= self._count) & (cpu[..., None] >= self._cpu)
        fits &= self._able.T[model]
        lost = np.where(enough, 0, devices[..., None, :]).sum(axis=-1)
        found: Scores = np.where(fits, lost, left[..., None]) @ self._weight
        return found

    def _scored(self, ask: Ask, rows: Ints) -> tuple[Scores, Ints]:
        """By node the score of the device that has the best, the first of equals, and that one."""
        nodes = self._nodes
        cpu, devices, model = nodes.cpu[rows], nodes.devices[rows], nodes.kind[rows, 0]
        before = self.fragmentation(cpu, devices, model)
        if not ask.partial:
            taken = (devices == WHOLE) & (np.cumsum(devices == WHOLE, axis=1) <= ask.devices)
            after = np.where(taken, 0, devices) if ask.devices else devices
            less = before - self.fragmentation(cpu - ask.cpu, after, model)
            return _score(less), np.zeros(len(rows), dtype=np.int64)
        # One state for each device that may take it.
        at, device = np.nonzero(devices >= ask.share)
        after = devices[at]
        after[np.arange(len(at)), device] -= ask.share
        table = np.full(devices.shape, -np.inf)
        less = before[at] - self.fragmentation(cpu[at] - ask.cpu, after, model[at])
        table[at, device] = _score(less)
        best = table.argmax(axis=1)
        return table[np.arange(len(rows)), best], best

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        row = self._rows.best(ask, among)
        if row < 0:
            return None
        device = int(self._scored(ask, np.array([row]))[1][0]) if ask.partial else -1
        return self._nodes.at(row, ask, device)

    def on(self, nodes: Nodes) -> Gradient:
        return Gradient(nodes, self._typical)


def _score(less: Scores) -> Scores:
    """From 0 to 100, by how much less fragmentation there is."""
    found: Scores = np.floor(100 / (1 + np.exp(-less / 1000)))
    return found


def typical(asks: Iterable[Ask]) -> list[tuple[Ask, float]]:
    """The most frequent shapes that make up 95 % of them, with their frequencies. A shape is of
    CPU and devices: of asks that differ in memory alone there is one. Of equally frequent ones the
    larger is first, as it is with Weng et al."""
    counts = Counter(replace(ask, memory=0) for ask in asks)
    enough = TYPICAL * counts.total()
    found, so_far = [], 0
    for ask in sorted(counts, key=lambda ask: (counts[ask], *_size(ask)), reverse=True):
        if so_far >= enough:
            break
        found.append((ask, counts[ask]))
        so_far += counts[ask]
    return [(ask, count / so_far) for ask, count in found]


def _size(ask: Ask) -> tuple[int, int, int, list[str]]:
    return ask.cpu, ask.share if ask.devices else 0, ask.devices, sorted(ask.models)
