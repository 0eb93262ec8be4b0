"""Memory limits: what a container's processes hold is looked at now and then.

By looking and not by cgroup: those of the machine a test runs on are not ours to make, and their
version differs. A container may be over its limit for a moment before it is killed.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable

PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY = 0.2  # seconds between looks
SHARE = 50  # looking takes at most one part in so many of a core


class Memory:
    """Looks while there is anything to look at."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[int, Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    def watch(self, pid: int, limit: int, over: Callable[[], None]) -> None:
        """Call `over` once when the process and all below it hold more than `limit` bytes."""
        self._watched[pid] = limit, over
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())

    def forget(self, pid: int) -> None:
        self._watched.pop(pid, None)

    async def _look(self) -> None:
        while self._watched:
            began = time.perf_counter()
            for pid, (limit, over) in list(self._watched.items()):
                if held(pid) > limit:
                    self.forget(pid)
                    over()
            await asyncio.sleep(max(EVERY, SHARE * (time.perf_counter() - began)))


def held(pid: int) -> int:
    """Bytes that this process and its descendants hold for themselves."""
    total, todo = 0, [pid]
    while todo:
        folder = f"/proc/{todo.pop()}"
        with contextlib.suppress(OSError):
            fields = _read(f"{folder}/statm").split()
            total += (int(fields[1]) - int(fields[2])) * PAGE
            for thread in os.listdir(f"{folder}/task"):
                todo += map(int, _read(f"{folder}/task/{thread}/children").split())
    return total


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)
