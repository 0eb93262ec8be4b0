"""The main container: a supervisor for the one unit, and what is told of it to the server.

This process is the first of its container, so it reaps what others leave. It forks the supervisor
before it has a thread, and loads what talks to the server only then: user code starts first, but
for members of a gang, who ask there whether the others are set up.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from tradewind.inside import linux, wire
from tradewind.pod import alone, ending
from tradewind.pod.checkpoints import Keeping
from tradewind.pod.delivery import Delivery
from tradewind.pod.place import Place
from tradewind.supervisor import layout
from tradewind.supervisor import main as supervisor
from tradewind.supervisor.loop import Loop

# After a request to stop, how long beyond the unit's grace we may take. The manifest gives 5 s.
LEAVE = 3.5
# Standard output has all of the log; this is for the words of an interpreter that cannot start.
LOG_CAP = 1 << 20
STARTS = "starts.json"


def main(place: Place) -> int:
    """Carry out what was staged; the status that it ends with."""
    ending.stop_at_once(place.termination)
    work = place.recall("work.json")
    if work is None:
        missing = ending.made("lost", "lost", "what the task needs was not brought here")
        return ending.write(place.termination, missing)
    try:
        if alone.has_others(work) and (outside := _gate(place)):
            return ending.write(place.termination, outside)
        wake = _wake_on(*ending.STOPS, signal.SIGCHLD)
        return ending.write(place.termination, _Watch(place, work, wake).live())
    except OSError as error:
        ended = alone.disk_exit(error)
        return ending.write(place.termination, ending.made("failed", **ended))
    except Exception as error:  # our own mistake
        words = f"{type(error).__name__}: {error}"
        return ending.write(place.termination, ending.made("lost", "lost", words))


def _gate(place: Place) -> ending.Ending | None:
    """Wait for the other members of the gang: none begins before all are set up. The end of one
    that does not begin."""
    from tradewind.pod import desk

    asking = desk.Desk(place.server, place.token, place.pod)
    try:
        asking.gate()
    except desk.Trouble as error:
        return error.ending()
    finally:
        asking.close()
    return None


def _wake_on(*numbers: int) -> tuple[int, int]:
    """A pipe that gets the number of each of these signals."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda _signal, _frame: None)
    return read, write


