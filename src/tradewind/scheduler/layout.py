"""How the processes of a run stand to each other: in one domain (a node, a rack, a zone), spread
over several, near their data.

A domain is all nodes that tell the same at a level and at all wider ones. Of those that hold a run
the one is taken that is narrowest, and of these the one that has the least left over then, so that
large domains stay whole for whoever needs them; where none holds it, the fewest are taken together.
So does Kueue's topology-aware scheduling (its concept page "Topology Aware Scheduling").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tradewind.records.tasks import NODE, Layout
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.nodes import Ask, Ints, Mask, Node, Nodes

Shares = NDArray[np.float64]
Losses = Callable[[Ints, int], Shares]

# Of processes of several sizes it is not known before they are laid out whether a domain holds
# them; so many are tried where it is not required.
TRIES = 4
# In so many domains others are looked for who could make room.
DOMAINS = 32
# So many lists of what is near are remembered.
KEPT = 64


class Levels:
    """The domains of some nodes, by number. `names` are the levels, the widest first, the last one
    that of single nodes; `of[level]` is by node the number of its domain, -1 where it tells none;
    `called[level]` is by number what a domain is called."""

    __slots__ = ("_near", "_nodes", "called", "names", "of")

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Levels stand in the order in which the nodes tell them that tell most."""
        told = sorted(nodes, key=lambda node: -len(node.where))
        self.names = (*dict.fromkeys(name for node in told for name, _ in node.where), NODE)
        self.of: dict[str, Ints] = {}
        self.called: dict[str, list[str]] = {}
        places = [dict(node.where) for node in nodes]
        for at, level in enumerate(self.names[:-1]):
            known: dict[tuple[str | None, ...], int] = {}
            widest = self.names[: at + 1]
            paths = [tuple(map(place.get, widest)) if level in place else () for place in places]
            numbers = [known.setdefault(path, len(known)) if path else -1 for path in paths]
            self.of[level] = np.array(numbers, dtype=np.int64)
            self.called[level] = [str(path[-1]) for path in known]
        self.of[NODE] = np.arange(len(nodes))
        self.called[NODE] = [node.name for node in nodes]
        self._nodes = tuple(nodes)
        self._near: dict[tuple[str, ...], Mask] = {}

    def near(self, names: tuple[str, ...]) -> Mask:
        """The nodes that are called so, or are in a domain that is."""
        known = self._near.get(names)
        if known is None:
            some = {*names}
            found = [
                node.name in some or any(name in some for _, name in node.where)
                for node in self._nodes
            ]
            if len(self._near) >= KEPT:
                self._near.clear()
            known = self._near[names] = np.array(found, dtype=np.bool_)
        return known

    def sums(self, level: str, each: Ints) -> Shares:
        """By domain, what its nodes have of this together."""
        numbers = self.of[level]
        inside = numbers >= 0
        found = np.bincount(numbers[inside], each[inside], len(self.called[level]))
        return np.asarray(found, dtype=np.float64)


@dataclass(slots=True)
class Plan:
    """One way to lay a run out, process by process: on nodes of the first of these masks that has
    room. Where it is to be spread, `domains` is by node the number of its domain (-1: not there),
    `placed` by domain how many processes are there; a domain with fewer goes first, and if it is so
    `strictly` only those with the fewest."""

    masks: list[Mask]
    domains: Ints | None = None
    placed: Ints | None = None
    strictly: bool = False
    _first: dict[Ask, int] = field(default_factory=dict)

    def among(self, ask: Ask) -> Iterator[Mask]:
        """Where to look for a place for one of these, one after the other. A mask on which there
        was no room has none later either."""
        if self.domains is None or self.placed is None:
            for at in range(self._first.get(ask, 0), len(self.masks)):
                self._first[ask] = at
                yield self.masks[at]
            return
        inside = self.domains >= 0
        numbers = np.unique(self.domains[inside])
        counts = np.unique(self.placed[numbers])
        for count in counts[:1] if self.strictly else counts:
            there = inside & (self.placed[self.domains] == count)
            for mask in self.masks:
                yield mask & there

    def put(self, row: int) -> None:
        """A process has its place on this node."""
        if self.domains is not None and self.placed is not None and self.domains[row] >= 0:
            self.placed[self.domains[row]] += 1


