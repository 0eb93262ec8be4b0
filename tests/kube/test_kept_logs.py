"""What a unit printed is kept, whatever ends it; what is not had is told.

Over the double, whose pods are processes of this machine, and over the real control plane that
`KUBECONFIG` names, if any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.kube.pupil import KubernetesPupil, ServedEngine
from tests.kube.puppet import surely
from tests.kube.test_faults import abandon
from tests.kube.test_gangs import cluster, pupil, said
from tradewind.base.errors import NotFound
from tradewind.engines.kubernetes import api
from tradewind.engines.kubernetes.api import Api
from tradewind.records.placements import Placement
from tradewind.records.tasks import Array, Entry, Gang, Replicas, Stop
from tradewind.testing.engine_suite import Session, a_placement, a_role

__all__ = ["cluster", "pupil"]
# An engine that ends while a connection is just being made leaves it to the end of the loop.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
WAITS = "while :; do sleep 0.05; done"
SHAPES = [Gang(least=3, most=3), Array(count=2, at_once=2), Replicas(count=2)]


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the log of what has ended is late: its pod is gone."""
    log = Api.log

    @asynccontextmanager
    async def slow(self: Api, pod: str, container: str, *, follow: bool, previous: bool) -> Any:
        if not follow:
            await asyncio.sleep(2.0)
        async with log(self, pod, container, follow=follow, previous=previous) as chunks:
            yield chunks

    monkeypatch.setattr(Api, "log", slow)


def ticking(shape: Any, does: str = WAITS, dies: str = "") -> Placement:
    """Says when it begins and, asked to end, that it does."""
    script = f"exec 2>/dev/null; trap '{dies} echo last; exit 0' TERM; echo first; {does}"
    entry = Entry(kind="command", args=("sh", "-c", script))
    return a_placement("p1", a_role(entry, shape, stop=Stop(way="drain", grace=10.0)))


def run(pupil: KubernetesPupil, test: Callable[[ServedEngine], Awaitable[None]]) -> None:
    async def whole() -> None:
        made = pupil.engine()
        await made.begin()
        try:
            await test(made)
        finally:
            await made.close()

    asyncio.run(whole())


async def begun(made: ServedEngine, units: int) -> None:
    """Until the cluster has told that so many run, and they have had time to say so."""

    def running() -> int:
        track = made.track("p1")
        return 0 if track is None else sum(bool(pod.started) for pod in track.pods.values())

    await surely(lambda: running() == units)
    await asyncio.sleep(1.5)


def units(shape: Any) -> int:
    return int(shape.least if isinstance(shape, Gang) else shape.count)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_stopped_keeps_its_log(pupil: KubernetesPupil, shape: Any) -> None:
    async def test(made: ServedEngine) -> None:
        session = Session(made)
        await session.launch(ticking(shape))
        await session.reached("running")
        await begun(made, units(shape))
        await made.stop("p1", Stop(way="drain", grace=10.0))
        await session.end("p1")
        for index in range(units(shape)):
            assert await said(made, index) == b"first\nlast\n"

    run(pupil, test)


def test_a_gang_that_falls_keeps_its_logs(pupil: KubernetesPupil) -> None:
    does = f'[ "$RANK" != 1 ] || {{ sleep 2; echo fell; exit 3; }}; {WAITS}'

    async def test(made: ServedEngine) -> None:
        session = Session(made)
        await session.launch(ticking(Gang(least=3, most=3), does))
        assert (await session.end("p1")).ends() == {"p1": "failed"}
        for rank in range(3):
            assert await said(made, rank) == (b"first\nfell\n", b"first\nlast\n")[rank != 1]

    run(pupil, test)


GONE = b"[tradewind: the cluster does not have this log any more]\n"


def test_what_somebody_deletes_keeps_its_log(pupil: KubernetesPupil) -> None:
    async def test(made: ServedEngine) -> None:
        session = Session(made)
        await session.launch(ticking(Gang(least=2, most=2)))
        await session.reached("running")
        await begun(made, 2)
        track = made.track("p1")
        assert track is not None
        goes = next(pod for pod in track.pods.values() if pod.index == 1)
        await made.connected().delete(api.PODS, goes.name, uid=goes.uid)
        assert (await session.end("p1")).ends() == {"p1": "lost"}
        # Nobody asked us: a pod may be gone before we can read, and then that is said.
        for rank in range(2):
            assert await said(made, rank) in (b"first\nlast\n", GONE)

    run(pupil, test)


def test_a_server_that_comes_back_keeps_the_logs_of_what_is_ending(pupil: KubernetesPupil) -> None:
    async def before(made: ServedEngine) -> None:
        session = Session(made)
        await session.launch(ticking(Gang(least=2, most=2), dies="sleep 4;"))
        await session.reached("running")
        await begun(made, 2)
        await made.stop("p1", Stop(way="drain", grace=20.0))
        track = made.track("p1")
        assert track is not None
        await surely(lambda: all(pod.leaving for pod in track.pods.values()))
        await abandon(made)
        made._cluster = None

    async def after(made: ServedEngine) -> None:
        assert (await Session(made).end("p1")).ends() == {"p1": "stopped"}
        assert [await said(made, rank) for rank in range(2)] == [b"first\nlast\n"] * 2

    run(pupil, before)
    run(pupil, after)


def test_a_log_that_is_not_had_is_told_of(
    pupil: KubernetesPupil, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise NotFound("no such pod")

    monkeypatch.setattr(Api, "log", none)

    async def test(made: ServedEngine) -> None:
        session = Session(made)
        await session.launch(ticking(Gang(least=1, most=1), "exit 0"))
        await session.end("p1")
        assert b"does not have this log" in await said(made, 0)
        assert "cannot be had: no such pod" in caplog.text

    run(pupil, test)
