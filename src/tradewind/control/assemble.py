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
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tradewind.base.clock import Clock, SystemClock
from tradewind.base.ids import digest_json, new_id
from tradewind.blobs.base import Blobs
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.blobs.folder import FolderBlobs
from tradewind.control import devices, keys, pools
from tradewind.control.beside import Beside
from tradewind.control.connect import Connections
from tradewind.control.foresight import Foresight
from tradewind.control.front import Front
from tradewind.control.offers import Offers
from tradewind.control.outlook import Outlook
from tradewind.control.parts import Parts
from tradewind.control.pin import Pinner, Resolver
from tradewind.control.places import Places
from tradewind.control.planning import Planner
from tradewind.control.pools import LOCAL, Maker
from tradewind.control.prices import Prices
from tradewind.control.pulse import Pulse
from tradewind.control.quotas import Quotas
from tradewind.control.road import Road
from tradewind.control.saves import Saves
from tradewind.control.services import Services
from tradewind.control.shelf import Shelf
from tradewind.control.step import Loop, Stepper
from tradewind.engines.base import Engine, Place
from tradewind.engines.desk import Desk
from tradewind.engines.local import reading
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.rows import FirstFit
from tradewind.specs import DeviceSpec, PoolSpec, ProjectSpec, QueueSpec, from_document
from tradewind.store import open as open_store
from tradewind.store.base import Store
from tradewind.supervisor.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is told when it starts.

    `pools` are applied at the start. Without `local` no task runs on this machine. `blobs` is a
    folder that servers of one database share, `url` where tasks on other machines reach this one.
    """

    data: Path
    store: str = ""
    python: str = sys.executable
    pools: tuple[PoolSpec, ...] = ()
    local: bool = True
    blobs: Path | None = None
    url: str = ""


@dataclass(slots=True)
class Assembly:
    """A running control plane."""

    settings: Settings
    clock: Clock
    store: Store
    blobs: Blobs
    desk: Desk
    places: Places
    quotas: Quotas
    connections: Connections
    prices: Prices
    loop: Loop
    pulse: Pulse
    front: Front
    outlook: Outlook
    saves: Saves
    offers: Offers
    shelf: Shelf
    services: Services
    service_token: str
    started: float
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begin to step."""
        places = self.places
        works = (
            self.loop.run(),
            self.connections.leases.keep(),
            self.connections.watch(),
            self.outlook.watch(),
            self.saves.watch(),
            places.neighbours.watch(places.engines, self.clock),
        )
        self._tasks = [asyncio.create_task(work) for work in works]

    def stepping(self) -> bool:
        """Whether the loop is alive."""
        return bool(self._tasks) and not self._tasks[0].done()

    def store_kind(self) -> str:
        """Which database this is."""
        return "postgresql" if self.settings.store.startswith("postgresql") else "sqlite"

    async def node_status(self) -> dict[str, Any]:
        """What the local engine's node says of itself: limits, warm interpreters, usage."""
        engine = self.places.engines.get(LOCAL)
        status = getattr(engine, "status", None)
        return dict(await status()) if status is not None else {}

    async def apply(
        self, documents: list[Any], user: str, dry_run: bool = False
    ) -> list[dict[str, Any]]:
        """Store specs; what changed in each. A pool is connected first: if that fails nothing is
        stored, otherwise it works from now on. Raises UserError, Denied, Unreachable."""
        specs = [from_document(each) for each in documents]
        found = [spec for spec in specs if isinstance(spec, PoolSpec)]
        for spec in found:
            self.connections.check(spec)
        queues = [spec for spec in specs if isinstance(spec, QueueSpec | ProjectSpec)]
        if queues:
            await self.connections.hear()
        self.quotas.may(queues, found)
        await asyncio.to_thread(devices.check, specs, self.store)
        store = partial(self.shelf.apply, documents, user, dry_run)
        classes = any(isinstance(spec, DeviceSpec) for spec in specs)
        if dry_run or not (found or queues or classes):
            return await asyncio.to_thread(store)
        if classes or found:
            await self.connections.check_held(specs)
        await asyncio.to_thread(self.shelf.apply, documents, user, True)  # all valid before any
        async with self.connections.changing(found):
            answers = await asyncio.to_thread(store)
        if queues:
            await self.loop.between(self.quotas.load)
        if classes:
            await self.connections.recount()
        return answers

    async def delete(self, project: str, kind: str, name: str) -> dict[str, Any]:
        """Hide a stored spec. A pool goes with it; raises NotFound, and Conflict while something
        runs there."""
        delete = partial(self.shelf.delete, project, kind, name)
        if kind in {"queue", "project"}:
            await self.connections.hear()
            if kind == "queue":
                self.quotas.may_go(name)
            gone = await asyncio.to_thread(delete)
            await self.loop.between(self.quotas.load)
            return gone
        if kind == "device":
            await self.connections.check_held([], name)
        if kind != "pool":
            gone = await asyncio.to_thread(delete)
            if kind == "device":
                await self.connections.recount()
            return gone
        await asyncio.to_thread(self.shelf.spec, project, kind, name, 0)
        self.quotas.may_lose(name, await self.connections.left(name))
        async with self.connections.deleting(name):
            return await asyncio.to_thread(delete)

    async def top(self) -> list[dict[str, Any]]:
        """Live placements with their run, name, kind, pool and what they use now."""
        return await self.front.top()

    async def close(self) -> None:
        """Stop stepping and let go of everything. Tasks go on."""
        for task in self._tasks[1:]:
            task.cancel()
        await self.front.close()
        await self.loop.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connections.close()
        self.store.close()


