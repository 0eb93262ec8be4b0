"""A keeper forks the user's process, waits for it, and leaves nothing behind. Then another.

It is a child subreaper, so whatever the user's process started (daemons in sessions of their own
too) ends up as its child once orphaned, and is killed before the unit's end is told. It never calls
user code itself, so it is as good as new for the next unit. It speaks to the supervisor over
`conn`, in frames one way and lines the other:

    supervisor → keeper  a start (`supervisor.start`) with two descriptors: log and channel
                         {"unit": n, "signal": 15, "group": false} · {"unit": n, "kill": true}
    keeper → supervisor  {"started": pid, "keeper": pid}
                         {"exit": status, "signal": n, "cpu": s, "memory": B}

If the supervisor goes away everything is killed. If the keeper is killed, the kernel kills the
user's process (`die_with_parent`) and the zygote, or the supervisor, kills what it had started.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any

from . import linux, process, wire

_FDS = 2


def keep(conn: socket.socket) -> None:
    """The whole life of a keeper. Call it in a process of its own; it does not return."""
    status = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        linux.become_subreaper()
        linux.name("tw-keeper")
        while True:
            start, fds = wire.receive_frame(conn, _FDS)
            if fds:  # else an order for a unit that has ended meanwhile
                _keep_one(conn, start, fds)
    except (EOFError, ConnectionError):
        status = 0
    finally:
        os._exit(status)


def _keep_one(conn: socket.socket, start: dict[str, Any], fds: list[int]) -> None:
    log, channel = fds
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        conn.close()
        linux.die_with_parent(keeper)
        process.run(start, log, channel)
    os.close(log)
    os.close(channel)
    _tell(conn, {"started": pid, "keeper": keeper})
    status, used = _watch(conn, pid, start["unit"])
    usage = {"cpu": used.ru_utime + used.ru_stime + purge(), "memory": used.ru_maxrss * 1024}
    if os.WIFSIGNALED(status):
        _tell(conn, {"exit": -1, "signal": os.WTERMSIG(status), **usage})
    else:
        _tell(conn, {"exit": os.WEXITSTATUS(status), "signal": 0, **usage})


def _tell(conn: socket.socket, message: wire.Message) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the next read sees it
        wire.send(conn, message)


def _watch(conn: socket.socket, pid: int, unit: int) -> tuple[int, Any]:
    """Obey until the process has ended; its status and what it used."""
    poller = select.poll()
    poller.register(conn, select.POLLIN)
    died = _death_fd(pid)
    if died is not None:
        poller.register(died, select.POLLIN)
    try:
        while True:
            events = dict(poller.poll(None if died is not None else 10))
            if conn.fileno() in events and not _obey(conn, pid, unit):
                poller.unregister(conn)
            done, status, used = _reap(pid)
            if done:
                return status, used
    finally:
        if died is not None:
            os.close(died)


def _death_fd(pid: int) -> Any:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return opener(pid)
    except OSError:
        return None


def _reap(pid: int) -> tuple[bool, int, Any]:
    """Whether the user's process has ended. Orphans that ended meanwhile are reaped on the way."""
    while True:
        found, status, used = os.wait4(-1, os.WNOHANG)
        if found == pid:
            return True, status, used
        if found == 0:
            return False, 0, None


def _obey(conn: socket.socket, pid: int, unit: int) -> bool:
    """Carry out what the supervisor says; False once it is gone."""
    try:
        order, fds = wire.receive_frame(conn, _FDS)
    except (EOFError, OSError):
        os.kill(pid, signal.SIGKILL)
        return False
    for fd in fds:
        os.close(fd)
    if order.get("unit") == unit:
        if order.get("kill"):
            os.kill(pid, signal.SIGKILL)
        elif "signal" in order:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if order.get("group") else os.kill)(pid, order["signal"])
    return True


def purge() -> float:
    """Kill and reap every descendant that is left; returns the core-seconds they had used."""
    seconds, pause = 0.0, 0.0005
    me = os.getpid()
    while True:
        try:
            found, _status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return seconds
        if found:
            seconds += used.ru_utime + used.ru_stime
            continue
        for child in linux.children(me):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.05, pause * 2)
