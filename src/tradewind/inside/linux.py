"""The few calls to Linux that the standard library lacks. Elsewhere they do nothing."""

from __future__ import annotations

import contextlib
import os
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = 9

try:
    import ctypes

    _libc: Any | None = ctypes.CDLL(None)
except (ImportError, OSError):  # an interpreter built without ctypes
    _libc = None


def _prctl(option: int, value: int) -> bool:
    return (
        _libc is not None
        and hasattr(_libc, "prctl")
        and _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0
    )


def become_subreaper() -> bool:
    """Orphaned descendants become this process's children instead of init's."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def name(text: str) -> None:
    """What `ps` and `top` show, 15 bytes at most."""
    if _libc is not None and hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_NAME, text.encode()[:15], 0, 0, 0)


def keep_private() -> None:
    """Other processes of the same user may not look into this one, nor into its forks."""
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies; if it is dead already, now."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os._exit(70)


def a_core() -> int:
    """The number of a core that this process may use."""
    try:
        return max(os.sched_getaffinity(0))
    except AttributeError:
        return 0


def only_on(core: int) -> None:
    """From now on this process, with the threads that it has, uses no other core."""
    with contextlib.suppress(AttributeError, OSError):
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {core})


def children(pid: int) -> list[int]:
    """Pids of the living and dead children of a single-threaded process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return [child for child in _all_pids() if _parent(child) == pid]


def _all_pids() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return []


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rsplit(b")", 1)[1].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


def write(path: str, text: str) -> bool:
    """Write into a kernel file; whether it took it."""
    try:
        fd = os.open(path, os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(fd, text.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
