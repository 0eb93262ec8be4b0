"""One process of a container: started in namespaces of its own, watched without a thread."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.kube.runner.logs import Log

LAUNCH = Path(__file__).with_name("launch.py")
NAMESPACES = ("--mount", "--uts", "--ipc", "--pid")
# The launcher's parent: gives its exit code, 128 and the number for a signal (what `unshare --fork`
# does not always), and says nothing itself.
WAIT = 'exec 2>/dev/null; "$@" 2>&1; exit $?'
PIPE = 1 << 16


class NotStarted(Exception):
    """The command could not be executed."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a container's first process is to be."""

    command: list[str]
    env: dict[str, str]
    hostname: str
    stage: str  # an empty folder, for the container's root
    mounts: list[Mount]
    cwd: str = "/"
    open: list[str]  # folders that any user may pass through
    read_only: bool = False
    user: int | None = None
    group: int = 0
    groups: list[int]
    drop: bool = False
    no_new_privs: bool = False


@cache
def isolation() -> tuple[str, ...]:
    """The words that give a process namespaces of its own here; RuntimeError says why none do."""
    said = ""
    for words in (("unshare", *NAMESPACES), ("unshare", "--map-root-user", *NAMESPACES)):
        try:
            done = subprocess.run([*words, "true"], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if done.returncode == 0:
            return words
        said = done.stderr.strip()
    raise RuntimeError(f"no namespaces for containers can be had here: {said}")


class Process:
    """A running container process. `exited` gives its exit code once all it wrote is in the log."""

    def __init__(self, plan: Plan, popen: subprocess.Popen[bytes], output: int, log: Log) -> None:
        self._loop = asyncio.get_running_loop()
        self.plan, self._popen, self._log = plan, popen, log
        self._pid = self._first = 0
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._left = 2  # the end of the process, the end of its output
        _on_readable(os.pidfd_open(popen.pid), self._at_end)
        _on_readable(output, self._at_output)

    @property
    def pid(self) -> int:
        """The container's PID 1 as the machine knows it."""
        return self._pid

    def signal(self, number: int) -> None:
        if self._pid and not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, number)
        elif number == signal.SIGKILL and self._popen.returncode is None:
            self._popen.kill()

    def _at_end(self, pidfd: int) -> bool:
        if self._popen.poll() is None:
            return True
        os.close(pidfd)
        self._step()
        return False

    def _at_output(self, output: int) -> bool:
        try:
            data = os.read(output, PIPE)
        except BlockingIOError:
            return True
        if data:
            self._log.append(data, time.time_ns())
            return True
        os.close(output)
        self._step()
        return False

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._log.end()
            if self._first:
                os.close(self._first)
            code = self._popen.returncode  # negative: we killed the parent itself
            self._pid = self._first = 0
            self.exited.set_result(128 - code if code < 0 else code)

    def found(self) -> None:
        """Look for PID 1: the only child of what we started."""
        outer = self._popen.pid
        try:
            inner = int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])
            self._first = os.pidfd_open(inner)
        except (OSError, IndexError):
            return  # it has ended already
        self._pid = inner


def _on_readable(descriptor: int, act: Callable[[int], bool]) -> None:
    """Call while it returns True. The descriptor is the caller's to close."""
    loop = asyncio.get_running_loop()

    def ready() -> None:
        # First of all: a closed number may be another's at once.
        loop.remove_reader(descriptor)
        if act(descriptor):
            loop.add_reader(descriptor, ready)

    loop.add_reader(descriptor, ready)


async def start(plan: Plan, log: Log) -> Process:
    """Start it; returns once the command itself runs. `NotStarted` tells why it does not."""
    given = os.memfd_create("plan")
    os.write(given, json.dumps(asdict(plan)).encode())
    os.lseek(given, 0, os.SEEK_SET)
    output, written = os.pipe()
    os.set_blocking(output, False)
    # Named, since a descriptor would be held open by the launcher's parent as well, which stays.
    saying = f"{plan.stage}.said"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(saying, 0o600)
    said = os.open(saying, os.O_RDONLY | os.O_NONBLOCK)
    # What the runner starts dies with it, whatever ends it.
    words = ["setpriv", "--pdeathsig", "KILL", *isolation(), "sh", "-c", WAIT, "sh"]
    try:
        popen = subprocess.Popen(
            [*words, sys.executable, "-I", "-S", str(LAUNCH), str(given), saying],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            pass_fds=(given,),
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    finally:
        for descriptor in (given, written):
            os.close(descriptor)
    process = Process(plan, popen, output, log)
    if fault := await _said(said, process.exited):
        await process.exited
        raise NotStarted(fault)
    process.found()
    return process


async def _said(descriptor: int, exited: asyncio.Future[int]) -> str:
    """All that the launcher says before it becomes the command, which closes the pipe."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    parts: list[bytes] = []

    def read(descriptor: int) -> bool:
        parts.append(os.read(descriptor, PIPE))
        if not parts[-1] and not done.done():
            done.set_result(None)
        return bool(parts[-1])

    _on_readable(descriptor, read)
    waited: list[asyncio.Future[Any]] = [done, exited]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if not done.done():
        asyncio.get_running_loop().remove_reader(descriptor)
        parts.append(b"no namespaces could be made" if not any(parts) else b"")
    os.close(descriptor)
    return b"".join(parts).decode(errors="replace")


def raise_descriptor_limit() -> None:
    """Hundreds of containers need more than the usual thousand descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
