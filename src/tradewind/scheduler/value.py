"""Where to put one thing so that the most of what is likely to come still fits.

A node is worth the devices that likely processes can still use of it. Its idle devices count as far
as its CPU feeds them, and more where few nodes hold those who want several at once; a shared device
counts for what those that fit it best can fill of it with an equal part of the CPU, as far as such
are likely to come. What comes is learned from what came. A process goes where it takes the least of
that worth; what differs by little is equal, and of equals the first node is taken, which leaves
whole nodes for whoever needs them.

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
# So much more, in parts, count idle devices for which those who can use no others are enough.
SHORT = 0.1
# So much more, in parts, counts what is of a model all of which is asked for by those who take no
# others.
SCARCE = 0.3
# The tables are made anew when so much more has come.
GROWTH = 1.25
# So many sorts are remembered, the most frequent ones.
SORTS = 128


class Value:
    """The placer of Tradewind. Worth is counted in whole thousandths of devices, so that equal
    states of nodes are equal whichever way they came about."""

    def __init__(self, nodes: Nodes, seen: Counter[Ask] | None = None) -> None:
        self._nodes = nodes
        self._seen: Counter[Ask] = Counter() if seen is None else Counter(seen)
        # Processes, and thousandths of devices, that were asked for so far.
        self._total = self._seen.total()
        self._milli = sum(count * ask.milli for ask, count in self._seen.items())
        self._made = 0
        # By model (the last: none), by idle devices, by CPU: what is worth of them.
        steps = int(max([0, *(node.cpu for node in nodes.nodes)])) // CPU + 1
        wide = nodes.devices.shape[1]
        self._idle: Ints = np.zeros((len(nodes.kinds) + 1, wide + 1, steps), dtype=np.int64)
        # By model, by what is left of a device, by CPU for it.
        self._gap: Ints = np.zeros((len(nodes.kinds) + 1, WHOLE // SHARE + 1, 1), dtype=np.int64)
        # By node what it has where nobody is: CPU, and devices of the first one's model.
        self._top: Ints = np.array([node.cpu for node in nodes.nodes], dtype=np.int64)
        first = nodes.kind[:, :1]
        self._has: Ints = ((nodes.kind == first) & (first < len(nodes.kinds))).sum(axis=1)
        # By model, what part of all devices it is.
        counts = np.bincount(nodes.kind.ravel(), minlength=len(nodes.kinds) + 1)[:-1]
        self._part = counts / max(int(counts.sum()), 1)
        self._rows = Rows(nodes, self._loss)

    def arrived(self, ask: Ask, count: int = 1) -> None:
        self._seen[ask] += count
        self._total += count
        self._milli += count * ask.milli
        if self._total > self._made * GROWTH:
            self._learn()

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        row = self._rows.best(ask, among)
        if row < 0:
            return None
        device = int(self._after(ask, np.array([row])).argmax()) if ask.partial else -1
        return self._nodes.at(row, ask, device)

    def on(self, nodes: Nodes) -> Value:
        twin = Value(nodes, self._seen)
        twin._made, twin._idle, twin._gap = self._made, self._idle, self._gap
        twin._rows = self._rows.on(nodes, twin._loss)
        return twin

    # --- what has come -----------------------------------------------------------------------

    def _learn(self) -> None:
        self._made = self._total
        common = [each for each in self._seen.most_common(SORTS) if each[0].devices]
        steps = max([0, *(ask.cpu for ask, _ in common if ask.partial)]) // CPU + 2
        self._idle = np.zeros_like(self._idle)
        self._gap = np.zeros((*self._gap.shape[:2], steps), dtype=np.int64)
        known: dict[tuple[bool, ...], tuple[Ints, Ints]] = {}
        for kind, model in enumerate(self._nodes.kinds):
            takes = tuple(not ask.models or model in ask.models for ask, _ in common)
            if takes not in known:
                able = [each for each, does in zip(common, takes, strict=True) if does]
                known[takes] = self._fed(able), self._filled(able)
            idle, gap = known[takes]
            price = 1 + SCARCE * self._scarce(common, model)
            self._idle[kind], self._gap[kind] = np.rint(idle * price), np.rint(gap * price)
        self._rows.forget()

    def _scarce(self, common: Sorts, model: str) -> float:
        """How scarce devices of a model are for those who take only some models: what part of them
        these ask for, if they take as much of each model as there is of it; 1 at most."""
        found = 0.0
        for ask, count in common:
            if ask.models and model in ask.models:
                there = float(self._part[self._nodes.allowed(ask.models)[:-1]].sum())
                found += count * ask.milli / self._milli / there
        return min(found, 1.0) ** 2

    def _fed(self, able: Sorts) -> Ints:
        """What is used of idle devices that have all the CPU: by whom it feeds best."""
        cpu = np.arange(self._idle.shape[2])[:, None] * CPU
        each = np.array([ask.cpu / ask.milli for ask, _ in able], dtype=np.float64)
        feeds = np.where(each > 0, cpu / np.maximum(each, 1e-9), np.inf)
        most = np.arange(self._idle.shape[1])[:, None, None] * WHOLE
        used = np.minimum(most, feeds[None])
        # Who wants several devices uses all of them or none.
        whole = np.array([ask.devices * WHOLE for ask, _ in able], dtype=np.float64)
        used = np.where(whole > WHOLE, used // whole * whole, used)
        best = _suited(used, [count * ask.milli for ask, count in able], self._milli * IDLE)
        short = np.array([self._short(ask, count) for ask, count in able], dtype=np.float64)
        found: Ints = best + np.rint(SHORT * (used * short).sum(axis=-1)).astype(np.int64)
        return found

    def _short(self, ask: Ask, count: int) -> float:
        """How scarce nodes are that can hold several devices for one: the square of its part of
        what was asked for, by their part of all devices; 1 at most. Without it they go to those
        who find a place elsewhere. Who wants one device finds it on many nodes."""
        if ask.devices < 2:
            return 0.0
        able = (self._has >= ask.devices) & (self._top >= ask.cpu)
        able &= self._nodes.allowed(ask.models)[self._nodes.kind[:, 0]]
        there = int(self._has[able].sum()) / max(int(self._has.sum()), 1)
        part = count * ask.milli / self._milli
        return float((part / there) ** 2) if part < there else 1.0

    def _filled(self, able: Sorts) -> Ints:
        """What is filled of what is left of a device, by how much is left and the CPU for it."""
        able = [each for each in able if each[0].partial]
        left = np.arange(self._gap.shape[1])[:, None, None] * SHARE
        share = np.array([ask.share for ask, _ in able], dtype=np.int64)
        cpu = np.array([ask.cpu for ask, _ in able], dtype=np.int64)
        given = np.arange(self._gap.shape[2])[:, None] * CPU
        fills = np.where(cpu <= given, left // share * share, 0)
        found = _suited(fills, [count for _, count in able], self._total * GAP)
        found[-1] = 0  # an idle device is none that is shared
        return found

    # --- what a place costs ------------------------------------------------------------------

    def _loss(self, ask: Ask, rows: Ints) -> Scores:
        nodes = self._nodes
        devices, kind = _by_column(nodes.devices, rows), _by_column(nodes.kind, rows)
        before = self._worth(nodes.cpu[rows], devices, kind)
        found: Scores = (before - self._after(ask, rows).max(axis=0)) // STEP + 0.0
        return found

    def _worth(self, cpu: Ints, devices: Ints, kind: Ints) -> Ints:
        """Of nodes in such states, one column each; a row a device, and its model in `kind`. Idle
        devices count where they are of the first one's."""
        idle = ((devices == WHOLE) & (kind == kind[0])).sum(axis=0)
        given = cpu // np.maximum((devices > 0).sum(axis=0), 1)
        gaps = self._of_gaps(kind, devices, given).sum(axis=0)
        found: Ints = self._of_idle(kind[0], idle, cpu) + gaps
        return found

    def _of_idle(self, kind: Ints, idle: Ints, cpu: Ints) -> Ints:
        return self._idle[kind, idle, np.maximum(cpu // CPU, 0)]

    def _of_gaps(self, kind: Ints, left: Ints, cpu: Ints) -> Ints:
        step = np.minimum(np.maximum(cpu // CPU, 0), self._gap.shape[2] - 1)
        at = (kind * self._gap.shape[1] + np.maximum(left, 0) // SHARE) * self._gap.shape[2] + step
        found: Ints = self._gap.ravel().take(at)
        return found

    def _after(self, ask: Ask, rows: Ints) -> Ints:
        """By node the worth then: one row, or for what shares a device one for each device that it
        may share, negative where it may not."""
        nodes = self._nodes
        cpu, devices = nodes.cpu[rows] - ask.cpu, _by_column(nodes.devices, rows)
        kind = _by_column(nodes.kind, rows)
        able = nodes.allowed(ask.models)[kind] & (devices >= ask.share)
        if ask.partial:
            return np.where(able, self._shared(ask.share, able, cpu, devices, kind), -1)
        taken = able & (np.cumsum(able, axis=0) <= ask.devices)
        return self._worth(cpu, np.where(taken, 0, devices), kind)[None]

    def _shared(self, share: int, able: Mask, cpu: Ints, devices: Ints, kind: Ints) -> Ints:
        """The worth of nodes by the device that is shared. There are as many others then, and as
        much CPU for each, unless the rest of one is taken."""
        whole = (devices == WHOLE) & (kind == kind[0])
        idle, given = whole.sum(axis=0), cpu // np.maximum((devices > 0).sum(axis=0), 1)
        gaps = self._of_gaps(kind, devices, given)
        found: Ints = gaps.sum(axis=0) - gaps + self._of_gaps(kind, devices - share, given)
        found += np.where(
            whole,
            self._of_idle(kind[0], np.maximum(idle - 1, 0), cpu),
            self._of_idle(kind[0], idle, cpu),
        )
        rest = able & (devices == share)
        at = np.flatnonzero(rest.any(axis=0))
        device, left = rest[:, at].argmax(axis=0), devices[:, at]
        left[device, np.arange(len(at))] = 0
        found[device, at] = self._worth(cpu[at], left, kind[:, at])
        return found


def _by_column(table: Ints, rows: Ints) -> Ints:
    """These rows, side by side: a line for each column of them."""
    return np.ascontiguousarray(table.take(rows, axis=0).T)


def _suited(use: Table, came: list[int], certain: float) -> Ints:
    """The mean of the last axis, if of those that come the one with the most use is taken. `came`
    says how much came of each, `certain` of how much it is as good as certain that more comes."""
    come = 1 - np.exp(-((np.array(came, dtype=np.float64) / certain) ** 1.5))
    order = np.argsort(-use, axis=-1, kind="stable")
    missed = np.cumprod(1 - come[order], axis=-1)
    first = np.concatenate([np.ones((*use.shape[:-1], 1)), missed[..., :-1]], axis=-1)
    found = (np.take_along_axis(use, order, -1) * come[order] * first).sum(axis=-1)
    whole: Ints = np.rint(found).astype(np.int64)
    return whole
