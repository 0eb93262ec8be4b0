"""Connections to pools: makes engines, counts machines, puts to work and lets go.

This machine's pool is there from the start. Every other one is connected in the background, and
tried again when it cannot be reached; what `apply` and `delete` change is changed while the server
runs. One thing is done to a pool at a time; what the passes of the loop read changes between two
of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from tradewind.base.errors import Bug, Conflict, Refused, TradewindError, TryAgain, Unreachable
from tradewind.base.ids import digest_json
from tradewind.compiler.facts import Machine, PoolFacts
from tradewind.control import devices, pools, report
from tradewind.control.leases import Leases
from tradewind.control.places import Places, said
from tradewind.control.pools import LOCAL, Maker
from tradewind.control.quotas import Quotas
from tradewind.control.step import LEASE_SECONDS, Loop
from tradewind.engines.base import Capacity, Elsewhere, Engine, NoSuchPlace, Showing
from tradewind.records.devices import Device
from tradewind.records.placements import Placement
from tradewind.records.tasks import Resources
from tradewind.scheduler.events import PoolGone
from tradewind.specs import PoolSpec, Spec

log = logging.getLogger("tradewind.control")

# How often pools are looked at: those in trouble are tried again, the others counted now and then.
LOOK_SECONDS = 10.0
COUNT_SECONDS = 30.0
# What does not answer for so long cannot be reached.
PATIENCE = 20.0
CLOSING = 5.0
# What may come back by itself is looked at more often.
SOON_SECONDS = 3.0
# After so long in trouble a pool is connected from scratch: what its options lead to may have
# moved, or its credentials been renewed.
AFRESH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A pool that could be connected: what is put to work once its spec is stored."""

    spec: PoolSpec
    engine: Engine
    found: Capacity
    lease: int


