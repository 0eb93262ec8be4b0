"""One pool of the machine: its nodes, who holds what of them, and laying a run out on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tradewind.records.placements import Seat
from tradewind.scheduler import amounts
from tradewind.scheduler.amounts import (
    Amounts,
    Parts,
    asked,
    each,
    figure,
    free,
    taken,
    whole,
    words,
)
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.going import Going, Shadow
from tradewind.scheduler.nodes import WHOLE, Ask, Mask, Nodes, Reserve, Spot
from tradewind.scheduler.rows import KEPT, FirstFit, Placer

Make = Callable[[Nodes], Placer]


@dataclass(slots=True)
class Pool:
    """`firm`: it will not have more than this. `most` is what may be held of it together, of what
    its nodes have more (empty: all), `prices` those of a core and of devices. `going`: who holds a
    place. `kept`: for whom room is kept that will be there, `shadow` when and where."""

    nodes: Nodes
    placer: Placer
    firm: bool = True
    most: Amounts = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    going: Going = field(default_factory=Going)
    kept: str | None = None
    shadow: Shadow | None = None
    _empty: Nodes | None = None
    _could: dict[Parts, bool] = field(default_factory=dict)

    def copy(self, make: Make | None = None) -> Pool:
        """The same, which changes by itself; with another placer, if one is given."""
        nodes = self.nodes.copy()
        return Pool(
            nodes,
            make(nodes) if make else self.placer.on(nodes),
            self.firm,
            self.most,
            self.prices,
            self.going.copy(),
            self.kept,
            self.shadow,
            self._empty,
        )

    def lay(self, parts: Parts, among: Mask | None = None) -> tuple[Spot, ...] | None:
        """Hold a place for each process, or for none, on nodes of these (None: of all). None: they
        do not fit together."""
        if not self._may(parts):
            return None
        spots: list[Spot] = []
        for ask in each(parts):
            spot = self.placer.choose(ask, among)
            if spot is None:
                self.free(parts, tuple(spots))
                return None
            self.nodes.take(spot, ask)
            spots.append(spot)
        return tuple(spots)

    def _may(self, parts: Parts) -> bool:
        """Whether it is worth trying: of each part alone there is room for all."""
        if not self._within(parts, self.nodes):
            return False
        return all(count == 1 or self.nodes.room(ask) >= count for ask, count in parts)

    def _within(self, parts: Parts, nodes: Nodes) -> bool:
        """Whether that much more may be held, where so much of these nodes is."""
        if not self.most:
            return True
        wants, now = self.wants(parts), taken(nodes)
        return all(
            now[name] + wants[name] <= most for name, most in self.most.items() if wants.get(name)
        )

    def wants(self, parts: Parts) -> Amounts:
        """What is asked for, as far as it is known of which model."""
        return asked(parts, self.nodes.kinds)[0]

    def worth(self, asked: Waiting, spots: Sequence[Spot]) -> float:
        """The price of what is held there; where prices are not known, devices, or without any
        cores."""
        if not self.prices:
            return asked.width
        holds = amounts.held(asked.parts, spots, self.nodes)
        return sum(self.prices.get(name, 0.0) * amount for name, amount in holds.items()) / WHOLE

    def room(self, ask: Ask) -> int:
        """How many of these it can hold now at the same time."""
        found = self.nodes.room(ask)
        wants, spare = self.wants(((ask, 1),)), self.spare(self.nodes)
        limits = [max(0, spare[name]) // wants[name] for name in self.most if wants.get(name)]
        return min([found, *limits])

    def spare(self, nodes: Nodes) -> dict[str, int]:
        """What may still be held, where so much of these nodes is."""
        found = free(nodes)
        if self.most:
            now = taken(nodes)
            found |= {
                name: max(0, min(found[name], most - now[name])) for name, most in self.most.items()
            }
        return found

    def limits(self) -> dict[str, int]:
        """What may be held of it together."""
        return whole(self.nodes) | dict(self.most)

    def force(self, parts: Parts) -> tuple[Spot, ...]:
        """The same for what is known to be there: where it does not fit it is held all the same."""
        return self.again(parts, ())

    def _force(self, ask: Ask) -> Spot | None:
        spot = self.placer.choose(ask) if len(self.nodes) else None
        if spot is None and len(self.nodes):
            spot = Spot(int(np.argmax(self.nodes.cpu)))
        if spot is not None:
            self.nodes.take(spot, ask)
        return spot

    def seats(self, spots: Sequence[Spot]) -> tuple[Seat, ...]:
        """The same by name."""
        return tuple(Seat(self.nodes.nodes[spot.node].name, spot.devices) for spot in spots)

    def again(self, parts: Parts, seats: Sequence[Seat]) -> tuple[Spot, ...]:
        """Hold the places that are known of its processes, one after the other; for one whose place
        is not known, or not there any more, any."""
        asks = tuple(each(parts))
        known: list[Spot | None] = [None] * len(asks)
        for at, (ask, seat) in enumerate(zip(asks, seats, strict=False)):
            known[at] = spot = self._spot(ask, seat)
            if spot is not None:
                self.nodes.take(spot, ask)
        found = (spot or self._force(ask) for ask, spot in zip(asks, known, strict=True))
        return tuple(spot for spot in found if spot is not None)

    def _spot(self, ask: Ask, seat: Seat) -> Spot | None:
        """A place by its name, where it is there and has what is asked for."""
        row = self.nodes.row(seat.node)
        wanted = ask.devices + sum(count for _, count in ask.others)
        if row < 0 or len(seat.devices) != wanted:
            return None
        there = range(int(self.nodes.has[row]))
        return Spot(row, seat.devices) if all(one in there for one in seat.devices) else None

    def widen(self, before: Parts, spots: Sequence[Spot], after: Parts) -> tuple[Spot, ...]:
        """Hold so much in place of what was held; each process that stays, stays where it is."""
        left: dict[Ask, list[Spot]] = {}
        for spot, ask in zip(spots, each(before), strict=False):
            left.setdefault(ask, []).append(spot)
        wanted = Counter(each(after))
        for ask, held in left.items():
            for spot in held[wanted[ask] :]:
                self.nodes.give(spot, ask)
            del held[wanted[ask] :]
        found = [left[ask].pop(0) if left.get(ask) else self._force(ask) for ask in each(after)]
        return tuple(spot for spot in found if spot is not None)

    def free(self, parts: Parts, spots: tuple[Spot, ...]) -> None:
        """Give back what `lay` has held; of the first so many processes if there are fewer."""
        for spot, ask in zip(spots, each(parts), strict=False):
            self.nodes.give(spot, ask)

    def hold(self, parts: Parts, spots: tuple[Spot, ...]) -> None:
        """Hold these very places."""
        for spot, ask in zip(spots, each(parts), strict=True):
            self.nodes.take(spot, ask)

    def reserve(self, found: Mapping[int, Reserve], sign: int = 1) -> None:
        """Nobody may have this, or may again."""
        for row, reserve in found.items():
            self.nodes.reserve(row, reserve, sign)

    def could(self, parts: Parts) -> bool:
        """Whether it would fit if nothing else were here."""
        found = self._could.get(parts)
        if found is None:
            if len(self._could) >= KEPT:
                self._could.clear()
            found = self._could[parts] = self.holds(parts, self.empty())
        return found

    def holds(self, parts: Parts, nodes: Nodes) -> bool:
        """Whether it fits where so much of these nodes is free."""
        if not self._within(parts, nodes):
            return False
        if len(parts) == 1:
            return nodes.room(parts[0][0]) >= parts[0][1]
        nodes = nodes.copy()
        largest = sorted(parts, key=lambda part: (-part[0].milli, -part[0].cpu, -part[0].memory))
        return Pool(nodes, FirstFit(nodes)).lay(tuple(largest)) is not None

    def lacks(self, parts: Parts, nodes: Nodes) -> str:
        """Of what it wants more than may be held where so much of these nodes is free, in words."""
        wants, spare = self.wants(parts), self.spare(nodes)
        for name, amount in wants.items():
            if amount > spare.get(name, 0):
                left = figure(name, spare.get(name, 0))
                return f"needs {words(name, amount)}, {left} free"
        return ""

    def never(self, name: str, parts: Parts) -> str:
        """Why it could not start even if nothing else were here, in words."""
        empty = self.empty()
        if not len(empty):
            return f"pool {name!r} has no machine that takes work now"
        for ask, count in parts:
            held = empty.room(ask)
            if not held:
                return (
                    f"no machine of pool {name!r} can hold one process of this: it needs {ask}, "
                    f"the largest machine has {_largest(empty)}"
                )
            if held < count and len(empty) > 1:
                return (
                    f"the machines of pool {name!r} hold {held} processes of this at the same "
                    f"time, not {count}: each needs {ask}, all on one machine"
                )
        if lacks := self.lacks(parts, empty):
            return f"pool {name!r}: {lacks}"
        return f"the machines of pool {name!r} do not hold all processes of this at the same time"

    def empty(self) -> Nodes:
        """The nodes as if nobody held anything."""
        if self._empty is None:
            self._empty = Nodes(self.nodes.nodes)
        return self._empty


def _largest(nodes: Nodes) -> Ask:
    """The most of each that one node has."""
    devices: dict[str, int] = {}
    for node in nodes.nodes:
        for model, count in node.devices:
            devices[model] = max(devices.get(model, 0), count)
    cpu, memory = int(nodes.cpu.max()), int(nodes.memory.max())
    return Ask(cpu=cpu, memory=memory, others=tuple(sorted(devices.items())))
