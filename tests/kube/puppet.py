"""A node of the double whose pods are only said to run: for the engine they are as real as others,
and hundreds of them cost nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from tests.kube.double import Double, Refusal
from tests.kube.double.objects import deleting, ended, node_of, set_condition, stamp
from tradewind.engines.base import Place
from tradewind.engines.desk import Desk
from tradewind.engines.kubernetes import KubernetesEngine
from tradewind.records.placements import Placement
from tradewind.records.tasks import Entry, Role
from tradewind.testing.engine_suite import Session, a_placement, a_role

Object = dict[str, Any]
T = TypeVar("T")
USER = "tradewind"
SPACE = "default"
NOTHING = Entry(kind="command", args=("true",))


@dataclass(frozen=True)
class Plan:
    """What a pod does: ends after `seconds` with this exit status, or never."""

    seconds: float | None = None
    code: int = 0
    reason: str = ""
    said: Object = field(default_factory=dict)


STAYS, ENDS = Plan(), Plan(seconds=0.0)


class _Logs(BaseHTTPRequestHandler):
    """Every container said the same."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"said\n")

    def log_message(self, *_: Any) -> None:
        return


class Puppet:
    """`plan` is asked about each pod; `frozen` pods are not touched any more."""

    def __init__(self, double: Double, plan: Callable[[Object], Plan], node: str = "n1") -> None:
        self.double, self.plan, self.node = double, plan, node
        self.frozen = False
        # Why no image can be had.
        self.pulls = ""
        self._over = threading.Event()
        self._logs = ThreadingHTTPServer(("127.0.0.1", 0), _Logs)
        self._serving = threading.Thread(target=self._logs.serve_forever, name="logs")
        self._thread = threading.Thread(target=self._live, name="puppet")

    @property
    def port(self) -> int:
        """Of what is no cluster."""
        return int(self._logs.server_port)

    def __enter__(self) -> Puppet:
        ready = [{"type": "Ready", "status": "True"}]
        room = {"cpu": "1000", "memory": "4000Gi", "pods": "10000"}
        self.double.create({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node},
            "status": {
                "conditions": ready, "allocatable": room, "capacity": room,
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs.server_port}},
            },
        })  # fmt: skip
        self._thread.start()
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._logs.shutdown()
        self._serving.join()
        self._logs.server_close()

    def _live(self) -> None:
        while not self._over.wait(0.02):
            for pod in [] if self.frozen else self.double.pods():
                if node_of(pod) == self.node:
                    try:
                        self._play(pod)
                    except Refusal:
                        continue  # it went in between

    def _play(self, pod: Object) -> None:
        if deleting(pod) and ended(pod):
            meta = pod["metadata"]
            self.double.delete("pods", meta["namespace"], meta["name"], gracePeriodSeconds=0)
        elif deleting(pod):
            self.end(pod, Plan(code=143, said={"state": "stopped", "exit": {"reason": "stopped"}}))
        elif not ended(pod) and self.pulls:
            self._wait(pod)
        elif not ended(pod) and not pod["status"].get("containerStatuses"):
            self.begin(pod)
        elif not ended(pod):
            plan = self.plan(pod)
            began = pod["metadata"].get("annotations", {}).get("test/began", "0")
            if plan.seconds is not None and time.time() - float(began) >= plan.seconds:
                self.end(pod, plan)

    def begin(self, pod: Object) -> None:
        now = time.time()

        def change(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {})["test/began"] = str(now)
            obj["status"] |= {"phase": "Running", "podIP": "127.0.0.1"}
            set_condition(obj, {"type": "Ready", "status": "True"}, now)
            running = {"running": {"startedAt": stamp(now)}}
            row = {"name": "main", "state": running, "restartCount": 0, "ready": True}
            obj["status"]["containerStatuses"] = [row]

        self._edit(pod, change)

    def _wait(self, pod: Object) -> None:
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": self.pulls}}
        row = {"name": "main", "state": waiting, "restartCount": 0, "ready": False}
        self._edit(pod, lambda obj: obj["status"].update(containerStatuses=[row]))

    def end(self, pod: Object, plan: Plan) -> None:
        now = time.time()
        said = plan.said
        if not said and plan.code in (0, 1) and not plan.reason:
            done = plan.code == 0
            exit = {"reason": "ok"} if done else {"reason": "error", "message": "it broke"}
            said = {"state": "succeeded" if done else "failed", "exit": exit}
        message = json.dumps({"at": now, **said}) if said else ""

        def change(obj: Object) -> None:
            obj["status"]["phase"] = "Failed" if plan.code else "Succeeded"
            set_condition(obj, {"type": "Ready", "status": "False"}, now)
            over = {"exitCode": plan.code, "reason": plan.reason or "Completed"}
            began = obj["metadata"].get("annotations", {}).get("test/began", now)
            over |= {"startedAt": stamp(float(began)), "finishedAt": stamp(now), "message": message}
            row = {"name": "main", "state": {"terminated": over}, "restartCount": 0, "ready": False}
            obj["status"]["containerStatuses"] = [row]

        self._edit(pod, change)

    def _edit(self, pod: Object, change: Callable[[Object], None]) -> None:
        meta = pod["metadata"]
        self.double.edit("pods", meta["namespace"], meta["name"], change, "status")