class Search:
    """The ways to lay out one run on nodes as they are now, the best first. Whether there is really
    room for all is seen when they are tried: of processes that are all alike the first one does."""

    def __init__(
        self, layout: Layout, levels: Levels, parts: Parts, nodes: Nodes, empty: Nodes,
        among: Mask | None = None, beside: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """`among`: only on these nodes; `empty`: the same nodes if nobody held anything. `beside`
        are the nodes of processes of it that have their places."""
        self._layout, self._levels, self._parts, self._empty = layout, levels, parts, empty
        self._all = np.ones(len(nodes), dtype=np.bool_)
        self._among = self._all if among is None else among
        # By part, for how many of it each node has room, and how many are wanted.
        self._rooms = [
            (np.where(self._among, nodes.counts(ask), 0), wanted) for ask, wanted in parts
        ]
        self._near = levels.near(layout.near) if layout.near else None
        self._beside = np.array(beside, dtype=np.int64)

    def plans(self) -> Iterator[Plan]:
        """One after the other; none where a level that is required is not told by any node."""
        layout, names = self._layout, self._levels.names
        if {layout.together, layout.spread} <= {"", *names}:
            if layout.together:
                yield from self._together(names.index(layout.together))
            elif layout.spread:
                yield self._plan(self._all)
        if not layout.binds:
            yield Plan(self._nearest([self._among]))

    def _together(self, depth: int) -> Iterator[Plan]:
        """In one domain of the level at this depth, or in the narrowest that holds it; then, if it
        need not be, in one of a wider level, and there in as few as will do."""
        names, strictly = self._levels.names, self._layout.strictly
        if len(self._beside):
            numbers = self._levels.of[names[depth]]
            yield self._plan(np.isin(numbers, numbers[self._beside]) & (numbers >= 0))
            return
        narrower = names[depth : depth + 1] if self._layout.spread else names[depth:]
        for level, number in self._holding(narrower):
            yield self._plan(self._levels.of[level] == number)
        for above in range(depth - 1, -1, -1) if not strictly else ():
            for level, number in islice(self._holding(names[above : above + 1]), TRIES):
                inside = self._levels.of[level] == number
                yield self._plan(inside, self._fewest(inside, 1.0, above, depth))
        if not strictly:
            yield self._plan(self._among, self._fewest(self._among, 1.0, -1, depth))

    def _holding(self, levels: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Level and number of the domains that might hold all of it: those first over which it can
        be spread widest, then where most of it is near, then the narrowest, then those with the
        least left over."""
        found: list[tuple[float, float, int, float, int, str]] = []
        for at, level in enumerate(levels):
            # Narrower ones lie in one of those that are asked for.
            inside = self._levels.of[levels[0]] >= 0
            shares, near = self._shares(level, inside), self._nearness(level)
            wide = self._reach(level)
            rank = np.flatnonzero(shares >= 1.0)
            rank = rank[np.lexsort((rank, shares[rank], -near[rank], -wide[rank]))]
            # Those that are not asked for are no more than a try.
            some = rank[:TRIES] if at or not self._layout.strictly else rank
            found += [
                (
                    -float(wide[number]),
                    -float(near[number]),
                    -at,
                    float(shares[number]),
                    number,
                    level,
                )
                for number in some.tolist()
            ]
        for *_, number, level in sorted(found):
            yield level, number

    def _reach(self, level: str) -> Shares:
        """By domain, over how many of those over which it is to be spread it could be."""
        if not self._layout.spread:
            return np.zeros(len(self._levels.called[level]))
        room = np.max([room for room, _ in self._rooms], axis=0)
        outer, inner = self._levels.of[level], self._levels.of[self._layout.spread]
        there = (room > 0) & (outer >= 0) & (inner >= 0)
        pairs = np.unique(np.stack([outer[there], inner[there]]), axis=1)
        found = np.bincount(pairs[0], minlength=len(self._levels.called[level]))
        return np.minimum(found, sum(wanted for _, wanted in self._rooms)).astype(np.float64)

    def _shares(self, level: str, inside: Mask | None = None) -> Shares:
        """By domain, how many times it might hold all of it."""
        found: Shares = np.full(len(self._levels.called[level]), np.inf)
        for room, wanted in self._rooms:
            there = room if inside is None else np.where(inside, room, 0)
            found = np.minimum(found, self._levels.sums(level, there) / max(wanted, 1))
        return found

    def _nearness(self, level: str) -> Shares:
        """By domain, what part of it might be near its data."""
        if self._near is None:
            return np.zeros(len(self._levels.called[level]))
        found: Shares = np.minimum(self._shares(level, self._near), 1.0)
        return found

    def _fewest(self, inside: Mask, wanted: float, depth: int, last: int) -> list[Mask]:
        """Domains of the level at depth `last` that hold so many times all of it together, inside
        of one at `depth`: the largest first, and last the one with the least left over."""
        if depth == last:
            return [inside]
        level = self._levels.names[depth + 1]
        shares, found = self._shares(level, inside), []
        while wanted > 1e-9 and shares.max(initial=0.0) > 0:
            enough = np.flatnonzero(shares >= wanted)
            best = enough[shares[enough].argmin()] if len(enough) else shares.argmax()
            takes = min(wanted, float(shares[best]))
            there = inside & (self._levels.of[level] == best)
            found += self._fewest(there, takes, depth + 1, last)
            wanted, shares[best] = wanted - takes, 0.0
        return found

    def _plan(self, inside: Mask, first: Sequence[Mask] = ()) -> Plan:
        """On these nodes, on some of them first, and spread if it is to be: over all domains there,
        whether or not anything may be put on them now."""
        masks = self._nearest([*(mask & self._among for mask in first), inside & self._among])
        if not self._layout.spread:
            return Plan(masks)
        domains = np.where(inside & self._able(), self._levels.of[self._layout.spread], -1)
        # By domain, how many of its processes are there already.
        ones = np.bincount(self._beside, minlength=len(domains))
        placed = self._levels.sums(self._layout.spread, ones).astype(np.int64)
        return Plan(masks, domains, placed, self._layout.strictly)

    def _able(self) -> Mask:
        """The nodes in domains that could hold a process if nobody held anything."""
        numbers = self._levels.of[self._layout.spread]
        holds = np.zeros(len(numbers), dtype=np.bool_)
        for ask, _ in self._parts:
            holds |= self._empty.counts(ask) > 0
        found: Mask = np.isin(numbers, np.unique(numbers[holds & (numbers >= 0)]))
        return found

    def _nearest(self, masks: Sequence[Mask]) -> list[Mask]:
        """The same, of each what is near first."""
        near = self._near
        if near is None:
            return [*masks]
        return [some for mask in masks for some in (mask & near, mask)]

    def making(self, losses: Losses) -> Iterator[tuple[Plan, float]]:
        """Where others may have to make room, and what is lost there at least: in each domain that
        is required, those first where that is least. `losses(numbers, count)` gives that by domain,
        for the domains of nodes and how many there are. What is near does not count."""
        layout, levels, self._near = self._layout, self._levels, None
        if not {layout.together, layout.spread} <= {"", *levels.names}:
            return
        if not layout.together:
            yield self._plan(self._all), 0.0
            return
        numbers = levels.of[layout.together]
        shares = self._shares(layout.together)
        least = losses(numbers, len(shares))
        order = np.lexsort((-shares, least))
        there = np.isin(order, numbers[self._among])
        for number in order[there][:DOMAINS].tolist():
            yield self._plan(numbers == number), float(least[number])

    def most(self) -> tuple[str, int]:
        """The domain that has room for most processes of the widest part, of those that must be
        together, and for how many; where they are to be spread, how many could be so at most."""
        layout, levels = self._layout, self._levels
        room, _ = max(self._rooms, key=lambda each: each[1])
        if layout.together:
            sums = levels.sums(layout.together, room)
            best = int(sums.argmax()) if len(sums) else -1
            return (levels.called[layout.together][best], int(sums[best])) if len(sums) else ("", 0)
        inside = self._able() & (levels.of[layout.spread] >= 0)
        numbers = np.unique(levels.of[layout.spread][inside])
        sums = levels.sums(layout.spread, room)[numbers]
        if not len(sums):
            return "", 0
        least = int(sums.min())
        return "", least * len(sums) + int((sums > least).sum())
