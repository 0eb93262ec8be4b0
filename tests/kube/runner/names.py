"""What names a pod can resolve: the cluster's DNS, as a hosts file per pod.

As in a cluster: `HOSTNAME.SUBDOMAIN` for the pods of a headless Service of that name, a headless
Service's name for all its pods, any other Service's name for one of them; only pods that are ready,
unless the Service publishes the others too. Ports are not translated: a Service's port has to be
its pods' port.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.kube.runner import spec

Json = dict[str, Any]
DOMAIN = "svc.cluster.local"
EVERY = 0.05  # seconds between rewrites
SHARE = 10  # rewriting takes at most one part in so many of a core


class Names:
    """Knows all pods and Services there are; keeps the hosts files of the pods that live here."""

    def __init__(self) -> None:
        self._pods: dict[str, Json] = {}
        self._services: dict[str, Json] = {}
        self._own: dict[Path, tuple[Json, str]] = {}  # file -> pod, its address
        self._dirty = asyncio.Event()

    def taken(self, ip: str, uid: str) -> bool:
        return any(_ip(pod) == ip for other, pod in self._pods.items() if other != uid)

    def add(self, path: Path, pod: Json, ip: str) -> None:
        """Keep a hosts file for a pod of this node."""
        self._own[path] = pod, ip
        self._write(path, self._lines(pod["metadata"]["namespace"]))

    def drop(self, path: Path) -> None:
        self._own.pop(path, None)

    def pods(self, change: str, what: Any) -> None:
        self._apply(self._pods, change, what)

    def services(self, change: str, what: Any) -> None:
        self._apply(self._services, change, what)

    def _apply(self, kept: dict[str, Json], change: str, what: Any) -> None:
        if change == "LIST":
            kept.clear()
            kept.update({one["metadata"]["uid"]: _brief(one) for one in what})
        elif change == "DELETED":
            kept.pop(what["metadata"]["uid"], None)
        else:
            uid, brief = what["metadata"]["uid"], _brief(what)
            if kept.get(uid) == brief:
                return
            kept[uid] = brief
        self._dirty.set()

    async def run(self) -> None:
        """Rewrite the files whenever something changed."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            began = time.perf_counter()
            lines: dict[str, list[str]] = {}
            for path, (pod, _) in list(self._own.items()):
                namespace = pod["metadata"]["namespace"]
                if namespace not in lines:
                    lines[namespace] = self._lines(namespace)
                self._write(path, lines[namespace])
            await asyncio.sleep(max(EVERY, SHARE * (time.perf_counter() - began)))

    def _write(self, path: Path, lines: list[str]) -> None:
        """In place: the file is mounted in a container, by inode."""
        pod, ip = self._own[path]
        own, subdomain = spec.hostname(pod), pod["spec"].get("subdomain")
        full = f"{own}.{subdomain}.{pod['metadata']['namespace']}.{DOMAIN} " if subdomain else ""
        text = "\n".join(["127.0.0.1 localhost", "::1 localhost", f"{ip} {full}{own}", *lines, ""])
        data = text.encode()
        with open(path, "r+b" if path.exists() else "w+b", buffering=0) as file:
            if file.read() != data:
                file.seek(0)
                file.write(data)
                file.truncate()

    def _lines(self, namespace: str) -> list[str]:
        found = []
        for service in sorted(self._services.values(), key=lambda one: str(one["name"])):
            near = service["namespace"] == namespace
            for ip, name in self._records(service):
                tail = f"{name}.{service['namespace']}"
                short = f" {tail} {name}" if near else f" {tail}"
                found.append(f"{ip} {tail}.{DOMAIN} {tail}.svc{short}")
        return found

    def _records(self, service: Json) -> Iterator[tuple[str, str]]:
        """(address, name below the namespace)"""
        pods = sorted(self._chosen(service), key=lambda one: str(one["name"]))
        if not service["headless"]:
            pods = pods[:1]
        for pod in pods:
            yield pod["ip"], service["name"]
        for pod in pods if service["headless"] else []:
            if pod["subdomain"] == service["name"]:
                yield pod["ip"], f"{pod['hostname']}.{service['name']}"

    def _chosen(self, service: Json) -> Iterable[Json]:
        selector = (service["selector"] or {}).items()
        for pod in self._pods.values():
            near = pod["namespace"] == service["namespace"] and pod["ip"]
            chosen = near and selector and selector <= pod["labels"].items()
            if chosen and (pod["ready"] or service["unready"]):
                yield pod


def _ip(brief: Json) -> str:
    return str(brief["ip"])


def _brief(thing: Json) -> Json:
    """What of a pod or Service names depend on."""
    meta, inner = thing["metadata"], thing.get("spec") or {}
    base: Json = {"name": meta["name"], "namespace": meta["namespace"]}
    if "selector" in inner or "ports" in inner:
        return base | {
            "selector": inner.get("selector"),
            "headless": inner.get("clusterIP") == "None",
            "unready": bool(inner.get("publishNotReadyAddresses")),
        }
    status = thing.get("status") or {}
    over = status.get("phase") in ("Succeeded", "Failed")
    return base | {
        "labels": meta.get("labels") or {},
        "hostname": spec.hostname(thing),
        "subdomain": inner.get("subdomain"),
        "ip": "" if over else status.get("podIP") or "",
        "ready": "deletionTimestamp" not in meta
        and any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in status.get("conditions") or []
        ),
    }
