"""The exam of engines over a cluster: the double, and the real one that `KUBECONFIG` names, if any.

Pods are processes of this machine, run by the node of `tests/kube/runner`. The real cluster must be
without nodes of its own, as a bare control plane is.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.pupil import KubernetesPupil
from tests.kube.runner import Runner
from tests.kube.runner.fixtures import QUICK
from tests.kube.space import namespace, quick_double
from tradewind.testing.engine_suite import EngineSuite, Pupil

REAL = os.environ.get("KUBECONFIG", "")


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quick_double(tmp_path_factory.mktemp("double") / "config") as (_double, path):
        yield path


@pytest.fixture(scope="module")
def real() -> Iterator[Path]:
    path = Path(REAL)
    with Runner(path, node=f"exam-{uuid.uuid4().hex[:6]}", **QUICK):
        yield path


class TestOnTheDouble(EngineSuite):
    @pytest.fixture
    def pupil(self, double: Path, tmp_path: Path) -> Iterator[Pupil]:
        with namespace(double) as name:
            yield KubernetesPupil(tmp_path, {"kubeconfig": str(double), "namespace": name})


@pytest.mark.skipif(not REAL, reason="KUBECONFIG names no cluster")
class TestOnARealCluster(EngineSuite):
    @pytest.fixture
    def pupil(self, real: Path, tmp_path: Path) -> Iterator[Pupil]:
        with namespace(real) as name:
            yield KubernetesPupil(tmp_path, {"kubeconfig": str(real), "namespace": name})
