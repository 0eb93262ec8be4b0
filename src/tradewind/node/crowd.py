"""Who else wants this machine's cores: looked at once a second, told as a mean of some seconds."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable

from tradewind.supervisor import processes

PAUSE = 1.0
# Looks that are kept, and how many of them tell something.
KEPT, ENOUGH = 15, 3


class Crowd:
    """`roots` gives the processes below which everything is ours. A thread that wants a core and is
    not ours is a neighbour: the cores' own use would not tell more than that all are taken."""

    def __init__(
        self,
        roots: Callable[[], set[int]],
        runnable: Callable[[], int] = processes.runnable,
        running: Callable[[set[int]], int] = processes.running,
        spent: Callable[[set[int]], dict[int, tuple[int, float]]] | None = None,
    ) -> None:
        """`spent` gives the session and the core-seconds of every process but those below `roots`,
        where the kernel is fair to sessions."""
        self._roots, self._runnable, self._running = roots, runnable, running
        self._spent = spent
        self._seen: deque[int] = deque(maxlen=KEPT)
        self._groups: deque[float] = deque(maxlen=KEPT)
        self._before: dict[int, tuple[int, float]] = {}

    def look(self) -> None:
        """Count once. Who looks is running too, and is ours."""
        all_of_them = self._runnable()
        if all_of_them > 0:
            roots = self._roots()
            others = all_of_them - self._running(roots)
            self._seen.append(others)
            self._group(others, roots)
        else:  # the kernel does not tell
            self._seen.clear()

    def _group(self, others: int, roots: set[int]) -> None:
        """To how many sessions they belong, by who has computed since the look before."""
        if self._spent is None:
            return
        if others <= 0:
            self._groups.append(0.0)
            return
        before, self._before = self._before, self._spent(roots)
        used: defaultdict[int, float] = defaultdict(float)
        for pid, (session, seconds) in self._before.items():
            used[session] += max(0.0, seconds - before.get(pid, (session, 0.0))[1])
        whole = sum(used.values())
        if before and whole > 0:  # one thread is in one session, and no more than all of it
            self._groups.append(sum(min(1.0, others * each / whole) for each in used.values()))

    def told(self) -> dict[str, float]:
        """The figures of `records.load.Load`; nothing where they are not known."""
        if len(self._seen) < ENOUGH:
            return {}
        # The two counts are not of one moment: what one look has too little, another has too much.
        others = round(max(0.0, sum(self._seen) / len(self._seen)), 2)
        made = {"others": others, "cores": float(os.cpu_count() or 1)}
        if len(self._groups) >= ENOUGH:
            made["groups"] = min(others, round(sum(self._groups) / len(self._groups), 2))
        return made
