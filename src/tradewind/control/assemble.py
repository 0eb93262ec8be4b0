"""The only choice of concrete parts: store, blobs, engines, resolver, clock.

`assemble` puts a server together from its settings and starts its loop; everything else receives
what it needs. Tests assemble with a fake engine and a fake clock.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, cast

from tradewind.base.clock import Clock, SystemClock
from tradewind.base.errors import Conflict
from tradewind.base.ids import digest_json, new_id
from tradewind.blobs.base import Blobs
from tradewind.blobs.folder import FolderBlobs
from tradewind.compiler import catalogue
from tradewind.compiler.facts import Machine as CatalogueMachine
from tradewind.compiler.facts import PoolFacts
from tradewind.control import pools
from tradewind.control.front import Front
from tradewind.control.pin import Pinner, Resolver
from tradewind.control.pools import ENGINES, LOCAL
from tradewind.control.pulse import Pulse
from tradewind.control.road import Road
from tradewind.control.services import Services, service_token
from tradewind.control.shelf import Shelf
from tradewind.control.step import LEASE_SECONDS, Loop, Stepper
from tradewind.engines.base import Engine
from tradewind.scheduler.machine import Machine, PoolChanged
from tradewind.specs import PoolSpec
from tradewind.store import open as open_store
from tradewind.store.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is told when it starts."""

    data: Path
    store: str = ""
    python: str = sys.executable
    pools: tuple[PoolSpec, ...] = ()


@dataclass(slots=True)
class Assembly:
    """A running control plane."""

    settings: Settings
    clock: Clock
    store: Store
    blobs: Blobs
    engines: Mapping[str, Engine]
    pools: dict[str, PoolFacts]
    machines: tuple[CatalogueMachine, ...]
    machine: Machine
    loop: Loop
    pulse: Pulse
    front: Front
    shelf: Shelf
    services: Services
    service_token: str
    worker: str
    leases: dict[str, int]
    started: float
    _task: asyncio.Task[None] | None = field(default=None)

    def start(self) -> None:
        """Begin to step."""
        self._task = asyncio.create_task(self.loop.run())

    def stepping(self) -> bool:
        """Whether the loop is alive."""
        return self._task is not None and not self._task.done()

    def store_kind(self) -> str:
        """Which database this is."""
        return "postgresql" if self.settings.store.startswith("postgresql") else "sqlite"

    async def node_status(self) -> dict[str, Any]:
        """What the local engine's node says of itself: limits, warm interpreters, usage."""
        engine = self.engines.get(LOCAL)
        status = getattr(engine, "status", None)
        return dict(await status()) if status is not None else {}

    async def repool(self) -> None:
        """What was applied about pools holds from now on: for quotes, bills and placing."""
        specs = [*self.settings.pools, *await asyncio.to_thread(pools.applied, self.store)]

        def change() -> None:
            for name, facts in pools.facts(self.machines, specs).items():
                self.pools[name] = facts
                self.machine.feed([PoolChanged(pool=name, capacity=facts.capacity)])

        await self.loop.between(change)

    async def top(self) -> list[dict[str, Any]]:
        """Live placements with their run, name, kind, pool and what they use now."""
        return await self.front.top()

    async def close(self) -> None:
        """Stop stepping and let go of everything. Tasks go on."""
        await self.front.close()
        await self.loop.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        for engine in self.engines.values():
            await engine.close()
        for pool, number in self.leases.items():
            self.store.leases.release(pool, self.worker, number)
        self.store.close()


def assemble(
    settings: Settings,
    *,
    clock: Clock | None = None,
    engines: Mapping[str, Engine] | None = None,
    resolve: Resolver | None = None,
) -> Assembly:
    """Put the parts together; call inside the event loop, then `start`.

    Raises Conflict when another server places on one of the pools.
    """
    clock = clock or SystemClock()
    settings.data.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store or settings.data / "tradewind.db", clock)
    try:
        return _assembled(settings, store, clock, engines, resolve)
    except BaseException:
        store.close()
        raise


