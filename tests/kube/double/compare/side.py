"""A cluster as the comparison sees it: the double or a real one, asked the same way.

What differs from one cluster to the next (uids, times, versions, generated names) is masked.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

Json = Any
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PATIENCE = 60.0
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SUFFIX = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}(?=[\"\s:,.]|$)")
_HASH = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}(?=[-\"\s:,.]|$)")
_ADDRESS = re.compile(r"10\.96\.\d+\.\d+")
_MASKED = {"resourceVersion": "<version>", "uid": "<uid>", "pod-template-hash": "<hash>"}


class Side:
    """One cluster and the namespace that a scenario has there."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        # Makes rules of this namespace true of one account, and returns its token; and who
        # asks with that token: a client that has no name of its own.
        self.stranger = client
        self.grant: Callable[[list[Json]], str] = lambda rules: ""
        self.base = f"/api/v1/namespaces/{namespace}"
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self.deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self.leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self.budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"

    def raw(
        self, method: str, path: str, body: Json = None, *, sort: str = "", token: str = ""
    ) -> httpx.Response:
        default = MERGE if method == "PATCH" else "application/json"
        headers = {"Content-Type": sort or default} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        client = self.stranger if token else self.client
        return client.request(method, path, content=content, headers=headers)

    def ask(self, method: str, path: str, body: Json = None, **how: str) -> Json:
        """Returns what a client sees, masked."""
        answer = self.raw(method, path, body, **how)
        shown = {
            name: answer.headers[name]
            for name in ("warning", "retry-after")
            if name in answer.headers
        }
        try:
            found = answer.json()
        except ValueError:
            found = answer.text
        return masked([answer.status_code, shown, found])

    def get(self, path: str) -> Json:
        return self.raw("GET", path).json()

    def items(self, path: str) -> list[Json]:
        return list(self.get(path)["items"])

    def until(self, look: Callable[[], Json]) -> Json:
        """Returns the first true thing that is seen."""
        last = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < last, "it never came"
            time.sleep(0.05)
        return found

    def until_at(self, path: str, true: Callable[[Json], Json]) -> Json:
        """Returns the first true thing that is seen in an object."""
        return self.until(lambda: true(self.get(path)))

    def watch(self, path: str, enough: Callable[[list[Json]], bool]) -> list[Json]:
        """Returns the events of a watch until there are enough of them."""
        events: list[Json] = []
        mark = "&" if "?" in path else "?"
        with self.client.stream("GET", f"{path}{mark}watch=1&timeoutSeconds=50") as answer:
            for line in answer.iter_lines():
                events.append(json.loads(line))
                if enough(events):
                    break
        return events


def masked(value: Json) -> Json:
    if isinstance(value, dict):
        kept = {}
        for key, inner in value.items():
            if key == "managedFields":
                continue
            known = key in _MASKED and isinstance(inner, str)
            kept[_text(key)] = _MASKED[key] if known else masked(inner)
        return kept
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    text = _TIME.sub("<time>", _UID.sub("<uid>", text))
    text = _SUFFIX.sub("-<end>", _HASH.sub("-<hash>", text))
    return _ADDRESS.sub("<address>", text)


def client_of(kubeconfig: Path, *, named: bool = True) -> httpx.Client:
    """Returns a client for the current context of a kubeconfig; it may leave out who it is."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"] if named else {}
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    verify: ssl.SSLContext | bool = False
    if cluster["server"].startswith("https"):
        verify = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        if "client-certificate-data" in user:
            _identify(verify, user)
    return httpx.Client(
        base_url=cluster["server"], verify=verify, headers=headers, timeout=70, trust_env=False
    )


def _identify(verify: ssl.SSLContext, user: Json) -> None:
    parts = [base64.b64decode(user[f"client-{name}-data"]) for name in ("certificate", "key")]
    with tempfile.NamedTemporaryFile() as file:  # ssl reads a chain from a file only
        file.write(b"\n".join(parts))
        file.flush()
        verify.load_cert_chain(file.name)


def _named(rows: list[Json], name: str) -> Json:
    return next(row for row in rows if row["name"] == name)
