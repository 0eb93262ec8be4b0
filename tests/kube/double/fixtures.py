"""A double for one test, and how tests look at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kube.double import Double
from tests.kube.double.compare.side import Side, client_of

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def double() -> Iterator[Double]:
    running = Double(job_backoff=0.05, create_backoff=0.05, orphan_grace=0.0)
    with running.serve():
        yield running


@pytest.fixture
def side(double: Double, tmp_path: Path) -> Iterator[Side]:
    with client_of(double.kubeconfig(tmp_path / "config")) as client:
        yield Side(client, "default")


def until(look: Callable[[], Any]) -> Any:
    last = time.monotonic() + 10
    while not (found := look()):
        assert time.monotonic() < last, "it never came"
        time.sleep(0.01)
    return found
