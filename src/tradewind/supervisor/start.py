"""What a unit is told at its start, the words for how it ended, the way to its interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from tradewind.inside import linux, wire
from tradewind.supervisor import orphans, staging
from tradewind.supervisor.helper import Failure, Helper

if TYPE_CHECKING:
    from tradewind.supervisor.main import Supervisor
    from tradewind.supervisor.unit import Unit

Exit = dict[str, Any]
NICE = 5
# Of the node's own environment, what no user process should see.
_HIDDEN = ("PYTHON", "TRADEWIND_", "VIRTUAL_ENV", "__PYVENV")


class Unstartable(Exception):
    """The unit cannot start; `exit` says why."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.exit: Exit = {"reason": reason, "message": message, "hint": hint}


def clean_environment(python: str) -> dict[str, str]:
    """The environment of an interpreter for user code."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(_HIDDEN)}
    folder = os.path.dirname(python)
    path = env.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != folder:
        env["PATH"] = folder + os.pathsep + path
    env["PYTHONUNBUFFERED"] = "1"
    return env


def message(unit: Unit) -> dict[str, Any]:
    """The start message for a unit (see `inside.keeper`)."""
    host, role = unit.host, unit.role
    try:
        slots = staging.inputs(
            host.places, host.request["blobs"], role.get("inputs", {}), unit.folder
        )
    except Failure as failure:
        found = failure.result
        raise Unstartable(found["reason"], found["error"], found.get("hint", "")) from failure
    entry, group = role["entry"], unit.group()
    made: dict[str, Any] = {
        "entry": entry,
        "params": role.get("params", {}),
        "inputs": slots,
        "outputs": role.get("outputs", {}),
        "out": unit.folder + ".out",
        "bundle": host.bundle,
        "path": [host.bundle] if host.bundle else [],
        "cwd": _work_folder(unit),
        "env": {},
        "nice": NICE,
        "cgroups": group.paths if group else [],
        "way": role.get("stop", {}).get("way", "kill"),
        "command": entry["kind"] == "command",
    }
    items = role.get("items") or ()
    if role["shape"]["shape"] == "array" and unit.index < len(items):
        made["item"] = items[unit.index]
    made["env"] = _variables(unit, made, slots)
    return made


def _variables(unit: Unit, made: dict[str, Any], slots: dict[str, Any]) -> dict[str, str]:
    host, role, request = unit.host, unit.role, unit.host.request
    env = {
        "TRADEWIND_RUN": request["run"],
        "TRADEWIND_TASK": request["task"],
        "TRADEWIND_PLACEMENT": request["placement"],
        "TRADEWIND_ROLE": role["name"],
        "TRADEWIND_INDEX": str(unit.index),
        "TRADEWIND_ATTEMPT": str(unit.attempt),
        "TRADEWIND_EPOCH": "1",
        "TRADEWIND_OUT": made["out"],
        "TRADEWIND_CHECKPOINTS": host.checkpoints(role["name"], unit.index),
        "TRADEWIND_BUNDLE": host.bundle,
        "TRADEWIND_CPU": str(role.get("resources", {}).get("cpu", 1.0)),
        "TRADEWIND_MEMORY": str(role.get("resources", {}).get("memory", 0)),
    }
    if made["params"]:
        env["TRADEWIND_PARAMS"] = json.dumps(made["params"])
    if slots:
        plain = {n: s.get("files", s.get("path", s.get("value"))) for n, s in slots.items()}
        text = json.dumps(plain)
        if len(text) < 100_000:  # one variable may hold 128 KiB
            env["TRADEWIND_INPUTS"] = text
    if "item" in made:
        env["TRADEWIND_ITEM"] = json.dumps(made["item"])
    if role["shape"]["shape"] == "replicas":
        env |= _service_token(host.settings.data)
    env.update(unit.extra)
    env.update(role.get("env", {}))
    return env


def _service_token(data: str) -> dict[str, str]:
    """The secret by which a replica knows the server: from a file, never part of a request."""
    with contextlib.suppress(OSError), open(os.path.join(data, "service-token")) as file:
        return {"TRADEWIND_SERVICE_TOKEN": file.read().strip()}
    return {}


def _work_folder(unit: Unit) -> str:
    """The process's working folder: its own to write into, with the bundle's files linked in."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(unit.folder, 0o700)
    if unit.host.bundle:
        for name in os.listdir(unit.host.bundle):
            with contextlib.suppress(FileExistsError):
                os.symlink(os.path.join(unit.host.bundle, name), os.path.join(unit.folder, name))
    return unit.folder


class Keeper:
    """A connection to a keeper, which keeps one unit after the other."""

    def __init__(self, conn: socket.socket, python: str, cold: bool) -> None:
        self.conn, self.python, self.cold = conn, python, cold
        self.lines = wire.Lines()
        self.unit = 0
        self.pid = 0  # if it is our own child


