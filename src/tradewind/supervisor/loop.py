"""A small event loop: file descriptors and timers, one thread, nothing else.

The node and every supervisor run on it. asyncio does more and weighs ten times as much.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

Callback = Callable[[], None]
READ, WRITE = select.POLLIN, select.POLLOUT


class Timer:
    """One call in the future; `cancel` it, or let it happen."""

    __slots__ = ("at", "call", "order")

    def __init__(self, at: float, order: int, call: Callback) -> None:
        self.at, self.order, self.call = at, order, call

    def __lt__(self, other: Timer) -> bool:
        return (self.at, self.order) < (other.at, other.order)

    def cancel(self) -> None:
        self.call = _nothing


def _nothing() -> None:
    return


class Loop:
    """Calls back when a descriptor is ready or a time has come."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Callback] = {}
        self._timers: list[Timer] = []
        self._count = itertools.count()
        self.running = True

    def watch(self, fd: int, call: Callback, events: int = READ) -> None:
        """Call when `fd` is ready, until `forget`. A second call replaces the first."""
        self._calls[fd] = call
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; unknown descriptors are no error."""
        if self._calls.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, call: Callback) -> Timer:
        """Call once, `seconds` from now by the monotonic clock."""
        timer = Timer(time.monotonic() + seconds, next(self._count), call)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        """Return from `run` after the present callback."""
        self.running = False

    def run(self) -> None:
        """Until `stop`."""
        while self.running:
            self.turn()

    def turn(self) -> None:
        """Wait for the next thing and carry it out."""
        for fd, _events in self._poll.poll(self._wait()):
            call = self._calls.get(fd)
            if call is not None:  # an earlier callback of this turn may have forgotten it
                call()
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            heapq.heappop(self._timers).call()

    def _wait(self) -> int | None:
        while self._timers and self._timers[0].call is _nothing:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0, int((self._timers[0].at - time.monotonic()) * 1000) + 1)
