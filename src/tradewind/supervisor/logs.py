"""A unit's output, raw, in segment files with a cap; and the reader that follows them.

The first segment is kept, and the newest ones; between them a line says how much is left out. A
segment's name is the unit's (see `layout.unit`) and the number of bytes that came before it.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator

CAP = 64 << 20
SEGMENT = 8 << 20
_INFIX = ".log."


class LogWriter:
    """Writes one unit's output. A full disk loses log bytes, never the unit."""

    def __init__(self, unit: str, cap: int = CAP, segment: int = 0) -> None:
        self._unit = unit
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
        path = _path(self._unit, self.total)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            self._fd = -1
        self._size = 0
        present = segments(self._unit)
        for start in present[1 : max(1, len(present) - (self._keep - 1))]:
            with contextlib.suppress(OSError):
                os.unlink(_path(self._unit, start))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def pass_on(fd: int, data: bytes) -> None:
    """Write all of it to a descriptor besides. One that nobody reads any more gets nothing."""
    with contextlib.suppress(OSError):
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                select.select((), (fd,), ())


def _path(unit: str, start: int) -> str:
    return f"{unit}{_INFIX}{start:015d}"


def segments(unit: str) -> list[int]:
    """The offsets at which the present segments of a unit start, in order."""
    folder, name = os.path.split(unit)
    prefix = name + _INFIX
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(int(each[len(prefix) :]) for each in names if each.startswith(prefix))


def move(unit: str, to: str) -> None:
    """All segments become another unit's; without a name they are removed."""
    for start in segments(unit):
        path = _path(unit, start)
        if to:
            os.replace(path, _path(to, start))
        else:
            os.unlink(path)


def exists(unit: str) -> bool:
    """Whether this try has begun."""
    return os.path.isdir(unit) or bool(segments(unit))


def length(unit: str) -> int:
    """How many bytes the unit has written."""
    present = segments(unit)
    if not present:
        return 0
    path = _path(unit, present[-1])
    try:
        return present[-1] + os.stat(path).st_size
    except OSError:
        return present[-1]


def read(unit: str, offset: int, chunk: int = 1 << 16) -> Iterator[tuple[int, bytes]]:
    """What is there from `offset`: pairs of the next offset and bytes. Where segments were left
    out, a line says so and the offset jumps."""
    present = segments(unit)
    for position, start in enumerate(present):
        following = present[position + 1] if position + 1 < len(present) else None
        if following is not None and following <= offset:
            continue
        if start > offset:
            gap = f"\n[tradewind: {start - offset} bytes of this log are left out here]\n"
            yield start, gap.encode()
            offset = start
        # It may be rotated away while we read: the next turn says how much.
        with contextlib.suppress(FileNotFoundError), open(_path(unit, start), "rb") as file:
            file.seek(offset - start)
            while data := file.read(chunk):
                offset += len(data)
                yield offset, data
