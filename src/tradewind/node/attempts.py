"""The placements that this node knows: their folders, their supervisors, their journals.

A supervisor lives as long as somebody holds the lock on its `request.json`: it is taken before the
fork, inherited, and let go of by the kernel alone. A folder moves from `attempts/` to `ended/` when
the placement's end has been acknowledged; so what a new node has to look at is what is still open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from typing import Any

from tradewind.supervisor import journal, layout

Report = dict[str, Any]


class Attempt:
    """One open placement."""

    __slots__ = (
        "acknowledged",
        "end",
        "ended",
        "folder",
        "lines",
        "link",
        "offset",
        "pid",
        "placement",
        "seen",
        "sent",
        "tries",
        "unwritten",
        "usage",
        "weight",
    )  # fmt: skip

    def __init__(self, placement: str, folder: str) -> None:
        self.placement, self.folder = placement, folder
        self.pid = 0
        self.link: socket.socket | None = None
        self.lines: Any = None
        self.ended = False  # the journal holds the end, or will never grow again
        self.offset = 0  # in the journal: what lies before is acknowledged
        self.sent: dict[int, int] = {}  # seq → offset after it, for what was handed out
        self.seen = 0  # the highest seq known to be written
        self.usage: dict[str, Any] = {}
        self.weight = -1
        self.tries = 0
        self.unwritten: list[Report] = []  # the end, if the disk was too full for it
        self.acknowledged = 0  # the highest seq of which we were told that it is stored
        self.end = 0  # the seq of the end, once it was handed out

    @property
    def journal(self) -> str:
        return os.path.join(self.folder, layout.JOURNAL)

    def waiting(self, most: int) -> list[Report]:
        """Reports that are not acknowledged, as far as `most` bytes go."""
        try:
            reports, ends = journal.read(self.journal, self.offset, most)
        except FileNotFoundError:
            reports, ends = [], []
        late = [each for each in self.unwritten if each["seq"] > self.acknowledged]
        reports, ends = reports + late, ends + [ends[-1] if ends else self.offset] * len(late)
        for report, end in zip(reports, ends, strict=True):
            self.sent[report["seq"]] = end
            self.seen = max(self.seen, report["seq"])
            if journal.ended(report):
                self.end = report["seq"]
        return reports

    def acknowledge(self, seq: int) -> None:
        """Everything up to this report is stored elsewhere."""
        self.acknowledged = max(self.acknowledged, seq)
        known = [number for number in self.sent if number <= seq]
        if known:
            self.offset = max(self.offset, self.sent[max(known)])
            for number in known:
                del self.sent[number]

    def never_began(self) -> None:
        """No supervisor could even open the journal: tell that it is lost, from memory."""
        reason = {"reason": "lost", "message": "no supervisor could begin: is the disk full?"}
        body = {"state": "lost", "reason": reason}
        report = {"placement": self.placement, "seq": 1, "at": time.time(), "kind": "placement"}
        self.unwritten = [{**report, "role": "", "index": 0, "attempt": 1, "body": body}]
        self.ended, self.seen = True, 1

    def over(self) -> bool:
        """Whether the end was acknowledged."""
        return 0 < self.end <= self.acknowledged

    def done(self) -> bool:
        """Whether, besides, its supervisor has let go of the folder."""
        if not self.ended:
            return False
        try:
            return os.stat(self.journal).st_size <= self.offset  # it was cut to size at its end
        except OSError:
            return self.over()

    def want(self, order: dict[str, Any]) -> None:
        """Keep an order for a supervisor that cannot be reached now."""
        path = os.path.join(self.folder, layout.WANTED)
        with open(path, "a") as file:
            file.write(json.dumps(order) + "\n")

    def wanted(self) -> list[dict[str, Any]]:
        """The orders kept, which are then forgotten."""
        path = os.path.join(self.folder, layout.WANTED)
        try:
            with open(path) as file:
                orders = [json.loads(line) for line in file]
            os.unlink(path)
        except (OSError, ValueError):
            return []
        return orders


def write_request(folder: str, request: dict[str, Any]) -> int:
    """Make the folder and its request; returns the locked descriptor."""
    os.mkdir(folder, 0o700)
    path = os.path.join(folder, layout.REQUEST)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = json.dumps(request, separators=(",", ":")).encode()
        while data:
            data = data[os.write(fd, data) :]
    except BaseException:
        os.close(fd)
        for name in (path,):
            with contextlib.suppress(OSError):
                os.unlink(name)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        raise
    return fd


def request_of(folder: str) -> dict[str, Any] | None:
    """What was asked; None if the node died while it wrote that (it was never acknowledged)."""
    try:
        with open(os.path.join(folder, layout.REQUEST), "rb") as file:
            request: dict[str, Any] = json.loads(file.read())
        return request
    except (OSError, ValueError):
        return None


def close_journal(attempt: Attempt, reason: str) -> None:
    """The supervisor is dead: if its journal lacks an end, the placement is lost. The lock on the
    request must be held, so that nobody else writes."""
    reports: list[Report] = []
    with contextlib.suppress(FileNotFoundError):
        size = os.stat(attempt.journal).st_size
        reports, ends = journal.read(attempt.journal, 0, max(1, size))
        os.truncate(attempt.journal, ends[-1] if ends else 0)
    if any(journal.ended(report) for report in reports[-50:]):
        # It may have been written since we were last told of any: an acknowledgement of those
        # would close the placement with its end untold.
        attempt.seen = reports[-1]["seq"]
        return
    seq = reports[-1]["seq"] if reports else 0
    writer = journal.Journal(attempt.journal, attempt.placement, seq)
    ended = {"reason": "lost", "message": reason}
    for role, index, number in _open_units(reports):
        writer.add("attempt", {"state": "lost", "exit": ended}, role, index, number)
    writer.add("placement", {"state": "lost", "reason": ended})
    writer.flush()
    writer.close()
    attempt.seen = writer.seq


def _open_units(reports: list[Report]) -> list[tuple[str, int, int]]:
    """Units that were seen to begin and not to end."""
    units: dict[tuple[str, int, int], str] = {}
    for report in reports:
        if report["kind"] == "attempt":
            key = (report["role"], report["index"], report["attempt"])
            units[key] = report["body"]["state"]
    return [key for key, state in units.items() if state in ("preparing", "running", "ready")]
