"""The warm interpreter: imports and never calls. It forks one keeper per connection.

Libraries used before a fork hang after it, so nothing is preloaded but this package; there is one
thread and the heap is frozen. The node gives it a listening socket as descriptor 3 and a pipe as
standard input, whose end means that the node is gone. It is a child subreaper: when a keeper is
killed, what that keeper had to reap comes here and is killed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time

# Imported so that the user's processes find them in memory.
from . import entry as _entry  # noqa: F401
from . import inputs as _inputs  # noqa: F401
from . import keeper, linux
from . import outputs as _outputs  # noqa: F401
from . import tables as _tables  # noqa: F401
from . import tracking as _tracking  # noqa: F401


def serve(listener: socket.socket, life: int, idle: float) -> None:
    """Fork a keeper for every connection, until the node is gone or nothing came for `idle` s."""
    linux.become_subreaper()
    linux.name("tw-warm")
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    null = os.open(os.devnull, os.O_RDONLY)
    keepers: set[int] = set()
    poller = select.poll()
    for fd in (listener.fileno(), life, wake_read):
        poller.register(fd, select.POLLIN)
    gc.collect()
    gc.freeze()
    gc.disable()
    last = time.monotonic()
    while True:
        ready = {fd for fd, _event in poller.poll(int(idle * 1000))}
        if life in ready:
            return
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _reap(keepers)
        if listener.fileno() in ready:
            last = time.monotonic()
            keepers.add(_fork(listener, null, life, (wake_read, wake_write)))
        elif not keepers and time.monotonic() - last >= idle:
            return


def _fork(listener: socket.socket, null: int, life: int, ours: tuple[int, int]) -> int:
    conn, _address = listener.accept()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        listener.close()
        for fd in ours:
            os.close(fd)
        os.dup2(null, life)  # never leave a low number free: what comes next would take it
        os.close(null)
        gc.enable()
        keeper.keep(conn)
    conn.close()
    return pid


def _reap(keepers: set[int]) -> None:
    """Forget keepers that ended; one that was killed may have left orphans, which came to us."""
    killed = False
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            killed = killed or os.WIFSIGNALED(status) or pid not in keepers
            keepers.discard(pid)
    if killed:
        for child in linux.children(os.getpid()):
            if child not in keepers:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
