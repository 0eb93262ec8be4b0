"""Servers with databases of their own, and a pool of the same name in the same namespace: none
takes over, stops or shows what another has launched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kube.puppet import ENDS, SPACE, Site, site, task
from tradewind.base.errors import Conflict
from tradewind.engines.kubernetes import names
from tradewind.records.tasks import Replicas, Stop
from tradewind.testing.engine_suite import Session

Object = dict[str, Any]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


async def nothing(session: Session) -> None:
    assert not await session.engine.known()


def strip(here: Site) -> None:
    """As everything was made before there were marks."""
    for kind in ("configmaps", "jobs", "pods"):
        for each in here.double.objects(kind, SPACE):
            if names.STORE in (each["metadata"].get("labels") or {}):
                here.double.edit(
                    kind, SPACE, each["metadata"]["name"],
                    lambda found: found["metadata"]["labels"].pop(names.STORE, None),
                )  # fmt: skip


def test_a_pool_with_work_of_another_store_is_refused(here: Site) -> None:
    """The first server is away for longer than its lease lasts."""

    async def first(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")

    async def second() -> None:
        made = here.engine("b", store="another")
        with pytest.raises(Conflict, match="placements of another server") as told:
            await made.begin()
        await made.close()
        assert "http://127.0.0.1:9" in told.value.message and SPACE in told.value.message
        assert "another name or namespace" in told.value.hint
        # The lease was left to whoever comes back.
        assert not here.double.objects("leases", SPACE)
        other = here.engine("b", pool="q", store="another")
        await other.begin()
        assert not await other.known()
        await other.close()

    async def back(session: Session) -> None:
        assert list(await session.engine.known()) == ["p1"]
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(first)
    asyncio.run(second())
    here.sit(back)
    here.empty()
    here.sit(nothing, server="b", store="another")


def test_what_comes_while_both_are_there_is_not_seen(here: Site) -> None:
    """A pool was free when the second one came; the first one's launch was still on its way."""

    async def test(session: Session) -> None:
        await session.engine.observe(0.0)
        stranger = here.engine("a", store="another")
        for each in stranger.render(task("p1", Replicas(count=1)))["objects"]:
            here.double.create(each)
        await session.launch(task("p2"))
        await session.reached("running")
        assert list(await session.engine.known()) == ["p2"]
        assert {report.placement for report in session.told} == {"p2"}
        await session.engine.stop("p1", Stop(way="kill"))
        root = here.double.object("configmaps", SPACE, names.base("p1"))
        assert root is not None and names.STOP not in root["metadata"]["annotations"]
        here.puppet.plan = lambda _: ENDS
        await session.end("p2")

    here.sit(test)


def test_what_has_no_mark_is_ours(here: Site) -> None:
    async def first(session: Session) -> None:
        await session.launch(task("p1"))
        await session.reached("running")

    async def second(session: Session) -> None:
        assert list(await session.engine.known()) == ["p1"]
        here.puppet.plan = lambda _: ENDS
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    here.sit(first)
    strip(here)
    here.sit(second, server="b")
    here.empty()
