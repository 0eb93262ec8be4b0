"""A whole control plane in one process: real store and blobs, a fake engine, a clock that jumps.

`settle` does what the loop does, one pass after the other, without threads racing and without
waiting: when nothing is due, time goes on to the next thing that is.
"""

from __future__ import annotations

import asyncio
import io
import math
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidSpec, TradewindError
from tradewind.base.ids import digest_json
from tradewind.control import report
from tradewind.control.assemble import Assembly, Settings, assemble
from tradewind.control.connect import LOOK_SECONDS
from tradewind.control.pools import LOCAL
from tradewind.engines.base import Capacity, Place
from tradewind.records.placements import Attempt, Placement
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.tasks import Lot, Resources
from tradewind.specs import PoolSpec, from_document
from tradewind.store.rows import RunLine
from tradewind.testing.clock import FakeClock
from tradewind.testing.fake_engine import FakeEngine, Outcome, World

Document = dict[str, Any]
Act = Callable[[Document, dict[str, Any], int, int], Outcome]


def value(of: Any, **more: Any) -> Outcome:
    """A task that returns this JSON value after a second."""
    return Outcome(outputs={"output": {"kind": "json", "value": of}}, **{"seconds": 1.0, **more})


def failure(message: str = "boom", reason: str = "error", signal: str = "", **more: Any) -> Outcome:
    """A task that fails after a second."""
    told = {"signal": signal} if signal else {"status": 1}
    ended = {"reason": reason, "message": message, **told}
    return Outcome(exit=ended, **{"seconds": 1.0, **more})


def table(rows: int = 3, content: str = "a") -> Outcome:
    """A task that returns a table."""
    file = {"path": "part-0.parquet", "digest": "sha256:" + content * 64, "size": 10 * rows}
    body = {"kind": "table", "rows": rows, "schema": [{"name": "x", "type": "int64"}],
            "digest": digest_json([content, rows]), "files": [file]}  # fmt: skip
    return Outcome(seconds=1.0, outputs={"output": body})


def bundle_of(files: Mapping[str, str]) -> bytes:
    """The bytes of a bundle with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


class FarEngine(FakeEngine):
    """An engine of machines elsewhere, as far as control can tell."""

    name = "far"

    def __init__(self, cloud: Cloud, place: Place) -> None:
        super().__init__(cloud.world, jump=False)
        self.cloud, self.place = cloud, place
        self.begun = self.closed = False

    async def begin(self) -> None:
        self.cloud.begins.append(self.place.name)
        if self.cloud.down is not None:
            raise self.cloud.down
        self.begun = True

    async def capacity(self) -> Capacity:
        assert self.begun, "it is asked before it is connected"
        if self.cloud.down is not None:
            raise self.cloud.down
        devices, count = self.cloud.accelerators, self.cloud.machines
        each = Resources(cpu=self.cloud.cpu, memory=8 << 30, accelerators=devices)
        all_devices: dict[str, int | float] = {
            name: number * count for name, number in devices.items()
        }
        total = Resources(
            cpu=each.cpu * count, memory=each.memory * count, accelerators=all_devices
        )
        sizes = [Lot(each=each, count=1, where=(("rack", name),))
                 for name in self.cloud.racks[:count]]  # fmt: skip
        return Capacity(total=total, largest=each, machines=count, sizes=tuple(sizes))

    def environment(self) -> Document:
        return {"image": self.place.options.get("image", "plain")}

    def redacted(self, request: Document) -> Document:
        return {**request, "token": "…"} if "token" in request else request

    def render(self, placement: Placement) -> Document:
        return {**super().render(placement), "token": "secret", "pool": self.place.name}

    async def close(self) -> None:
        self.closed = True


class Cloud:
    """A provider of machines that a town may have pools at: what stands for an engine's module."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cpu, self.machines = 4.0, 2
        # That of each machine, where it is told.
        self.racks: tuple[str, ...] = ()
        self.accelerators: dict[str, int | float] = {}
        self.down: TradewindError | None = None
        self.begins: list[str] = []
        self.engines: list[FarEngine] = []

    def make(self, place: Place) -> FarEngine:
        self.engines.append(FarEngine(self, place))
        return self.engines[-1]

    def check(self, options: Mapping[str, Any]) -> None:
        if unknown := options.keys() - {"image", "region"}:
            raise InvalidSpec(f"there is no option {', '.join(unknown)}")

    def where(self, options: Mapping[str, Any]) -> str:
        return str(options.get("region", ""))


def far(name: str = "far", **fields: Any) -> Document:
    """The spec of a pool at the cloud."""
    return {"kind": "pool", "name": name, "engine": "far", **fields}


