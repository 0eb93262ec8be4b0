"""What one container wrote: the exact bytes in a file, and when each part of them came."""

import asyncio
import bisect
import contextlib
import os
from array import array
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PART = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a reader wants a log."""

    follow: bool = False
    tail: int | None = None
    limit: int | None = None
    since: int = 0  # ns
    timestamps: bool = False


class Log:
    """Written by one container, read by many. Ends when `end` is called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.size = 0
        self.ended = False
        self._starts, self._times = array("Q"), array("Q")  # parts as they came
        self._news: set[asyncio.Future[None]] = set()

    def append(self, data: bytes, now: int) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._starts.append(self.size)
        self._times.append(now)
        self.size += len(data)
        self._tell()

    def end(self) -> None:
        self.ended = True
        self._tell()

    def drop(self) -> None:
        """Close and remove it; whoever follows it is let go."""
        self.end()
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._path.unlink(missing_ok=True)
        self.size = 0

    def tail(self, lines: int, most: int) -> str:
        """The last lines, for a termination message."""
        return self._read(self._tail(lines), self.size)[-most:].decode(errors="replace")

    async def read(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """The log from where the reader wants it, in parts; to its end if it follows."""
        at = 0 if asked.tail is None else self._tail(asked.tail)
        at = max(at, self._since(asked.since))
        left = asked.limit if asked.limit is not None else 1 << 62
        stamped = False  # is the line that `at` stands in already stamped
        while left > 0:
            while at < self.size and left > 0:
                part = self._read(at, min(at + PART, self.size))
                out = part
                if asked.timestamps:
                    out, stamped = self._stamp(part, at, stamped)
                at += len(part)
                yield out[:left]
                left -= len(out)
            if not asked.follow or self.ended or left <= 0:
                return
            await self._wait()

    def _stamp(self, part: bytes, at: int, stamped: bool) -> tuple[bytes, bool]:
        lines = []
        for line in _lines(part):
            lines.append(line if stamped else self._time(at) + line)
            at += len(line)
            stamped = not line.endswith(b"\n")
        return b"".join(lines), stamped

    def _time(self, at: int) -> bytes:
        return stamp(self._times[bisect.bisect_right(self._starts, at) - 1]).encode() + b" "

    def _since(self, since: int) -> int:
        index = bisect.bisect_left(self._times, since)
        return self._starts[index] if index < len(self._starts) else self.size if since else 0

    def _tail(self, lines: int) -> int:
        """Where the last `lines` lines begin; a last line without an end counts as one."""
        if lines <= 0:
            return self.size
        end, seen = self.size, 0
        if end and self._read(end - 1, end) == b"\n":
            end -= 1
        while end > 0:
            start = max(0, end - PART)
            part = self._read(start, end)
            while (found := part.rfind(b"\n")) >= 0:
                seen += 1
                if seen == lines:
                    return start + found + 1
                part = part[:found]
            end = start
        return 0

    def _read(self, start: int, end: int) -> bytes:
        with contextlib.suppress(OSError):
            return os.pread(self._file, end - start, start)
        return b""

    async def _wait(self) -> None:
        news = asyncio.get_running_loop().create_future()
        self._news.add(news)
        try:
            await news
        finally:
            self._news.discard(news)

    def _tell(self) -> None:
        for news in self._news:
            if not news.done():
                news.set_result(None)


def _lines(part: bytes) -> Iterator[bytes]:
    """Split at line feeds only."""
    start = 0
    while start < len(part):
        end = part.find(b"\n", start) + 1 or len(part)
        yield part[start:end]
        start = end


def stamp(at: int) -> str:
    """RFC 3339 with nanoseconds."""
    whole = datetime.fromtimestamp(at // 10**9, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{at % 10**9:09d}Z"
