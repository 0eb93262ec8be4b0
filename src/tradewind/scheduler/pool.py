"""One pool of the machine: its nodes, who holds what of them, and laying a run out on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tradewind.records.placements import Seat
from tradewind.records.tasks import Layout
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
from tradewind.scheduler.layout import Levels, Plan, Search
from tradewind.scheduler.nodes import WHOLE, Ask, Ints, Mask, Nodes, Reserve, Spot
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
    _could: dict[tuple[Parts, Layout | None], bool] = field(default_factory=dict)
    _levels: Levels | None = None

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
            _levels=self._levels,
        )

    def lay(
        self,
        parts: Parts,
        among: Mask | None = None,
        layout: Layout | None = None,
        beside: Sequence[Spot] = (),
    ) -> tuple[Spot, ...] | None:
        """Hold a place for each process, or for none, on nodes of these (None: of all). None: they
        do not fit together, or not so as they are to stand to each other, and to those that are
        `beside` them."""
        if not self._may(parts):
            return None
        if layout is None or not parts:
            return self._lay(parts, among)
        for plan in self.search(parts, layout, among, beside=beside).plans():
            spots = self._lay(parts, plan=plan)
            if spots is not None:
                return spots
        return None

    def _lay(
        self, parts: Parts, among: Mask | None = None, plan: Plan | None = None
    ) -> tuple[Spot, ...] | None:
        spots: list[Spot] = []
        for ask in each(parts):
            spot = self._choose(ask, among) if plan is None else self._planned(ask, plan)
            if spot is None:
                self.free(parts, tuple(spots))
                return None
            self.nodes.take(spot, ask)
            spots.append(spot)
        return tuple(spots)

    def _planned(self, ask: Ask, plan: Plan) -> Spot | None:
        found = (self._choose(ask, mask) for mask in plan.among(ask))
        spot = next((spot for spot in found if spot is not None), None)
        if spot is not None:
            plan.put(spot.node)
        return spot

    def _choose(self, ask: Ask, among: Mask | None = None) -> Spot | None:
        """Where one process goes: first where fast links join all its devices."""
        joined = self.nodes.joined(ask)
        if joined is not None:
            spot = self.placer.choose(ask, joined if among is None else joined & among)
            if spot is not None:
                return spot
        return self.placer.choose(ask, among)

    def search(
        self,
        parts: Parts,
        layout: Layout,
        among: Mask | None = None,
        nodes: Nodes | None = None,
        beside: Sequence[Spot] = (),
    ) -> Search:
        """The ways to lay it out, where so much of its nodes (None: as now) is free."""
        nodes = self.nodes if nodes is None else nodes
        rows = [spot.node for spot in beside]
        return Search(layout, self.levels(), parts, nodes, self.empty(), among, rows)

    def bounds(self, layout: Layout | None) -> tuple[Ints | None, bool]:
        """By node the domain, of those of which it must have one (None: there are none); and
        whether which of the nodes it takes there depends on how it is spread."""
        if layout is None or not layout.strictly:
            return None, False
        return self.levels().of.get(layout.together), bool(layout.spread)

    def levels(self) -> Levels:
        """The domains of its nodes."""
        if self._levels is None:
            self._levels = Levels(self.nodes.nodes)
        return self._levels

    def _may(self, parts: Parts) -> bool:
        """Whether it is worth trying: of each part alone there is room for all."""
        if not self._within(parts, self.nodes):
            return False
        several = [part for part in parts if part[1] > 1]
        return all(self.nodes.room(ask) >= count for ask, count in several)

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

    def _force(self, ask: Ask) -> Spot | None:
        spot = self._choose(ask) if len(self.nodes) else None
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

    def could(self, parts: Parts, layout: Layout | None = None) -> bool:
        """Whether it would fit if nothing else were here."""
        found = self._could.get((parts, layout))
        if found is None:
            if len(self._could) >= KEPT:
                self._could.clear()
            found = self._could[parts, layout] = self.holds(parts, self.empty(), layout)
        return found

    def holds(self, parts: Parts, nodes: Nodes, layout: Layout | None = None) -> bool:
        """Whether it fits where so much of these nodes is free."""
        layout = layout if layout is not None and layout.binds else None
        if not self._within(parts, nodes):
            return False
        if len(parts) == 1 and layout is None:
            return nodes.room(parts[0][0]) >= parts[0][1]
        nodes = nodes.copy()
        largest = sorted(parts, key=lambda part: (-part[0].milli, -part[0].cpu, -part[0].memory))
        then = Pool(nodes, FirstFit(nodes), _empty=self.empty(), _levels=self._levels)
        return then.lay(tuple(largest), layout=layout) is not None

    def lacks(self, parts: Parts, nodes: Nodes) -> str:
        """Of what it wants more than may be held where so much of these nodes is free, in words."""
        wants, spare = self.wants(parts), self.spare(nodes)
        for name, amount in wants.items():
            if amount > spare.get(name, 0):
                left = figure(name, spare.get(name, 0))
                return f"needs {words(name, amount)}, {left} free"
        return ""

    def scattered(self, parts: Parts, nodes: Nodes, layout: Layout | None) -> str:
        """Why it cannot stand as it must where so much of these nodes is free, in words; empty
        where that is not what is missing."""
        if layout is None or not layout.binds or not self.holds(parts, nodes):
            return ""
        for level in {layout.together: 1, layout.spread: 1}:
            if level and level not in self.levels().names:
                return f"no machine tells its {level}"
        if self.holds(parts, nodes, layout):
            return ""
        domain, most = self.search(parts, layout, nodes=nodes).most()
        all_ = f"all {parts[0][1]} processes" if len(parts) == 1 else "all its processes"
        if layout.together and (len(parts) > 1 or most < parts[0][1]):
            best = f"the largest room is in {domain!r}, for {most} processes"
            return f"no {layout.together} has room for {all_} of this; {best}"
        if layout.together:
            inner = f"evenly over every {layout.spread} in it"
            return f"no {layout.together} has room for {all_} of this, {inner}"
        return f"no room for {all_} of this evenly over every {layout.spread}, for {most} at most"

    def never(self, name: str, parts: Parts, layout: Layout | None = None) -> str:
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
        if lacks := self.lacks(parts, empty) or self.scattered(parts, empty, layout):
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