class _Watch:
    """Between the supervisor, the server and whoever asks for the end."""

    def __init__(self, place: Place, work: dict[str, Any], wake: tuple[int, int]) -> None:
        self._place, self._wake = place, wake[0]
        self._loop = Loop()
        self._role = alone.role_of(work)
        self._placement = work["request"]["placement"]
        self._lines = wire.Lines()
        self._unwritten: list[dict[str, Any]] = []
        self._died = ""
        self._kills = alone.kills()
        self._stopping = self._over = False
        self._ending: ending.Ending | None = None
        folder = layout.Layout(place.home).attempt(self._placement)
        journal = os.path.join(folder, layout.JOURNAL)
        seq = _mend(journal)
        self._link, self._supervisor = self._fork(work, folder, seq, wake)
        self._keeping = Keeping(place, work)
        others = alone.has_others(work)
        self._delivery = Delivery(place, journal, seq, wake[1], self._keeping.join, others)

    def _fork(
        self, work: dict[str, Any], folder: str, seq: int, wake: tuple[int, int]
    ) -> tuple[socket.socket, int]:
        place = self._place
        starts = int(place.recall(STARTS, 0))
        place.remember(STARTS, starts + 1)
        unit = {**work["unit"], "attempt": int(work["unit"].get("attempt", 1)) + starts}
        if place.service_token:
            _write_token(place)
        request = {**alone.request(work, place.blobs), "seq": seq}
        request["phases"] = {} if starts else work.get("phases", {})
        settings = supervisor.Settings(
            data=place.home,
            inside=work["inside"],
            python=sys.executable,
            log_cap=LOG_CAP,
            kernel_kills=sys.maxsize,  # those of the machine are mostly other people's
            cgroups=False,
            out=1,
        )
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(os.path.join(folder, layout.REQUEST), "w") as file:
            json.dump(request, file)
        held = supervisor.take(folder)
        ours, theirs = socket.socketpair()
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (*ending.STOPS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            linux.die_with_parent(me)
            os.setsid()
            alone.live(settings, request, {**work, "unit": unit}, place.address, theirs, held)
        theirs.close()
        os.close(held)
        ours.setblocking(False)
        return ours, pid

    def live(self) -> ending.Ending:
        """Until the unit has ended and all that it made is on the server."""
        self._keeping.start()
        self._delivery.start()
        self._loop.watch(self._wake, self._on_wake)
        self._loop.watch(self._link.fileno(), self._on_link)
        self._loop.run()
        assert self._ending is not None
        return self._ending

    def _leave(self, made: ending.Ending) -> None:
        self._ending = made
        self._loop.stop()

    def _on_wake(self) -> None:
        woken = os.read(self._wake, 4096)
        if any(number in ending.STOPS for number in woken):
            self._stop()
        if signal.SIGCHLD in woken:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        if self._delivery.ending is not None:
            self._delivered(self._delivery.ending)

    def _delivered(self, made: ending.Ending) -> None:
        """Nothing more can be told; with a unit that still runs it was the server who said so."""
        if self._over:
            self._leave(made)
        else:
            self._order({"way": "kill"})

    # -- the supervisor --------------------------------------------------------------------------

    def _on_link(self) -> None:
        try:
            data = self._link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for message in self._lines.feed(data):
            self._unwritten += message.get("unwritten", ())
            self._died = message.get("died", self._died)
            if message.get("ended"):
                data = b""
        if data:
            self._delivery.more()
            return
        self._loop.forget(self._link.fileno())
        self._over = True
        self._keeping.finish()
        if self._delivery.ending is not None:
            self._leave(self._delivery.ending)
        else:
            self._delivery.finish(self._missing(), self._unwritten)

    def _missing(self) -> ending.Ending | None:
        """The end of a unit whose supervisor ended before it could tell."""
        if alone.kills() > self._kills:
            from tradewind.supervisor import start

            limit = int(self._role.get("resources", {}).get("memory") or 0)
            return ending.made("failed", **start.memory_exit(limit, limit))
        if self._died:
            return ending.made("lost", "lost", self._died)
        return None

    def _order(self, stop: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._link.send(wire.encode({"placement": self._placement, "stop": stop}))

    # -- the end on request ----------------------------------------------------------------------

    def _stop(self) -> None:
        """As the role says. Whoever asked waits for so long and no longer."""
        if self._stopping:
            return
        self._stopping = True
        rule = self._role.get("stop", {})
        way = rule.get("way", "kill")
        grace = 0.0 if way == "kill" else float(rule.get("grace", 10.0))
        self._order({"way": way, "grace": grace})
        self._loop.after(grace + LEAVE, self._give_up)

    def _give_up(self) -> None:
        self._keeping.give_up()
        end = self._delivery.end
        if end is not None and end["body"]["state"] != "succeeded":
            self._leave(ending.told(end))  # it made no outputs that would be missed
            return
        text = "stopped on request, before all that it made could be brought to the server"
        self._leave(ending.made("stopped", "stopped", text))


def _mend(journal: str) -> int:
    """The last number in the journal of an earlier start in this pod, and a whole last line."""
    try:
        with open(journal, "r+b") as file:
            start = max(0, os.fstat(file.fileno()).st_size - (1 << 20))
            file.seek(start)
            data = file.read()
            end = data.rfind(b"\n") + 1
            file.truncate(start + end)
            return int(json.loads(data[:end].splitlines()[-1])["seq"])
    except (OSError, ValueError, IndexError):
        return 0


def _write_token(place: Place) -> None:
    """Where replicas get it from, on any machine."""
    opener: Callable[[str, int], int] = lambda path, flags: os.open(path, flags, 0o600)  # noqa: E731
    with open(place.file("service-token"), "w", opener=opener) as file:
        file.write(place.service_token)
