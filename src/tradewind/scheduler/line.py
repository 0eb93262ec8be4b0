"""Who waits, in order. Those of one project, queue and pool that ask for the same stand in one
file: when the first of them finds no place, none of them does, and nobody looks at the rest.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tradewind.records.tasks import Layout
from tradewind.scheduler.amounts import Amounts, Parts
from tradewind.scheduler.events import Waiting
from tradewind.scheduler.queues import Branch, Queues

Key = tuple[float, ...]
# Queue, project, pool, what is asked for, and how it is to stand.
Kind = tuple[str, str, str, Parts, Layout | None]


def kind(waiting: Waiting) -> Kind:
    """In which file it stands."""
    return waiting.queue, waiting.project, waiting.pool, waiting.parts, waiting.layout


@dataclass(slots=True)
class File:
    """Those who ask for the same, the first in front. `tried` is the turn in which its first one
    found no place, `refused` the state in which nobody could make room for it, `again` until when
    that holds, `moved` when others could last not move out of its way. `wants` is what one of them
    counts in the queues, `patient` who waits for others to end, and since when."""

    kind: Kind
    heap: list[tuple[Key, int]] = field(default_factory=list)
    tried: int = -1
    moved: float = -math.inf
    refused: tuple[str, int, int, float] | None = None
    again: float = math.inf
    wants: Amounts | None = None
    patient: tuple[str, float] | None = None

    @property
    def pool(self) -> str:
        """The pool for which they wait."""
        return self.kind[2]


@dataclass(slots=True)
class Line:
    """Runs are numbered as they come: among equals whoever came first is first."""

    files: dict[Kind, File] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    _number: dict[str, int] = field(default_factory=dict)
    _run: dict[int, str] = field(default_factory=dict)
    _next: int = 0

    def copy(self) -> Line:
        """The same, which changes by itself."""
        files = {
            name: File(
                name,
                [*each.heap],
                each.tried,
                each.moved,
                each.refused,
                each.again,
                each.wants,
                each.patient,
            )
            for name, each in self.files.items()
        }
        return Line(files, {**self.waiting}, {**self._number}, {**self._run}, self._next)

    def join(self, waiting: Waiting, key: Key) -> None:
        """At its place in the line."""
        number = self._next
        self._next += 1
        self.waiting[waiting.run] = waiting
        self._number[waiting.run], self._run[number] = number, waiting.run
        file = self.files.setdefault(kind(waiting), File(kind(waiting)))
        heapq.heappush(file.heap, (key, number))
        # It may be another one than before by the same name.
        if file.heap[0][1] == number:
            file.refused = None
        if file.patient is not None and file.patient[0] == waiting.run:
            file.patient = None

    def leave(self, run: str) -> Waiting | None:
        """It waits no longer; what it was, if it waited."""
        found = self.waiting.pop(run, None)
        if found is not None:
            del self._run[self._number.pop(run)]
        return found

    def first(self, file: File) -> tuple[Key, int] | None:
        """Key and number of whoever is in front of a file; one without anybody is dropped."""
        while file.heap:
            if file.heap[0][1] in self._run:
                return file.heap[0]
            heapq.heappop(file.heap)  # it has left
        self.files.pop(file.kind, None)
        return None

    def front(self, file: File) -> Waiting:
        """Whoever `first` has found."""
        return self.waiting[self._run[file.heap[0][1]]]

    def rest(self, file: File) -> Iterator[Waiting]:
        """All of a file, in order."""
        for _, number in sorted(file.heap):
            if number in self._run:
                yield self.waiting[self._run[number]]

    def sort(self, key: Callable[[Waiting], Key]) -> None:
        """All anew."""
        for file in self.files.values():
            left = [number for _, number in file.heap if number in self._run]
            file.heap = [(key(self.waiting[self._run[number]]), number) for number in left]
            heapq.heapify(file.heap)
            file.tried = -1


class Front:
    """Whose turn it is: the first one of each file, by queues and projects. Of two queues that goes
    first whose first one takes what is guaranteed to it, so that nobody borrows that before; then
    the one with the lesser share. Of two projects in a queue the one goes first whose first has the
    higher priority, then the one with the lesser share; within a project the lowest key."""

    def __init__(self, queues: Queues, wants: Callable[[File], Amounts]) -> None:
        """`wants` tells what one of a file counts in the queues."""
        self._queues, self._wants = queues, wants
        self._heaps: dict[Branch, list[tuple[Key, int, File]]] = {}
        self._able: dict[Branch, dict[Branch, None]] = {}
        # Key and number of the first one below a branch, and its file, as far as they are known.
        self._firsts: dict[Branch, tuple[Key, int, File]] = {}

    def push(self, file: File, first: tuple[Key, int]) -> None:
        """The first one of a file, by its key and number."""
        leaf = self._queues.leaf(file.kind[0], file.kind[1])
        heap = self._heaps.get(leaf)
        if heap is None:
            heap = self._heaps[leaf] = []
            for branch in leaf.path():
                if branch.parent is not None:
                    self._able.setdefault(branch.parent, {})[branch] = None
        heapq.heappush(heap, (*first, file))
        self._forget(leaf)

    def pop(self) -> tuple[Key, File] | None:
        """Whoever is next; None where nobody is left."""
        if not self._heaps:
            return None
        branch = self._queues.root
        while not branch.project:
            able = self._able[branch]
            branch = next(iter(able)) if len(able) == 1 else min(able, key=self._rank)
        heap = self._heaps[branch]
        key, _, file = heapq.heappop(heap)
        self._forget(branch)
        if not heap:
            del self._heaps[branch]
            self._leave(branch)
        return key, file

    def _leave(self, branch: Branch) -> None:
        above = branch.parent
        if above is None or self._able.get(branch):
            return
        del self._able[above][branch]
        self._leave(above)

    def _rank(self, branch: Branch) -> tuple[float, float, Key, int]:
        key, number, file = self._first(branch)
        if branch.project:
            first = key[0]
        else:
            first = not (self._queues.limited and self._owns(branch, file))
        return (first, self._queues.share(branch), key, number)

    def _owns(self, branch: Branch, file: File) -> bool:
        return self._queues.owns(branch, self._queues.leaf(*file.kind[:2]), self._wants(file))

    def _first(self, branch: Branch) -> tuple[Key, int, File]:
        known = self._firsts.get(branch)
        if known is None:
            if branch.project:
                known = self._heaps[branch][0]
            else:
                known = min(map(self._first, self._able[branch]))
            self._firsts[branch] = known
        return known

    def _forget(self, leaf: Branch) -> None:
        for branch in leaf.path() if self._firsts else ():
            self._firsts.pop(branch, None)
