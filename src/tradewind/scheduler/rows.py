"""Where to put one thing: the promise of a placer, and scores that are kept from time to time.

To score ten thousand nodes anew for each decision takes longer than a decision may. So a row of
scores is kept for each ask, and before it is used again only the nodes that changed since are
scored again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tradewind.scheduler.nodes import Ask, Ints, Mask, Nodes, Spot

Scores = NDArray[np.float64]

# So many asks are known at the same time; whoever has not come for longest is forgotten.
KEPT = 512


class Placer(Protocol):
    """Chooses among the nodes of one pool. It may learn from what comes, and looks at the nodes,
    which whoever asks it changes."""

    def arrived(self, ask: Ask, count: int = 1) -> None:
        """It was asked for, whether it finds a place or not; once for each process."""

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        """Where it goes, on one of the nodes `among` (None: any); None where it fits nowhere."""

    def on(self, nodes: Nodes) -> Placer:
        """The same, having learned the same, for a copy of the nodes."""


class FirstFit:
    """The first node that fits."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def arrived(self, ask: Ask, count: int = 1) -> None:
        """It learns nothing."""

    def choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        fit = self._nodes.fit(ask)
        found = fit if among is None else fit & among
        row = int(found.argmax()) if len(found) else 0
        return self._nodes.at(row, ask) if len(found) and found[row] else None

    def on(self, nodes: Nodes) -> FirstFit:
        return FirstFit(nodes)


class Rows:
    """For each ask a score of each node, the lower the better; infinite where it does not fit."""

    __slots__ = ("_kept", "_nodes", "_score")

    def __init__(self, nodes: Nodes, score: Callable[[Ask, Ints], Scores]) -> None:
        """`score(ask, rows)` of these nodes, of which each holds the ask."""
        self._nodes, self._score = nodes, score
        # A row, and the turn of the nodes in which it was made; it is never changed in place.
        self._kept: dict[Ask, tuple[Scores, int]] = {}

    def on(self, nodes: Nodes, score: Callable[[Ask, Ints], Scores]) -> Rows:
        """The same for a copy of the nodes."""
        twin = Rows(nodes, score)
        twin._kept = {**self._kept}
        return twin

    def forget(self) -> None:
        """Score all again: what scores are made of has changed."""
        self._kept.clear()

    def of(self, ask: Ask) -> Scores:
        """The row, up to date."""
        nodes = self._nodes
        scores, then = self._kept.pop(ask, (None, 0))
        if scores is None:
            scores = np.full(len(nodes), np.inf)
            self._fill(ask, scores, np.flatnonzero(nodes.fit(ask)))
        elif then < nodes.turn:
            scores = scores.copy()
            stale = np.flatnonzero(nodes.changed > then)
            scores[stale] = np.inf
            self._fill(ask, scores, stale[nodes.fit(ask, stale)])
        while len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[ask] = (scores, nodes.turn)
        return scores

    def best(self, ask: Ask, among: Mask | None = None) -> int:
        """The first node with the lowest score; -1 where it fits nowhere."""
        scores = self.of(ask)
        if among is not None:
            scores = np.where(among, scores, np.inf)
        if not len(scores):
            return -1
        row = int(scores.argmin())
        return row if scores[row] < np.inf else -1

    def _fill(self, ask: Ask, scores: Scores, rows: Ints) -> None:
        if len(rows):
            scores[rows] = self._score(ask, rows)
