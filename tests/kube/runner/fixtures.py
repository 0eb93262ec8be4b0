"""A cluster with one of our nodes, for tests: the double, or a real control plane without nodes."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.kube.double import Double
from tests.kube.runner import Runner
from tests.kube.runner.process import isolation
from tests.kube.runner.rest import access

Json = dict[str, Any]
T = TypeVar("T")
PATIENCE = 15  # seconds for what should take one
QUICK: Json = {"backoff": (0.3, 2.0), "retry": 0.2, "heartbeat": 0.5}
REAL = os.environ.get("KUBECONFIG", "")
NEEDS_REAL = pytest.mark.skipif(not REAL, reason="KUBECONFIG names no cluster")
# What holds for both is examined on both.
CLUSTERS = ("double", pytest.param("real", marks=NEEDS_REAL))


def chosen(where: str) -> Path | None:
    """The kubeconfig of the real one; None stands for a double."""
    return Path(REAL) if where == "real" else None


class Cluster:
    """An API server, as a test uses it. All that is made here is gone at the end of the test."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        entry = access(kubeconfig)
        self.http = httpx.Client(
            base_url=entry.server,
            verify=entry.verify,
            headers=entry.headers,
            timeout=PATIENCE,
            trust_env=False,
        )
        self.base = "/api/v1/namespaces/default"
        self._made: list[str] = []

    def get(self, path: str) -> Json:
        answer = self.http.get(path)
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    def make(self, kind: str, body: Json) -> Json:
        """In the namespace `default`."""
        answer = self.http.post(f"{self.base}/{kind}", json={"apiVersion": "v1"} | body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        self._made.append(f"{self.base}/{kind}/{made['metadata']['name']}")
        return made

    def run(self, node: str, *command: str, name: str = "", **more: Any) -> "Pod":
        """A pod of one container on this node, restartPolicy Never. `more`: of the pod's spec;
        what begins with `main_` of its container, `meta_` of its metadata."""
        meta: Json = {"name": name or f"p-{secrets.token_hex(4)}"}
        main: Json = {"name": "main", "image": "tradewind:test", "command": list(command)}
        spec: Json = {"nodeName": node, "restartPolicy": "Never", "containers": [main]}
        spec["automountServiceAccountToken"] = False
        for key, value in more.items():
            into = {"main": main, "meta": meta}.get(key.partition("_")[0])
            if into is None:
                spec[key] = value
            else:
                into[key.partition("_")[2]] = value
        self.make("pods", {"kind": "Pod", "metadata": meta, "spec": spec})
        return Pod(self, meta["name"])

    def patch(self, path: str, body: Json) -> None:
        kind = {"Content-Type": "application/merge-patch+json"}
        self.http.patch(path, json=body, headers=kind)

    def close(self) -> None:
        for path in self._made:
            with contextlib.suppress(httpx.HTTPError):
                self.patch(path, {"metadata": {"finalizers": None}})
                self.http.request("DELETE", path, json={"gracePeriodSeconds": 0})
        self.http.close()


class Pod:
    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self.name = cluster, name
        self.path = f"{cluster.base}/pods/{name}"

    def now(self) -> Json:
        return self._cluster.get(self.path)

    def until(self, holds: Callable[[Json], Any]) -> Json:
        """The pod once this is true of it."""
        return until(self.now, holds)

    def phase(self, *phases: str) -> Json:
        return self.until(lambda pod: pod["status"].get("phase") in phases)

    def ended(self) -> Json:
        """The end of `main`."""
        ended: Json = state(self.phase("Succeeded", "Failed"))["terminated"]
        return ended

    def waits(self, reason: str, container: str = "main") -> str:
        """The message of this reason to wait."""

        def waiting(pod: Json) -> Json:
            found: Json = state(pod, container).get("waiting", {})
            return found

        pod = self.until(lambda pod: waiting(pod).get("reason") == reason)
        return str(waiting(pod).get("message", ""))

    def log(self, container: str = "main", **query: Any) -> bytes:
        answer = self.asked("log", container, **query)
        assert answer.status_code == 200, answer.text
        return answer.content

    def asked(self, what: str, container: str = "main", **query: Any) -> httpx.Response:
        params = {"container": container} | query
        return self._cluster.http.get(f"{self.path}/{what}", params=params)

    def says(self, text: bytes, container: str = "main") -> bytes:
        """Its log once this is in it."""

        def log() -> bytes:
            answer = self.asked("log", container)
            return answer.content if answer.status_code == 200 else b""

        return until(log, lambda log: text in log)

    def delete(self, **options: Any) -> None:
        answer = self._cluster.http.request("DELETE", self.path, json=options)
        assert answer.status_code in (200, 202), answer.text

    def gone(self) -> None:
        until(lambda: self._cluster.http.get(self.path).status_code, lambda code: code == 404)


def state(pod: Json, container: str = "main") -> Json:
    """Of one container; {} while the node has not said a word."""
    status = pod["status"]
    listed = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return next((dict(one["state"]) for one in listed if one["name"] == container), {})


def status(pod: Json, container: str = "main") -> Json:
    """What the pod's status has of a container."""
    listed = pod["status"]["containerStatuses"]
    return next(dict(one) for one in listed if one["name"] == container)


def conditions(pod: Json) -> dict[str, str]:
    return {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}


def until(look: Callable[[], T], holds: Callable[[T], Any]) -> T:
    """What is seen once this is true of it; fails with what is seen instead."""
    last = time.monotonic() + PATIENCE
    while not holds(seen := look()):
        assert time.monotonic() < last, f"still {seen}"
        time.sleep(0.03)
    return seen


def processes(word: str) -> list[int]:
    """Whose environment has it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if word.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _double(folder: Path) -> Iterator[Path]:
    double = Double()
    with double.serve():
        yield double.kubeconfig(folder / "kubeconfig")


def _real() -> Path:
    path = Path(REAL)
    with contextlib.closing(Cluster(path)) as found:
        try:
            nodes = found.get("/api/v1/nodes")["items"]
        except (httpx.HTTPError, OSError) as error:
            pytest.skip(f"the cluster of KUBECONFIG does not answer: {error}")
    if names := [one["metadata"]["name"] for one in nodes]:
        pytest.skip(f"the cluster of KUBECONFIG has nodes already: {', '.join(names)}")
    return path


@pytest.fixture(scope="module", params=CLUSTERS)
def control(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Path]:
    """A control plane's kubeconfig."""
    try:
        isolation()
    except RuntimeError as error:
        pytest.skip(str(error))
    if request.param == "real":
        yield _real()
    else:
        yield from _double(tmp_path_factory.mktemp("double"))


def _runner(control: Path) -> Iterator[Runner]:
    with Runner(control, node=f"node-{secrets.token_hex(3)}", **QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def runner(control: Path) -> Iterator[Runner]:
    """One node, for all tests of a file."""
    yield from _runner(control)


@pytest.fixture(name="runner")
def runner_of_a_test(control: Path) -> Iterator[Runner]:
    """Where a test has a control plane of its own."""
    yield from _runner(control)


@pytest.fixture
def cluster(control: Path) -> Iterator[Cluster]:
    with contextlib.closing(Cluster(control)) as found:
        yield found


@pytest.fixture
def node(runner: Runner) -> str:
    return runner.settings.node