class Site:
    """A double with a puppet, and engines on it. Everything that asks over HTTP is the engine."""

    def __init__(self, double: Double, puppet: Puppet, folder: Path) -> None:
        self.double, self.puppet, self.folder = double, puppet, folder
        self.kubeconfig = double.kubeconfig(folder / "config", user=USER)
        self.placements: dict[str, Placement] = {}

    def engine(
        self, server: str = "one", pool: str = "p", store: str = "exam", **options: str
    ) -> KubernetesEngine:
        """An engine; `server` names the folder of its data, `store` its database."""
        data = self.folder / server
        data.mkdir(exist_ok=True)
        place = Place(
            name=pool,
            options={"kubeconfig": str(self.kubeconfig), "namespace": SPACE, **options},
            data=data,
            python="python",
            url="http://127.0.0.1:9",
            desk=Desk(store.encode(), data / "blobs", self.placements.get),
        )
        return KubernetesEngine(place)

    def sit(self, test: Callable[[Session], Awaitable[T]], **engine: str) -> T:
        """Carry out a test with an engine of its own."""

        async def whole() -> T:
            made = self.engine(**engine)
            try:
                return await test(Session(made))
            finally:
                await made.close()

        return asyncio.run(whole())

    def left(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        kinds = ("configmaps", "secrets", "services", "jobs", "pods", "deployments", "replicasets",
                 "poddisruptionbudgets")  # fmt: skip
        found = {}
        for kind in kinds:
            rows = [
                row
                for row in self.double.objects(kind, SPACE)
                if row["metadata"]["name"] != "kube-root-ca.crt"
            ]
            if rows:
                found[kind] = len(rows)
        return found

    def empty(self) -> None:
        """Wait until nothing is left."""
        until(lambda: not self.left(), lambda: f"left behind: {self.left()}")


@contextmanager
def site(folder: Path, plan: Callable[[Object], Plan] = lambda _: STAYS) -> Iterator[Site]:
    double = Double(
        job_backoff=0.1, create_backoff=0.2, create_backoff_most=1.0, node_grace=1e9,
        orphan_grace=0.3, schedule_again=0.3,
    )  # fmt: skip
    with double.serve(), Puppet(double, plan) as puppet:
        yield Site(double, puppet, folder)


def task(name: str = "p1", shape: Any = None, **fields: Any) -> Placement:
    """A placement of one role."""
    return a_placement(name, role(shape, **fields))


def role(shape: Any = None, **fields: Any) -> Role:
    return a_role(NOTHING, shape, **fields)


def until(holds: Callable[[], Any], words: Callable[[], str] = lambda: "it never came") -> None:
    limit = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < limit, words()
        time.sleep(0.02)


async def surely(holds: Callable[[], Any], words: str = "it never came") -> None:
    """The same beside the engine."""
    limit = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < limit, words
        await asyncio.sleep(0.02)
