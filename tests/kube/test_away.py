"""A cluster that is away is told apart from one where another server places, and both soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.puppet import ENDS, SPACE, Site, site, task
from tradewind.base.errors import Broken, TryAgain, Unreachable
from tradewind.engines.kubernetes import api, engine, lease
from tradewind.testing.engine_suite import Session


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(engine, "RENEW", 0.2)
    with site(tmp_path) as found:
        yield found


def test_a_lease_that_cannot_be_renewed(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 3)

    async def test(session: Session) -> None:
        made = session.engine
        assert isinstance(made, engine.KubernetesEngine)
        await made.begin()
        here.double.faults.refuse()
        # Neither the patience with a request nor that with the mirrors is over.
        began = time.monotonic()
        with pytest.raises(Unreachable, match="cannot be reached"):
            await made.observe(60.0)
        assert time.monotonic() - began < min(api.PATIENCE, engine.DEAF)
        with pytest.raises(Unreachable, match="cannot be reached"):
            await made.capacity()
        while made._lease.held:
            await asyncio.sleep(0.05)
        with pytest.raises(TryAgain, match="cannot be reached") as told:
            await made.launch(made.render(task("p1")))
        assert "another server" not in told.value.message
        here.double.faults.accept()
        while True:
            try:
                await made.capacity()
                break
            except Unreachable:
                await asyncio.sleep(0.05)
        here.puppet.plan = lambda _: ENDS
        await session.launch(task("p1"))
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(test)


def test_a_lease_that_somebody_else_has(here: Site) -> None:
    async def test() -> None:
        made = here.engine()
        await made.begin()
        name = here.double.objects("leases", SPACE)[0]["metadata"]["name"]
        theirs = {"holderIdentity": "elsewhere/s1", "leaseDurationSeconds": 3600}
        here.double.edit("leases", SPACE, name, lambda found: found["spec"].update(theirs))
        with pytest.raises(Broken, match=r"another server \(elsewhere/s1\) places"):
            await made.observe(60.0)
        with pytest.raises(Broken, match="another server"):
            await made.capacity()
        with pytest.raises(TryAgain, match=r"another server \(elsewhere/s1\) places"):
            await made.launch(made.render(task("p1")))
        await made.close()

    asyncio.run(test())
