"""A real server whose only pool is a namespace of a cluster: the double, or a real control plane.

Pods run on nodes of ours (`tests/kube/runner`), so a real one must be without nodes of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.kube.double import Double
from tests.kube.pupil import free_port
from tests.kube.runner import Runner
from tests.kube.runner.fixtures import QUICK, Cluster
from tests.kube.space import namespace
from tradewind.sdk import local

POOL = "cluster"


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace and the nodes that run its pods. `double` is None on a real cluster."""

    kubeconfig: Path
    namespace: str
    nodes: tuple[Runner, ...]
    double: Double | None


@contextlib.contextmanager
def site(folder: Path, kubeconfig: Path | None = None, *, nodes: int = 1) -> Iterator[Site]:
    """A cluster with so many nodes, or a double. All of it is gone afterwards."""
    with contextlib.ExitStack() as stack:
        double = None
        if kubeconfig is None:
            double = Double(job_backoff=0.1, create_backoff=0.2, create_backoff_most=1.0)
            stack.enter_context(double.serve())
            kubeconfig = double.kubeconfig(folder / "kubeconfig")
        else:
            _bare(kubeconfig)
        made = tuple(
            stack.enter_context(Runner(kubeconfig, node=f"n{number + 1}", cpu="32", **QUICK))
            for number in range(nodes)
        )
        name = stack.enter_context(namespace(kubeconfig))
        yield Site(kubeconfig, name, made, double)


def _bare(kubeconfig: Path) -> None:
    """Refuse a cluster that somebody uses: ours would be nodes among theirs."""
    with contextlib.closing(Cluster(kubeconfig)) as cluster:
        if found := cluster.get("/api/v1/nodes")["items"]:
            raise SystemExit(f"{kubeconfig} has nodes already: {found[0]['metadata']['name']}")


@dataclass(slots=True)
class Served:
    """A server with a data folder of its own. It keeps its port, which pods know it by."""

    data: Path
    kubeconfig: Path
    namespace: str
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where pods reach it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> local.Address:
        """As `tw` does: the one that runs, or a new one."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        pool = self.data.parent / "pool.yaml"
        if not pool.exists():
            options = {
                "kubeconfig": str(self.kubeconfig),
                "namespace": self.namespace,
                "image": "tradewind:test",
                "server": self.url,
            }
            spec = {"kind": "pool", "name": POOL, "engine": "kubernetes", "options": options}
            pool.write_text(yaml.safe_dump(spec), encoding="utf-8")
        words = ("--no-local", "--port", str(self.port), "--pools", str(pool))
        return local.ensure_server(self.data, arguments=words)

    def kill(self) -> int:
        """`kill -9`; its pid, 0 if none runs."""
        found = local.running(self.data)
        if found is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)
        while local.running(self.data) == found:
            time.sleep(0.005)
        return found.pid

    def stop(self) -> None:
        """As `tw down` does."""
        local.stop_server(self.data)

    def pid(self) -> int:
        """Of the one that ran last."""
        return int(json.loads((self.data / "server.json").read_text())["pid"])
