"""The campaign's own processes, found by a mark in their environment, and what each of them is."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "CHAOS_CAMPAIGN"
ROLES = {
    "tw-node": "node",
    "tw-supervisor": "supervisor",
    "tw-keeper": "keeper",
    "tw-warm": "warm",
    "tw-task": "task",
}
WORDS = {"tradewind.cli.serve": "server", "tradewind.data.commit": "library"}


@dataclass(frozen=True, slots=True)
class Process:
    """One of them. `role` is one of `ROLES`, of `WORDS`, `helper` or `program`."""

    pid: int
    parent: int
    role: str
    started: int
    words: str


def mine(mark: str) -> list[Process]:
    """Every process that descends from the campaign's server, wherever it hangs now."""
    found = [process for pid in _pids() if (process := _look(pid, mark))]
    supervisors = {each.pid for each in found if each.role == "supervisor"}
    return [
        # A helper is a fork of its supervisor and has its name.
        _renamed(each, "helper")
        if each.role == "supervisor" and each.parent in supervisors
        else each
        for each in found
    ]


def kill(process: Process) -> bool:
    """`kill -9`, if it is still the same process."""
    with contextlib.suppress(OSError):
        if _stat(process.pid)[1] == process.started:
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def _look(pid: int, mark: str) -> Process | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if f"{MARK}={mark}".encode() not in environment:
            return None
        parent, started = _stat(pid)
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (OSError, IndexError, ValueError):
        return None
    if not words:  # a zombie
        return None
    role = ROLES.get(name) or next(
        (role for part, role in WORDS.items() if part in words), "program"
    )
    return Process(pid, parent, role, started, words)


def _stat(pid: int) -> tuple[int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])


def _renamed(process: Process, role: str) -> Process:
    return Process(process.pid, process.parent, role, process.started, process.words)
