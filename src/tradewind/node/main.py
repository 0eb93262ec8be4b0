"""The node's process: `python -I -S -c … CONFIG` (see `engines.local.daemon`), then `Node.live`.

It daemonises, and the process that started it exits 0 once the node listens. A second one for the
same folder exits 0 at once: the lock says that somebody is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import sys
import time
from typing import Any, NamedTuple

from tradewind import __version__
from tradewind.inside import linux, wire
from tradewind.node import attempts, crowd, pruning, server, warm
from tradewind.supervisor import (
    journal,
    layout,
    limits,
    logs,
    orphans,
    processes,
    readiness,
)
from tradewind.supervisor import (
    main as supervisor,
)
from tradewind.supervisor.loop import Loop

_PRELOADED = (journal, readiness)  # what supervisors will need, once, before the fork
GUARD, IDLE = 0.25, 15.0
# Supervisors that may die before they begin, until the placement is called lost.
_TRIES = 3
# A task below this is not why the machine has no memory.
_SMALL = 64 << 20


class Worker(NamedTuple):
    """A supervisor between two placements."""

    pid: int
    sock: socket.socket


class Node:
    """Everything one machine knows about one data folder."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.places = layout.Layout(config["data"])
        self.settings = supervisor.Settings(
            data=self.places.data,
            inside=config["inside"],
            python=config["python"],
            uv=config.get("uv", ""),
            log_cap=int(config.get("log_cap", logs.CAP)),
            cgroups=bool(config.get("cgroups", True)),
        )
        self.keep = pruning.Keep(**config.get("keep", {}))
        self.loop = Loop()
        self.warm = warm.Warm(
            self.places, config["inside"], float(config.get("zygote_idle", 900.0))
        )
        self.open: dict[str, attempts.Attempt] = {}
        self._fresh: dict[str, attempts.Attempt] = {}  # with reports not acknowledged
        self._idle: list[Worker] = []
        self._observers: list[tuple[server.Client, Any]] = []
        self._boot = layout.boot_id()
        self._since = time.time()
        self._kernel_kills = processes.kernel_kills()
        self._relieved = 0.0
        self._pruner = 0
        self._pruned = time.monotonic()
        self._closing = False
        total = processes.installed()
        self._floor = int(config.get("floor", min(max(64 << 20, total // 64), 512 << 20)))
        self._guarding = False
        spent = processes.by_session if processes.fair_to_sessions() else None
        self.crowd = crowd.Crowd(self._ours, spent=spent)

    # -- life ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Listen, then look at what an earlier node left."""
        self._listener = wire.listen(self.places.socket)
        self._listener.setblocking(False)
        self.loop.watch(self._listener.fileno(), lambda: server.accept(self, self._listener))
        with open(self.places.identity, "w") as file:
            json.dump(self.identity(), file)
        for placement in sorted(os.listdir(self.places.attempts)):
            self._adopt(placement)
        orphans.sweep(self.places)

    def live(self) -> None:
        """Until told to go."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        self.loop.after(IDLE, self._tidy)
        self._guard()
        self._look()
        self.loop.run()
        self.warm.close()

    def _look(self) -> None:
        self.crowd.look()
        self.loop.after(crowd.PAUSE, self._look)

    def _ours(self) -> set[int]:
        """Ourselves, and supervisors that an earlier node began."""
        return {os.getpid(), *(a.pid for a in self.open.values() if a.pid and not a.ended)}

    def identity(self) -> dict[str, Any]:
        """The answer to `hello`."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "boot": self._boot,
            "since": self._since,
            "data": self.places.data,
        }

    def _adopt(self, placement: str) -> None:
        folder = os.path.join(self.places.attempts, placement)
        request = attempts.request_of(folder)
        if request is None:  # the node died while it wrote this: nobody was told that it runs
            pruning.remove(folder)
            return
        attempt = self.open[placement] = attempts.Attempt(placement, folder)
        self._fresh[placement] = attempt
        held = supervisor.take(folder)
        if held < 0:
            self._follow(attempt)
        elif not os.path.exists(attempt.journal):  # it never began
            self._fork(attempt, request, held)
        else:
            self._bury(attempt, held)

    def _follow(self, attempt: attempts.Attempt) -> None:
        """Its supervisor lives and will make a link; until then its lock is watched."""
        if attempt.link is None:
            self.loop.after(0.2, lambda: self._supervisor_gone(attempt))

    def _bury(self, attempt: attempts.Attempt, held: int) -> None:
        """Its supervisor is dead. The journal says whether it came to its end."""
        try:
            attempts.close_journal(attempt, "its supervisor was killed, or the machine went down")
        except OSError:
            os.close(held)
            self.loop.after(1.0, lambda: self._supervisor_gone(attempt))
            return
        os.close(held)
        attempt.ended = True
        orphans.sweep(self.places)
        self.loop.after(1.0, lambda: orphans.sweep(self.places))  # a keeper may be dying just now
        self._mark(attempt)

    def _tidy(self) -> None:
        self.reap()
        if not self.open and not os.path.exists(self.places.lock):  # the folder was deleted
            self.loop.stop()
        if time.monotonic() - self._pruned > self.keep.every:
            self.prune()
        self.loop.after(IDLE, self._tidy)

    def reap(self) -> None:
        """Collect children that ended: supervisors, zygotes, pruners, orphans of killed zygotes."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pruner:
                    self._pruner = 0
                self.warm.reaped(pid)

    def prune(self) -> None:
        """Delete the oldest of what has ended, in a child."""
        self._pruned = time.monotonic()
        if self._pruner:
            return
        live = [attempts.request_of(attempt.folder) or {} for attempt in self.open.values()]
        self._pruner = os.fork()
        if self._pruner == 0:
            supervisor.close_all_but([0, 1, 2])
            pruning.run(self.places, self.keep, live)

    def shut_down(self, stop: bool) -> None:
        """Go. The supervisors go on, unless everything is to be stopped first."""
        self._closing = True
        for placement in list(self.open) if stop else ():
            self.order(placement, {"stop": {"way": "drain", "grace": 10.0}})
        if stop and any(not attempt.ended for attempt in self.open.values()):
            self.loop.after(15.0, self.loop.stop)
        else:
            self.loop.after(0.01, self.loop.stop)

    # -- launching -------------------------------------------------------------------------------

    def launch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Fork a supervisor, once per placement id."""
        placement = layout.safe(request["placement"])
        if self._closing:
            raise server.Refusal("unreachable", "the node is going down", after=0.05)
        if placement in self.open or os.path.isdir(self.places.past(placement)):
            return {"node": self.identity()["pid"], "placement": placement}
        self.reap()
        if not request["environment"].get("lock"):
            python = request["environment"].get("python") or self.settings.python
            self.warm.ensure(python)
        else:
            folder = self.places.environment(request["environment"]["digest"])
            if os.path.isdir(folder):
                self.warm.ensure(os.path.join(folder, "bin", "python"))
        attempt = attempts.Attempt(placement, self.places.attempt(placement))
        held = attempts.write_request(attempt.folder, request)
        self.open[placement] = attempt
        if not self._guarding:
            self._guard()
        if not self._hand_over(attempt, held):
            self._fork(attempt, request, held)
        return {"node": os.getpid(), "placement": placement}

    def _hand_over(self, attempt: attempts.Attempt, held: int) -> bool:
        """Let a supervisor that is idle serve this placement. It takes the lock itself; if it dies
        before that, the placement has no journal and a new one is forked."""
        while self._idle:
            worker = self._idle.pop()
            self.loop.forget(worker.sock.fileno())
            order = {"serve": attempt.placement, "kernel_kills": self._kernel_kills}
            fcntl.flock(held, fcntl.LOCK_UN)
            try:
                worker.sock.sendall(wire.encode(order))
            except OSError:
                worker.sock.close()
                fcntl.flock(held, fcntl.LOCK_EX)
                continue
            os.close(held)
            attempt.pid = worker.pid
            self._link(attempt, worker.sock)
            return True
        return False

    def _rest(self, attempt: attempts.Attempt) -> None:
        """Its supervisor is done with it and may serve another."""
        if attempt.link is not None:
            worker = Worker(attempt.pid, attempt.link)
            attempt.link = None
            self._idle.append(worker)
            self.loop.watch(worker.sock.fileno(), lambda: self._worker_gone(worker))

    def _worker_gone(self, worker: Worker) -> None:
        """It waited long enough and ended, or it was killed."""
        self.loop.forget(worker.sock.fileno())
        worker.sock.close()
        if worker in self._idle:
            self._idle.remove(worker)
        self.reap()

    def _fork(self, attempt: attempts.Attempt, request: dict[str, Any], held: int) -> None:
        ours, theirs = socket.socketpair()
        settings = self.settings._replace(kernel_kills=self._kernel_kills)
        pid = os.fork()
        if pid == 0:
            supervisor.run(settings, request, theirs, held)
        theirs.close()
        os.close(held)
        attempt.pid = pid
        self._link(attempt, ours)

    def _link(self, attempt: attempts.Attempt, sock: socket.socket) -> None:
        sock.setblocking(False)
        attempt.link, attempt.lines = sock, wire.Lines()
        self.loop.watch(sock.fileno(), lambda: self._on_link(attempt))

    def adopt_link(self, placement: str, pid: int, sock: socket.socket) -> None:
        """A supervisor that outlived the last node."""
        attempt = self.open.get(placement)
        if attempt is None:
            sock.close()
            return
        self._unlink(attempt)
        attempt.pid = pid
        self._link(attempt, sock)
        for order in attempt.wanted():
            self.order(placement, order)
        self._mark(attempt)

    def order(self, placement: str, order: dict[str, Any]) -> None:
        """Pass an order on; one for an unknown or ended placement means nothing."""
        attempt = self.open.get(placement)
        if attempt is None or attempt.ended:
            return
        if attempt.link is not None:
            with contextlib.suppress(OSError):
                line = {**order, "placement": placement}
                attempt.link.sendall(wire.encode(line))
                return
        attempt.want(order)

    # -- what comes back -------------------------------------------------------------------------

    def _on_link(self, attempt: attempts.Attempt) -> None:
        sock = attempt.link
        if sock is None:
            return
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._unlink(attempt)
            self._supervisor_gone(attempt)
            return
        for message in attempt.lines.feed(data):
            if "unwritten" in message:
                attempt.unwritten = message["unwritten"]
            elif "reports" in message:
                attempt.seen = max(attempt.seen, int(message["reports"]))
                if message.get("ended"):
                    attempt.ended = True
                    if not message["last"]:
                        self._rest(attempt)
                self._mark(attempt)
            elif "usage" in message:
                attempt.usage = message["usage"]
            elif "weight" in message:
                attempt.weight = int(message["weight"])
            elif "warm" in message:
                self.warm.ensure(str(message["warm"]))

    def _unlink(self, attempt: attempts.Attempt) -> None:
        if attempt.link is not None:
            self.loop.forget(attempt.link.fileno())
            attempt.link.close()
            attempt.link = None

    def _supervisor_gone(self, attempt: attempts.Attempt) -> None:
        """There is no link: see whether it lives, by its lock, and what the journal says if not."""
        if attempt.ended or attempt.link is not None:
            return
        if self.open.get(attempt.placement) is not attempt:
            return
        held = supervisor.take(attempt.folder)
        if held < 0:
            self._follow(attempt)
        elif not os.path.exists(attempt.journal):  # it never began
            os.close(held)
            attempt.tries += 1
            self.loop.after(0.0 if attempt.tries == 1 else 1.0, lambda: self._again(attempt))
        else:
            self._bury(attempt, held)

    def _again(self, attempt: attempts.Attempt) -> None:
        """Fork another supervisor for a placement that has not begun."""
        held = supervisor.take(attempt.folder)
        if held >= 0 and attempt.tries <= _TRIES:
            self._fork(attempt, attempts.request_of(attempt.folder) or {}, held)
        elif held >= 0:
            os.close(held)
            attempt.never_began()
            self._mark(attempt)

    def _mark(self, attempt: attempts.Attempt) -> None:
        if attempt.acknowledged < attempt.seen or not attempt.over():
            self._fresh[attempt.placement] = attempt
        else:
            self._settle(attempt.placement, attempt)
        if self._closing and all(each.ended for each in self.open.values()):
            self.loop.after(0.01, self.loop.stop)
        observers, self._observers = self._observers, []
        for client, number in observers:
            self._answer(client, number)

    def observe(self, client: server.Client, number: Any, timeout: float) -> None:
        """Answer with reports: now if there are any, else when some come or the time is over."""
        if self._answer(client, number, wait=timeout > 0) or timeout <= 0:
            return
        entry = (client, number)

        def give_up() -> None:
            if entry in self._observers:
                self._observers.remove(entry)
                client.answer_raw(number, [])

        self.loop.after(timeout, give_up)

    def _answer(self, client: server.Client, number: Any, wait: bool = True) -> bool:
        lines: list[bytes] = []
        left = server.MOST
        for placement, attempt in list(self._fresh.items()):
            reports = attempt.waiting(left)
            if not reports:
                self._settle(placement, attempt)
            part = server.raw(reports)
            lines += part
            left -= sum(map(len, part))
            if left <= 0:
                break
        if lines or not wait or not client.open:
            client.answer_raw(number, lines)
            return True
        self._observers.append((client, number))
        return False

    def acknowledge(self, placement: str, seq: int) -> None:
        """Reports up to this one are stored by the control plane."""
        attempt = self.open.get(placement)
        if attempt is not None:
            attempt.acknowledge(seq)
            if seq >= attempt.seen:
                self._settle(placement, attempt)

    def _settle(self, placement: str, attempt: attempts.Attempt) -> None:
        """Nothing is unacknowledged now; after the end, that closes the placement."""
        self._fresh.pop(placement, None)
        if attempt.done():
            with contextlib.suppress(OSError):
                os.rename(attempt.folder, self.places.past(placement))
            self._unlink(attempt)
            self.open.pop(placement, None)

    # -- questions -------------------------------------------------------------------------------

    def known(self) -> list[str]:
        """Placements that are not ended here, or whose end has not been acknowledged."""
        return sorted(name for name, attempt in self.open.items() if not attempt.over())

    def status(self) -> dict[str, Any]:
        """Everything `tw doctor` and `tw top` want to know of this machine."""
        live = {name: a for name, a in self.open.items() if not a.ended}
        return {
            **self.identity(),
            "cores": os.cpu_count(),
            "memory": {"installed": processes.installed(), "available": processes.available()},
            "limits": limits.describe(),
            "warm": self.warm.describe(),
            "placements": {
                name: {"supervisor": a.pid, "linked": a.link is not None, "usage": a.usage}
                for name, a in live.items()
            },
            "waiting": len(self.open) - len(live),
        }

    # -- the machine's memory --------------------------------------------------------------------

    def _guard(self) -> None:
        """While something runs: before the machine's last memory is taken, end the largest task."""
        live = [attempt for attempt in self.open.values() if not attempt.ended]
        self._guarding = bool(live)
        if not live:
            return
        self._kernel_kills = processes.kernel_kills()
        free, now = processes.available(), time.monotonic()
        if 0 <= free < self._floor and now - self._relieved > 2.0:
            self._relieved = now
            for attempt in live:
                attempt.weight = -1
                self.order(attempt.placement, {"weigh": True})
            self.loop.after(0.05, self._relieve)
        self.loop.after(GUARD, self._guard)

    def _relieve(self) -> None:
        live = [attempt for attempt in self.open.values() if not attempt.ended]
        largest = max(live, key=lambda attempt: attempt.weight, default=None)
        if largest is None or largest.weight < _SMALL:
            return
        from tradewind.base.units import format_bytes

        used, total = format_bytes(largest.weight), format_bytes(processes.installed())
        text = f"used {used} when this machine ({total}) ran out of memory; the largest task goes"
        self.order(largest.placement, {"relieve": text})


def _lock(places: layout.Layout) -> int:
    """The one node of this folder, for as long as it lives; -1 if there is another."""
    fd = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return -1
    return fd


def main(config: dict[str, Any]) -> None:
    """Daemonise and live. The process that called this exits once the node listens."""
    places = layout.Layout(config["data"])
    places.make()
    if _lock(places) < 0:
        return
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        if os.read(read, 1):
            sys.exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        sys.exit(os.EX_TEMPFAIL if killed else 1)
    os.close(read)
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    _redirect(places.log)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    linux.become_subreaper()
    linux.name("tw-node")
    node = Node(config)
    node.begin()
    os.write(write, b"1")
    os.close(write)
    node.live()
    with contextlib.suppress(OSError):
        os.unlink(places.socket)


def _redirect(log: str) -> None:
    """Standard output and errors into the node's own log, which never grows far."""
    with contextlib.suppress(OSError):
        if os.stat(log).st_size > 1 << 20:
            os.truncate(log, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for fd in (null, out):
        if fd > 2:
            os.close(fd)
