"""The supervisor of one unit: for its course a gang of one, for its process what it really is."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from tradewind.inside import linux, wire
from tradewind.supervisor import main, start
from tradewind.supervisor.unit import Exit, Unit

# Where the kernel counts what it killed in this container: cgroups of version 2, and of 1.
COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
MASTER_PORT = "29500"


def role_of(work: dict[str, Any]) -> dict[str, Any]:
    """The role that this unit plays."""
    name = work["unit"]["role"]
    role: dict[str, Any] = next(each for each in work["request"]["roles"] if each["name"] == name)
    return role


def has_others(work: dict[str, Any]) -> bool:
    """Whether it is one member of several."""
    gang = role_of(work)["shape"]["shape"] == "gang"
    return gang and int(work["unit"].get("width", 1)) > 1


def request(work: dict[str, Any], blobs: str) -> dict[str, Any]:
    """What the supervisor is asked for: this one unit. It names no tables: the server has them."""
    asked = work["request"]
    environment = dict(asked["environment"])
    environment["base" if environment.get("lock") else "python"] = sys.executable
    return {
        "placement": asked["placement"],
        "run": asked["run"],
        "task": asked["task"],
        "number": asked.get("number", 1),
        "bundle": asked.get("bundle", ""),
        "environment": environment,
        "blobs": blobs,
        "roles": [
            {**role_of(work), "shape": {"shape": "gang", "least": 1, "most": 1}, "ports": []}
        ],
    }


def variables(role: dict[str, Any], unit: dict[str, Any], address: str) -> dict[str, str]:
    """What this unit finds in its environment besides what every unit does."""
    env = {"TRADEWIND_EPOCH": str(unit.get("epoch", 1))}
    shape, width = role["shape"], int(unit.get("width", 1))
    if shape["shape"] == "gang":
        env |= {"WORLD_SIZE": str(width), "RANK": str(unit.get("rank", 0)), "LOCAL_RANK": "0"}
        if width > 1 or int(shape.get("most", 1)) > 1:
            env |= {"MASTER_ADDR": unit.get("master") or address, "MASTER_PORT": MASTER_PORT}
    ports = unit.get("ports") or {}
    for name, number in ports.items():
        env["PORT_" + name.upper().replace("-", "_")] = str(number)
    if ports:
        first = next((name for name in role.get("ports") or () if name in ports), next(iter(ports)))
        env |= {"PORT": str(ports[first]), "HOST": address}
    return env


def kills() -> int:
    """How many processes of this container the kernel has killed for want of memory."""
    for path in COUNTERS:
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            for line in file:
                name, _blank, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0


class Member(Unit):
    """The one process. The container's limit of memory is its own."""

    kills = 0

    def verdict(self, status: dict[str, Any]) -> Exit:
        """As anywhere, but whom the kernel killed for memory is told so, whatever else it met."""
        ended = super().verdict(status)
        if ended["reason"] in ("error", "signal", "lost") and kills() > self.kills:
            return self.memory_exit(self.usage["memory"])
        return ended


class Alone(main.Supervisor):
    """A supervisor with one unit."""

    def __init__(
        self,
        settings: main.Settings,
        request: dict[str, Any],
        link: socket.socket,
        held: int,
        member: Callable[[Alone, Callable[[Unit], None]], Unit],
    ) -> None:
        super().__init__(settings, request, main.Orders(link), start.Keepers(), held, last=True)
        self._member = member

    def unit(
        self,
        role: dict[str, Any],
        index: int,
        attempt: int,
        ended: Callable[[Unit], None],
        extra: dict[str, str],
    ) -> Unit:
        """The unit that it really is, whatever place it has in the course."""
        return self._member(self, ended)

    def disk_exit(self, error: OSError) -> Exit:
        """What a write error means here, where nobody has a disk to look after."""
        return disk_exit(error)


def disk_exit(error: OSError) -> Exit:
    """A write error of a pod's folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text = "the disk where the task runs is full"
        return {"reason": "output", "message": text, "hint": "write less to it"}
    return {"reason": "output", "message": f"the disk where the task runs refuses: {error}"}


def live(
    settings: main.Settings,
    request: dict[str, Any],
    work: dict[str, Any],
    address: str,
    link: socket.socket,
    held: int,
) -> None:
    """Become the supervisor of the unit. Call it in a process of its own; it does not return."""
    unit, role, before = work["unit"], role_of(work), kills()
    gang = role["shape"]["shape"] == "gang"

    def member(host: Alone, ended: Callable[[Unit], None]) -> Unit:
        index = int(unit.get("rank" if gang else "index", 0))
        extra = variables(role, unit, address)
        made = Member(host, role, index, int(unit.get("attempt", 1)), ended, extra)
        made.kills = before
        made.phases.update(request["phases"])
        return made

    try:
        main.close_all_but([0, 1, 2, held, link.fileno()])
        linux.become_subreaper()
        linux.name("tw-supervisor")
        Alone(settings, request, link, held, member).live_through()
    except BaseException as error:
        with contextlib.suppress(OSError):
            wire.send(link, {"died": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)
