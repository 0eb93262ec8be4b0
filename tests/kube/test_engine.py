"""The exam of engines over a real cluster that `KUBECONFIG` names, its node played by the runner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.pupil import KubernetesPupil
from tests.kube.runner import Runner
from tradewind.testing.engine_suite import EngineSuite, Pupil

KUBECONFIG = os.environ.get("KUBECONFIG", "")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    path = Path(KUBECONFIG)
    with Runner(path, node="exam", backoff=(0.5, 5.0)):
        yield path


class TestKubernetesEngine(EngineSuite):
    @pytest.fixture
    def pupil(self, cluster: Path, tmp_path: Path) -> Iterator[Pupil]:
        yield KubernetesPupil(tmp_path, {"kubeconfig": str(cluster), "namespace": "default"})
