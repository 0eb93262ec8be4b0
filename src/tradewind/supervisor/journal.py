"""The placement's reports, appended to one file. What is in it is the truth; the rest is speed.

A line survives the death of any process once `write` has returned. After a loss of power a line may
be torn: readers stop at the last whole one, and what is missing counts as lost.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import Any

Report = dict[str, Any]


class Journal:
    """Appends reports; the supervisor owns it alone.

    Space is taken ahead, and a last piece of it is only for the end: when the disk is full, that
    can still be written down.
    """

    STEP, LAST = 64 << 10, 4 << 10

    def __init__(self, path: str, placement: str, seq: int = 0) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._placement = placement
        self._pending: list[tuple[str, bytes]] = []
        self.seq = seq
        self.written = os.fstat(self._fd).st_size
        self._room = self.written
        with contextlib.suppress(OSError):  # a full disk is noticed at the first `flush`
            self._take(self.LAST)

    def add(
        self, kind: str, body: dict[str, Any], role: str = "", index: int = 0, attempt: int = 1
    ) -> None:
        """Number a report and keep it for the next `flush`."""
        self.seq += 1
        report = {
            "placement": self._placement,
            "seq": self.seq,
            "at": time.time(),
            "kind": kind,
            "role": role,
            "index": index,
            "attempt": attempt,
            "body": body,
        }
        line = json.dumps(report, separators=(",", ":")).encode() + b"\n"
        self._pending.append((kind, line))

    def flush(self, end: bool = False) -> bool:
        """Append what is pending; whether there was anything. Raises OSError when the disk refuses:
        then nothing is forgotten. `end` may use the space that is kept for it."""
        if not self._pending:
            return False
        data = b"".join(line for _kind, line in self._pending)
        keep = 0 if end else self.LAST
        if self.written + len(data) + keep > self._room:
            self._take(self.written + len(data) + keep - self._room)
        if os.pwrite(self._fd, data, self.written) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._pending.clear()
        self.written += len(data)
        return True

    def _take(self, least: int) -> None:
        room = least if self._room == self.written else max(least, self.STEP)
        os.posix_fallocate(self._fd, self._room, room)
        self._room += room

    def give_up(self, *kinds: str) -> None:
        """Forget what is pending, but for these kinds: there is no space for it."""
        self._pending = [(kind, line) for kind, line in self._pending if kind in kinds]

    def pending(self) -> list[Report]:
        """What could not be written."""
        return [json.loads(line) for _kind, line in self._pending]

    def close(self) -> None:
        """Give back the space that was not used."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self.written)
        os.close(self._fd)


def read(path: str, offset: int = 0, most: int = 1 << 20) -> tuple[list[Report], list[int]]:
    """Whole reports from `offset`, with the offset after each; at most about `most` bytes, but at
    least one report."""
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(most)
        while data and b"\n" not in data:
            more = file.read(most)
            if not more:
                break
            data += more
    reports, ends = [], []
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        offset += len(line)
        with contextlib.suppress(ValueError):  # torn by a loss of power
            reports.append(json.loads(line))
            ends.append(offset)
    return reports, ends


def ended(report: Report) -> bool:
    """Whether this report is the placement's end."""
    ends = ("succeeded", "failed", "stopped", "lost")
    return report["kind"] == "placement" and report["body"].get("state") in ends
