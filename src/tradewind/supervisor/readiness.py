"""Whether a replica answers: its port is open, or `GET path` on it says 200. Never blocks."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from tradewind.supervisor.loop import READ, WRITE, Loop

EVERY = 0.05
# One try may take this long; a server that accepts and says nothing is not ready.
PATIENCE = 2.0


class Probe:
    """Asks until the replica answers, its time is over, or it has ended."""

    def __init__(
        self,
        loop: Loop,
        port: int,
        rule: dict[str, Any],
        alive: Callable[[], bool],
        ready: Callable[[], None],
        never: Callable[[str], None],
    ) -> None:
        self._loop, self._port, self._alive = loop, port, alive
        self._ready, self._never = ready, never
        self._path = str(rule.get("path") or "")
        self._timeout = float(rule.get("timeout", 60.0))
        self._waited = 0.0
        self._sock: socket.socket | None = None
        self._heard = b""

    def begin(self) -> None:
        """Ask for the first time."""
        limit = self._loop.after(self._timeout, self._give_up)
        self._cancel = limit.cancel
        self._ask()

    def _give_up(self) -> None:
        self._close()
        if self._alive():
            what = (
                f"GET {self._path} did not answer 200" if self._path else "its port stayed closed"
            )
            self._never(f"not ready after {self._timeout:g} s: {what} (port {self._port})")

    def _ask(self) -> None:
        if not self._alive():
            self._cancel()
            return
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._heard = b""
        self._sock.connect_ex(("127.0.0.1", self._port))
        self._loop.watch(self._sock.fileno(), self._connected, WRITE)
        sock = self._sock
        self._loop.after(PATIENCE, lambda: self._again() if self._sock is sock else None)

    def _connected(self) -> None:
        sock = self._sock
        if sock is None:
            return
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._again()
            return
        if not self._path:
            self._succeed()
            return
        request = f"GET {self._path} HTTP/1.0\r\nHost: 127.0.0.1:{self._port}\r\n\r\n"
        try:
            sock.send(request.encode())
        except OSError:
            self._again()
            return
        self._loop.watch(sock.fileno(), self._answered, READ)

    def _answered(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(4096)
        except OSError:
            data = b""
        self._heard += data
        if data and b"\r\n" not in self._heard and b"\n" not in self._heard:
            return
        words = self._heard.split(None, 2)
        if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1] == b"200":
            self._succeed()
        else:
            self._again()

    def _succeed(self) -> None:
        self._close()
        self._cancel()
        if self._alive():
            self._ready()

    def _again(self) -> None:
        self._close()
        self._loop.after(EVERY, self._ask_unless_over)

    def _ask_unless_over(self) -> None:
        if self._sock is None:
            self._ask()

    def _close(self) -> None:
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
