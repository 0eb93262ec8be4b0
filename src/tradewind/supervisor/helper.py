"""Slow work of a supervisor in a child process, so that its loop goes on answering."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any, ClassVar

from tradewind.inside import linux
from tradewind.supervisor.loop import Loop

Result = dict[str, Any]


class Helper:
    """Runs `work` in a child; `done` gets what it returned, or `{"error": …}`."""

    living: ClassVar[set[int]] = set()
    """Children of this process that are ours, and no unit's."""

    def __init__(self, loop: Loop, work: Callable[[], Result], done: Callable[[Result], None]):
        self._loop, self._done = loop, done
        self._fd, write = os.pipe()
        self._data = b""
        supervisor = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            # It holds what says that the supervisor lives: the lock, and the link to the node.
            linux.die_with_parent(supervisor)
            _carry_out(work, write)
        os.close(write)
        self.living.add(self.pid)
        loop.watch(self._fd, self._read)

    def _read(self) -> None:
        data = os.read(self._fd, 1 << 16)
        if data:
            self._data += data
            return
        self._close()
        try:
            result = json.loads(self._data)
        except ValueError:
            result = {"error": "the process that did this was killed", "reason": "lost"}
        self._done(result)

    def _close(self) -> None:
        self.living.discard(self.pid)
        self._loop.forget(self._fd)
        os.close(self._fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def kill(self) -> None:
        """End it and whatever it started; `done` is not called."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._close()


class Waiting(Helper):
    """One that is begun ahead: `work` gets a call that waits for the order and returns it.

    Its `done` may come before any order, if the child dies."""

    def __init__(
        self,
        loop: Loop,
        work: Callable[[Callable[[], Any]], Result],
        done: Callable[[Result], None],
    ) -> None:
        waits, self._orders = os.pipe()
        super().__init__(loop, lambda: work(lambda: _ordered(waits)), done)
        os.close(waits)

    def order(self, what: Any) -> None:
        """Let it begin, with what JSON can say. A child that died tells that itself."""
        data = json.dumps(what).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._orders, data) :]

    def _close(self) -> None:
        super()._close()
        os.close(self._orders)


def _ordered(waits: int) -> Any:
    with os.fdopen(waits, "rb") as file:
        return json.loads(file.readline())


def _carry_out(work: Callable[[], Result], write: int) -> None:
    """The child's whole life."""
    try:
        os.setpgid(0, 0)
        try:
            result = work()
        except Failure as failure:
            result = failure.result
        except OSError as error:
            result = {"error": str(error), "reason": "output", "errno": error.errno}
        except BaseException as error:
            result = {"error": f"{type(error).__name__}: {error}", "reason": "error"}
        data = json.dumps(result).encode()
        while data:
            data = data[os.write(write, data) :]
    finally:
        os._exit(0)


class Failure(Exception):
    """Work that could not be done, in words for the user; `reason` is one of an exit's."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.result: Result = {"error": message, "reason": reason, "hint": hint}
