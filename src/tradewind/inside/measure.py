"""What one call takes: seconds, CPU seconds of this process and its children, peak memory."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import threading
import time
from typing import Any, Callable

from . import linux

# Pages that take some milliseconds.
MEASURED = 2048
# A database takes more than it counts: 45 MB for each of its threads, sorting wide rows (DuckDB);
# and twice that is left, since near the end of its memory a task hardly gets on. It cannot begin
# with less than the least.
UNCOUNTED, LEAST = 96 << 20, 64 << 20


class Overdue(BaseException):
    """The call took longer than it may. No Exception, so that user code does not swallow it."""


def taken(call: Callable[[], Any], seconds: float) -> tuple[Any, dict[str, float]]:
    """What it returns, and `wall`, `cpu`, `memory`, and `pages` of memory that it was given anew.
    Raises Overdue after so many seconds, as soon as Python code runs in the main thread; a library
    that does not come back is waited for."""
    _forget_peak()
    began, cpu, pages = time.perf_counter(), cpu_seconds(), _pages()
    with _alarm(seconds):
        made = call()
    wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    return made, {"wall": wall, "cpu": cpu, "memory": _peak(), "pages": _pages() - pages}


def page_seconds() -> float:
    """CPU seconds that it takes here to be given a page of memory."""
    with mmap.mmap(-1, MEASURED * mmap.PAGESIZE) as fresh:
        first, again = _touched(fresh), _touched(fresh)
    return max(0.0, first - again) / MEASURED


def _touched(memory: mmap.mmap) -> float:
    cpu = cpu_seconds()
    for place in range(0, len(memory), mmap.PAGESIZE):
        memory[place] = 1
    return cpu_seconds() - cpu


def _pages() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@contextlib.contextmanager
def _alarm(seconds: float) -> Any:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = [True]

    def ring(_signal: int, _frame: Any) -> None:
        if armed[0]:
            raise Overdue

    before = signal.signal(signal.SIGALRM, ring)
    # Again and again, for code that goes on after any exception.
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds), 0.2)
    try:
        yield
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def cpu_seconds() -> float:
    """What this process has used so far, with its children that were waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def delayed() -> float:
    """Seconds that the main thread has waited for a core so far; 0.0 where nobody tells."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9
    return 0.0


def _forget_peak() -> None:
    """Where the kernel lets us; otherwise the peak is that since the process began."""
    linux.write("/proc/self/clear_refs", "5")


def _peak() -> int:
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return max(int(line.split()[1]) * 1024, children)
    return max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, children)


def spare(threads: int) -> int:
    """Bytes of the memory given to this task that a database of so many threads (0: as many as
    there are cores) may count to beside what the process has now, so that it spills to disk before
    the task is ended; 0: no limit was set."""
    given = int(os.environ.get("TRADEWIND_MEMORY") or 0)
    left = given - _resident() - UNCOUNTED * (threads or os.cpu_count() or 1)
    return max(LEAST, left) if given else 0


def _resident() -> int:
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:
        return int(file.readline().split()[1]) * mmap.PAGESIZE
    return 0


def busy() -> tuple[float, float]:
    """Seconds by a clock, and core-seconds that the whole machine was busy, both since some time
    before."""
    now = time.monotonic()
    with contextlib.suppress(OSError, ValueError), open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
        idle = ticks[3] + ticks[4]
        return now, (sum(ticks) - idle) / 100
    return now, 0.0


def others(since: tuple[float, float], own: float) -> float:
    """Cores that others kept busy since then, while we took `own` CPU seconds."""
    now, used = busy()
    return round(max(0.0, used - since[1] - own) / max(0.001, now - since[0]), 2)