def assemble(
    settings: Settings,
    *,
    clock: Clock | None = None,
    engines: Mapping[str, Engine] | None = None,
    makers: Mapping[str, Maker] | None = None,
    resolve: Resolver | None = None,
) -> Assembly:
    """Put the parts together; call inside the event loop, then `start`. `engines` by pool and
    `makers` by engine stand in for those that there are.

    Raises Conflict when another server places on this machine's pool, and UserError for a pool of
    the settings that no server can have.
    """
    clock = clock or SystemClock()
    settings.data.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store or settings.data / "tradewind.db", clock)
    try:
        return _assembled(settings, store, clock, engines or {}, makers or {}, resolve)
    except BaseException:
        store.close()
        raise


def _assembled(
    settings: Settings,
    store: Store,
    clock: Clock,
    engines: Mapping[str, Engine],
    makers: Mapping[str, Maker],
    resolve: Resolver | None,
) -> Assembly:
    folder = settings.blobs or settings.data / "blobs"
    blobs = FolderBlobs(folder, durable=True)
    places = _places(settings, store, clock)
    key = keys.attempt_key(store, places.worker, clock.now())
    desk = Desk(key, folder, keys.live(store), partial(Beside, places.beside))
    token = keys.service_token(store, settings.data, places.worker, clock.now())
    prices = Prices(store, clock)

    def make(spec: PoolSpec) -> Engine:
        if spec.name in engines:
            return engines[spec.name]
        return pools.maker(spec.engine, makers).make(
            Place(
                name=spec.name,
                options=spec.options,
                data=settings.data,
                python=settings.python,
                url=settings.url,
                desk=desk,
                classes=partial(devices.known, store),
            )
        )

    for spec in settings.pools:
        pools.check(spec, makers)
        pools.store(store, spec)
    pinner = Pinner(
        store=store,
        blobs=blobs,
        resolve=resolve or _resolver(),
        ground=places,
        python=settings.python,
    )
    parts = Parts(settings.data / "tables", blobs)
    planner = Planner(store, places)
    quotas = Quotas(store, places)
    quotas.load()
    places.priority = quotas.priority
    foresight = Foresight(store.settings, f"estimates:{_folder(settings)}", clock.now())
    road = Road(
        store, pinner, planner, parts, places.machine, places, quotas, foresight,
        begin=lambda *_: None,
    )  # fmt: skip
    pulse = Pulse()
    stepper = Stepper(store, road, clock, places.worker, prices.all)
    loop = Loop(stepper, pulse)
    connections = Connections(
        places=places,
        quotas=quotas,
        loop=loop,
        machines=prices.all,
        makers=makers,
        make=make,
        local=PoolSpec(name=LOCAL) if settings.local else None,
    )
    connections.begin()
    layout = Layout(str(settings.data))
    kept = partial(reading.read, layout)
    return Assembly(
        settings=settings,
        clock=clock,
        store=store,
        blobs=blobs,
        desk=desk,
        places=places,
        quotas=quotas,
        connections=connections,
        prices=prices,
        loop=loop,
        pulse=pulse,
        front=Front(store, blobs, road, stepper, loop, pulse, clock, kept),
        outlook=Outlook(places.machine, loop, foresight),
        saves=Saves(store, places.machine, loop, Path(layout.checkpoints), Checkpoints(folder)),
        offers=Offers(store, road, stepper.machines, clock),
        shelf=Shelf(store, blobs, clock),
        services=Services(store),
        service_token=token,
        started=clock.monotonic(),
    )


def _places(settings: Settings, store: Store, clock: Clock) -> Places:
    """What is known of pools at the start. The folder's lock has one holder, so an earlier server
    of this folder is gone: its claims and leases need not run out first."""
    folder = _folder(settings)
    worker = folder + new_id("w")
    store.runs.forget(folder)
    for name in {LOCAL, *pools.applied(store), *(spec.name for spec in settings.pools)}:
        before = store.leases.current(name)
        if before is not None and before.holder.startswith(folder):
            store.leases.release(name, before.holder, before.number)
    return Places(
        store=store,
        clock=clock,
        worker=worker,
        url=settings.url,
        machine=Answering(FirstFit),
        interpreter=_remembered(store, settings.python),
    )


def _folder(settings: Settings) -> str:
    """What all servers of this folder have in common, one after the other."""
    return f"{socket.gethostname()}:{settings.data.resolve()}:"


def _resolver() -> Resolver:
    def resolve(requirements: list[str], python: str) -> str:
        from tradewind.supervisor.environments import resolve as run_resolver

        return run_resolver(requirements, python)

    return resolve


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
