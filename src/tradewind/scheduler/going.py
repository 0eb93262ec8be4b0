"""Who holds a place in a pool, as arrays: at each event somebody asks whom one may interrupt, and
to look at all of them one by one takes longer than an event may.

One row a run, one a process of it. Freed rows are used again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradewind.scheduler.amounts import Parts, each
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.nodes import Ints, Mask, Nodes, Spot
from tradewind.scheduler.order import KNOWN, Shortest

Floats = NDArray[np.float64]

RUN = np.dtype([
    ("alive", np.bool_), ("leaving", np.bool_), ("keeps", np.bool_), ("stands", np.bool_),
    ("known", np.bool_), ("group", np.int64), ("queue", np.int64), ("first", np.float64),
    ("began", np.float64), ("width", np.float64), ("left", np.float64), ("attained", np.float64),
    ("restart", np.float64),
])  # fmt: skip
PROCESS = np.dtype([("run", np.int64), ("row", np.int64), ("cpu", np.int64),
                    ("memory", np.int64), ("milli", np.int64)])  # fmt: skip
# Of runs that are not told how long they take another is interrupted only for one that is due so
# much sooner.
SOONER = 0.8


@dataclass(slots=True)
class Table:
    """Rows that are taken and given back."""

    kind: np.dtype
    rows: np.ndarray = field(init=False)
    _free: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins small and grows by doubling."""
        self.rows = np.zeros(16, dtype=self.kind)
        self._free = list(range(15, -1, -1))

    def take(self) -> int:
        """A free row."""
        if not self._free:
            size = len(self.rows)
            self.rows = np.concatenate([self.rows, np.zeros(size, dtype=self.kind)])
            self._free = list(range(2 * size - 1, size - 1, -1))
        return self._free.pop()

    def give(self, row: int) -> None:
        """It is free again."""
        self.rows[row] = np.zeros((), dtype=self.kind)
        self._free.append(row)

    def copy(self) -> Table:
        """The same, which changes by itself."""
        twin = Table(self.kind)
        twin.rows, twin._free = self.rows.copy(), [*self._free]
        return twin


