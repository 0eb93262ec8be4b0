"""A whole control plane in one process: real store and blobs, a fake engine, a clock that jumps.

`settle` does what the loop does, one pass after the other, without threads racing and without
waiting: when nothing is due, time goes on to the next thing that is.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tradewind.base.ids import digest_json
from tradewind.control import report
from tradewind.control.assemble import Assembly, Settings, assemble
from tradewind.control.pools import LOCAL
from tradewind.records.placements import Attempt, Placement
from tradewind.records.runs import Run
from tradewind.records.states import LIVE, RunState
from tradewind.specs import PoolSpec, from_document
from tradewind.store.rows import RunLine
from tradewind.testing.clock import FakeClock
from tradewind.testing.fake_engine import FakeEngine, Outcome, World

Document = dict[str, Any]
Act = Callable[[Document, dict[str, Any], int, int], Outcome]


def value(of: Any, **more: Any) -> Outcome:
    """A task that returns this JSON value after a second."""
    return Outcome(outputs={"output": {"kind": "json", "value": of}}, **{"seconds": 1.0, **more})


def failure(message: str = "boom", reason: str = "error", **more: Any) -> Outcome:
    """A task that fails after a second."""
    ended = {"reason": reason, "message": message, "status": 1}
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


class Town:
    """One data folder, one world, and the server that is up."""

    def __init__(self, data: Path, cpu: float = 2.0, memory: str = "8GiB") -> None:
        self.clock = FakeClock()
        self.world = World(self.clock, self._script)
        self.acts: dict[str, Act] = {}
        self.started: list[tuple[str, int, int]] = []
        self.locks: dict[str, str] = {}
        self._data = data
        self._capacity = {"cpu": cpu, "memory": memory}
        self.engine = FakeEngine(self.world, jump=False)
        self.here: Assembly

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
            Settings(data=self._data, pools=(spec,)),
            clock=self.clock,
            engines={LOCAL: self.engine},
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
        turn = await self.here.loop.turn()
        await self.here.loop.quiet()
        reports = await self.engine.observe(0.0)
        if reports:
            await report.take(self.here.store, self.engine, reports)
        return turn.wrote or bool(reports)

    async def settle(self, seconds: float = 86400.0) -> None:
        """Until nothing is left to happen within that time."""
        until = self.clock.now() + seconds
        while True:
            if await self.turn():
                continue
            due = self.here.store.runs.next_due(LIVE, self.clock.now())
            event = self.world._events[0][0] if self.world._events else None
            times = [at for at in (due, event) if at is not None and at <= until]
            if not times:
                return
            self.clock.advance(max(0.0, min(times) - self.clock.now()))

    async def until(self, run: str, *states: RunState) -> Run:
        """Until the run is in one of these states."""
        for _ in range(2000):
            found = self.run(run)
            if found.state in states:
                return found
            if not await self.turn():
                due = self.here.store.runs.next_due(LIVE, self.clock.now())
                event = self.world._events[0][0] if self.world._events else None
                times = [at for at in (due, event) if at is not None]
                assert times, f"nothing will happen any more; the run is {found.state}"
                self.clock.advance(max(0.0, min(times) - self.clock.now()))
        raise AssertionError(f"{run} is {self.run(run).state} and does not get on")

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
    "Town",
    "bundle_of",
    "failure",
    "function",
    "in_town",
    "swap",
    "table",
    "value",
]
