"""Who holds a place in a pool, as arrays: at each event somebody asks whom one may interrupt, and
to look at all of them one by one takes longer than an event may.

One row a run, one a process of it. Freed rows are used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.scheduler.amounts import Parts, each
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.held import PRECIOUS, Held
from tradewind.scheduler.nodes import Ints, Mask, Nodes
from tradewind.scheduler.order import KNOWN, Shortest
from tradewind.scheduler.queues import Branch, Queues

Floats = NDArray[np.float64]
Cost = tuple[float, float]

# `stays`: it has not been told to go; `guess`: it keeps its work, and nobody knows when it ends;
# `bound`: it must stand in some domain, or spread;
# `more`: it is a process by which a run has grown, and goes before anybody else;
# `weight` times seconds is an index of the order, `cost` what beginning again takes; what was done
# until `saved` is kept (infinite: always all), each second of what was not is `worth` so much.
RUN = {"stays": np.bool_, "saved": np.float64, "stands": np.bool_, "guess": np.bool_,
       "group": np.int64, "queue": np.int64, "first": np.float64, "began": np.float64,
       "width": np.float64, "weight": np.float64, "left": np.float64, "attained": np.float64,
       "restart": np.float64, "cost": np.float64, "alive": np.bool_, "known": np.bool_,
       "worth": np.float64, "more": np.bool_, "bound": np.bool_}  # fmt: skip
# Amounts are whole numbers all the same: sums of them are exact, and need not be converted.
PROCESS = {"alive": np.bool_, "run": np.int64, "row": np.int64, "some": np.bool_,
           "cpu": np.float64, "memory": np.float64, "milli": np.float64}  # fmt: skip
# Of runs that are not told how long they take another is interrupted only for one that is due so
# much sooner.
SOONER = 0.8


class Table:
    """Rows that are taken and given back, by columns: each is an array of its own, since whoever
    asks looks at all rows of a few columns."""

    def __init__(self, kinds: dict[str, type]) -> None:
        """Begins small and grows by doubling."""
        self.columns: dict[str, np.ndarray] = {n: np.zeros(16, kind) for n, kind in kinds.items()}
        self._free = list(range(15, -1, -1))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def take(self, *values: float) -> int:
        """Put these, one for each column, into a free row."""
        if not self._free:
            size = len(self)
            for name, column in self.columns.items():
                self.columns[name] = np.concatenate([column, np.zeros_like(column)])
            self._free = list(range(2 * size - 1, size - 1, -1))
        row = self._free.pop()
        for column, value in zip(self.columns.values(), values, strict=True):
            column[row] = value
        return row

    def give(self, row: int) -> None:
        """It is free again."""
        for column in self.columns.values():
            column[row] = 0
        self._free.append(row)

    def copy(self) -> Table:
        """The same, which changes by itself."""
        twin = Table({})
        twin.columns = {name: column.copy() for name, column in self.columns.items()}
        twin._free = [*self._free]
        return twin


class Going:
    """Those of one pool."""

    def __init__(self) -> None:
        self.runs, self.processes = Table(RUN), Table(PROCESS)
        self._slot: dict[str, tuple[int, list[int]]] = {}
        self._name: dict[int, str] = {}
        # Queues, and projects in them, by number.
        self._numbers: dict[tuple[str, ...], int] = {}
        # By project and priority, where nobody else may be interrupted for one of them than others
        # of them: when the last of these is due, at most. Who works is due ever sooner.
        self._calm: dict[tuple[int, float], float] = {}

    def copy(self) -> Going:
        """The same, which changes by itself."""
        twin = Going()
        twin.runs, twin.processes = self.runs.copy(), self.processes.copy()
        twin._slot, twin._name = {**self._slot}, {**self._name}
        twin._numbers, twin._calm = {**self._numbers}, {**self._calm}
        return twin

    def add(self, held: Held) -> None:
        """It holds a place from now on."""
        asked, spots, began = held.asked, held.spots, held.began
        saved = np.inf if asked.keeps else held.saved
        slot = self.runs.take(
            not held.by, saved, asked.stands,
            saved > -np.inf and asked.left is None and not held.of,
            self.number(asked.queue, asked.project), self.number(asked.queue),
            -float(asked.priority), began, asked.width, asked.width**KNOWN, asked.left or 0.0,
            asked.attained, asked.restart, asked.restart * asked.width,
            True, asked.left is not None, held.worth, bool(held.of),
            asked.layout is not None and asked.layout.binds,
        )  # fmt: skip
        rows = [self.processes.take(True, slot, spot.node, ask.cpu + ask.milli > 0, ask.cpu,
                                    ask.memory, ask.milli)
                for spot, ask in zip(spots, each(asked.parts), strict=False)]  # fmt: skip
        self._slot[asked.run], self._name[slot] = (slot, rows), asked.run
        self._stir(slot)

    def number(self, *names: str) -> int:
        """Of a queue, or of a project in one."""
        return self._numbers.setdefault(names, len(self._numbers))

    def groups(self) -> list[tuple[str, ...]]:
        """By number a queue, or a queue and a project in it."""
        return list(self._numbers)

    def ends(self, now: float) -> Floats:
        """By row, when each is expected to end: of whom it is not known, as long after now as it
        has worked, and a minute at least; infinite for what goes on until it is stopped, now for
        what a run has grown by."""
        runs = self.runs
        had = np.maximum(0.0, now - runs["began"] - runs["restart"])
        left = np.where(runs["known"], np.maximum(runs["left"] - had, 0.0), np.maximum(had, 60.0))
        left[runs["more"]] = 0.0
        found: Floats = np.where(runs["stands"] | ~runs["alive"], np.inf, now + left)
        return found

    def drop(self, run: str) -> None:
        """It holds nothing any more."""
        slot, rows = self._slot.pop(run)
        del self._name[slot]
        self.runs.give(slot)
        for row in rows:
            self.processes.give(row)

    def leaves(self, run: str, leaving: bool = True) -> None:
        """It has been told to go, or may stay after all."""
        slot = self._slot[run][0]
        self.runs["stays"][slot] = not leaving
        if not leaving:
            self._stir(slot)

    def save(self, run: str, at: float) -> None:
        """What it has done until then is kept."""
        runs, slot = self.runs, self._slot[run][0]
        runs["saved"][slot], runs["guess"][slot] = at, not runs["known"][slot]
        self._stir(slot)

    def guesses(self) -> bool:
        """Whether somebody may be due later than a moment ago."""
        return bool(self.runs["guess"].any())

    def calm(self, waiting: Waiting, key: tuple[float, ...]) -> bool:
        """Whether it is known that nobody may be interrupted for this."""
        latest = self._calm.get((self.number(waiting.queue, waiting.project), key[0]), np.inf)
        return latest <= key[1]

    def calms(self, waiting: Waiting, key: tuple[float, ...], latest: float) -> None:
        """Nobody may be interrupted for one that is due as soon or later than that."""
        if not self.guesses():
            self._calm[self.number(waiting.queue, waiting.project), key[0]] = latest

    def _stir(self, slot: int) -> None:
        """This one might be interrupted from now on."""
        runs = self.runs
        if self._calm:
            alike = int(runs["group"][slot]), float(runs["first"][slot])
            latest = self._calm.get(alike)
            self._calm.clear()
            if latest is not None and not runs["guess"][slot] and not runs["more"][slot]:
                due = float(runs["weight"][slot] * runs["left"][slot])
                self._calm[alike] = max(latest, due)

    def keeps(self, now: float) -> Mask:
        """By row, as `Held.keeps`."""
        runs = self.runs
        found: Mask = now - runs["saved"] <= runs["saved"] - runs["began"]
        return found

    def unsaved(self, now: float) -> Floats:
        """By row, the seconds of work that are lost."""
        runs = self.runs
        found: Floats = np.maximum(now - np.maximum(runs["began"], runs["saved"]), 0.0)
        return found

    def name(self, slot: int) -> str:
        """The run in this row."""
        return self._name[slot]

    def dues(self, order: Shortest | None, now: float, keeps: Mask) -> Floats:
        """By row, the index that each would have if it waited; of what loses its work, 0, and of
        what a run has grown by, infinite."""
        runs = self.runs
        if order is None:
            return np.where(runs["more"], np.inf, -np.inf)
        had = np.maximum(0.0, now - runs["began"] - runs["restart"])
        index = runs["weight"] * np.maximum(0.0, runs["left"] - had)
        for slot in np.flatnonzero(runs["guess"]).tolist():
            width, attained = float(runs["width"][slot]), float(runs["attained"][slot] + had[slot])
            index[slot] = order.index(width, attained, None) * SOONER
        cost = runs["cost"] + self.unsaved(now) * runs["width"]
        found: Floats = np.where(keeps, index - cost, 0.0)
        found[runs["more"]] = np.inf
        return found


@dataclass(slots=True)
class Side:
    """How those of a pool stand to whoever has this project and priority: they are of `lower`
    priority (or a run has grown by them), of `others`, or `equal` in project and priority; then
    `dues` tells when they are due, and `latest` is the last of these. `mine`: of its project;
    `able`: anybody is `lower` or of `others`."""

    mine: Mask
    lower: Mask
    others: Mask
    equal: Mask
    dues: Floats
    latest: float
    able: bool


@dataclass(frozen=True, slots=True)
class Shadow:
    """When, and on which nodes."""

    at: float
    rows: Mask


class Foes:
    """Whom those of a pool may interrupt at one moment, until anybody else gets or gives back a
    place: what all who ask have in common is found once."""

    def __init__(self, going: Going, nodes: Nodes, order: Shortest | None, now: float) -> None:
        self._going, self._nodes, self._now = going, nodes, now
        self.keeps = going.keeps(now)
        self.dues = going.dues(order, now, self.keeps)
        self._free: dict[str, Floats] = {}
        self._sides: dict[tuple[int, float], Side] = {}
        self._inside: dict[Branch, Mask] = {}

    def of(self, waiting: Waiting, key: tuple[float, ...]) -> tuple[Mask, Mask] | None:
        """Whom it may interrupt: of its project, and of others in its queue, those of lower
        priority, and of its project those that are due later, and by what any run has grown; then
        of all others those whom its queues must allow it to interrupt (`Queues.takes`). None:
        nobody, nor would `movable` find anybody. Whoever began at this very moment stays: so a
        moment comes to an end."""
        side = self._side(waiting, key[0])
        if not side.able and side.latest <= key[1]:
            return None
        later = side.dues > key[1] + waiting.restart * waiting.width
        return side.lower | later, side.others

    def latest(self, waiting: Waiting, key: tuple[float, ...]) -> float:
        """When the last of its project and priority is due."""
        return self._side(waiting, key[0]).latest

    def movable(self, waiting: Waiting, key: tuple[float, ...], own: Mask, part: float) -> Mask:
        """Those of its project that may only move, where what this loses is less than such a part
        of what it takes itself. Whoever is bound to a domain does not move."""
        side = self._side(waiting, key[0])
        if side.latest <= key[1] and not (side.mine & side.lower).any():
            return np.zeros_like(own)
        runs = self._going.runs
        found: Mask = side.equal & ~own & ~runs["bound"] & (runs["cost"] <= part * key[1])
        return found

    def _side(self, waiting: Waiting, first: float) -> Side:
        group = self._going.number(waiting.queue, waiting.project)
        known = self._sides.get((group, first))
        if known is None:
            queue = self._going.number(waiting.queue)
            known = self._sides[group, first] = self._stand(group, queue, first)
        return known

    def _stand(self, group: int, queue: int, first: float) -> Side:
        runs = self._going.runs
        more = runs["more"]
        able = runs["stays"] & (more | (runs["began"] != self._now))
        near, mine = able & (runs["queue"] == queue), able & (runs["group"] == group)
        goes = near & ~runs["stands"]
        lower = (goes & (runs["first"] > first)) | (able & more)
        alike = goes & (runs["first"] == first) & self.keeps & ~more
        equal = alike & mine
        others = ((able ^ near) & ~more) | (alike ^ equal)
        dues: Floats = np.where(equal, self.dues, -np.inf)
        return Side(mine, lower, others, equal, dues, float(dues.max()),
                    bool((lower | others).any()))  # fmt: skip

    def inside(self, branch: Branch, queues: Queues) -> Mask:
        """Who is of this queue."""
        known = self._inside.get(branch)
        if known is None:
            below = np.array(queues.below(branch, self._going.groups()), dtype=np.bool_)
            known = self._inside[branch] = below[self._going.runs["group"]]
        return known

    @property
    def more(self) -> Mask:
        """By what runs have grown."""
        found: Mask = self._going.runs["more"]
        return found

    def cheapest(self, who: Mask) -> tuple[Ints, list[Cost]]:
        """The rows of these, and what it costs to interrupt each: the least work that is lost
        first; where nothing is lost, whoever is due last."""
        slots = np.flatnonzero(who)
        lost = self._lost()[slots]
        soon = -self.dues[slots]
        order = np.lexsort((soon, lost))
        return slots[order], list(zip(lost[order].tolist(), soon[order].tolist(), strict=True))

    def enough(self, parts: Parts, who: Mask) -> bool:
        """Whether what is free and what these hold is as much as is asked for, wherever it is."""
        goes = who[self._going.processes["run"]] & self._going.processes["some"]
        for name in ("cpu", "memory", "milli"):
            need = sum(getattr(ask, name) * count for ask, count in parts)
            if need:
                theirs = (self._going.processes[name] * goes).sum()
                if need > self._free_of(name).sum() + theirs:
                    return False
        return True

    def might(self, parts: Parts, who: Mask, among: Mask | None = None) -> Mask | None:
        """The nodes (of these, if they are given) on which there might be room for a process of
        this if all of these went; None where there would not be room for all. That is necessary,
        not enough: which devices become free is not looked at."""
        found = np.zeros(len(self._nodes), dtype=np.bool_)
        for wanted, most in self._rooms(parts, who):
            able = most > 0 if among is None else among & (most > 0)
            if not able.any() or (wanted > 1 and most[able].sum() < wanted):
                return None
            found |= able
        return found

    def _rooms(self, parts: Parts, who: Mask) -> Iterator[tuple[int, Floats]]:
        """Of each part how many processes are wanted, and for how many a node might have room."""
        goes = who[self._going.processes["run"]] & self._going.processes["some"]
        have: dict[str, Floats] = {}
        for ask, wanted in parts:
            most = np.full(len(self._nodes), float(wanted))
            for name, need in (("cpu", ask.cpu), ("memory", ask.memory), ("milli", ask.milli)):
                if need:
                    if name not in have:
                        have[name] = self._free_of(name) + self._given(name, goes)
                    np.minimum(most, have[name] // need, out=most)
            yield wanted, most

    def shadow(
        self, parts: Parts, domains: Ints | None = None, whole: bool = False
    ) -> Shadow | None:
        """When this might find room at the earliest, if nobody else begins, and on which nodes,
        as few as will do (or `whole` domains); None where it finds none however many end. All of
        them are in one of the `domains`, where these are given by node (-1: in none)."""
        ends = self._going.ends(self._now)
        moments = np.unique(ends[np.isfinite(ends)])
        least, beyond = 0, len(moments)
        while least < beyond:
            middle = (least + beyond) // 2
            if self._inside_of(parts, ends <= moments[middle], domains) is None:
                least = middle + 1
            else:
                beyond = middle
        if least == len(moments):
            return None
        rows = np.zeros(len(self._nodes), dtype=np.bool_)
        there = self._inside_of(parts, ends <= moments[least], domains)
        assert there is not None
        if whole:
            return Shadow(float(moments[least]), there)
        for wanted, room in self._rooms(parts, ends <= moments[least]):
            most = np.where(there, room, 0.0)
            order = np.argsort(-most, kind="stable")
            needed = int(np.searchsorted(np.cumsum(np.maximum(most[order], 0)), wanted)) + 1
            rows[order[:needed]] = True
        return Shadow(float(moments[least]), rows)

    def _inside_of(self, parts: Parts, who: Mask, domains: Ints | None) -> Mask | None:
        """The nodes of the first domain in which there might be room for all if these went."""
        if domains is None:
            enough = self.might(parts, who) is not None
            return np.ones(len(self._nodes), dtype=np.bool_) if enough else None
        inside = domains >= 0
        able = np.ones(int(domains.max(initial=-1)) + 1, dtype=np.bool_)
        for wanted, most in self._rooms(parts, who):
            able &= np.bincount(domains[inside], np.maximum(most[inside], 0), len(able)) >= wanted
        return domains == int(able.argmax()) if able.any() else None

    def least(self, parts: Parts, who: Mask, domains: Ints, count: int) -> Floats:
        """By domain (given by node, -1: in none) what is lost at least, in the unit of `cheapest`,
        if of these as many go there as this has not room: those that lose least, each as far as it
        is needed. No choice loses less there."""
        processes = self._going.processes
        name = "milli" if any(ask.milli for ask, _ in parts) else "cpu"
        wanted = sum(getattr(ask, name) * many for ask, many in parts)
        inside = domains >= 0
        free = np.bincount(domains[inside], np.maximum(self._free_of(name)[inside], 0), count)
        held = processes[name] * processes["some"]
        whole = np.bincount(processes["run"], held, len(who))
        rate = self._lost() / np.maximum(whole, 1)
        rows = np.flatnonzero(who[processes["run"]] & (held > 0) & inside[processes["row"]])
        where, rates = domains[processes["row"][rows]], rate[processes["run"][rows]]
        order = np.lexsort((rates, where))
        where, sizes = where[order], held[rows][order]
        before = np.cumsum(sizes) - sizes
        before -= before[np.searchsorted(where, where)]
        takes = np.clip(wanted - free[where] - before, 0, sizes)
        return np.bincount(where, takes * rates[order], count).astype(np.float64)

    def _lost(self) -> Floats:
        """By row, what is lost if each is interrupted."""
        runs = self._going.runs
        found: Floats = self._going.unsaved(self._now) * runs["worth"]
        return np.where(runs["stands"], PRECIOUS, found)

    def holding(self, who: Mask, among: Mask) -> Mask:
        """Those of these that hold anything on any of such nodes."""
        processes = self._going.processes
        some = who[processes["run"]] & processes["some"]
        found = np.zeros(len(who), dtype=np.bool_)
        found[processes["run"][some & among[processes["row"]]]] = True
        return found

    def _free_of(self, name: str) -> Floats:
        known = self._free.get(name)
        if known is None:
            nodes = self._nodes
            free = nodes.devices.sum(axis=1) if name == "milli" else getattr(nodes, name)
            known = np.asarray(free, dtype=np.float64)
            self._free[name] = known
        return known

    def _given(self, name: str, goes: Mask) -> Floats:
        """What these hold of each node."""
        processes = self._going.processes
        given = processes[name] * goes
        return np.asarray(np.bincount(processes["row"], given, len(self._nodes)), dtype=np.float64)