class Going:
    """Those of one pool."""

    def __init__(self) -> None:
        self._runs, self._processes = Table(RUN), Table(PROCESS)
        self._slot: dict[str, tuple[int, list[int]]] = {}
        self._name: dict[int, str] = {}
        # Queues, and projects in them, by number.
        self._numbers: dict[tuple[str, ...], int] = {}

    def copy(self) -> Going:
        """The same, which changes by itself."""
        twin = Going()
        twin._runs, twin._processes = self._runs.copy(), self._processes.copy()
        twin._slot, twin._name = {**self._slot}, {**self._name}
        twin._numbers = {**self._numbers}
        return twin

    def add(self, asked: Waiting, spots: tuple[Spot, ...], began: float, leaving: bool) -> None:
        """It holds a place from now on."""
        slot = self._runs.take()
        self._runs.rows[slot] = (
            True, leaving, asked.keeps, asked.stands, asked.left is not None,
            self.number(asked.queue, asked.project), self.number(asked.queue),
            -float(asked.priority), began, asked.width, asked.left or 0.0, asked.attained,
            asked.restart,
        )  # fmt: skip
        rows = []
        for spot, ask in zip(spots, each(asked.parts), strict=False):
            rows.append(self._processes.take())
            self._processes.rows[rows[-1]] = slot, spot.node, ask.cpu, ask.memory, ask.milli
        self._slot[asked.run], self._name[slot] = (slot, rows), asked.run

    def number(self, *names: str) -> int:
        """Of a queue, or of a project in one."""
        return self._numbers.setdefault(names, len(self._numbers))

    def drop(self, run: str) -> None:
        """It holds nothing any more."""
        slot, rows = self._slot.pop(run)
        del self._name[slot]
        self._runs.give(slot)
        for row in rows:
            self._processes.give(row)

    def leaves(self, run: str, leaving: bool = True) -> None:
        """It has been told to go, or may stay after all."""
        self._runs.rows["leaving"][self._slot[run][0]] = leaving

    def __len__(self) -> int:
        """So many rows."""
        return len(self._runs.rows)

    def named(self, who: Mask) -> list[tuple[int, str]]:
        """Rows and runs of these."""
        return [(slot, self._name[slot]) for slot in np.flatnonzero(who).tolist()]

    # --- who may be interrupted --------------------------------------------------------------

    def dues(self, order: Shortest | None, now: float) -> Floats:
        """By row, the index that each would have if it waited; of what loses its work, 0."""
        runs = self._runs.rows
        had = np.maximum(0.0, now - runs["began"] - runs["restart"])
        if order is None:
            return np.full(len(runs), -np.inf)
        left = np.maximum(0.0, runs["left"] - had)
        index = runs["width"] ** KNOWN * left
        for slot in np.flatnonzero(runs["alive"] & runs["keeps"] & ~runs["known"]).tolist():
            width, attained = float(runs["width"][slot]), float(runs["attained"][slot] + had[slot])
            index[slot] = order.index(width, attained, None) * SOONER
        found: Floats = np.where(runs["keeps"], index - runs["restart"] * runs["width"], 0.0)
        return found

    def foes(
        self, waiting: Waiting, key: tuple[float, ...], dues: Floats, now: float, moves: float
    ) -> tuple[Mask, Mask, Mask]:
        """Whom it may interrupt: of its project, and of others in its queue, those of lower
        priority, and of its project those that are due later; then of all others those whom its
        queues must allow it to interrupt (`Queues.takes`); then of its project those that may only
        move, where what this loses is less than such a part of what it takes itself. Whoever began
        at this very moment stays: so a moment comes to an end."""
        runs = self._runs.rows
        able = runs["alive"] & ~runs["leaving"] & (runs["began"] != now)
        mine = able & (runs["group"] == self.number(waiting.queue, waiting.project))
        near = able & (runs["queue"] == self.number(waiting.queue))
        far = able & ~near
        lower = near & (runs["first"] > key[0]) & ~runs["stands"]
        equal = (runs["first"] == key[0]) & runs["keeps"] & ~runs["stands"]
        others = far | (near & ~mine & equal)
        last = mine & equal & (dues > key[1])
        if not (last.any() or (mine & lower).any()):
            return lower, others, np.zeros_like(mine)
        later = last & (dues > key[1] + waiting.restart * waiting.width)
        movable = mine & equal & ~later & (runs["restart"] * runs["width"] <= moves * key[1])
        return lower | later, others, movable

    def might(self, nodes: Nodes, parts: Parts, who: Mask) -> tuple[Mask, Mask] | None:
        """The nodes on which there might be room for a process of this if all of these went, and
        who of them holds anything there; None where there would not be room for all. That is
        necessary, not enough: which devices become free is not looked at."""
        processes = self._processes.rows
        goes = who[processes["run"]] & (processes["cpu"] + processes["milli"] > 0)
        theirs = processes[goes]
        count = len(nodes)
        cpu = nodes.cpu + _sums(theirs, "cpu", count)
        memory = nodes.memory + _sums(theirs, "memory", count)
        milli = nodes.devices.sum(axis=1) + _sums(theirs, "milli", count)
        found = np.zeros(count, dtype=np.bool_)
        for ask, wanted in parts:
            most = np.full(count, wanted)
            for need, have in ((ask.cpu, cpu), (ask.memory, memory), (ask.milli, milli)):
                if need:
                    most = np.minimum(most, have // need)
            if np.clip(most, 0, None).sum() < wanted:
                return None
            found |= most > 0
        holds = np.zeros(len(who), dtype=np.bool_)
        holds[theirs["run"][found[theirs["row"]]]] = True
        return found, holds


def _sums(processes: np.ndarray, name: str, count: int) -> Ints:
    found: Ints = np.bincount(processes["row"], weights=processes[name], minlength=count).astype(
        np.int64
    )
    return found
