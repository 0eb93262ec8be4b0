"""The runner on a control plane that fails: nothing is lost, nothing runs twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.double import Double
from tests.kube.runner import fixtures
from tests.kube.runner.fixtures import Cluster, processes, until
from tests.kube.runner.process import isolation

pytestmark = pytest.mark.root


@pytest.fixture
def double() -> Iterator[Double]:
    try:
        isolation()
    except RuntimeError as error:
        pytest.skip(str(error))
    double = Double()
    with double.serve():
        yield double


@pytest.fixture
def control(double: Double, tmp_path: Path) -> Path:
    return double.kubeconfig(tmp_path / "kubeconfig")


runner, cluster, node = fixtures.runner_of_a_test, fixtures.cluster, fixtures.node


@pytest.mark.parametrize("inside", [True, False])
def test_a_history_that_is_gone_is_listed_anew(
    double: Double, cluster: Cluster, node: str, inside: bool
) -> None:
    double.gone_inside(inside)
    stays, goes = cluster.run(node, "sleep", "60"), cluster.run(node, "sleep", "60")
    for pod in (stays, goes):
        pod.phase("Running")
    double.faults.answer(503, times=4, verb="watch")
    double.faults.answer(500, times=2, verb="list")
    double.faults.cut()
    double.delete("pods", "default", goes.name, gracePeriodSeconds=0)
    double.compact()
    assert cluster.run(node, "true").ended()["exitCode"] == 0
    goes.gone()
    assert goes.asked("log").status_code == 404
    assert stays.phase("Running")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_watch_that_is_cut_goes_on_where_it_was(
    double: Double, cluster: Cluster, node: str
) -> None:
    cluster.run(node, "true").ended()
    double.forget_calls()
    for _ in range(3):
        double.faults.cut()
        cluster.run(node, "true").ended()
    assert not [call for call in double.calls if call.verb == "list"]


def test_an_end_is_told_when_the_server_is_back(
    double: Double, cluster: Cluster, node: str, tmp_path: Path
) -> None:
    pod = cluster.run(
        node,
        *("sh", "-c", "echo up; until [ -e /flag/up ]; do sleep 0.05; done; exit 4"),
        main_env=[{"name": "MARK", "value": str(tmp_path)}],
        main_volumeMounts=[{"name": "flag", "mountPath": "/flag"}],
        volumes=[{"name": "flag", "hostPath": {"path": str(tmp_path)}}],
    )
    pod.says(b"up")
    double.faults.refuse()
    try:
        (tmp_path / "up").touch()
        until(lambda: processes(str(tmp_path)), lambda found: not found)
    finally:
        double.faults.accept()
    assert pod.ended()["exitCode"] == 4


def test_answers_that_never_come_change_nothing(
    double: Double, cluster: Cluster, node: str
) -> None:
    double.faults.drop(times=2, verb="patch", resource="pods")
    double.faults.drop(times=1, verb="delete", resource="pods")
    double.faults.answer(429, times=1, verb="patch", retry_after=1)
    pod = cluster.run(node, "sh", "-c", "echo once; sleep 60")
    pod.says(b"once")
    double.delete("pods", "default", pod.name, gracePeriodSeconds=1)
    pod.gone()


def test_a_node_that_was_deleted_comes_back(double: Double, cluster: Cluster, node: str) -> None:
    pod = cluster.run(node, "sleep", "60")
    pod.phase("Running")
    double.delete("nodes", "", node)
    until(lambda: double.object("nodes", "", node), lambda found: found is not None)
    assert cluster.run(node, "true").ended()["exitCode"] == 0
