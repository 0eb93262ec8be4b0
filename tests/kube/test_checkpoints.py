"""What has settled in a checkpoint folder outlives the pod and its machine.

Over the double, and over the real control plane that `KUBECONFIG` names, if any; pods are processes
of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.home import Site, site
from tests.kube.pupil import KubernetesPupil
from tests.kube.puppet import surely
from tests.kube.runner.fixtures import CLUSTERS, Cluster, chosen
from tests.kube.space import namespace
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.records.placements import Placement
from tradewind.records.tasks import Array, Entry, Gang, Restart, Stop
from tradewind.testing import engine_suite
from tradewind.testing.engine_suite import EngineSuite, Session, a_placement, a_role

# Its first try writes a step and goes on for ever; a later one ends if that is there.
GOES_ON = """
cd "$TRADEWIND_CHECKPOINTS" 2>/dev/null && [ "$(cat deep/step)" = 1 ] && exit
mkdir -p "$TRADEWIND_CHECKPOINTS/deep" && cd "$TRADEWIND_CHECKPOINTS"
printf 1 >deep/step && echo written
exec sleep 600
"""


@pytest.fixture(scope="module", params=CLUSTERS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder, kubeconfig = tmp_path_factory.mktemp("site"), chosen(request.param)
    with site(folder, kubeconfig, nodes=2) as found:
        if found.double is not None:
            found.double.settings.orphan_grace = 1.0
        yield found


@pytest.fixture
def pupil(place: Site, tmp_path: Path) -> Iterator[KubernetesPupil]:
    with namespace(place.kubeconfig) as name:
        yield KubernetesPupil(tmp_path, {"kubeconfig": str(place.kubeconfig), "namespace": name})


@pytest.fixture
def cluster(place: Site) -> Iterator[Cluster]:
    found = Cluster(place.kubeconfig)
    yield found
    found.close()


def one(name: str, shape: Array | Gang, number: int = 1) -> Placement:
    entry = Entry(kind="command", args=("sh", "-c", GOES_ON))
    role = a_role(entry, shape, restart=Restart(most=2), stop=Stop(way="drain", grace=5.0))
    return a_placement(name, role, run="r", number=number)


async def settled(pupil: KubernetesPupil) -> None:
    """Until the server has the step."""
    kept = Checkpoints(pupil.desk.blobs).of("r", "t", "main", 0)
    manifest = kept.blobs.root / "manifest.json"
    await surely(lambda: manifest.exists() and "deep/step" in manifest.read_text())


def only_pod(cluster: Cluster, pupil: KubernetesPupil) -> tuple[str, str]:
    """Its path, and the name of its machine."""
    path = f"/api/v1/namespaces/{pupil.options['namespace']}/pods"
    (pod,) = cluster.get(path)["items"]
    return f"{path}/{pod['metadata']['name']}", pod["spec"]["nodeName"]


def test_a_pod_deleted_by_hand(pupil: KubernetesPupil, cluster: Cluster) -> None:
    async def test(session: Session) -> None:
        await session.launch(one("p1", Array(count=1)))
        await session.reached("running")
        await settled(pupil)
        path, _node = only_pod(cluster, pupil)
        now = {"gracePeriodSeconds": 0}
        cluster.http.request("DELETE", path, json=now).raise_for_status()
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    EngineSuite().sit(pupil, test)


def test_a_stop_keeps_what_had_no_time_to_settle(pupil: KubernetesPupil) -> None:
    async def test(session: Session) -> None:
        await session.launch(one("p1", Gang()))
        await session.log("p1", b"written")
        await session.engine.stop("p1", Stop(way="drain", grace=5.0))
        await session.end("p1")
        await session.launch(one("p2", Gang(), number=2))
        assert (await session.end("p2")).ends() == {"p1": "stopped", "p2": "succeeded"}

    EngineSuite().sit(pupil, test)


def test_a_machine_that_goes(
    pupil: KubernetesPupil, place: Site, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real cluster looks for pods of missing machines twice a minute.
    monkeypatch.setattr(engine_suite, "PATIENCE", 180.0)

    async def test(session: Session) -> None:
        await session.launch(one("p1", Array(count=1)))
        await session.reached("running")
        await settled(pupil)
        _path, name = only_pod(cluster, pupil)
        node = next(node for node in place.nodes if node.settings.node == name)
        node.freeze()
        try:
            cluster.http.delete(f"/api/v1/nodes/{name}").raise_for_status()
            assert (await session.end("p1")).ends() == {"p1": "succeeded"}
        finally:
            node.thaw()

    EngineSuite().sit(pupil, test)
