"""Between the fork and the user's code: session, limits, output, folders, path. Then `entry`."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
from typing import Any, TextIO

from . import entry, linux, tracking


def run(start: dict[str, Any], log: int, channel: int) -> None:
    """Become the user's process. Does not return."""
    status = 70
    try:
        _settle(start, log, channel)
        status = entry.carry_out(start)
    except BaseException as error:  # our own mistake: say it where the user looks
        with contextlib.suppress(OSError):
            os.write(2, (f"tradewind could not start this process: {error!r}\n").encode())
    finally:
        os._exit(status)


def _settle(start: dict[str, Any], log: int, channel: int) -> None:
    os.setsid()
    linux.name("tw-task")
    _limit(start)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # New streams: the zygote's were made for other files.
    sys.stdout = sys.__stdout__ = _stream(1)  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = _stream(2)  # type: ignore[assignment, misc]
    os.environ.update(start["env"])
    tracking.announce(channel)
    os.chdir(start["cwd"])
    sys.path[:0] = start.get("path", [])
    if start.get("way") == "checkpoint" and not start.get("command"):
        signal.signal(signal.SIGTERM, tracking.note_stop)
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_end_when_told)


# What the user's process forks has nothing to save for us: a pool of processes ends its own by
# SIGTERM, and waits for them. It may send that before the fork has come to itself.
_mask = threading.local()


def _hold() -> None:
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _end_when_told() -> None:
    if signal.getsignal(signal.SIGTERM) is tracking.note_stop:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_go()


def _stream(fd: int) -> TextIO:
    return open(fd, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _limit(start: dict[str, Any]) -> None:
    """What can be held from inside: cgroups made for us, niceness, a place in the kernel's queue of
    victims before everything else on the machine, and resource limits."""
    for group in start.get("cgroups", ()):
        linux.write(os.path.join(group, "cgroup.procs"), "0")
    linux.write("/proc/self/oom_score_adj", str(start.get("victim", 500)))
    if start.get("nice"):
        with contextlib.suppress(OSError):
            os.nice(start["nice"])
    for name, value in start.get("rlimits", {}).items():
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is not None:
            _soft, hard = resource.getrlimit(kind)
            wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (wanted, hard))
