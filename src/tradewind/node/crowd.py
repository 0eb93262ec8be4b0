"""Who else wants this machine's cores: looked at once a second, told as a mean of some seconds."""

from __future__ import annotations

import os
from collections import deque
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
    ) -> None:
        self._roots, self._runnable, self._running = roots, runnable, running
        self._seen: deque[int] = deque(maxlen=KEPT)

    def look(self) -> None:
        """Count once. Who looks is running too, and is ours."""
        all_of_them = self._runnable()
        if all_of_them > 0:
            self._seen.append(all_of_them - self._running(self._roots()))
        else:  # the kernel does not tell
            self._seen.clear()

    def told(self) -> dict[str, float]:
        """`others` and `cores`, as `records.load.Load`; nothing where it is not known."""
        if len(self._seen) < ENOUGH:
            return {}
        # The two counts are not of one moment: what one look has too little, another has too much.
        others = max(0.0, sum(self._seen) / len(self._seen))
        return {"others": round(others, 2), "cores": float(os.cpu_count() or 1)}
