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
    """Appends reports; the supervisor owns it alone."""

    def __init__(self, path: str, placement: str, seq: int = 0) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._placement = placement
        self._pending: list[bytes] = []
        self.seq = seq
        self.written = 0

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
        self._pending.append(json.dumps(report, separators=(",", ":")).encode() + b"\n")

    def flush(self) -> bool:
        """Append what is pending. Raises OSError when the disk refuses; nothing is then forgotten,
        and what was written in part is cut off, to be written again whole."""
        if not self._pending:
            return False
        data = b"".join(self._pending)
        written = os.write(self._fd, data)
        if written < len(data):
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._pending.clear()
        self.written += written
        return True

    def close(self) -> None:
        """Let go of the file."""
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
