"""What people's code started and nobody keeps any more: found, and killed.

A keeper kills what its unit leaves behind. If the keeper is killed, whoever inherits its orphans
does so: the zygote, the supervisor. When those die too, the orphans belong to nobody, and are known
by where they come from. A fork has the command line of the interpreter that we started, a program
has our variables in its environment, and neither has a living keeper above it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from tradewind.supervisor import layout

_OURS = (b"tw-node", b"tw-supervisor", b"tw-warm", b"tw-keeper")


def sweep(places: layout.Layout, dead: int = 0) -> None:
    """Kill every orphan of this data folder. `dead`: a keeper that is about to vanish."""
    found = [pid for pid in _started(places) if _is_orphan(pid, dead)]
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _started(places: layout.Layout) -> Iterator[int]:
    """Processes that a unit of this data folder started, or is."""
    interpreter = os.path.join(places.node, "inside-").encode()
    variable = b"TRADEWIND_OUT=" + os.path.join(places.attempts, "").encode()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid != os.geteuid():
                continue
            called = _read(name, "comm").strip()
            if called in _OURS:
                continue
            forked = called == b"tw-task" and interpreter in _read(name, "cmdline")
            if forked or variable in _read(name, "environ"):
                yield int(name)


def _is_orphan(pid: int, dead: int) -> bool:
    """Whether no keeper lives above it. Where the line cannot be followed, somebody may."""
    while pid > 1:
        try:
            head, _, tail = _read(str(pid), "stat").rpartition(b")")
        except OSError:
            return False
        state, parent = tail.split()[:2]
        if head.endswith(b"(tw-keeper") and pid != dead and state not in b"ZX":
            return False
        pid = int(parent)
    return True


def _read(pid: str, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
