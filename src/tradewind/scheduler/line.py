"""Who waits, in order. Those of one pool that ask for the same stand in one file: when the first of
them finds no place, none of them does, and nobody looks at the rest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from tradewind.scheduler.events import Parts, Waiting

Key = tuple[float, ...]
Kind = tuple[str, Parts]


@dataclass(slots=True)
class File:
    """Those who ask for the same, the first in front. `tried` is the turn of its pool in which its
    first one found no place."""

    kind: Kind
    heap: list[tuple[Key, int]] = field(default_factory=list)
    tried: int = -1


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
        files = {kind: File(kind, [*each.heap], each.tried) for kind, each in self.files.items()}
        return Line(files, {**self.waiting}, {**self._number}, {**self._run}, self._next)

    def join(self, waiting: Waiting, key: Key) -> None:
        """At its place in the line."""
        number = self._next
        self._next += 1
        self.waiting[waiting.run] = waiting
        self._number[waiting.run], self._run[number] = number, waiting.run
        kind = (waiting.pool, waiting.parts)
        file = self.files.get(kind)
        if file is None:
            file = self.files[kind] = File(kind)
        heapq.heappush(file.heap, (key, number))

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

    def sort(self, key: Callable[[Waiting], Key]) -> None:
        """All anew."""
        self.files = {}
        for run, waiting in self.waiting.items():
            kind = (waiting.pool, waiting.parts)
            file = self.files.setdefault(kind, File(kind))
            file.heap.append((key(waiting), self._number[run]))
        for file in self.files.values():
            heapq.heapify(file.heap)
