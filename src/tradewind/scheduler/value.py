"""Where to put one thing so that the most of what is likely to come still fits.

A node is worth the devices that likely processes can still use of it. Its idle devices count as far
as its CPU feeds them; a shared device counts for what those that fit it best can fill of it with an
equal part of the CPU, as far as such are likely to come. What comes is learned from what came. A
process goes where it takes the least of that worth; what differs by little is equal, and of equals
the first node is taken, which leaves whole nodes for whoever needs them.

The idea of counting what likely processes cannot use is that of Weng et al., "Beware of
Fragmentation" (USENIX ATC 2023).
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tradewind.scheduler.nodes import WHOLE, Ask, Ints, Mask, Nodes, Spot
from tradewind.scheduler.rows import Rows, Scores

Table = NDArray[np.float64]
# So many of each have come.
Sorts = list[tuple[Ask, int]]

# Losses that differ by less are equal, in thousandths of a device.
STEP = 70
# The grids of the tables: CPU in thousandths of a core, shares in thousandths of a device.
CPU, SHARE = 500, 10
# It is as good as certain that more comes of what made up so much of all that came: counted in
# processes for what is left of a device, in devices for idle ones.
GAP, IDLE = 0.025, 0.07
# The tables are made anew when so much more has come.
GROWTH = 1.25
# So many sorts are remembered, the most frequent ones.
SORTS = 128


class Value:
    """The placer of Tradewind."""

    def __init__(self, nodes: Nodes, seen: Counter[Ask] | None = None) -> None:
        self._nodes = nodes
        self._seen: Counter[Ask] = Counter() if seen is None else Counter(seen)
        # Processes, and thousandths of devices, that were asked for so far.
        self._total = self._seen.total()
        self._milli = sum(count * ask.milli for ask, count in self._seen.items())
        self._made = 0
        self._steps = int(max([0, *(node.cpu for node in nodes.nodes)])) // CPU + 1
        wide = nodes.devices.shape[1]
        # By model (the last: none), by idle devices, by CPU: what is worth of them.
        self._idle: Table = np.zeros((len(nodes.kinds) + 1, wide + 1, self._steps))
        # By model, by what is left of a device, by CPU for it.
        self._gap: Table = np.zeros((len(nodes.kinds) + 1, WHOLE // SHARE + 1, self._steps))
        self._rows = Rows(nodes, self._loss)

    def arrived(self, ask: Ask, count: int = 1) -> None:
        self._seen[ask] += count
        self._total += count
        self._milli += count * ask.milli
        if self._total > self._made * GROWTH:
            self._learn()

    def changed(self, row: int) -> None:
        self._rows.changed(row)

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        row = self._rows.best(ask, among)
        if row < 0:
            return None
        device = int(self._after(ask, np.array([row]))[1][0]) if ask.partial else -1
        return self._nodes.at(row, ask, device)

    def on(self, nodes: Nodes) -> Value:
        twin = Value(nodes, self._seen)
        twin._made, twin._idle, twin._gap = self._made, self._idle, self._gap
        return twin

    # --- what has come -----------------------------------------------------------------------

    def _learn(self) -> None:
        self._made = self._total
        common = [each for each in self._seen.most_common(SORTS) if each[0].devices]
        self._idle, self._gap = np.zeros_like(self._idle), np.zeros_like(self._gap)
        for kind, model in enumerate(self._nodes.kinds):
            able = [each for each in common if not each[0].models or model in each[0].models]
            self._idle[kind] = self._fed(able)
            self._gap[kind] = self._filled([each for each in able if each[0].partial])
        self._rows.forget()

    def _fed(self, able: Sorts) -> Table:
        """What is used of idle devices that have all the CPU: by whom it feeds best."""
        cpu = np.arange(self._steps)[:, None] * CPU
        each = np.array([ask.cpu / ask.milli for ask, _ in able], dtype=np.float64)
        feeds = np.where(each > 0, cpu / np.maximum(each, 1e-9), np.inf)
        most = np.arange(self._idle.shape[1])[:, None, None] * WHOLE
        used = np.minimum(most, feeds[None])
        # Who wants several devices uses all of them or none.
        whole = np.array([ask.devices * WHOLE for ask, _ in able], dtype=np.float64)
        used = np.where(whole > WHOLE, used // whole * whole, used)
        return _suited(used, [count * ask.milli for ask, count in able], self._milli * IDLE)

    def _filled(self, able: Sorts) -> Table:
        """What is filled of what is left of a device, by how much is left and the CPU for it."""
        left = np.arange(self._gap.shape[1])[:, None, None] * SHARE
        share = np.array([ask.share for ask, _ in able], dtype=np.int64)
        cpu = np.array([ask.cpu for ask, _ in able], dtype=np.int64)
        given = np.arange(self._steps)[:, None] * CPU
        fills = np.where(cpu <= given, left // share * share, 0)
        return _suited(fills, [count for _, count in able], self._total * GAP)

    # --- what a place costs ------------------------------------------------------------------

    def worth(self, cpu: Ints, devices: Ints, kind: Ints) -> Scores:
        """Of nodes in such states, in thousandths of devices. `kind` is the model by device; idle
        devices count where they are of the first one's."""
        first = kind[..., :1]
        idle = ((devices == WHOLE) & (kind == first)).sum(axis=-1)
        gap = (devices > 0) & (devices < WHOLE)
        steps = np.clip(cpu // CPU, 0, self._steps - 1)
        parts = idle + gap.sum(axis=-1)
        equal = np.clip(cpu // np.maximum(parts, 1) // CPU, 0, self._steps - 1)
        filled = self._gap[kind, devices // SHARE, equal[..., None]]
        found: Scores = self._idle[first[..., 0], idle, steps]
        found = found + np.where(gap, filled, 0).sum(axis=-1)
        return found

    def _after(self, ask: Ask, rows: Ints) -> tuple[Scores, Ints]:
        """By node its worth then, on the device where most of it is left, and that device."""
        nodes = self._nodes
        cpu, devices, kind = nodes.cpu[rows] - ask.cpu, nodes.devices[rows], nodes.kind[rows]
        able = nodes.left(ask.models, rows)
        if not ask.partial:
            taken = (able == WHOLE) & (np.cumsum(able == WHOLE, axis=1) <= ask.devices)
            after = np.where(taken, 0, devices) if ask.devices else devices
            return self.worth(cpu, after, kind), np.zeros(len(rows), dtype=np.int64)
        at, device = np.nonzero(able >= ask.share)
        after = devices[at]
        after[np.arange(len(at)), device] -= ask.share
        table = np.full(devices.shape, -np.inf)
        table[at, device] = self.worth(cpu[at], after, kind[at])
        best = table.argmax(axis=1)
        return table[np.arange(len(rows)), best], best

    def _loss(self, ask: Ask, rows: Ints) -> Scores:
        nodes = self._nodes
        before = self.worth(nodes.cpu[rows], nodes.devices[rows], nodes.kind[rows])
        found: Scores = np.floor((before - self._after(ask, rows)[0]) / STEP)
        return found


def _suited(use: Table, came: list[int], certain: float) -> Table:
    """The mean of the last axis, if of those that come the one with the most use is taken. `came`
    says how much came of each, `certain` of how much it is as good as certain that more comes."""
    come = 1 - np.exp(-((np.array(came, dtype=np.float64) / certain) ** 1.5))
    order = np.argsort(-use, axis=-1, kind="stable")
    missed = np.cumprod(1 - come[order], axis=-1)
    first = np.concatenate([np.ones((*use.shape[:-1], 1)), missed[..., :-1]], axis=-1)
    found: Table = (np.take_along_axis(use, order, -1) * come[order] * first).sum(axis=-1)
    return found
