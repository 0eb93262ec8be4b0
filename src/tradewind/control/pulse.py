"""Wakes those who wait for something to happen: followers of events, waiters for a run's end.

It only shortens waiting: whoever waits looks into the store himself, and looks again after a while,
since another server may have written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Pulse:
    """Beats after every write of this server. Made and used in one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[None] = self._loop.create_future()
        self._ends: dict[str, list[asyncio.Future[None]]] = {}

    def beat(self, ended: Collection[str] = ()) -> None:
        """Something was written; these runs ended."""
        self._next.set_result(None)
        self._next = self._loop.create_future()
        for run_id in ended:
            for waiter in self._ends.pop(run_id, ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Until the next beat, or that long."""
        await asyncio.wait({self._next}, timeout=seconds)

    @contextmanager
    def end_of(self, run_id: str) -> Iterator[asyncio.Future[None]]:
        """Done once this run ends here. Taken before one looks whether it has ended, it misses no
        end."""
        waiter = self._loop.create_future()
        self._ends.setdefault(run_id, []).append(waiter)
        try:
            yield waiter
        finally:
            waiters = self._ends.get(run_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._ends[run_id]
