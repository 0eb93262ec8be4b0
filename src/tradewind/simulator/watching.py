"""What happens in a simulation while it goes on: how far it is, and how utilisation, waiting and
fragmentation go over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.nodes import WHOLE, Ask, Mask, Node, Nodes, Spot
from tradewind.scheduler.pool import Make
from tradewind.scheduler.rows import Placer
from tradewind.simulator.placers import Gradient
from tradewind.simulator.replay import Outcome, Tell, nobody

Floats = NDArray[np.float64]
# Jobs: so many spans of time, each with its mean.
SPANS = 240
# Processes: a look at each half per cent asked for.
ASKED = np.arange(0.0, 130.25, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How one simulation went. `at` is seconds from the first coming, or percent of all devices
    that had been asked for; `held` and `idle` are in percent of all devices. `idle` is what is of
    no use: of processes the fragmentation by the typical ones; of jobs what nobody holds although
    somebody waits. `runs` wait at that time for `wanted` devices."""

    policy: str
    at: Floats
    held: Floats
    runs: Floats
    wanted: Floats
    idle: Floats


@dataclass(slots=True)
class Watch:
    """`tell` hears how far a simulation is, `begin` which one it is. `lines` are kept where
    `wanted`."""

    begin: Callable[[str], None] = lambda name: None
    tell: Tell = nobody
    wanted: bool = False
    lines: list[Line] = field(default_factory=list)


class Watched:
    """A placer that is looked at while one process after the other comes and stays."""

    def __init__(self, inner: Placer, nodes: Nodes, account: Account) -> None:
        self._inner, self._account = inner, account
        account.nodes = nodes

    def arrived(self, ask: Ask, count: int = 1) -> None:
        """One more; until now it was as it stands."""
        self._account.arrived(ask)
        self._inner.arrived(ask, count)

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        spot = self._inner.choose(ask, among)
        if spot is not None:
            self._account.placed += 1
        return spot

    def on(self, nodes: Nodes) -> Watched:
        return Watched(self._inner.on(nodes), nodes, self._account)


@dataclass(slots=True)
class Account:
    """Processes that come and stay: `total` of them in all, onto so many `devices`. `typical` are
    those by which fragmentation is measured; without them nothing is kept."""

    policy: str
    devices: int
    total: int
    tell: Tell = nobody
    typical: Sequence[tuple[Ask, float]] = ()
    nodes: Nodes | None = None
    came: int = 0
    placed: int = 0
    asked: int = 0
    _measure: Gradient | None = None
    _rows: list[tuple[float, ...]] = field(default_factory=list)

    def over(self, make: Make) -> Make:
        """The same choice, looked at."""
        return lambda nodes: Watched(make(nodes), nodes, self)

    def arrived(self, ask: Ask) -> None:
        """One more comes; what had been asked for until now has been tried."""
        self._look(100 * self.asked / (self.devices * WHOLE))
        self.came += 1
        self.asked += ask.milli
        self.tell(self.came / self.total)

    def line(self) -> Line:
        """How it went; from where nothing more came, as it stood then."""
        self._look(float(ASKED[-1]))
        held, runs, wanted, idle = np.array(self._rows).T
        return Line(policy=self.policy, at=ASKED, held=held, runs=runs, wanted=wanted, idle=idle)

    def _look(self, asked: float) -> None:
        if not self.typical or len(self._rows) == len(ASKED) or ASKED[len(self._rows)] > asked:
            return
        row = self._now()
        while len(self._rows) < len(ASKED) and ASKED[len(self._rows)] <= asked:
            self._rows.append(row)

    def _now(self) -> tuple[float, ...]:
        nodes = self.nodes
        assert nodes is not None
        self._measure = self._measure or Gradient(nodes, self.typical)
        lost = self._measure.fragmentation(nodes.cpu, nodes.devices, nodes.kind[:, 0]).sum()
        everything = self.devices * WHOLE
        held = everything - int(nodes.devices.sum())
        return (
            100 * held / everything,
            float(self.came - self.placed),
            (self.asked - held) / WHOLE,
            100 * float(lost) / everything,
        )


def unit_of(nodes: Sequence[Node]) -> str:
    """What a cluster is counted in: devices, or where it has none cores."""
    return "devices" if any(count for node in nodes for _, count in node.devices) else "cores"


def size(nodes: Sequence[Node]) -> float:
    """How many devices, or without any cores, there are."""
    if unit_of(nodes) == "cores":
        return sum(node.cpu for node in nodes) / WHOLE
    return float(sum(count for node in nodes for _, count in node.devices))


def width(parts: Parts, unit: str) -> float:
    """How many of them a job holds."""
    return (
        sum((ask.milli if unit == "devices" else ask.cpu) * count for ask, count in parts) / WHOLE
    )


def over_time(policy: str, outcomes: Sequence[Outcome], nodes: Sequence[Node]) -> Line:
    """How jobs went, from the first coming to the last end."""
    unit, whole = unit_of(nodes), size(nodes)
    moments: list[tuple[float, float, float, float]] = []
    for outcome in outcomes:
        wide = width(outcome.job.parts, unit)
        # By moment: what is held more, how many wait more, what they ask for more.
        moments += [(outcome.job.at, 0, 1, wide), (outcome.ended, 0, -1, -wide)]
        for began, ended in outcome.spans:
            moments += [(began, wide, -1, -wide), (ended, -wide, 1, wide)]
    table = np.array(sorted(moments))
    at, last = np.unique(table[::-1, 0], return_index=True)
    after = table[:, 1:].cumsum(axis=0)[len(table) - 1 - last]
    held, runs, wanted = after.T
    idle = np.where(runs > 0.5, whole - held, 0.0)
    edges = np.linspace(at[0], max(at[-1], at[0] + 1e-3), SPANS + 1)
    mean = _means(at, edges)
    return Line(
        policy=policy,
        at=(edges[1:] + edges[:-1]) / 2 - at[0],
        held=100 * mean(held) / whole,
        runs=mean(runs),
        wanted=mean(wanted),
        idle=100 * mean(idle) / whole,
    )


def _means(at: Floats, edges: Floats) -> Callable[[Floats], Floats]:
    """From what holds from each moment on to the mean of each span."""

    def mean(values: Floats) -> Floats:
        total = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(at))))
        found: Floats = np.diff(np.interp(edges, at, total)) / np.diff(edges)
        return np.maximum(found, 0.0)

    return mean
