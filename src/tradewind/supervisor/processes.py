"""What a tree of processes uses, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator

_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> Iterator[int]:
    """The root and all its descendants, as far as they can be seen."""
    todo = [root]
    while todo:
        pid = todo.pop()
        yield pid
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    todo += map(int, file.read().split())
            except (OSError, ValueError):
                continue


def runnable() -> int:
    """How many threads of the whole machine run or wait for a core; -1 where that is unknown."""
    return _figure("/proc/stat", b"procs_running ", -1)


def running(roots: set[int]) -> int:
    """How many threads of these processes and all below them do."""
    found = 0
    for pid in {pid for root in roots for pid in tree(root)}:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                    found += file.read().rsplit(b")", 1)[1].split()[0] == b"R"
            except (OSError, IndexError):
                continue
    return found


def fair_to_sessions() -> bool:
    """Whether the kernel shares the cores evenly among sessions and not among threads: autogroup,
    which holds for those that are in no control group of their own."""
    try:
        with open("/proc/sys/kernel/sched_autogroup_enabled", "rb") as file:
            return file.read().strip() == b"1" and not os.path.exists("/sys/fs/cgroup/cpu.weight")
    except OSError:
        return False


def by_session(roots: set[int]) -> dict[int, tuple[int, float]]:
    """The session and the core-seconds of every process but these and those below them."""
    ours = {pid for root in roots for pid in tree(root)}
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in ours:
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rsplit(b")", 1)[1].split()
                found[int(name)] = int(fields[3]), sum(map(int, fields[11:13])) / _TICK
            except (OSError, ValueError, IndexError):
                continue
    return found


def memory(pid: int) -> int:
    """Bytes that only this process has in memory, and what it shares by shared memory."""
    total = 0
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    total += int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 0
    return total


def seconds(pid: int) -> float:
    """Core-seconds of this process and of those of its children that it has waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        return sum(map(int, fields[11:15])) / _TICK
    except (OSError, ValueError, IndexError):
        return 0.0


def weigh(keeper: int) -> tuple[int, float]:
    """Bytes and core-seconds of everything below a keeper."""
    below = [pid for pid in tree(keeper) if pid != keeper]
    return sum(map(memory, below)), sum(map(seconds, below))


def available() -> int:
    """Bytes of the machine's memory that could still be given out; -1 where that is unknown."""
    found = _figure("/proc/meminfo", b"MemAvailable:", -1)
    return found * 1024 if found >= 0 else -1


def installed() -> int:
    """Bytes of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory since boot."""
    return _figure("/proc/vmstat", b"oom_kill ", 0)


def _figure(path: str, label: bytes, unknown: int) -> int:
    """The number behind a label in one of the kernel's lists."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(label):
                    return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return unknown