class Keepers:
    """The idle ones. They outlive a placement when their supervisor does."""

    MOST = 4

    def __init__(self) -> None:
        self._idle: list[Keeper] = []

    def take(self, python: str) -> Keeper | None:
        """One of this interpreter, if there is any."""
        for keeper in self._idle:
            if keeper.python == python:
                self._idle.remove(keeper)
                return keeper
        return None

    def put(self, keeper: Keeper) -> None:
        """Keep it for the next unit; the longest idle one goes if there are too many."""
        self._idle.append(keeper)
        self.trim(self.MOST)

    def pids(self) -> set[int]:
        """Those that are children of this process."""
        return {keeper.pid for keeper in self._idle}

    def trim(self, most: int) -> None:
        """Let go of all but the newest."""
        while len(self._idle) > most:
            self._idle.pop(0).conn.close()


class Starter:
    """The way to an interpreter: a keeper that is idle, else a new one of the environment's warm
    interpreter, else a fresh interpreter."""

    def __init__(self, host: Supervisor, keepers: Keepers) -> None:
        self._host, self._keepers = host, keepers

    def begin(
        self, message: dict[str, Any], log: int, channel: socket.socket, cold: bool
    ) -> Keeper:
        """Send a start message to a keeper; `cold` wants a fresh interpreter."""
        python = self._host.python
        keeper = None if cold else self._keepers.take(python)
        if keeper is not None and self._send(keeper, message, log, channel):
            return keeper
        if not cold:
            with contextlib.suppress(OSError):
                conn = wire.connect(self._host.places.zygote(python))
                keeper = Keeper(conn, python, False)
                if self._send(keeper, message, log, channel):
                    return keeper
        keeper = self._spawn(log)
        if not self._send(keeper, message, log, channel):
            raise Unstartable("environment", f"the interpreter {python} cannot be started")
        return keeper

    def _send(
        self, keeper: Keeper, message: dict[str, Any], log: int, channel: socket.socket
    ) -> bool:
        keeper.unit += 1
        try:
            keeper.conn.setblocking(True)
            fds = [log, channel.fileno()]
            wire.send_frame(keeper.conn, {**message, "unit": keeper.unit}, fds)
            keeper.conn.setblocking(False)
        except OSError:
            keeper.conn.close()
            return False
        return True

    def give_back(self, keeper: Keeper, healthy: bool) -> None:
        """A unit has ended: its keeper may keep another."""
        if healthy:
            self._keepers.put(keeper)
        else:
            keeper.conn.close()

    def _spawn(self, log: int) -> Keeper:
        ours, theirs = socket.socketpair()
        python = self._host.python
        try:
            pid = os.posix_spawn(
                python,
                [python, self._host.inside, "keeper"],
                clean_environment(python),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                ],
                setsigdef=[signal.SIGCHLD, signal.SIGPIPE],
            )
        except OSError as error:
            ours.close()
            text = f"the interpreter {python} cannot be started: {error.strerror}"
            raise Unstartable("environment", text) from error
        finally:
            theirs.close()
        keeper = Keeper(ours, python, True)
        keeper.pid = pid
        return keeper

    def purge(self, keeper: int) -> None:
        """After a keeper's unnatural death: reap it and kill what it would have had to reap."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        mine = {unit.keeper for unit in self._host.live()} - {keeper} | self._keepers.pids()
        for child in linux.children(os.getpid()):
            if child not in mine | Helper.living:
                _kill(child)
        orphans.sweep(self._host.places, dead=keeper)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


# -- the words for an end --------------------------------------------------------------------------


def memory_exit(used: int, limit: int) -> Exit:
    """Over its memory, with figures."""
    from tradewind.base.units import format_bytes

    if limit:
        text = f"used {format_bytes(max(used, limit))} of its {format_bytes(limit)}"
    else:
        text = f"used {format_bytes(used)}, and the machine had no memory left"
    hint = "raise resources.memory or read the data in parts"
    return {"reason": "memory", "message": f"{text}; {hint}", "hint": hint}


def timeout_exit(timeout: float) -> Exit:
    """Over its wall time."""
    from tradewind.base.units import format_duration

    return {
        "reason": "timeout",
        "message": f"ran longer than its timeout of {format_duration(timeout)}",
        "hint": "raise `timeout`, or make the work smaller",
    }


def signal_exit(number: int) -> Exit:
    """Ended by a signal that we did not send."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hints = {
        "SIGSEGV": "a native library crashed; its version may not fit the others",
        "SIGKILL": "somebody, or the kernel for want of memory, killed it",
        "SIGILL": "a native library was built for another processor",
    }
    return {
        "reason": "signal",
        "signal": name,
        "message": f"ended by {name}",
        "hint": hints.get(name, ""),
    }


def lost_exit(unit: Unit, status: dict[str, Any]) -> Exit:
    """The keeper is gone. Before the start that means: this interpreter cannot be started."""
    if unit.pid:
        return {"reason": "lost", "message": "the process that kept it was killed"}
    words = status.get("error") or _log_tail(unit.folder) or "it ended at once"
    return {
        "reason": "environment",
        "message": f"the interpreter {unit.host.python} cannot be started: {words}",
    }


def _log_tail(folder: str) -> str:
    from tradewind.supervisor import logs

    start = max(0, logs.length(folder) - 2000)
    data = b"".join(part for _offset, part in logs.read(folder, start))
    return data.decode("utf-8", "replace").strip()
