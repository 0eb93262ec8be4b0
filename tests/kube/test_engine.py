"""The exam of engines over a cluster: the double, and the real one that `KUBECONFIG` names, if any.

Pods are processes of this machine, run by the node of `tests/kube/runner`. The real cluster must be
without nodes of its own, as a bare control plane is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.pupil import KubernetesPupil
from tests.kube.runner.fixtures import NEEDS_REAL, REAL
from tests.kube.space import machine, namespace, quick_double
from tradewind.testing.engine_suite import EngineSuite, Pupil


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quick_double(tmp_path_factory.mktemp("double") / "config") as (_double, path):
        yield path


@pytest.fixture(scope="module")
def real() -> Iterator[Path]:
    path = Path(REAL)
    with machine(path):
        yield path


class TestOnTheDouble(EngineSuite):
    @pytest.fixture
    def pupil(self, double: Path, tmp_path: Path) -> Iterator[Pupil]:
        with namespace(double) as name:
            yield KubernetesPupil(tmp_path, {"kubeconfig": str(double), "namespace": name})


@NEEDS_REAL
class TestOnARealCluster(EngineSuite):
    @pytest.fixture
    def pupil(self, real: Path, tmp_path: Path) -> Iterator[Pupil]:
        with namespace(real) as name:
            yield KubernetesPupil(tmp_path, {"kubeconfig": str(real), "namespace": name})
