"""A server without a socket: the whole application over a store in a folder and a fake engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from tradewind.api.app import create_app
from tradewind.api.guard import Keys
from tradewind.control.assemble import Assembly, Settings, assemble
from tradewind.control.pools import LOCAL
from tradewind.records.reports import Report
from tradewind.testing.clock import FakeClock
from tradewind.testing.fake_engine import FakeEngine, Outcome, World

TOKEN = "t0ken-t0ken-t0ken-t0ken"
HOST = "127.0.0.1:7433"
NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class _Engine(FakeEngine):
    """Waits a moment where a real engine waits for news; time jumps all the same."""

    async def observe(self, timeout: float) -> Sequence[Report]:
        found = await super().observe(timeout)
        if not found:
            await asyncio.sleep(0.01)
        return found


class House:
    """The application, and what stands behind it."""

    def __init__(self, app: FastAPI, here: Assembly, world: World, clock: FakeClock) -> None:
        self.app, self.here, self.world, self.clock = app, here, world, clock
        self.downs: list[bool] = []

    def client(self, token: str = TOKEN, **more: object) -> httpx.AsyncClient:
        """Somebody who asks, with this token."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(
            transport=transport, base_url=f"http://{HOST}", headers=headers, timeout=30.0
        )


@asynccontextmanager
async def house(data: Path, *, start: bool = True) -> AsyncIterator[House]:
    """A server that is up, and is down again afterwards."""
    clock = FakeClock()
    world = World(clock, lambda *_: Outcome(log=b"hello\n"))
    here = assemble(
        Settings(data=data),
        clock=clock,
        engines={LOCAL: _Engine(world)},
        resolve=lambda requirements, python: "",
    )
    downs: list[bool] = []
    app = create_app(here, Keys(TOKEN, clock.now), NAMES, lambda: downs.append(True))
    made = House(app, here, world, clock)
    made.downs = downs
    if start:
        here.start()
    try:
        yield made
    finally:
        await app.state.replicas.aclose()
        await here.close()


def at_home(
    test: Callable[[House, httpx.AsyncClient], Awaitable[None]],
) -> Callable[[Path], None]:
    """Run an async test in a house of its own, asked by who has the token."""

    def run(tmp_path: Path) -> None:
        async def story() -> None:
            async with house(tmp_path / "data") as made, made.client() as client:
                await test(made, client)

        asyncio.run(story())

    run.__name__ = test.__name__
    return run


ONE = {"kind": "function", "name": "one", "entry": "tradewind.components:one"}