@dataclass(slots=True)
class Connections:
    """One per server. `make` makes the engine of a spec; `given` are engines by pool that tests
    bring."""

    places: Places
    quotas: Quotas
    loop: Loop
    machines: Sequence[Machine]
    makers: Mapping[str, Maker]
    make: Callable[[PoolSpec], Engine]
    local: PoolSpec | None
    leases: Leases = field(init=False)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _counted: dict[str, float] = field(default_factory=dict)
    _failed: dict[str, float] = field(default_factory=dict)
    _tried: dict[str, float] = field(default_factory=dict)
    _ailing: dict[str, TradewindError] = field(default_factory=dict)
    _laid: tuple[Device, ...] = ()
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.leases = Leases(self.places, self.loop)
        self.loop.ails = self._ails

    def begin(self) -> None:
        """Before the loop's first step: this machine is there at once, of all other pools what was
        last known. Raises Conflict when another server places on this machine's pool."""
        places = self.places
        applied = pools.applied(places.store)
        if self.local is not None:
            self._begin_local(applied.pop(LOCAL, self.local))
        else:
            applied.pop(LOCAL, None)
        known = pools.remembered(places.store)
        for name, spec in applied.items():
            places.specs[name] = spec
            if name in known:
                places.facts[name], places.environments[name] = known[name]
        places.sweep(set())

    def _begin_local(self, spec: PoolSpec) -> None:
        places = self.places
        number = self.leases.take(LOCAL)
        if number is None:
            holder = places.store.leases.current(LOCAL)
            raise Conflict(
                f"another server places on pool {LOCAL!r} ({holder.holder if holder else '?'})",
                hint=f"stop it, or wait {LEASE_SECONDS:.0f}s if it died; of several servers of one "
                "database one has this pool, the others are started with --no-local",
            )
        places.leases[LOCAL] = number
        places.engines[LOCAL] = self.make(spec)
        places.facts[LOCAL] = self._here(spec, places.engines[LOCAL])
        pools.counts(places.store, places.facts[LOCAL], places.clock.now())
        places.machine.feed([places.event(LOCAL)])

    def _here(self, spec: PoolSpec, engine: Engine) -> PoolFacts:
        """This machine as its spec says it is; its engine learns which devices it has. Blocks on
        the store and the devices' driver."""
        facts, self._laid = self._as_said(spec, devices.known(self.places.store))
        if isinstance(engine, Showing):
            engine.has(self._laid)
        return facts

    def _as_said(
        self, spec: PoolSpec, classes: devices.Classes
    ) -> tuple[PoolFacts, tuple[Device, ...]]:
        found = devices.found(classes)
        machine = pools.this_machine(devices.counted(found))
        facts = pools.facts(spec, machine, self.machines, classes)
        return facts, devices.laid(facts.capacity.accelerators, found, classes)

    async def left(self, pool: str) -> Resources | None:
        """What there is of a pool without its spec: of this machine all that it has."""
        if pool != LOCAL or self.local is None:
            return None
        classes = await asyncio.to_thread(devices.known, self.places.store)
        facts, _ = await asyncio.to_thread(self._as_said, self.local, classes)
        return facts.capacity

    # --- in the background -------------------------------------------------------------------

    async def watch(self) -> None:
        """Look after the pools, for ever."""
        while True:
            try:
                await self.look()
            except TradewindError as error:
                log.warning("pools: %s", error.message)
            except Exception:
                log.exception("the pools could not be looked after; it is tried again")
            passing = any(isinstance(each, TryAgain) for each in self.places.troubles.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON_SECONDS if passing else LOOK_SECONDS):
                    await self._told.wait()

    def _ails(self, pool: str, error: TradewindError) -> None:
        """Its engine says so, before it is counted again."""
        if pool in self.places.engines and pool in self.places.specs:
            self._ailing[pool] = error
            if pool not in self.places.troubles:
                self._told.set()

    async def look(self) -> None:
        """One round: what was applied elsewhere taken over, pools connected that are not, those
        that are counted when it is time."""
        self._told.clear()
        ailing, self._ailing = self._ailing, {}
        for name, error in ailing.items():
            async with self._locks[name]:
                if name in self.places.engines and name not in self.places.troubles:
                    await self._trouble(name, error)
        await self._read()
        await self.hear()
        await asyncio.gather(*(self._visit(name) for name in tuple(self.places.specs)))

    async def _read(self) -> None:
        """What other servers of this database have applied, deleted, counted."""
        places = self.places
        found = await asyncio.to_thread(pools.applied, places.store)
        found.pop(LOCAL, None)
        for name in places.specs.keys() - found.keys():
            async with self._locks[name]:
                await self._forget(name)
        for name, spec in found.items():
            async with self._locks[name]:
                known = places.specs.get(name)
                lost = name in places.engines and name not in places.leases
                if lost or (known is not None and known != spec):
                    await self._leave(name)
                places.specs[name] = spec
        told = await asyncio.to_thread(pools.remembered, places.store)
        due = await asyncio.to_thread(places.store.runs.due_pools)

        def change() -> None:
            for name, (facts, environment) in told.items():
                if name not in places.leases and (name in places.specs or places.holder(name)):
                    places.facts[name], places.environments[name] = facts, environment
            places.sweep(due)
            if places.shared:
                for pool in places.leases:
                    self.leases.settle(pool)

        await self.loop.between(change, look=False)

    async def hear(self) -> None:
        """The queues and quotas that other servers of this database have applied or deleted."""
        if await asyncio.to_thread(self.quotas.changed):
            await self.loop.between(self.quotas.load)

    async def _visit(self, name: str) -> None:
        """Connect a pool that is not; count one that is, when it is time."""
        async with self._locks[name]:
            spec, places = self.places.specs.get(name), self.places
            if spec is None:
                return
            now, counted = places.clock.monotonic(), self._counted.get(name)
            served = name in places.leases and name not in places.troubles
            if served and counted is not None and now - counted < COUNT_SECONDS:
                return
            lasting = not isinstance(places.troubles.get(name), TryAgain | None)
            if lasting and now - self._tried.get(name, -LOOK_SECONDS) < LOOK_SECONDS:
                return
            self._tried[name] = now
            try:
                ready = await self._ready(spec)
            except TradewindError as error:
                since = self._failed.setdefault(name, now)
                if now - since >= AFRESH_SECONDS and name in places.engines:
                    del self._failed[name]
                    await self._leave(name)
                await self._trouble(name, error)
            else:
                self._failed.pop(name, None)
                if ready is not None:
                    await self._join(ready)

    async def _ready(self, spec: PoolSpec) -> Ready | None:
        """Connected and counted; None while another server has the pool. Raises what is wrong with
        it, and lets go of what was only now taken."""
        name, places = spec.name, self.places
        had = places.leases.get(name, 0)
        lease = had if had else await asyncio.to_thread(self.leases.take, name)
        if lease is None:
            return None
        known = places.engines.get(name)
        engine = known
        try:
            if engine is None:
                engine = self.make(spec)
            anew = known is None or name in places.troubles
            found = await _count(engine, spec, anew)
        except BaseException as error:
            if isinstance(error, NoSuchPlace):
                await self._none_left(name, known)
            if known is None:
                if engine is not None:
                    await _close(engine)
                if not had:
                    await asyncio.to_thread(self.leases.release, name, lease)
            if isinstance(error, TradewindError) or not isinstance(error, Exception):
                raise
            log.exception("pool %s cannot be connected", name)
            raise Bug(f"{type(error).__name__}: {error}") from error
        return Ready(spec, engine, found, lease)

    async def _none_left(self, pool: str, engine: Engine | None) -> None:
        """Its place is gone, and with it what was there: nobody else would end that."""
        try:
            if await report.none_left(self.places.store, self.places.clock, pool, engine):
                self.loop.wake()
        except TradewindError as error:
            log.warning("pool %s: what was there cannot be told lost: %s", pool, error.message)

    async def _trouble(self, pool: str, error: TradewindError) -> None:
        places = self.places
        before = places.troubles.get(pool)
        if before is None or before.message != error.message:
            log.warning("pool %s: %s", pool, said(error))

        def change() -> None:
            places.troubles[pool] = error
            places.machine.feed([PoolGone(pool=pool, why=said(error))])
            places.notice(pool)

        await self.loop.between(change, look=before is None)

    async def _join(self, ready: Ready) -> None:
        """Put a pool to work, or to work with what it holds now."""
        spec, places = ready.spec, self.places
        name = spec.name
        classes = await asyncio.to_thread(devices.known, places.store)
        facts = pools.facts(spec, ready.found, self.machines, classes)
        environment = self._environment(ready.engine)
        fresh = places.engines.get(name) is not ready.engine or name in places.troubles
        self._counted[name] = places.clock.monotonic()
        if not fresh and places.facts.get(name) == facts and places.specs.get(name) == spec:
            return

        def change() -> None:
            if name not in places.leases:
                self.leases.settle(name)
            places.specs[name], places.facts[name] = spec, facts
            places.environments[name] = environment
            places.engines[name], places.leases[name] = ready.engine, ready.lease
            places.troubles.pop(name, None)
            places.strays.discard(name)
            places.machine.feed([places.event(name)])
            pools.remember(places.store, facts, environment, places.url)
            pools.counts(places.store, facts, places.clock.now())

        await self.loop.between(change)
        self.loop.follow(name, ready.engine)
        if fresh:
            log.info("pool %s holds %s on %d machines", name, facts.capacity, facts.machines)

    def _environment(self, engine: Engine) -> str:
        if not isinstance(engine, Elsewhere):
            return self.places.interpreter()
        told = engine.environment()
        digest = digest_json(told)
        settings = self.places.store.settings
        if settings.get(f"environment:{digest}") is None:
            settings.put(f"environment:{digest}", told)
        return digest

    async def _leave(self, pool: str) -> None:
        """Let go of a pool; its work goes on."""
        places = self.places
        self.loop.unfollow(pool)
        engine, lease = places.engines.get(pool), places.leases.get(pool, 0)

        def change() -> None:
            places.engines.pop(pool, None)
            places.leases.pop(pool, None)
            places.troubles.pop(pool, None)
            places.machine.feed([PoolGone(pool=pool)])

        await self.loop.between(change, look=False)
        self._counted.pop(pool, None)
        if engine is not None:
            await _close(engine)
        if lease:
            await asyncio.to_thread(self.leases.release, pool, lease)

    async def _forget(self, pool: str) -> None:
        await self._leave(pool)
        places = self.places

        def change() -> None:
            if facts := places.facts.get(pool):
                nothing = replace(facts, capacity=Resources(cpu=0.0), price=0)
                pools.counts(places.store, nothing, places.clock.now())
            for known in (places.specs, places.facts, places.environments):
                known.pop(pool, None)
            places.notice(pool)

        await self.loop.between(change)

    # --- what operators do -------------------------------------------------------------------

    def check(self, spec: PoolSpec) -> None:
        """Raise UserError for a pool that this server cannot have. Connects to nothing."""
        pools.check(spec, self.makers)
        if spec.name == LOCAL and self.local is None:
            raise Refused(
                "this server runs no tasks on its own machine",
                hint="it was started with --no-local",
            )

    async def check_held(self, specs: Sequence[Spec], gone: str = "") -> None:
        """Raise Conflict where runs hold devices of this machine that would be others, or of
        another class, with these specs; or without the class that is `gone`."""
        machine = self.places.machine
        seats = {run: machine.seats(run) for run in machine.holders(LOCAL)}
        held = {n: run for run, each in seats.items() for seat in each for n in seat.devices}
        if self.local is None or not held:
            return
        then = await asyncio.to_thread(self._then, self.local, specs, gone)
        for number, run in sorted(held.items()):
            now, after = self._laid[number : number + 1], then[number : number + 1]
            if [(each.id, each.of) for each in now] != [(each.id, each.of) for each in after]:
                raise Conflict(
                    f"run {run} holds a device of this machine that this would make another one",
                    hint=f"apply it when it has ended, or stop it first: tw stop {run}",
                )

    def _then(self, local: PoolSpec, specs: Sequence[Spec], gone: str) -> tuple[Device, ...]:
        said = {each.name: each for each in specs if isinstance(each, PoolSpec)}
        spec = said.get(LOCAL) or pools.applied(self.places.store).get(LOCAL, local)
        classes = devices.known(self.places.store, specs, gone)
        return self._as_said(spec, classes)[1]

    @asynccontextmanager
    async def changing(self, specs: Sequence[PoolSpec]) -> AsyncIterator[None]:
        """Connect these pools as they are to be; put them to work when the block has stored them.
        Raises what stands in the way; then everything is as it was."""
        async with AsyncExitStack() as held:
            for name in sorted({spec.name for spec in specs}):
                await held.enter_async_context(self._locks[name])
            made: list[Ready] = []
            try:
                for spec in specs:
                    if spec.name != LOCAL:
                        made.append(await self._prepare(spec))
                yield
            except BaseException:
                for ready in made:
                    await self._undo(ready)
                raise
            for ready in made:
                await self._join(ready)
            if any(spec.name == LOCAL for spec in specs):
                await self.relocal()

    async def _prepare(self, spec: PoolSpec) -> Ready:
        name, places = spec.name, self.places
        before = places.specs.get(name)
        changed = before is not None and (before.engine, before.options) != (
            spec.engine,
            spec.options,
        )
        if before is not None and changed and not pools.same_place(before, spec, self.makers):
            await self._check_idle(name, "and its work cannot be taken to another place")
        if changed or name in places.troubles:
            await self._leave(name)  # it is the only one who places there, until it is closed
        try:
            ready = await self._ready(spec)
        except TradewindError as error:
            if before is not None and not changed:
                await self._trouble(name, error)
            raise
        if ready is None:
            holder = await asyncio.to_thread(places.holder, name)
            raise Conflict(
                f"pool {name!r} is placed by the server on {holder}",
                hint="apply it there, or stop that server first",
            )
        return ready

    async def _undo(self, ready: Ready) -> None:
        """It is not to be. What served the pool before is connected again at the next look."""
        if self.places.engines.get(ready.spec.name) is not ready.engine:
            await _close(ready.engine)
            await asyncio.to_thread(self.leases.release, ready.spec.name, ready.lease)

    async def _check_idle(self, pool: str, why: str) -> None:
        live: list[Placement] = await asyncio.to_thread(self.places.store.placements.live, pool)
        if live:
            shown = ", ".join(each.run for each in live[:5]) + (", …" if len(live) > 5 else "")
            raise Conflict(
                f"{len(live)} placements are live on pool {pool!r}, {why}: {shown}",
                hint="wait for these runs, or stop them first: tw stop RUN",
            )

    @asynccontextmanager
    async def deleting(self, pool: str) -> AsyncIterator[None]:
        """Let go of a pool when the block has deleted its spec. Raises Conflict while something
        runs there, or on this machine holds a device that would be another one."""
        async with self._locks[pool]:
            if pool == LOCAL:
                await self.check_held([self.local] if self.local else [])
            else:
                await self._check_idle(pool, "which nobody would see to its end")
                holder = await asyncio.to_thread(self.places.holder, pool)
                if holder:
                    raise Conflict(
                        f"pool {pool!r} is placed by the server on {holder}",
                        hint="delete it there",
                    )
            yield
            if pool == LOCAL:
                await self.relocal()
            else:
                await self._forget(pool)

    async def recount(self) -> None:
        """Other classes of devices are known from now on: count what pools have anew."""
        await self.relocal()
        self._counted.clear()
        served = [name for name in self.places.leases if name not in self.places.troubles]
        await asyncio.gather(*map(self._visit, served))

    async def relocal(self) -> None:
        """What was applied about this machine holds from now on: for quotes, bills, placing."""
        places = self.places
        if self.local is None:
            return
        stored = await asyncio.to_thread(pools.applied, places.store)
        spec = stored.get(LOCAL, self.local)
        facts = await asyncio.to_thread(self._here, spec, places.engines[LOCAL])

        def change() -> None:
            places.facts[LOCAL] = facts
            if places.leases.get(LOCAL):
                places.machine.feed([places.event(LOCAL)])
            pools.remember(places.store, facts, places.interpreter(), places.url)
            pools.counts(places.store, facts, places.clock.now())

        await self.loop.between(change)

    async def close(self) -> None:
        """Let go of every pool. Work goes on."""
        for engine in self.places.engines.values():
            await _close(engine)
        for pool, number in self.places.leases.items():
            self.leases.release(pool, number)


async def _count(engine: Engine, spec: PoolSpec, anew: bool) -> Capacity:
    """Connect if that is to be done, and count the machines."""
    if not isinstance(engine, Elsewhere):
        return _declared(spec)
    try:
        async with asyncio.timeout(PATIENCE):
            if anew:
                await engine.begin()
            return await engine.capacity()
    except TimeoutError as error:
        raise Unreachable(f"it did not answer within {PATIENCE:g} s") from error


def _declared(spec: PoolSpec) -> Capacity:
    if spec.capacity is None or spec.capacity.cpu is None:
        raise Refused(
            f"the engine of pool {spec.name!r} cannot count its machines",
            hint="say what it holds: capacity: {cpu: 8, memory: 32GiB}",
        )
    whole = Resources(
        cpu=spec.capacity.cpu,
        memory=spec.capacity.memory or 0,
        accelerators=pools.whole(spec.capacity),
    )
    return Capacity(total=whole, largest=whole, machines=1)


async def _close(engine: Engine) -> None:
    with contextlib.suppress(TradewindError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSING):
            await engine.close()
