"""One pool of the machine: its nodes, who holds what of them, and laying a run out on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tradewind.scheduler.amounts import Parts, each
from tradewind.scheduler.going import Going
from tradewind.scheduler.nodes import Ask, Nodes, Reserve, Spot
from tradewind.scheduler.rows import KEPT, FirstFit, Placer

Make = Callable[[Nodes], Placer]


@dataclass(slots=True)
class Pool:
    """`firm`: it will not have more than this; `going`: who holds a place."""

    nodes: Nodes
    placer: Placer
    firm: bool = True
    going: Going = field(default_factory=Going)
    _empty: Nodes | None = None
    _could: dict[Parts, bool] = field(default_factory=dict)

    def copy(self) -> Pool:
        """The same, which changes by itself."""
        nodes = self.nodes.copy()
        return Pool(nodes, self.placer.on(nodes), self.firm, self.going.copy(), self._empty)

    def lay(self, parts: Parts) -> tuple[Spot, ...] | None:
        """Hold a place for each process, or for none. None: they do not fit together."""
        if not self._may(parts):
            return None
        spots: list[Spot] = []
        for ask in each(parts):
            spot = self.placer.choose(ask)
            if spot is None:
                self.free(parts, tuple(spots))
                return None
            self._take(spot, ask)
            spots.append(spot)
        return tuple(spots)

    def _may(self, parts: Parts) -> bool:
        """Whether it is worth trying: of each part alone there is room for all."""
        return all(count == 1 or self.nodes.room(ask) >= count for ask, count in parts)

    def force(self, parts: Parts) -> tuple[Spot, ...]:
        """The same for what is known to be there: where it does not fit it is held all the same."""
        spots = []
        for ask in each(parts):
            spot = self.placer.choose(ask) if len(self.nodes) else None
            if spot is None and len(self.nodes):
                spot = Spot(int(np.argmax(self.nodes.cpu)))
            if spot is not None:
                self._take(spot, ask)
                spots.append(spot)
        return tuple(spots)

    def again(self, parts: Parts, spots: tuple[Spot, ...], before: Pool | None) -> tuple[Spot, ...]:
        """Hold on nodes of the same name what was held on those of `before`."""
        names = [before.nodes.nodes[spot.node].name for spot in spots] if before else []
        rows = [self.nodes.row(name) for name in names]
        if len(rows) != sum(count for _, count in parts) or min(rows, default=0) < 0:
            return self.force(parts)
        moved = tuple(Spot(row, spot.devices) for row, spot in zip(rows, spots, strict=True))
        wide = self.nodes.devices.shape[1]
        if any(device >= wide for spot in moved for device in spot.devices):
            return self.force(parts)
        self.hold(parts, moved)
        return moved

    def free(self, parts: Parts, spots: tuple[Spot, ...]) -> None:
        """Give back what `lay` has held; of the first so many processes if there are fewer."""
        for spot, ask in zip(spots, each(parts), strict=False):
            self.nodes.give(spot, ask)
            self.placer.changed(spot.node)

    def hold(self, parts: Parts, spots: tuple[Spot, ...]) -> None:
        """Hold these very places."""
        for spot, ask in zip(spots, each(parts), strict=True):
            self._take(spot, ask)

    def reserve(self, found: Mapping[int, Reserve], sign: int = 1) -> None:
        """Nobody may have this, or may again."""
        for row, reserve in found.items():
            self.nodes.reserve(row, reserve, sign)
            self.placer.changed(row)

    def _take(self, spot: Spot, ask: Ask) -> None:
        self.nodes.take(spot, ask)
        self.placer.changed(spot.node)

    def could(self, parts: Parts) -> bool:
        """Whether it would fit if nothing else were here."""
        found = self._could.get(parts)
        if found is None:
            if len(self._could) >= KEPT:
                self._could.clear()
            found = self._could[parts] = self._fits(parts)
        return found

    def _fits(self, parts: Parts) -> bool:
        if len(parts) == 1:
            return self.empty().room(parts[0][0]) >= parts[0][1]
        nodes = self.empty().copy()
        largest = sorted(parts, key=lambda part: (-part[0].milli, -part[0].cpu, -part[0].memory))
        return Pool(nodes, FirstFit(nodes)).lay(tuple(largest)) is not None

    def never(self, name: str, parts: Parts) -> str:
        """Why it could not start even if nothing else were here, in words."""
        for ask, count in parts:
            held = self.empty().room(ask)
            if not held:
                return f"no machine of pool {name!r} can hold one process of this: it needs {ask}"
            if held < count:
                return f"pool {name!r} holds {held} processes of this at the same time, not {count}"
        return f"the machines of pool {name!r} do not hold all processes of this at the same time"

    def empty(self) -> Nodes:
        """The nodes as if nobody held anything."""
        if self._empty is None:
            self._empty = Nodes(self.nodes.nodes)
        return self._empty