def _assembled(
    settings: Settings,
    store: Store,
    clock: Clock,
    engines: Mapping[str, Engine] | None,
    resolve: Resolver | None,
) -> Assembly:
    blobs = FolderBlobs(settings.data / "blobs", durable=True)
    machines = catalogue.parse(_prices())
    places = pools.facts(machines, [*settings.pools, *pools.applied(store)])
    engines = engines or {name: _engine(settings, facts.engine) for name, facts in places.items()}
    # The folder's lock has one holder, so an earlier server of this folder is gone: its claims and
    # leases need not run out first.
    folder = f"{socket.gethostname()}:{settings.data.resolve()}:"
    worker = folder + new_id("w")
    store.runs.forget(folder)
    for name in places:
        before = store.leases.current(name)
        if before is not None and before.holder.startswith(folder):
            store.leases.release(name, before.holder, before.number)
    leases = _take_leases(store, places, worker, clock)
    machine = Machine()
    machine.feed(PoolChanged(pool=facts.name, capacity=facts.capacity) for facts in places.values())
    pinner = Pinner(
        store=store,
        blobs=blobs,
        resolve=resolve or _resolver(),
        default_environment=_remembered(store, settings.python),
        python=settings.python,
    )
    road = Road(store, pinner, machine, places, leases, begin=lambda *_: None)
    pulse = Pulse()
    stepper = Stepper(store, road, clock, worker, catalogue.compared(machines))
    loop = Loop(stepper, dict(engines), pulse, leases)
    return Assembly(
        settings=settings,
        clock=clock,
        store=store,
        blobs=blobs,
        engines=engines,
        pools=places,
        machines=machines,
        machine=machine,
        loop=loop,
        pulse=pulse,
        front=Front(store, blobs, road, stepper, loop, pulse, dict(engines), clock),
        shelf=Shelf(store, blobs, clock),
        services=Services(store),
        service_token=service_token(settings.data),
        worker=worker,
        leases=leases,
        started=clock.monotonic(),
    )


def _take_leases(
    store: Store, pools: Mapping[str, PoolFacts], worker: str, clock: Clock
) -> dict[str, int]:
    leases = {}
    for pool in pools:
        number = store.leases.take(pool, worker, clock.now(), LEASE_SECONDS)
        if number is None:
            holder = store.leases.current(pool)
            raise Conflict(
                f"another server places on pool {pool!r} ({holder.holder if holder else '?'})",
                hint=f"stop it, or wait {LEASE_SECONDS:.0f}s if it died",
            )
        leases[pool] = number
    return leases


def _engine(settings: Settings, name: str) -> Engine:
    module, _, attribute = ENGINES[name].partition(":")
    made = getattr(import_module(module), attribute)(settings.data, settings.python)
    return cast(Engine, made)


def _resolver() -> Resolver:
    def resolve(requirements: list[str], python: str) -> str:
        from tradewind.supervisor.environments import resolve as run_resolver

        return run_resolver(requirements, python)

    return resolve


def _prices() -> str:
    return resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8")


def _remembered(store: Store, python: str) -> Callable[[], str]:
    """The digest of the default environment, whose packages are kept to explain a change."""

    @lru_cache(maxsize=1)
    def digest() -> str:
        told = default_environment(python)
        found = digest_json(told)
        if store.settings.get(f"environment:{found}") is None:
            store.settings.put(f"environment:{found}", told)
        return found

    return digest


@lru_cache(maxsize=4)
def default_environment(python: str) -> dict[str, Any]:
    """The pool's own interpreter: its version and every package in it."""
    if python != sys.executable:
        return {"python": python}
    # A folder's name says package and version; reading every METADATA would take a second.
    packages = sorted(
        name
        for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        for name in os.listdir(folder)
        if name.endswith(".dist-info")
    )
    return {"python": platform.python_version(), "packages": packages}
