"""Limits by cgroup, where this process may make some; what holds otherwise is said by `describe`.

Only what needs one gets a cgroup: a memory limit, or a share of the cores other than one. Found out
by trying, because nothing else tells reliably.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tradewind.inside import linux

_cache: dict[str, tuple[str, int]] = {}


def _mounts() -> list[tuple[str, int, list[str]]]:
    """(folder, version, controllers) of every mounted hierarchy."""
    found = []
    with contextlib.suppress(OSError), open("/proc/self/mounts") as file:
        for line in file:
            fields = line.split()
            if fields[2] == "cgroup":
                found.append((fields[1], 1, fields[3].split(",")))
            elif fields[2] == "cgroup2":
                listing = os.path.join(fields[1], "cgroup.controllers")
                with contextlib.suppress(OSError), open(listing) as names:
                    found.append((fields[1], 2, names.read().split()))
    return found


def _own(version: int, controller: str) -> str:
    """This process's place in the hierarchy."""
    with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _number, names, path = line.rstrip("\n").split(":", 2)
            if (version == 2 and not names) or (version == 1 and controller in names.split(",")):
                return path
    return "/"


def place(controller: str) -> tuple[str, int]:
    """Where groups with this controller can be made, and the version of cgroups; ("", 0) if not."""
    if controller not in _cache:
        _cache[controller] = _find(controller)
    return _cache[controller]


def _find(controller: str) -> tuple[str, int]:
    for mount, version, controllers in _mounts():
        if controller not in controllers:
            continue
        path = _own(version, controller)
        while True:
            parent = os.path.normpath(mount + "/" + path)
            if _usable(parent, version, controller):
                return parent, version
            if path in ("/", ""):
                break
            path = os.path.dirname(path)
    return "", 0


def _usable(parent: str, version: int, controller: str) -> bool:
    if version == 2 and not linux.write(parent + "/cgroup.subtree_control", "+" + controller):
        return False
    probe = os.path.join(parent, f"tradewind-probe-{os.getpid()}")
    limit = {"memory": ("memory.limit_in_bytes", "memory.max"), "cpu": ("cpu.shares", "cpu.weight")}
    try:
        os.mkdir(probe)
    except OSError:
        return False
    try:
        return os.access(os.path.join(probe, limit[controller][version - 1]), os.W_OK)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(probe)


class Group:
    """The cgroups of one unit. `paths` are what its process has to join."""

    def __init__(self, name: str, memory: int, cpu: float) -> None:
        self.paths: list[str] = []
        self._memory, self._version = "", 0
        if memory:
            self._memory, self._version = self._make("memory", name)
            if self._memory:
                self._limit(memory)
        # A group with less than a process's usual share would starve beside anything else that the
        # machine does, though cores stand idle in our own books.
        if cpu > 1.0:
            path, version = self._make("cpu", name)
            if version == 1:
                linux.write(path + "/cpu.shares", str(max(2, int(1024 * cpu))))
            elif version == 2:
                linux.write(path + "/cpu.weight", str(max(1, min(10000, int(100 * cpu)))))
        self.limits_memory = bool(self._memory)

    def _make(self, controller: str, name: str) -> tuple[str, int]:
        parent, version = place(controller)
        path = os.path.join(parent, "tradewind-" + name)
        if not parent:
            return "", 0
        try:
            os.makedirs(path, exist_ok=True)
        except OSError:
            return "", 0
        if path not in self.paths:
            self.paths.append(path)
        return path, version

    def _limit(self, memory: int) -> None:
        one = self._version == 1
        linux.write(
            self._memory + ("/memory.limit_in_bytes" if one else "/memory.max"), str(memory)
        )
        # No swapping around the limit, where the kernel counts swap.
        linux.write(
            self._memory + ("/memory.memsw.limit_in_bytes" if one else "/memory.swap.max"),
            str(memory) if one else "0",
        )
        if not one:
            linux.write(self._memory + "/memory.oom.group", "1")

    def overflowed(self) -> bool:
        """Whether the kernel has killed a process of this group for its memory."""
        if not self._memory:
            return False
        name = "/memory.oom_control" if self._version == 1 else "/memory.events"
        return _field(self._memory + name, "oom_kill") > 0

    def peak(self) -> int:
        """The most that it used, in bytes; 0 where the kernel does not say."""
        if not self._memory:
            return 0
        name = "/memory.max_usage_in_bytes" if self._version == 1 else "/memory.peak"
        with contextlib.suppress(OSError, ValueError), open(self._memory + name) as file:
            return int(file.read())
        return 0

    def remove(self) -> None:
        """Gone once its processes are; a group that is still busy stays empty behind."""
        for path in self.paths:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        self.paths = []


def _field(path: str, name: str) -> int:
    with contextlib.suppress(OSError, ValueError), open(path) as file:
        for line in file:
            key, _blank, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def describe() -> dict[str, Any]:
    """What limits hold on this machine, and how; `tw doctor` shows it."""
    _memory, memory = place("memory")
    _cpu, cpu = place("cpu")
    return {
        "memory": f"cgroup v{memory}, by the kernel"
        if memory
        else "by polling five times a second: a fast eater may pass its limit for a moment",
        "cpu": f"cgroup v{cpu} shares, and nice" if cpu else "nice only: a share is not enforced",
        "time": "by the supervisor's monotonic clock",
        "machine": "the largest task is ended before the machine's last memory is taken",
    }
