"""A unit's output, raw, in segment files with a cap; and the reader that follows them.

The first segment is kept, and the newest ones; between them a line says how much is left out. A
segment's name is the number of bytes that came before it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

CAP = 64 << 20
SEGMENT = 8 << 20
_PREFIX = "log."


class LogWriter:
    """Writes one unit's output. A full disk loses log bytes, never the unit."""

    def __init__(self, folder: str, cap: int = CAP, segment: int = 0) -> None:
        self._folder = folder
        self._segment = segment or max(1 << 16, min(SEGMENT, cap // 8))
        self._keep = max(2, cap // self._segment)
        self._fd = -1
        self._size = 0
        self.total = 0
        self.lost = 0

    def write(self, data: bytes) -> None:
        """Append; starts a new segment when the present one is full."""
        if self._fd < 0 or self._size >= self._segment:
            self._next()
        try:
            done = os.write(self._fd, data) if self._fd >= 0 else 0
        except OSError:
            done = 0
        self._size += done
        self.total += done
        self.lost += len(data) - done

    def _next(self) -> None:
        self.close()
        path = os.path.join(self._folder, f"{_PREFIX}{self.total:015d}")
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            self._fd = -1
        self._size = 0
        present = segments(self._folder)
        for start in present[1 : max(1, len(present) - (self._keep - 1))]:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, f"{_PREFIX}{start:015d}"))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def segments(folder: str) -> list[int]:
    """The offsets at which the present segments start, in order."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(int(n[len(_PREFIX) :]) for n in names if n.startswith(_PREFIX))


def length(folder: str) -> int:
    """How many bytes the unit has written."""
    present = segments(folder)
    if not present:
        return 0
    path = os.path.join(folder, f"{_PREFIX}{present[-1]:015d}")
    try:
        return present[-1] + os.stat(path).st_size
    except OSError:
        return present[-1]


def read(folder: str, offset: int, chunk: int = 1 << 16) -> Iterator[tuple[int, bytes]]:
    """What is there from `offset`: pairs of the next offset and bytes. Where segments were left
    out, a line says so and the offset jumps."""
    present = segments(folder)
    for position, start in enumerate(present):
        following = present[position + 1] if position + 1 < len(present) else None
        if following is not None and following <= offset:
            continue
        if start > offset:
            gap = f"\n[tradewind: {start - offset} bytes of this log are left out here]\n"
            yield start, gap.encode()
            offset = start
        try:
            file = open(os.path.join(folder, f"{_PREFIX}{start:015d}"), "rb")
        except OSError:
            continue  # rotated away while we read: the next turn says how much
        with file:
            file.seek(offset - start)
            while data := file.read(chunk):
                offset += len(data)
                yield offset, data
