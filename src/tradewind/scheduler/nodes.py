"""The machines of a pool as arrays: what each has, what is free, who fits where.

One row a node, one column a device of it. Quantities are whole numbers (thousandths of a core and
of a device, bytes), so that what is taken and given back is exact for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tradewind.base.units import format_bytes
from tradewind.records.tasks import NODE

WHOLE = 1000

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
EVERY = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine: `cpu` in thousandths of a core, `memory` in bytes, how many `devices` it has of
    each model. `where` it is: by level a name, the widest level first (zone, rack). `links` are
    groups of devices, by their columns, that fast links join."""

    name: str
    cpu: int
    memory: int = 0
    devices: tuple[tuple[str, int], ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a level that is told twice, or links of devices that are not."""
        levels = [level for level, _ in self.where]
        if len({NODE, *levels}) <= len(levels):
            raise ValueError(f"node {self.name!r} tells a level twice: {', '.join(levels)}")
        joined = [device for group in self.links for device in group]
        there = range(sum(count for _, count in self.devices))
        if len({*joined}) < len(joined) or any(device not in there for device in joined):
            raise ValueError(f"links of node {self.name!r} join devices that it does not have")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one process wants of one node: `devices` of them, of each `share` thousandths, all of
    the models `models` (empty: any). Less than a whole device is asked of a single one. `others`
    are whole devices of further models, by number: who wants such names all models, each once."""

    cpu: int = 0
    memory: int = 0
    devices: int = 0
    share: int = WHOLE
    models: frozenset[str] = frozenset()
    others: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for further devices where any would do as the first."""
        named = [*self.models, *(model for model, _ in self.others)]
        if self.others and (len(set(named)) < len(named) or bool(self.devices) > bool(self.models)):
            raise ValueError(f"devices of several models, and not each is named once: {self}")

    @property
    def milli(self) -> int:
        """Thousandths of devices in all."""
        return self.devices * self.share + WHOLE * sum(count for _, count in self.others)

    def __str__(self) -> str:
        parts = [f"{self.cpu / WHOLE:g} CPU"] if self.cpu else []
        parts += [format_bytes(self.memory)] if self.memory else []
        if self.devices:
            count = f"{self.share / WHOLE:g}" if self.partial else str(self.devices)
            models = " or ".join(sorted(self.models)) or "device" + "s" * (count != "1")
            parts.append(f"{count} {models}")
        return ", ".join([*parts, *(f"{count} {model}" for model, count in self.others)])

    @property
    def partial(self) -> bool:
        """Whether it shares its device with others."""
        return self.devices == 1 and self.share < WHOLE


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on one node: its row, the columns of the devices, those of `Ask.others` last."""

    node: int
    devices: tuple[int, ...] = ()


@dataclass(slots=True)
class Reserve:
    """So much of one node: `devices` by column, in thousandths."""

    cpu: int = 0
    memory: int = 0
    devices: dict[int, int] = field(default_factory=dict)

    def add(self, spot: Spot, ask: Ask, sign: int = 1) -> None:
        """What a process takes there."""
        self.cpu += sign * ask.cpu
        self.memory += sign * ask.memory
        for at, device in enumerate(spot.devices):
            share = ask.share if at < ask.devices else WHOLE
            self.devices[device] = self.devices.get(device, 0) + sign * share

    def positive(self) -> Reserve:
        """Without what is below zero."""
        return Reserve(
            max(0, self.cpu),
            max(0, self.memory),
            {device: share for device, share in self.devices.items() if share > 0},
        )


class Nodes:
    """What is free. `devices[n, d]` is what nobody holds of a device; a column without one has 0,
    and so takes nothing. `kind[n, d]` is the number of its model. What is held beyond what there is
    (a node was found smaller than it was) stands below zero. `turn` counts the changes, and
    `changed[n]` is the one that was the last of a node: whoever keeps something of nodes sees by it
    which of them to look at again."""

    __slots__ = ("_allowed", "_islands", "_one", "_rows", "changed", "cpu", "devices", "has",
                 "idle", "kind", "kinds", "memory", "most", "nodes", "turn")  # fmt: skip

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self._rows = {node.name: row for row, node in enumerate(nodes)}
        self.kinds = tuple(sorted({model for node in nodes for model, _ in node.devices}))
        self.cpu: Ints = np.array([node.cpu for node in nodes], dtype=np.int64)
        self.memory: Ints = np.array([node.memory for node in nodes], dtype=np.int64)
        counts = [sum(count for _, count in node.devices) for node in nodes]
        self.has: Ints = np.array(counts, dtype=np.int64)
        # How many devices of a node nobody holds anything of.
        self.idle: Ints = self.has.copy()
        shape = (len(nodes), max([1, *counts]))
        self.devices: Ints = np.zeros(shape, dtype=np.int64)
        self.kind: Ints = np.full(shape, len(self.kinds), dtype=np.int64)
        for row, node in enumerate(nodes):
            models = [model for model, count in node.devices for _ in range(count)]
            self.devices[row, : len(models)] = WHOLE
            self.kind[row, : len(models)] = [self.kinds.index(model) for model in models]
        # The most that is left of one device of a node.
        self.most: Ints = self.devices.max(axis=1, initial=0)
        self.turn = 0
        self.changed: Ints = np.zeros(len(nodes), dtype=np.int64)
        self._one = bool((self.kind[:, :1] == self.kind)[self.devices > 0].all())
        self._allowed: dict[frozenset[str], Mask] = {}
        self._islands = _islands(self.nodes, shape)

    def __len__(self) -> int:
        return len(self.nodes)

    def copy(self) -> Self:
        """The same, which changes by itself."""
        twin = object.__new__(type(self))
        same = ("nodes", "has", "kind", "kinds", "turn", "_rows", "_one", "_allowed", "_islands")
        for name in same:
            setattr(twin, name, getattr(self, name))
        for name in ("cpu", "memory", "devices", "idle", "most", "changed"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def row(self, name: str) -> int:
        """Where a node stands; -1 where there is none of that name."""
        return self._rows.get(name, -1)

    def fit(self, ask: Ask, rows: Ints | slice = EVERY) -> Mask:
        """On which of these nodes (left out: of all) it finds all it wants now."""
        found: Mask = (self.cpu[rows] >= ask.cpu) & (self.memory[rows] >= ask.memory)
        if ask.devices:
            if ask.models and self._one:
                found &= self.allowed(ask.models)[self.kind[rows, 0]]
            if ask.models and not self._one:
                left = self.left(ask.models, rows)
                idle, most = (left == WHOLE).sum(axis=1), left.max(axis=1)
            else:
                idle, most = self.idle[rows], self.most[rows]
            found &= idle >= ask.devices if ask.share == WHOLE else most >= ask.share
        for model, count in ask.others:
            found &= (self.left(frozenset({model}), rows) == WHOLE).sum(axis=1) >= count
        return found

    def allowed(self, models: frozenset[str]) -> Mask:
        """By number of a model, and of none, whether it is among these (empty: any is)."""
        known = self._allowed.get(models)
        if known is None:
            known = np.array([*(not models or kind in models for kind in self.kinds), False])
            self._allowed[models] = known
        return known

    def left(self, models: frozenset[str], rows: Ints | slice = EVERY) -> Ints:
        """What is free of the devices of these models (empty: of all), 0 of the others."""
        found = self.devices[rows]
        return np.where(self.allowed(models)[self.kind[rows]], found, 0) if models else found

    def at(self, row: int, ask: Ask, device: int = -1) -> Spot:
        """A place on a node that fits: the first whole devices; of a shared one `device`, or the
        one with the least left."""
        left = self.left(ask.models, np.array([row]))[0]
        if ask.partial:
            tightest = int(np.argmin(np.where(left >= ask.share, left, WHOLE + 1)))
            chosen = device if device >= 0 else tightest
            alike = (left == left[chosen]) & (self.kind[row] == self.kind[row, chosen])
            found = self._linked(row, alike, 1) if self._islands is not None else [chosen]
        else:
            found = self._linked(row, left == WHOLE, ask.devices)
        for model, count in ask.others:
            also = self.left(frozenset({model}), np.array([row]))[0] == WHOLE
            also[found] = False
            found += self._linked(row, also, count)
        return Spot(row, tuple(found))

    def _linked(self, row: int, able: Mask, count: int) -> list[int]:
        """So many of these devices of a node: of the island with the fewest idle ones that holds
        them; where none does, of the largest first, so that as few as can be are broken up."""
        links = self.nodes[row].links
        if not links:
            return [int(device) for device in np.flatnonzero(able)[:count]]
        found: list[int] = []
        alone = sorted({*range(len(able))} - {device for group in links for device in group})
        idle = self.devices[row] == WHOLE
        islands = [
            (int(idle[group].sum()), [device for device in group if able[device]])
            for group in map(list, (*links, *((device,) for device in alone)))
        ]
        while len(found) < count and any(each for _, each in islands):
            want = count - len(found)
            enough = [island for island in islands if len(island[1]) >= want]
            best = min(enough) if enough else max(islands, key=lambda island: len(island[1]))
            islands.remove(best)
            found += best[1][:want]
        return found

    def joined(self, ask: Ask) -> Mask | None:
        """On which nodes one island holds all devices of this; None where that says nothing."""
        if self._islands is None or ask.devices < 2:
            return None
        idle = self.left(ask.models) == WHOLE
        found = np.zeros(len(self), dtype=np.bool_)
        for island in range(int(self._islands.max()) + 1):
            found |= (idle & (self._islands == island)).sum(axis=1) >= ask.devices
        return found

    def take(self, spot: Spot, ask: Ask) -> None:
        """Hold it there."""
        self._change(spot, ask, -1)

    def give(self, spot: Spot, ask: Ask) -> None:
        """Give it back."""
        self._change(spot, ask, +1)

    def reserve(self, row: int, of: Reserve, sign: int) -> None:
        """Nobody may have so much of a node (or may again, where `sign` is below zero)."""
        for device, share in of.devices.items():
            self._add_device(row, device, -sign * share)
        self._add(row, -sign * of.cpu, -sign * of.memory)

    def _change(self, spot: Spot, ask: Ask, sign: int) -> None:
        for at, device in enumerate(spot.devices):
            share = ask.share if at < ask.devices else WHOLE
            self._add_device(spot.node, device, sign * share)
        self._add(spot.node, sign * ask.cpu, sign * ask.memory)

    def _add(self, row: int, cpu: int, memory: int) -> None:
        self.cpu[row] += cpu
        self.memory[row] += memory
        self.most[row] = WHOLE if self.idle[row] else self.devices[row].max()
        self.turn += 1
        self.changed[row] = self.turn

    def _add_device(self, row: int, device: int, share: int) -> None:
        before = int(self.devices[row, device])
        self.devices[row, device] = before + share
        self.idle[row] += (before + share == WHOLE) - (before == WHOLE)

    def room(self, ask: Ask) -> int:
        """How many of these fit at the same time, none spread over nodes; of what wants nothing,
        more than anybody asks for."""
        return int(self.counts(ask).sum()) if len(self) else 0

    def counts(self, ask: Ask) -> Ints:
        """The same by node."""
        counts = [np.full(len(self), 1 << 40)]
        for need, have in ((ask.cpu, self.cpu), (ask.memory, self.memory)):
            if need:
                counts.append(have // need)
        if ask.devices:
            left = self.left(ask.models)
            if ask.share == WHOLE:
                counts.append((left == WHOLE).sum(axis=1) // ask.devices)
            else:
                counts.append((left // ask.share).sum(axis=1))
        for model, count in ask.others:
            counts.append((self.left(frozenset({model})) == WHOLE).sum(axis=1) // count)
        found: Ints = np.maximum(np.min(counts, axis=0), 0)
        return found


def _islands(nodes: Sequence[Node], shape: tuple[int, int]) -> Ints | None:
    """By node and device the number of its island there, -1 of none; None where no node has any."""
    if not any(node.links for node in nodes):
        return None
    found = np.full(shape, -1, dtype=np.int64)
    for row, node in enumerate(nodes):
        for number, group in enumerate(node.links):
            found[row, list(group)] = number
    return found
