"""Free ports on the loopback for units, held for as long as their supervisor lives.

Chosen below the range from which the kernel takes ports for outgoing connections. A port that one
supervisor has given out is locked in a file that all of them share (a byte per port), so two units
never get the same, though neither has opened it yet.
"""

from __future__ import annotations

import fcntl
import os
import socket

_FIRST, _LAST = 20_000, 32_000


class Ports:
    """The ports of one supervisor. The locks go when its process does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def reserve(self) -> int:
        """A port that nobody listens on and nobody else was given."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _try in range(200):
            port = _FIRST + int.from_bytes(os.urandom(4), "big") % (_LAST - _FIRST)
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except OSError:
                continue
            if _free(port):
                return port
            self.release(port)
        raise OSError(f"no free port between {_FIRST} and {_LAST}")

    def close(self) -> None:
        """Let others have them all."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def release(self, port: int) -> None:
        """Let others have it."""
        if self._fd >= 0:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, port)


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
