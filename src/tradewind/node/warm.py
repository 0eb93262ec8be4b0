"""The warm interpreters: one zygote per environment, started on first use."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import NamedTuple

from tradewind.inside import wire
from tradewind.supervisor import layout, start


class Zygote(NamedTuple):
    """A running one. `life` is the pipe whose end tells it that the node is gone."""

    pid: int
    life: int
    since: float


class Warm:
    """Starts zygotes and forgets them when they end."""

    def __init__(self, places: layout.Layout, inside: str, idle: float) -> None:
        self._places, self._inside, self._idle = places, inside, idle
        self._live: dict[str, Zygote] = {}
        self._failed: dict[str, float] = {}

    def ensure(self, python: str) -> None:
        """There is a zygote for this interpreter, or will be in a moment. One that cannot start is
        not tried again at once: supervisors then start fresh interpreters, and tell why."""
        if python in self._live:
            return
        if time.monotonic() - self._failed.get(python, -1e9) < 10.0:
            return
        try:
            self._live[python] = self._start(python)
        except OSError:
            self._failed[python] = time.monotonic()

    def _start(self, python: str) -> Zygote:
        listener = wire.listen(self._places.zygote(python))
        read, write = os.pipe()
        try:
            pid = os.posix_spawn(
                python,
                [python, self._inside, "zygote", str(self._idle)],
                start.clean_environment(python),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, read, 0),
                    (os.POSIX_SPAWN_DUP2, 2, 1),
                    (os.POSIX_SPAWN_DUP2, listener.fileno(), 3),
                ],
                setsid=True,
                setsigdef=[signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT],
            )
        except OSError:
            os.close(write)
            raise
        finally:
            listener.close()
            os.close(read)
        return Zygote(pid, write, time.monotonic())

    def reaped(self, pid: int) -> bool:
        """A child has ended: whether it was one of these."""
        for python, zygote in self._live.items():
            if zygote.pid == pid:
                os.close(zygote.life)
                del self._live[python]
                with contextlib.suppress(OSError):
                    os.unlink(self._places.zygote(python))
                if time.monotonic() - zygote.since < 2.0:
                    self._failed[python] = time.monotonic()
                return True
        return False

    def describe(self) -> list[dict[str, object]]:
        """For the node's status."""
        return [{"python": python, "pid": zygote.pid} for python, zygote in self._live.items()]

    def close(self) -> None:
        """End them all: their units' keepers go on."""
        for zygote in self._live.values():
            os.close(zygote.life)
        self._live.clear()
