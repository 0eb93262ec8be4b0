"""A gang where not all members have room: nobody's code begins before everybody is there.

Over the double, and over the real control plane that `KUBECONFIG` names, if any; pods are processes
of this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.pupil import KubernetesPupil, ServedEngine
from tests.kube.puppet import surely
from tests.kube.runner.fixtures import CLUSTERS, chosen
from tests.kube.space import machine, namespace, quick_double
from tradewind.engines.kubernetes import api, engine, hands
from tradewind.engines.kubernetes.roles import Order
from tradewind.engines.kubernetes.track import Track
from tradewind.records.placements import Placement
from tradewind.records.tasks import Entry, Gang, Stop
from tradewind.testing.engine_suite import Session, Told, a_placement, a_role

QUOTAS = api.Kind("", "v1", "resourcequotas")


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    path = chosen(request.param)
    if path is None:
        with quick_double(tmp_path_factory.mktemp("double") / "config") as (_double, path):
            yield path
    else:
        with machine(path):
            yield path


@pytest.fixture
def pupil(cluster: Path, tmp_path: Path) -> Iterator[KubernetesPupil]:
    with namespace(cluster) as name:
        yield KubernetesPupil(tmp_path, {"kubeconfig": str(cluster), "namespace": name})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOW", 0.3)
    monkeypatch.setattr(engine, "EVERY", 1.0)


def three() -> Placement:
    """Members that say at once that they began."""
    entry = Entry(kind="command", args=("sh", "-c", 'echo "$RANK began"; exec sleep 600'))
    return a_placement("p1", a_role(entry, Gang(least=3, most=3)))


def whys(told: Told) -> list[str]:
    return [report.body["why"] for report in told if report.body.get("state") == "preparing"]


async def allow(made: ServedEngine, pods: int) -> None:
    """So many pods have room in the namespace."""
    where = made.connected()
    meta = {"name": "small"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta}
    await where.create(QUOTAS, {**body, "spec": {"hard": {"pods": str(pods)}}})
    while not ((await where.get(QUOTAS, "small")).get("status") or {}).get("hard"):
        await asyncio.sleep(0.05)


async def set_up(made: ServedEngine, members: int) -> None:
    """Until so many members wait for the others."""

    def waiting() -> int:
        track = made.track("p1")
        return 0 if track is None else sum(bool(pod.started) for pod in track.pods.values())

    await surely(lambda: waiting() == members)


async def said(made: ServedEngine, rank: int) -> bytes:
    return b"".join([part async for part in made.logs("p1", "main", rank, offset=0, follow=False)])


def test_nobody_begins_before_all_have_room(pupil: KubernetesPupil) -> None:
    async def begin(made: ServedEngine) -> Session:
        await made.begin()
        return Session(made)

    async def test() -> None:
        made = pupil.engine()
        session = await begin(made)
        await allow(made, 2)
        await session.launch(three())
        words = (
            "waiting for 1 of 3 members: the namespace's quota for pods is used up (used 2 of 2)"
        )
        await session.until(lambda told: words in whys(told))
        await set_up(made, 2)
        # The next server knows it as well, and those who wait do not mind.
        await made.close()
        made = pupil.engine()
        session = await begin(made)
        await set_up(made, 2)
        await asyncio.sleep(2 * 2.0)  # they have asked again
        assert not any([await said(made, rank) for rank in range(3)])
        assert (1, "running") not in session.told.states()
        await made.connected().delete(QUOTAS, "small")
        told = await session.reached("running")
        assert told[-1].body.get("width") == 3 or told[-2].body.get("width") == 3
        for rank in range(3):
            wanted = f"{rank} began\n".encode()
            async for _data in made.logs("p1", "main", rank, offset=0, follow=True):
                if await said(made, rank) == wanted:
                    break
        await made.stop("p1", Stop(way="kill"))
        assert (await session.end("p1")).ends() == {"p1": "stopped"}
        await made.close()

    asyncio.run(test())


def test_who_suspends_it_by_hand_is_told_of(
    pupil: KubernetesPupil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cluster was quicker than we, who would have let it go on."""
    obey = hands.Hands.obey

    async def late(self: hands.Hands, order: Order, track: Track) -> None:
        if order.do != "width":
            await obey(self, order, track)

    monkeypatch.setattr(hands.Hands, "obey", late)

    async def test() -> None:
        made = pupil.engine()
        await made.begin()
        session = Session(made)
        await session.launch(three())
        await session.reached("running")
        track = made.track("p1")
        assert track is not None
        job = track.workloads["main"]["metadata"]["name"]
        await made.connected().patch(api.JOBS, job, {"spec": {"suspend": True}})
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"}
        assert told.reason()["message"].endswith("of 3: somebody suspended it in the cluster")
        await made.close()

    asyncio.run(test())


@pytest.mark.parametrize("how", ["stopped", "lost"])
def test_who_waits_for_the_others_ends_with_them(pupil: KubernetesPupil, how: str) -> None:
    async def test() -> None:
        made = pupil.engine()
        await made.begin()
        session = Session(made)
        await allow(made, 2)
        await session.launch(three())
        await set_up(made, 2)
        if how == "stopped":
            await made.stop("p1", Stop(way="drain", grace=30.0))
        else:
            track = made.track("p1")
            assert track is not None
            goes = next(iter(track.pods.values()))
            await made.connected().delete(api.PODS, goes.name, uid=goes.uid)
        told = await session.end("p1")
        assert told.ends() == {"p1": how}
        assert (1, "running") not in told.states() and (1, how) in told.states()
        assert b"began" not in b"".join([await said(made, rank) for rank in range(3)])
        await made.close()

    asyncio.run(test())
