"""A namespace for one test, under the strictest of the cluster's own security rules."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kube.double import Double
from tests.kube.runner import Runner
from tests.kube.runner.fixtures import QUICK
from tradewind.base.errors import TradewindError
from tradewind.engines.kubernetes.api import Api, Kind
from tradewind.engines.kubernetes.connect import connect

NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)
ACCOUNTS = Kind("", "v1", "serviceaccounts")


@contextmanager
def quick_double(kubeconfig: Path, **node: Any) -> Iterator[tuple[Double, Path]]:
    """A double whose controllers do not wait long, with one node."""
    double = Double(job_backoff=0.1, create_backoff=0.2, create_backoff_most=1.0)
    with double.serve():
        path = double.kubeconfig(kubeconfig)
        with Runner(path, node="n1", **QUICK, **node):
            yield double, path


@contextmanager
def machine(kubeconfig: Path) -> Iterator[Runner]:
    """A node, by a name that no other exam's has."""
    with Runner(kubeconfig, node=f"exam-{uuid.uuid4().hex[:6]}", **QUICK) as runner:
        yield runner


@contextmanager
def namespace(kubeconfig: Path) -> Iterator[str]:
    """Its name; deleted with all that is in it."""
    name = f"tw-{uuid.uuid4().hex[:8]}"
    asyncio.run(_create(kubeconfig, name))
    try:
        yield name
    finally:
        asyncio.run(_delete(kubeconfig, name))


async def _create(kubeconfig: Path, name: str) -> None:
    cluster = connect({"kubeconfig": str(kubeconfig), "namespace": name})
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await cluster.create(NAMESPACES, body)
    await _account(cluster)
    await cluster.close()


async def _account(cluster: Api) -> None:
    """Until pods can be made there: a cluster makes the account that they run under on its own."""
    for _try in range(100):
        try:
            await cluster.get(ACCOUNTS, "default")
            return
        except TradewindError:
            await asyncio.sleep(0.05)


async def _delete(kubeconfig: Path, name: str) -> None:
    cluster = connect({"kubeconfig": str(kubeconfig)})
    await cluster.delete(NAMESPACES, name)
    await cluster.close()
