"""A cluster for benchmarks, the server whose pool it is, and the peer: a plain client beside it.

The cluster is the tests' double, or the bare control plane that `--kubeconfig` names; pods are
processes of this machine either way (`tests/kube/runner`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import Api, Json, end, gone

from tests.kube.home import Served, Site, site
from tests.kube.runner.rest import access
from tradewind.sdk import bundle
from tradewind.sdk.client import Client

POLL = 0.02


class Watcher:
    """What `kubectl get --watch` does, in this process: when each object was first seen so."""

    def __init__(self, place: Site, path: str, state: Callable[[Json], str]) -> None:
        entry = access(place.kubeconfig)
        self._http = httpx.Client(
            base_url=entry.server, verify=entry.verify, headers=entry.headers, timeout=None
        )
        self._path, self._state = path, state
        self.seen: dict[tuple[str, str], float] = {}
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def at(self, name: str, state: str) -> float:
        """Waits for the object whose name begins so to be seen in this state."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for (found, was), at in list(self.seen.items()):
                if was == state and found.startswith(name):
                    return at
            time.sleep(0.005)
        raise RuntimeError(f"{name} was never seen {state}")

    def _follow(self) -> None:
        version = self._http.get(self._path).json()["metadata"]["resourceVersion"]
        while True:
            query = {"watch": "true", "resourceVersion": version}
            with (
                contextlib.suppress(httpx.TransportError),
                self._http.stream("GET", self._path, params=query) as answer,
            ):
                for line in answer.iter_lines():
                    found = json.loads(line)["object"]
                    version = found["metadata"]["resourceVersion"]
                    key = found["metadata"]["name"], self._state(found)
                    self.seen.setdefault(key, time.time())


def main_state(pod: Json) -> str:
    """`running` or `terminated`, of the container that runs the user's code."""
    rows = pod.get("status", {}).get("containerStatuses", [])
    return next((next(iter(row["state"])) for row in rows if row["name"] == "main"), "")


def job_state(job: Json) -> str:
    """`Complete`, once it is."""
    rows = job.get("status", {}).get("conditions", [])
    done = any(row["type"] == "Complete" and row["status"] == "True" for row in rows)
    return "Complete" if done else ""


class Ground:
    """A namespace, its nodes, a server, and what both were asked."""

    def __init__(self, place: Site, served: Served, folder: Path) -> None:
        self.place, self.served = place, served
        self._audit = place.kubeconfig.parent / "log" / "audit.log"
        self.address = served.start()
        self.api = Api(self.address.url, self.address.token)
        space = place.namespace
        self.pods = Watcher(place, f"/api/v1/namespaces/{space}/pods", main_state)
        self.jobs = Watcher(place, f"/apis/batch/v1/namespaces/{space}/jobs", job_state)
        entry = access(place.kubeconfig)
        self.http = httpx.Client(
            base_url=entry.server, verify=entry.verify, headers=entry.headers, timeout=30
        )

    def code(self, **files: str) -> str:
        """The digest of these modules (name → text), sent to the server."""
        packed = bundle.pack_files({f"{k}.py": v.encode() for k, v in files.items()})
        with Client(self.address.url, self.address.token) as client:
            return str(client.blobs.put(packed.data))

    def job(self, name: str) -> None:
        """A bare Job that does nothing; the peer of a no-op function."""
        main: Json = {"name": "main", "image": "tradewind:test", "command": ["python", "-c", ""]}
        main["securityContext"] = {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        spec: Json = {"restartPolicy": "Never", "containers": [main]}
        spec["automountServiceAccountToken"] = False
        spec["securityContext"] = {
            "runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        body: Json = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
        body["spec"] = {"backoffLimit": 0, "template": {"spec": spec}}
        path = f"/apis/batch/v1/namespaces/{self.place.namespace}/jobs"
        self.http.post(path, json=body).raise_for_status()

    def requests(self, seconds: float) -> float | None:
        """Requests a second that the server makes of the cluster; None where nobody counts."""
        before = self._asked()
        time.sleep(seconds)
        return None if before is None else ((self._asked() or 0) - before) / seconds

    def _asked(self) -> int | None:
        if self.place.double is not None:
            return sum(call.user == "server" for call in self.place.double.calls)
        if not self._audit.exists():
            return None
        count = 0
        with self._audit.open() as file:
            for line in file:
                said = json.loads(line)
                late = "Started" if said["verb"] == "watch" else "Complete"
                ours = f"/namespaces/{self.place.namespace}/" in said["requestURI"]
                # The peer and the nodes speak through another library.
                if said["stage"].endswith(late) and (ours or "/nodes" in said["requestURI"]):
                    count += "httpx2" in said.get("userAgent", "")
        return count


@contextlib.contextmanager
def ground(kubeconfig: str) -> Iterator[Ground]:
    """A server with a pool; at the end nothing of both is left."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    try:
        with site(folder, Path(kubeconfig) if kubeconfig else None, nodes=2) as place:
            config = place.kubeconfig
            if place.double is not None:
                config = place.double.kubeconfig(folder / "server", user="server")
            served = Served(folder / "data", config, place.namespace)
            try:
                yield Ground(place, served, folder)
            finally:
                end(served.data)
                left = gone(str(served.data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the double's kubeconfig lies in it
    if left:
        raise RuntimeError(f"processes were left behind: {left}")
