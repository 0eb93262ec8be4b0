"""The supervisor of one placement. The node forks it; `run` is its whole life.

Order: stage (bundle, environment) → roles begin → units end → the placement's end is written.
What must be known later is in the journal; what the node should know at once goes over `link`. If
the node dies the work goes on, and the link is made again when a node listens.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tradewind.inside import linux, wire
from tradewind.supervisor import helper, journal, layout, logs, roles, staging
from tradewind.supervisor.loop import Loop, Timer
from tradewind.supervisor.ports import Ports
from tradewind.supervisor.readiness import Probe
from tradewind.supervisor.start import Keepers, Starter
from tradewind.supervisor.unit import Exit, Unit

# Facts that may wait a moment, so that a short task's reports travel together.
SOON, LATER = 0.004, 0.05
# That it runs may wait longer: a task that is over by then is told of once.
BEGUN = 0.03
RECONNECT = 0.2
# How many placements more a supervisor serves, and how long it waits for one.
REUSED, IDLE = 200, 1.0
# Metrics beyond this many bytes of journal are dropped, with a note.
JOURNAL_CAP = 256 << 20


class Settings(NamedTuple):
    """What the node tells every supervisor."""

    data: str
    inside: str
    python: str
    uv: str = ""
    log_cap: int = logs.CAP
    kernel_kills: int = 0
    cgroups: bool = True
    out: int = -1  # a descriptor that gets every byte of the logs besides, where there is one


def run(settings: Settings, request: dict[str, Any], link: socket.socket | None, held: int) -> None:
    """Become the supervisor of this request. `held` is the lock that says we live. Does not return.

    A fork costs more than all the rest of a short placement. So a supervisor that has ended one
    placement serves another if the node has one within a moment; it keeps no state between them.
    """
    try:
        os.setsid()
        close_all_but([0, 1, 2, held, *([link.fileno()] if link else [])])
        linux.become_subreaper()
        linux.name("tw-supervisor")
        keepers, orders = Keepers(), Orders(link)
        for left in range(REUSED, -1, -1):
            ended = Supervisor(settings, request, orders, keepers, held, last=not left)
            ended.live_through()
            os.close(held)
            keepers.trim(1)
            following = _next(settings, orders) if left and not ended.last else None
            if following is None:
                break
            request, held, settings = following
    except BaseException as error:
        with contextlib.suppress(OSError):
            import traceback

            text = f"supervisor of {request.get('placement')}: {error!r}\n"
            os.write(2, (text + traceback.format_exc()).encode())
    finally:
        os._exit(0)


def _next(settings: Settings, orders: Orders) -> tuple[dict[str, Any], int, Settings] | None:
    """The next placement to serve, with its lock; None if there is none, or the node is gone."""
    places = layout.Layout(settings.data)
    for message in orders.wait(IDLE):
        if "serve" in message:
            folder = places.attempt(message["serve"])
            held = take(folder)
            if held < 0 or os.path.exists(os.path.join(folder, layout.JOURNAL)):
                return None
            with open(os.path.join(folder, layout.REQUEST), "rb") as file:
                request = json.loads(file.read())
            return request, held, settings._replace(kernel_kills=message["kernel_kills"])
    return None


class Orders:
    """What the node says, over the link that this process was forked with."""

    def __init__(self, link: socket.socket | None) -> None:
        self.link = link
        self._lines = wire.Lines()
        self._told: list[dict[str, Any]] = []

    def receive(self) -> bool:
        """Take what has come; False once the node is gone."""
        try:
            data = self.link.recv(65536) if self.link else b""
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self._told += self._lines.feed(data)
        return bool(data)

    def taken(self) -> Iterator[dict[str, Any]]:
        """What has been received and not been taken yet."""
        while self._told:
            yield self._told.pop(0)

    def wait(self, seconds: float) -> Iterator[dict[str, Any]]:
        """The next orders, as long as some come in time."""
        limit = time.monotonic() + seconds
        while self.link is not None:
            yield from self.taken()
            if not select.select([self.link], [], [], max(0.0, limit - time.monotonic()))[0]:
                return
            if not self.receive():
                return


def take(folder: str) -> int:
    """The lock on a placement, as a descriptor; -1 while a supervisor lives that holds it."""
    fd = os.open(os.path.join(folder, layout.REQUEST), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return -1
    return fd


def close_all_but(kept: list[int]) -> None:
    """Drop every descriptor that the node had open."""
    low = 0
    for fd in sorted(kept):
        if low < fd:  # an empty range would mean all of them
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


class Supervisor:
    """The state of one placement while it runs."""

    def __init__(
        self,
        settings: Settings,
        request: dict[str, Any],
        orders: Orders,
        keepers: Keepers,
        held: int,
        last: bool,
    ) -> None:
        self.settings, self.request = settings, request
        self.placement: str = request["placement"]
        self.places = layout.Layout(settings.data)
        self.folder = self.places.attempt(self.placement)
        self.loop = Loop()
        self.ports = Ports(self.places.ports)
        self.starter = Starter(self, keepers)
        self.last = last
        self._held = held
        self.inside = settings.inside
        self.python = request["environment"].get("python") or settings.python
        self.bundle = ""
        self.kernel_kills = settings.kernel_kills
        path, seq = os.path.join(self.folder, layout.JOURNAL), request.get("seq", 0)
        self._journal = journal.Journal(path, self.placement, seq)
        self._orders = orders
        self._course = roles.Course(self)
        self._helper: helper.Helper | None = None
        self._flush_at: Timer | None = None
        self._stop: dict[str, Any] | None = None
        self._progress: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._running = False
        self._broken: Exit | None = None
        self._dropped = False
        self._ending = False

    # -- the road through a placement ------------------------------------------------------------

    def live_through(self) -> None:
        """From the start to the end."""
        if self._orders.link is not None:
            self._orders.link.setblocking(False)
            self.loop.watch(self._orders.link.fileno(), self._on_link)
        else:
            self._reconnect()
        self._prepare()
        self._carry_out()
        self.loop.run()

    def _prepare(self) -> None:
        if staging.present(self.places, self.request):
            self._prepared(self._stage())
            return
        from tradewind.supervisor import preparation

        for role in self.request["roles"]:
            self.attempt(role, 0, 1, {"state": "preparing"})
        request, settings = self.request, self.settings
        self._helper = helper.Helper(
            self.loop, lambda: preparation.prepare(settings, request), self._prepared
        )

    def _stage(self) -> dict[str, Any]:
        """The quick way: everything is there already."""
        made: dict[str, Any] = {"bundle": "", "phases": {}}
        if self.request.get("bundle"):
            made["bundle"] = staging.unpacked(self.places, self.request["bundle"])
        environment = self.request["environment"]
        if environment.get("lock"):
            folder = self.places.environment(environment["digest"])
            with contextlib.suppress(OSError):
                os.utime(folder)
            made["python"] = os.path.join(folder, "bin", "python")
        return made

    def _prepared(self, made: dict[str, Any]) -> None:
        self._helper = None
        for name, seconds in made.get("phases", {}).items():
            self._journal.add("phase", {"name": name, "seconds": round(seconds, 6)})
        if self._stop is not None or self._broken is not None:
            self.end("stopped", self._broken or roles.STOPPED)
            return
        if "error" in made:
            ended = {"reason": made["reason"], "message": made["error"]}
            ended["hint"] = made.get("hint", "")
            if made.get("errno"):
                ended = self.disk_exit(OSError(made["errno"], made["error"]))
            state = roles.state_of(ended)
            for role in self.request["roles"]:
                self.attempt(role, 0, 1, {"state": state, "exit": ended})
            self.end(state, ended)
            return
        self.bundle = made["bundle"]
        if made.get("python"):
            self.python = made["python"]
            self._tell({"warm": self.python})
        self._course.begin()

    def end(self, state: str, reason: Exit) -> None:
        """The last report; then there is nothing left to do."""
        if self._broken is not None:
            state, reason = "failed", self._broken
        if self._ending:
            return
        self._ending = True
        self._send_progress()
        self._journal.add("placement", {"state": state, "reason": reason})
        self._flush_to_the_end()

    def _flush_to_the_end(self) -> None:
        try:
            self._journal.flush(end=True)
        except OSError:
            self._journal.give_up("placement")
            if not self._tell({"unwritten": self._journal.pending()}):
                self.loop.after(0.1, self._flush_to_the_end)
                return
        self._journal.close()
        self.ports.close()
        self._tell({"reports": self._journal.seq, "ended": True, "last": self.last})
        self.loop.stop()

    # -- facts -----------------------------------------------------------------------------------

    def attempt(self, role: dict[str, Any], index: int, number: int, body: dict[str, Any]) -> None:
        """Report that a unit moved."""
        state = body["state"]
        if state == "running" and not self._running:
            self._running = True
            self._journal.add("placement", {"state": "running"})
        self._journal.add("attempt", body, role["name"], index, number)
        self._flush_soon(BEGUN if state == "running" else SOON)

    def fact(self, unit: Unit, kind: str, body: dict[str, Any]) -> None:
        """Report what the unit itself said."""
        gang = unit.role["shape"]["shape"] == "gang"
        index, number = (0, 1) if gang else (unit.index, unit.attempt)
        if gang and unit.index:
            body["rank"] = unit.index
        if kind == "progress":
            self._progress[unit.role["name"], index, number] = body
        elif self._journal.written < JOURNAL_CAP:
            self._journal.add(kind, body, unit.role["name"], index, number)
        elif not self._dropped:
            self._dropped = True
            note = {"name": "tradewind.dropped", "value": "more reports than the journal holds"}
            self._journal.add("param", note, unit.role["name"], index, number)
        self._flush_soon(LATER)

    def _send_progress(self) -> None:
        for (role, index, number), body in self._progress.items():
            self._journal.add("progress", body, role, index, number)
        self._progress.clear()

    def _flush_soon(self, seconds: float) -> None:
        now = time.monotonic()
        if self._flush_at is None or self._flush_at.at > now + seconds:
            if self._flush_at is not None:
                self._flush_at.cancel()
            self._flush_at = self.loop.after(seconds, self._flush)

    def _flush(self) -> None:
        self._flush_at = None
        self._send_progress()
        try:
            if self._journal.flush():
                self._tell({"reports": self._journal.seq})
        except OSError as error:
            self._break(error)

    # -- a disk that refuses ---------------------------------------------------------------------

    def disk_exit(self, error: OSError) -> Exit:
        """What a write error means, naming the disk."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {
                "reason": "output",
                "message": f"the disk that holds {self.places.data} is full",
                "hint": "free some space there (tw prune), then run it again",
            }
        return {"reason": "output", "message": f"cannot write below {self.places.data}: {error}"}

    def _break(self, error: OSError) -> None:
        """The journal cannot be written: end everything, and keep the space for saying so."""
        if self._broken is None:
            self._broken = self.disk_exit(error)
            self._journal.give_up("attempt", "placement")
            for unit in self.live():
                unit.kill(self._broken)

    # -- the node --------------------------------------------------------------------------------

    def _on_link(self) -> None:
        if not self._orders.receive():
            self._unlink()
        self._carry_out()

    def _carry_out(self) -> None:
        for order in self._orders.taken():
            if order.get("placement") == self.placement:
                self._obey(order)

    def _unlink(self) -> None:
        link, self._orders.link = self._orders.link, None
        if link is not None:
            self.loop.forget(link.fileno())
            link.close()
        self.loop.after(RECONNECT, self._reconnect)

    def _reconnect(self) -> None:
        """The node died: go on, and tell the next one that we are here."""
        if self._deserted():
            for unit in self.live():
                unit.kill(roles.STOPPED)
            self.loop.stop()
            return
        try:
            link = wire.connect(self.places.socket)
        except OSError:
            self.loop.after(RECONNECT, self._reconnect)
            return
        with contextlib.suppress(OSError):
            wire.send(link, {"supervisor": self.placement, "pid": os.getpid()})
        self.last = True  # that node knows us as this placement's only
        link.setblocking(False)
        self._orders.link = link
        self.loop.watch(link.fileno(), self._on_link)

    def _deserted(self) -> bool:
        """Whether the data folder was deleted, or another stands in its place."""
        path = os.path.join(self.folder, layout.REQUEST)
        try:
            return os.stat(path).st_ino != os.fstat(self._held).st_ino
        except OSError:
            return True

    def _tell(self, message: dict[str, Any]) -> bool:
        """Whether the node was told. If not (it is gone, or slow), the journal has it."""
        line = wire.encode(message)
        with contextlib.suppress(OSError):
            return self._orders.link is not None and self._orders.link.send(line) == len(line)
        return False

    def tell_usage(self) -> None:
        """What the live units use, for the node's status."""
        units = self.live()
        self._tell({
            "usage": {
                "memory": sum(int(unit.usage.get("memory", 0)) for unit in units),
                "cpu": round(sum(unit.usage.get("cpu", 0.0) for unit in units), 3),
                "processes": len(units),
            }
        })  # fmt: skip

    def _obey(self, order: dict[str, Any]) -> None:
        if "stop" in order:
            self._begin_to_stop(order["stop"])
        elif "resize" in order:
            if "devices" in order:
                self.request["devices"] = order["devices"]
            if self._course.roles:
                self._course.resize(int(order["resize"]))
        elif "weigh" in order:
            self._tell({"weight": sum(unit.weigh() for unit in self.live())})
        elif "relieve" in order:
            units = sorted(self.live(), key=Unit.weigh)
            if units:
                units[-1].relieve(order["relieve"])

    def _begin_to_stop(self, stop: dict[str, Any]) -> None:
        self._stop = stop
        if self._helper is not None:
            self._helper.kill()
            self._helper = None
            for role in self.request["roles"]:
                self.attempt(role, 0, 1, {"state": "stopped", "exit": roles.STOPPED})
            self.end("stopped", roles.STOPPED)
            return
        self._course.stop(stop.get("way", "kill"), float(stop.get("grace", 10.0)))

    # -- what roles and units ask ----------------------------------------------------------------

    def live(self) -> list[Unit]:
        """The units that run now."""
        return self._course.live()

    def unit(
        self,
        role: dict[str, Any],
        index: int,
        attempt: int,
        ended: Callable[[Unit], None],
        extra: dict[str, str],
    ) -> Unit:
        """A new unit, not started."""
        return Unit(self, role, index, attempt, ended, extra)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Once, later."""
        self.loop.after(seconds, call)

    def port(self) -> int:
        """A free one."""
        return self.ports.reserve()

    def probe(
        self,
        port: int,
        rule: dict[str, Any],
        alive: Callable[[], bool],
        ready: Callable[[], None],
        never: Callable[[str], None],
    ) -> None:
        """Find out when a replica answers."""
        Probe(self.loop, port, rule, alive, ready, never).begin()

    def checkpoints(self, role: str, index: int) -> str:
        """A folder that all tries of this unit share, in this placement and later ones. A gang has
        one for all its members."""
        shape = next(r["shape"]["shape"] for r in self.request["roles"] if r["name"] == role)
        return self.places.checkpoint(self.request, role, 0 if shape == "gang" else index)
