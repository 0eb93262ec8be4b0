"""A server that comes back: what it finds, it neither creates again nor loses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.double.faults import Fault
from tests.kube.puppet import ENDS, STAYS, USER, Site, site, task, until
from tradewind.testing.engine_suite import Session


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


def ended(here: Site) -> bool:
    pods = here.double.pods()
    return bool(pods) and all(pod["status"].get("phase") == "Succeeded" for pod in pods)


def test_a_launch_said_again_creates_nothing_once_the_end_is_stored(here: Site) -> None:
    async def first(session: Session) -> None:
        await session.launch(task("p1"))

    async def again(session: Session) -> None:
        await session.engine.observe(0.0)
        await asyncio.gather(session.launch(task("p1")), session.end("p1"))
        await session.launch(task("p1"))

    here.puppet.plan = lambda _: STAYS
    here.sit(first)
    here.puppet.plan = lambda _: ENDS
    until(lambda: ended(here))
    here.sit(again)
    here.empty()
    calls = [(call.verb, call.resource) for call in here.double.calls if call.user == USER]
    assert calls.count(("create", "jobs")) == calls.count(("create", "configmaps")) == 1


def test_a_log_is_asked_for_again_that_cannot_be_had_at_first(here: Site) -> None:
    async def test(session: Session) -> None:
        here.double.faults.add(Fault(times=2, code=503, subresource="log", user=USER))
        await session.launch(task("p1"))
        await session.end("p1")
        assert await session.log("p1", b"said\n") == b"said\n"

    here.puppet.plan = lambda _: ENDS
    here.sit(test)
