"""The narrow waist. Every kind lowers to tasks; every engine runs tasks.

A task is a set of roles; each role has a shape, and says what to start, in which environment, from
which inputs, and how it restarts and stops. Nothing here knows a kind or an engine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tradewind.base.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """`width` processes, all or none, as one attempt. Elastic between `least` and `most`."""

    least: int = 1
    most: int = 1
    shape: Literal["gang"] = "gang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """`count` items, each done once, at most `at_once` of them at the same time."""

    count: int
    at_once: int = 1
    shape: Literal["array"] = "array"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """`count` interchangeable processes, kept alive until stopped."""

    count: int = 1
    shape: Literal["replicas"] = "replicas"


Shape = Gang | Array | Replicas

# The level at which each machine is a domain of its own.
NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What to start.

    `function`: `target` is "file.py:name" below the bundle's root; called with the inputs.
    `service`: the same, but it answers requests with it until it is stopped.
    `script`: `target` is a file below the bundle's root, run as `__main__` with `args`.
    `module`: `target` is "package.module:name", importable in the environment.
    `command`: `args` is an argument vector, started as it is.

    `call` says how a function is called on its tables (its style, what carries it out, by which
    keys, what happens to rows that raise; see `inside.styles`); empty: once, with whole tables.
    """

    kind: Literal["function", "service", "script", "module", "command"]
    target: str = ""
    args: tuple[str, ...] = ()
    call: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Which interpreter. An empty `lock` is the pool's default interpreter.

    `lock` is the blob digest of a requirements file with hashes; `digest` names the whole
    environment (lock, Python version, platform) and is the cache key.
    """

    digest: str
    lock: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input slot, pinned.

    `table`: `files` are Parquet files of one dataset version, in order. `file` and `folder`:
    `digest` is a blob. `value`: `value` is JSON. `source` names what it was bound to, for people
    and lineage (`flights@3`).
    """

    kind: Literal["table", "file", "folder", "value"]
    source: str = ""
    digest: str = ""
    files: tuple[str, ...] = ()
    value: Any = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output slot. `target` is the dataset or model whose next version it becomes, if any, in
    `project`; `named`: somebody asked for it by name, so something must come."""

    kind: Literal["result", "model", "folder"] = "result"
    target: str = ""
    project: str = ""
    named: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """For one process. `cpu` in cores, `memory` in bytes (0: no limit of its own), `accelerators`
    in devices by class: less than one is thousandths of a single device."""

    cpu: float = 1.0
    memory: int = 0
    accelerators: dict[str, int | float] = field(default_factory=dict)

    def within(self, other: Resources) -> bool:
        """Whether the other is at least as much."""
        return (
            self.cpu <= other.cpu + 1e-9
            and self.memory <= other.memory
            and all(
                n <= other.accelerators.get(name, 0) + 1e-9 for name, n in self.accelerators.items()
            )
        )

    def fits(self, machine: Resources) -> int:
        """How many processes of this size a machine holds; `sys.maxsize` of what needs nothing."""
        needs = [(self.cpu, machine.cpu), (self.memory, machine.memory)]
        counts = [math.floor(have / need + 1e-9) for need, have in needs if need]
        counts += [
            on_devices(need, machine.accelerators.get(name, 0))
            for name, need in self.accelerators.items()
            if need
        ]
        return min(counts, default=sys.maxsize)

    def __str__(self) -> str:
        parts = [f"{self.cpu:g} CPU", *([format_bytes(self.memory)] if self.memory else [])]
        return ", ".join([*parts, *(f"{n:g} {name}" for name, n in self.accelerators.items())])


def on_devices(need: float, have: float) -> int:
    """How many can have so much of so many devices, each a part of one or whole ones."""
    if need < 1:
        return math.floor(1 / need + 1e-9) * math.floor(have)
    return math.floor(have / need + 1e-9)


def of_devices(need: float, count: int) -> int | float:
    """So often so much of a device, without what floats add."""
    return round(need * count, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """So many of one size: machines of a pool, processes of a task. `where` machines are: by level
    a name, the widest level first."""

    each: Resources
    count: int
    where: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`together`: all processes in one domain of this level; `spread`: over as many domains of this
    one as can be, evenly. `strictly`: not otherwise (of those domains that could hold a process
    none then has more than one more than another); else as far as there is room. `near`: nodes, or
    domains, where its data lies: these first, others as well."""

    together: str = ""
    spread: str = ""
    strictly: bool = False
    near: tuple[str, ...] = ()

    @property
    def binds(self) -> bool:
        """Whether it may have to wait where without it it would start."""
        return self.strictly and bool(self.together or self.spread)


def room(each: Resources, machines: Iterable[Lot]) -> int:
    """How many processes of this size empty machines hold together, none spread over several."""
    return min(sys.maxsize, sum(each.fits(lot.each) * lot.count for lot in machines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """A replica is ready when `GET path` on its port answers 200; empty: when the port is open."""

    path: str = ""
    timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """How often a failed unit is tried again. The delay is `backoff * factor**(tries - 1)` seconds,
    at most `ceiling`. A lost attempt (infrastructure) does not count against `most`, nor do the
    first `deaths` times that somebody else killed a process of the unit (SIGKILL)."""

    most: int = 0
    backoff: float = 1.0
    factor: float = 2.0
    ceiling: float = 300.0
    deaths: int = 0

    def delay(self, tries: int) -> float:
        """Seconds to wait after the given number of failed tries (≥1)."""
        return min(self.ceiling, self.backoff * self.factor ** min(tries - 1, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a unit is stopped: `kill` at once; `drain` and `checkpoint` send SIGTERM and wait `grace`
    seconds before killing."""

    way: Literal["kill", "drain", "checkpoint"] = "kill"
    grace: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One role of a task."""

    name: str
    shape: Shape
    entry: Entry
    resources: Resources = field(default_factory=Resources)
    params: dict[str, Any] = field(default_factory=dict)
    items: tuple[Any, ...] = ()
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    readiness: Readiness | None = None
    restart: Restart = field(default_factory=Restart)
    stop: Stop = field(default_factory=Stop)
    timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a kind lowers to. `bundle` is the digest of the code that travels, or empty; `layout`
    how its processes stand to each other (None: that is all the same)."""

    name: str
    roles: tuple[Role, ...]
    environment: Environment
    bundle: str = ""
    layout: Layout | None = None

    def processes(self) -> tuple[Lot, ...]:
        """What runs at the same time when it starts, by role."""
        return tuple(
            Lot(each=role.resources, count=starting_width(role.shape)) for role in self.roles
        )

    def stands(self) -> bool:
        """Whether it goes on until it is stopped."""
        return any(isinstance(role.shape, Replicas) for role in self.roles)

    def demand(self) -> Resources:
        """What must be free to start it: whole gangs, the items at once, all replicas."""
        cpu, memory = 0.0, 0
        accelerators: dict[str, int | float] = {}
        for lot in self.processes():
            cpu += lot.each.cpu * lot.count
            memory += lot.each.memory * lot.count
            for name, count in lot.each.accelerators.items():
                more = of_devices(count, lot.count)
                accelerators[name] = round(accelerators.get(name, 0) + more, 3)
        return Resources(cpu=cpu, memory=memory, accelerators=accelerators)


def starting_width(shape: Shape) -> int:
    """How many processes of this shape run at the same time when it starts."""
    match shape:
        case Gang():
            return shape.least
        case Array():
            return max(1, min(shape.at_once, shape.count))
        case Replicas():
            return shape.count
