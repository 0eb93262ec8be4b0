"""One unit: one try at a gang's member, an item or a replica. One process of the user's, kept by a
keeper; its log, its channel, its limits and its end.

The end is told to the owner (a role, see `roles`) by calling `ended(unit)`, once, with `exit`,
`usage`, `outputs` and `phases` set. Nothing of the unit's processes lives then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tradewind.inside import wire
from tradewind.supervisor import layout, limits, logs, outputs, processes, start, tables
from tradewind.supervisor.helper import Waiting
from tradewind.supervisor.loop import WRITE

if TYPE_CHECKING:
    from tradewind.supervisor.loop import Timer
    from tradewind.supervisor.main import Supervisor

Exit = dict[str, Any]
# How often memory is looked at where the kernel does not enforce it, and how often it is recorded.
WATCH, SAMPLE = 0.2, 1.0
# Who runs longer finds its commit begun: that takes a fifth of a second, and 60 MB until the end.
AHEAD = 1.0
# A unit that was told to die and has not after this long has lost its keeper too.
PATIENCE = 10.0
_CHUNK = 1 << 18


class Unit:
    """A live process, or the memory of one."""

    def __init__(
        self,
        host: Supervisor,
        role: dict[str, Any],
        index: int,
        attempt: int,
        ended: Callable[[Unit], None],
        extra: dict[str, str] | None = None,
    ) -> None:
        self.host, self.role, self.index, self.attempt = host, role, index, attempt
        self.extra = extra or {}
        self.pid = self.keeper = 0
        self.exit: Exit = {}
        self.usage: dict[str, float] = {}
        self.outputs: dict[str, Any] = {}
        self.phases: dict[str, float] = {}
        self.on_start: Callable[[Unit], None] = lambda unit: None
        self.folder = os.path.join(host.folder, layout.unit(role["name"], index, attempt))
        self._ended = ended
        self._cause: Exit | None = None
        self._said: Exit | None = None
        self._status: dict[str, Any] | None = None
        self._staged: dict[str, dict[str, Any]] = {}
        self._pieces: dict[str, str] = {}
        self._artifacts: list[str] = []
        self._cold = False
        self._over = False
        self._peak = 0
        self._began = time.monotonic()
        self._sampled = self._began
        self._timers: list[Timer] = []
        self._group: limits.Group | None = None
        self._helper: Waiting | None = None

    # -- starting ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process. A failure to do so is the unit's end."""
        try:
            self._log = logs.LogWriter(self.folder, self.host.settings.log_cap)
            self._message = start.message(self)
            self._connect()
        except start.Unstartable as problem:
            self._fail_early(problem.exit)
            return
        except OSError as error:
            self._fail_early(self.host.disk_exit(error))
            return
        timeout = float(self.role.get("timeout") or 0)
        if timeout > 0:
            self._timers.append(self.host.loop.after(timeout, lambda: self._time_out(timeout)))

    def _fail_early(self, ended: Exit) -> None:
        self.exit = ended
        self._over = True
        self.host.loop.after(0, lambda: self._ended(self))

    def group(self) -> limits.Group | None:
        """The cgroups of this unit, made on the first call if it needs any."""
        resources = self.role.get("resources", {})
        memory, cpu = int(resources.get("memory") or 0), float(resources.get("cpu") or 1.0)
        wanted = self.host.settings.cgroups and (memory or cpu != 1.0)
        if self._group is None and wanted:
            name = f"{self.host.placement}-{os.path.basename(self.folder)}"
            self._group = limits.Group(name, memory, cpu)
        return self._group

    def _connect(self) -> None:
        self._log_read, log = os.pipe()
        os.set_blocking(self._log_read, False)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        try:
            self._keeper = self.host.starter.begin(self._message, log, theirs, self._cold)
        finally:
            os.close(log)
            theirs.close()
        loop = self.host.loop
        loop.watch(self._keeper.conn.fileno(), self._on_keeper)
        loop.watch(self._channel.fileno(), self._on_channel)
        loop.watch(self._log_read, self._on_log)

    def _release(self) -> None:
        out = self.host.settings.out
        for fd in (self._keeper.conn.fileno(), self._channel.fileno(), self._log_read, out):
            self.host.loop.forget(fd)
        self.host.starter.give_back(self._keeper, healthy=bool(self._status))
        self._channel.close()
        os.close(self._log_read)

    # -- what comes back -----------------------------------------------------------------------

    def _on_keeper(self) -> None:
        try:
            data = self._keeper.conn.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._keeper_gone()
            return
        for message in self._keeper.lines.feed(data):
            if "started" in message:
                self._on_started(message)
            elif "exit" in message:
                self._status = message
                self._finish()

    def _on_started(self, message: dict[str, Any]) -> None:
        self.pid, self.keeper = message["started"], message["keeper"]
        self.phases["start"] = time.monotonic() - self._began
        self._timers.append(self.host.loop.after(WATCH, self._watch))
        if self._expects_versions():
            self._timers.append(self.host.loop.after(AHEAD, self._begin_to_store))
        if self._cause is not None:
            self._order({"kill": True})
        self.on_start(self)

    def _on_log(self) -> None:
        out = self.host.settings.out
        if out >= 0 and not select.select((), (out,), (), 0)[1]:
            # Whoever reads there is slow: that holds up who writes, and nothing else.
            self.host.loop.forget(self._log_read)
            self.host.loop.watch(out, self._on_room, WRITE)
            return
        self._take_log()

    def _on_room(self) -> None:
        self.host.loop.forget(self.host.settings.out)
        self.host.loop.watch(self._log_read, self._on_log)

    def _take_log(self) -> bool:
        out = self.host.settings.out
        try:
            # A pipe that has room takes this much without waiting.
            data = os.read(self._log_read, _CHUNK if out < 0 else select.PIPE_BUF)
        except BlockingIOError:
            return False
        if not data:  # closed its output: no end, only silence
            self.host.loop.forget(self._log_read)
            return False
        self._log.write(data)
        if out >= 0:
            logs.pass_on(out, data)
        return True

    def _on_channel(self) -> None:
        self._take_packet()

    def _take_packet(self) -> bool:
        try:
            packet = self._channel.recv(wire.PACKET + 4096)
        except BlockingIOError:
            return False
        except OSError:
            packet = b""
        if not packet:
            self.host.loop.forget(self._channel.fileno())
            return False
        # User code may have written into the channel itself.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            self._on_message(json.loads(packet))
        return True

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message.pop("kind")
        if kind == "end":
            self._said = message["exit"]
            self.phases.update(message.get("phases", {}))
            self._staged.update(message.get("outputs", {}))
        elif kind == "output":
            text = self._pieces.pop(message["slot"], "") + message["text"]
            if message["whole"]:
                self._staged[message["slot"]] = json.loads(text)
            else:
                self._pieces[message["slot"]] = text
        elif kind == "artifact":
            self._artifacts.append(message["name"])
        elif kind in ("metric", "param", "progress", "phase"):
            self.host.fact(self, kind, message)

    # -- ending --------------------------------------------------------------------------------

    def _keeper_gone(self) -> None:
        """The keeper was killed, or never came to life."""
        if not self.pid and not self._keeper.cold and self._cause is None:
            self._drain()
            self._release()
            self._cold = True
            self._began = time.monotonic()
            try:
                self._connect()
            except OSError as error:
                self._status = {"exit": -1, "signal": 0, "error": str(error)}
                self._conclude()
            return
        self.host.starter.purge(self.keeper)
        self._drain()
        self._release()
        self._status = {"exit": -1, "signal": 0, "lost": True}
        self._conclude()

    def _drain(self) -> None:
        while self._take_packet():
            pass
        while self._take_log():
            pass

    def _finish(self) -> None:
        self._drain()
        self._release()
        self._conclude()

    def _conclude(self) -> None:
        """Decide how it ended; store outputs if it ended well."""
        self._over = True
        for timer in self._timers:
            timer.cancel()
        status = self._status or {}
        self._count_usage(status)
        self.exit = self.verdict(status)
        self._log.close()
        if self._group:
            self._group.remove()
        if self.exit["reason"] != "ok":
            if self._helper is not None:
                self._helper.kill()
            self._clean()
            self._ended(self)
            return
        out = self.folder + ".out"
        self._staged.update(outputs.folders(out, self.role.get("outputs", {}), self._artifacts))
        self._store()

    def _count_usage(self, status: dict[str, Any]) -> None:
        peak = max(self._peak, int(status.get("memory", 0)))
        if self._group:
            peak = max(self._peak, self._group.peak())
        self.usage = {
            "cpu": round(float(status.get("cpu", self.usage.get("cpu", 0.0))), 6),
            "memory": peak,
            "wall": round(time.monotonic() - self._began, 6),
        }

    def verdict(self, status: dict[str, Any]) -> Exit:
        """How it ended, by what its keeper, the kernel and the process itself said."""
        said = self._said
        well = said is not None and said["reason"] == "ok" and status.get("exit") == 0
        if not well and self._group and self._group.overflowed():
            return self.memory_exit(self._group.peak())
        if self._cause is not None:
            return self._cause
        if status.get("lost") or "error" in status:
            return start.lost_exit(self, status)
        number = int(status.get("signal", 0))
        if number:
            if number == signal.SIGKILL and processes.kernel_kills() > self.host.kernel_kills:
                return self.memory_exit(self.usage["memory"])
            return start.signal_exit(number)
        if said is not None and said["reason"] != "ok":
            return {**said, "status": status["exit"]}
        if status["exit"]:
            return {
                "reason": "error",
                "status": status["exit"],
                "message": f"exit status {status['exit']}",
            }
        if said is None and self.role["entry"]["kind"] in ("function", "module"):
            return {
                "reason": "error",
                "status": 0,
                "message": "the process ended before its function returned",
                "hint": "do not call os._exit in it",
            }
        return {"reason": "ok", "status": 0}

    def memory_exit(self, used: float) -> Exit:
        """What is said of one that took too much."""
        limit = int(self.role.get("resources", {}).get("memory") or 0)
        return start.memory_exit(int(used), limit)

    def _begin_to_store(self) -> None:
        """Ahead of the end: what commits takes as long to begin as it works."""
        self._helper = Waiting(self.host.loop, self._stored_when_ordered, self._stored)

    def _store(self) -> None:
        self._storing = time.monotonic()
        if self._helper is None and (
            self._versions() or outputs.staged_size(self._staged) > outputs.SLOW
        ):
            self._begin_to_store()
        if self._helper is not None:
            self._helper.order(self._staged)
            return
        try:
            made = outputs.store(self._staged, self.host.request["blobs"])
        except OSError as error:
            self._stored({"error": str(error), "errno": error.errno})
        else:
            self._stored({"outputs": made})

    def _versions(self) -> list[str]:
        """The slots that become versions here. Where there are no tables, whoever hears the end
        makes them."""
        there = self.host.request.get("tables")
        return tables.wanted(self.role.get("outputs", {}), self._staged) if there else []

    def _expects_versions(self) -> bool:
        return bool(self.host.request.get("tables")) and tables.expected(self.role)

    def _stored_when_ordered(self, wait: Callable[[], Any]) -> dict[str, Any]:
        """In the helper."""
        request, declared = self.host.request, self.role.get("outputs", {})
        begun = tables.begun() if self._expects_versions() or self._versions() else None
        self._staged = wait()
        made = outputs.store(self._staged, request["blobs"])
        for slot in self._versions():
            made[slot] |= tables.commit(slot, made[slot], declared, request, self.folder, begun)
            begun = None
        return {"outputs": made}

    def _stored(self, result: dict[str, Any]) -> None:
        self._helper = None
        if not self._over:  # it was killed before there was anything to do
            return
        if "error" in result:
            # Whoever was killed while storing is as little the user's fault as a lost keeper.
            reason = "lost" if result.get("reason") == "lost" else "output"
            self.exit = {"reason": reason, "message": result["error"]}
            if result.get("hint"):
                self.exit["hint"] = result["hint"]
            if result.get("errno"):
                self.exit = self.host.disk_exit(OSError(result["errno"], result["error"]))
        self.outputs = result.get("outputs", {})
        if self._staged:
            self.phases["store"] = time.monotonic() - self._storing
        self._clean()
        self._ended(self)

    def _clean(self) -> None:
        """Staged files that were not moved into the store are nobody's."""
        out = self.folder + ".out"
        if os.path.isdir(out):
            import shutil

            shutil.rmtree(out, ignore_errors=True)

    # -- limits and stopping -------------------------------------------------------------------

    def kill(self, cause: Exit) -> None:
        """End it now; the first cause given is the one that is told."""
        if self._over:
            return
        if self._cause is None or self._cause["reason"] == "stopped":
            self._cause = cause
        self._order({"kill": True})
        self._timers.append(self.host.loop.after(PATIENCE, self._give_up))

    def terminate(self, cause: Exit, grace: float) -> None:
        """Ask it to end, and end it after `grace` seconds."""
        if self._over:
            return
        if not self.pid or grace <= 0:
            self.kill(cause)
            return
        if self._cause is None:
            self._cause = cause
            group = self.role["entry"]["kind"] == "command"
            self._order({"signal": int(signal.SIGTERM), "group": group})
        self._timers.append(self.host.loop.after(grace, lambda: self.kill(cause)))

    def _order(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            wire.send_frame(self._keeper.conn, {"unit": self._keeper.unit, **order})

    def _give_up(self) -> None:
        for pid in (self.pid, self.keeper):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid:
                    os.kill(pid, signal.SIGKILL)

    def _time_out(self, timeout: float) -> None:
        self.kill(start.timeout_exit(timeout))

    def weigh(self) -> int:
        """Bytes in memory now."""
        return processes.weigh(self.keeper)[0] if self.keeper and not self._over else 0

    def relieve(self, message: str) -> None:
        """End it because the machine has no memory left."""
        self.kill({
            "reason": "memory",
            "message": message,
            "hint": "read the data in parts, or run it on a machine with more memory",
        })  # fmt: skip

    def _watch(self) -> None:
        """Look at what it uses; record it once a second; end it over its limit."""
        now = time.monotonic()
        limit = int(self.role.get("resources", {}).get("memory") or 0)
        enforced = self._group is not None and self._group.limits_memory
        record = now - self._sampled >= SAMPLE - 0.05
        if limit and enforced and self._group and self._group.overflowed():
            self.kill(self.memory_exit(self._group.peak()))
            return
        if record or (limit and not enforced):
            memory, seconds = processes.weigh(self.keeper)
            self._peak = max(self._peak, memory)
            self.usage = {"cpu": seconds, "memory": memory}
            if limit and not enforced and memory > limit:
                self.kill(self.memory_exit(memory))
                return
            if record:
                self._sampled = now
                self._record(memory, seconds)
        pause = WATCH if limit else SAMPLE
        self._timers[:] = [timer for timer in self._timers if timer.at > now]
        self._timers.append(self.host.loop.after(pause, self._watch))

    def _record(self, memory: int, seconds: float) -> None:
        line = {"at": round(time.time(), 3), "memory": memory, "cpu": round(seconds, 3)}
        with contextlib.suppress(OSError), open(self.folder + ".usage", "ab") as file:
            file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self.host.tell_usage()