class Town:
    """One data folder, one world, and the server that is up. `store` may be that of another town,
    `cloud` as well: then they are two servers of one platform."""

    def __init__(
        self,
        data: Path,
        cpu: float = 2.0,
        memory: str = "8GiB",
        *,
        local: bool = True,
        beside: Town | None = None,
    ) -> None:
        self.clock: FakeClock = beside.clock if beside else FakeClock()
        self.world = World(self.clock, self._script)
        self.acts: dict[str, Act] = {}
        self.started: list[tuple[str, int, int]] = []
        self.locks: dict[str, str] = {}
        self._data = data
        self._capacity = {"cpu": cpu, "memory": memory}
        self._local = local
        self._store = beside.url if beside else ""
        self._blobs = beside.here.settings.data / "blobs" if beside else None
        self.cloud: Cloud = beside.cloud if beside else Cloud(World(self.clock, self._script))
        self.engine = FakeEngine(self.world, jump=False)
        self.here: Assembly

    @property
    def url(self) -> str:
        """Its database."""
        return f"sqlite:///{self._data / 'tradewind.db'}"

    # --- the server --------------------------------------------------------------------------

    async def up(self) -> Town:
        """Start a server on the folder, as after a crash: nothing of the last one is left."""
        capacity = self._capacity
        spec = from_document(
            {"kind": "pool", "name": LOCAL, "engine": LOCAL, "capacity": capacity, "price": "$3.6"}
        )
        assert isinstance(spec, PoolSpec)
        self.engine = FakeEngine(self.world, jump=False)
        self.here = assemble(
            Settings(
                data=self._data,
                store=self._store,
                pools=(spec,) if self._local else (),
                local=self._local,
                blobs=self._blobs,
            ),
            clock=self.clock,
            engines={LOCAL: self.engine},
            makers={"far": self.cloud},
            resolve=self._resolve,
        )
        await self.here.loop.begin()
        return self

    async def down(self) -> None:
        """End the server; the world goes on."""
        await self.here.close()

    def _resolve(self, requirements: list[str], python: str) -> str:
        text = self.locks.get(" ".join(requirements), "")
        return text or "".join(f"{each}\n" for each in requirements)

    # --- the world ---------------------------------------------------------------------------

    def act(self, name: str, act: Act | Outcome) -> None:
        """Say what the tasks of this spec (by its entry, name or sql) do."""
        self.acts[name] = (lambda *_: act) if isinstance(act, Outcome) else act

    def _script(self, request: Document, role: Document, index: int, attempt: int) -> Outcome:
        entry = role["entry"]["target"]
        name = entry.rpartition(":")[2] or entry
        self.started.append((name, index, request["number"]))
        chosen = self.acts.get(name)
        return chosen(request, role, index, attempt) if chosen else value(None)

    # --- time --------------------------------------------------------------------------------

    async def turn(self) -> bool:
        """One pass of everything; whether something happened."""
        await self.here.places.neighbours.look(self.here.places.engines, self.clock)
        turn = await self.here.loop.turn()
        await self.here.loop.quiet()
        heard = False
        for engine in tuple(self.here.places.engines.values()):
            reports = await engine.observe(0.0)
            if reports:
                await report.take(self.here.store, engine, reports)
            heard = heard or bool(reports)
        return turn.wrote or heard

    def _next(self) -> float | None:
        """When something will happen by itself."""
        times = [self.here.loop.due()]
        times += [world._events[0][0] for world in (self.world, self.cloud.world) if world._events]
        return min((at for at in times if at < math.inf), default=None)

    async def settle(self, seconds: float = 86400.0) -> None:
        """Until nothing is left to happen within that time."""
        until = self.clock.now() + seconds
        while True:
            if await self.turn():
                continue
            at = self._next()
            if at is None or at > until:
                return
            self.clock.advance(max(0.0, at - self.clock.now()))

    async def until(self, run: str, *states: RunState) -> Run:
        """Until the run is in one of these states."""
        for _ in range(2000):
            found = self.run(run)
            if found.state in states:
                return found
            if not await self.turn():
                at = self._next()
                assert at is not None, f"nothing will happen any more; the run is {found.state}"
                self.clock.advance(max(0.0, at - self.clock.now()))
        raise AssertionError(f"{run} is {self.run(run).state} and does not get on")

    async def pass_by(self, seconds: float) -> None:
        """Time passes, and the pools are looked after as often as it is due."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.settle(min(LOOK_SECONDS, until - self.clock.now()))
            self.clock.advance(LOOK_SECONDS)
            for pool in tuple(self.here.places.leases):
                self.here.connections.leases.renew(pool)
            await self.here.connections.look()
            await self.settle(0.0)

    # --- requests ----------------------------------------------------------------------------

    def bundle(self, files: Mapping[str, str]) -> str:
        """Code that travels; its digest."""
        return self.here.blobs.put_bytes(bundle_of(files))

    async def submit(self, document: Document, **more: Any) -> str:
        """Accept a run of this spec."""
        [run] = await self.here.front.accept([{"spec": document, **more}], "me")
        return run.id

    async def result(self, document: Document, **more: Any) -> Run:
        """Accept it and let everything happen."""
        run = await self.submit(document, **more)
        await self.settle()
        return self.run(run)

    def run(self, run: str) -> Run:
        """As it is stored, with why it waits."""
        return self.here.front.find(run)

    def children(self, run: str) -> dict[str, RunLine]:
        """By key."""
        return {line.key: line for line in self.here.store.runs.children([run])[run]}

    def placements(self, run: str) -> list[Placement]:
        return self.here.store.placements.of([run])[run]

    def attempts(self, run: str) -> list[Attempt]:
        return self.here.store.reports.attempts([run])[run]

    def events(self, run: str) -> list[str]:
        return [each.type for each in self.here.store.events.after(0, run=run)]


def swap(thing: object, name: str, other: object) -> None:
    """Put something else in the place of a method."""
    setattr(thing, name, other)


def function(name: str, **fields: Any) -> Document:
    """A function whose task `act(name, …)` scripts: SQL-free and bundle-free."""
    fields.setdefault("entry", f"tradewind.components:{name}")
    return {"kind": "function", "name": name, **fields}


def in_town(test: Callable[[Town], Awaitable[None]]) -> Callable[[Path], None]:
    """Run an async test in a town of its own."""

    def run(tmp_path: Path) -> None:
        async def story() -> None:
            town = await Town(tmp_path / "data").up()
            try:
                await test(town)
            finally:
                await town.down()

        asyncio.run(story())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


__all__ = [
    "Cloud",
    "FarEngine",
    "Town",
    "bundle_of",
    "failure",
    "far",
    "function",
    "in_town",
    "swap",
    "table",
    "value",
]
