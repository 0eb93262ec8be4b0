"""The double beside a real cluster: the same questions, and the answers must be the same.

The real one is a bare control plane that `KUBECONFIG` names: no nodes, since these tests play them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kube.double import Double, rules_of
from tests.kube.double.compare import changes, objects, rights, workloads
from tests.kube.double.compare.side import Side, client_of
from tests.kube.runner.fixtures import REAL

Json = Any
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces"
SCENARIOS = [
    objects.defaults,
    objects.refusals,
    objects.pods_invalid,
    changes.changes,
    changes.deletions,
    changes.owners,
    changes.lists,
    changes.watches,
    workloads.scheduling,
    workloads.arrays,
    workloads.gangs,
    workloads.plain_jobs,
    workloads.deployments,
    rights.standards,
    rights.access,
]


@pytest.fixture(scope="module")
def real() -> Iterator[httpx.Client]:
    if not REAL:
        pytest.skip("KUBECONFIG names no cluster to compare with")
    with client_of(Path(REAL)) as client:
        if "double" in client.get("/version").json()["gitCommit"]:
            pytest.skip("KUBECONFIG names a double, not a real cluster")
        if client.get("/api/v1/nodes").json()["items"]:
            pytest.skip("the cluster of KUBECONFIG has nodes; these tests play the nodes")
        yield client


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    running = Double(job_backoff=1.0)
    with running.serve():
        yield running


def settled(client: httpx.Client, name: str) -> Side:
    """A new namespace, once it has what it is born with."""
    client.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    side = Side(client, name)
    side.until(lambda: side.items(f"{side.base}/serviceaccounts"))
    return side


def granted_by_double(double: Double, side: Side) -> Callable[[list[Json]], str]:
    def grant(rules: list[Json]) -> str:
        metadata = {"namespace": side.namespace}
        double.rules = rules_of([{"kind": "Role", "metadata": metadata, "rules": rules}])
        return double.token(f"system:serviceaccount:{side.namespace}:default")

    return grant


def granted_by_real(side: Side) -> Callable[[list[Json]], str]:
    def grant(rules: list[Json]) -> str:
        base, name = f"{ROLES}/{side.namespace}", {"name": "few"}
        subject = {"kind": "ServiceAccount", "name": "default", "namespace": side.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"}
        side.raw("POST", f"{base}/roles", {"metadata": name, "rules": rules})
        binding = {"metadata": name, "roleRef": role, "subjects": [subject]}
        side.raw("POST", f"{base}/rolebindings", binding)
        path = f"{side.base}/serviceaccounts/default/token"
        return str(side.raw("POST", path, {"spec": {}}).json()["status"]["token"])

    return grant


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_the_double_answers_as_the_real_one_does(
    scenario: Callable[[Side], objects.Seen],
    double: Double,
    real: httpx.Client,
    tmp_path: Path,
) -> None:
    name = f"double-{secrets.token_hex(3)}"
    ours = client_of(double.kubeconfig(tmp_path / "config"))
    with ours as client, client_of(Path(REAL), named=False) as stranger:
        sides = settled(client, name), settled(real, name)
        sides[0].grant = granted_by_double(double, sides[0])
        sides[1].grant, sides[1].stranger = granted_by_real(sides[1]), stranger
        try:
            seen, wanted = scenario(sides[0]), scenario(sides[1])
        finally:
            double.rules = None
            for side in sides:
                side.client.delete(f"/api/v1/namespaces/{name}")
    assert [label for label, _ in seen] == [label for label, _ in wanted]
    for (label, our), (_, their) in zip(seen, wanted, strict=True):
        assert our == their, label
