"""This runner as a node of the cluster."""

import asyncio
import contextlib
import platform
from datetime import UTC, datetime
from typing import Any

from tests.kube.runner.container import stamp
from tests.kube.runner.home import Settings
from tests.kube.runner.rest import Api, Refused

Json = dict[str, Any]
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
LEASE_SECONDS = 40
STATUS_EVERY = 10  # heartbeats of the lease for each of the status
AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


class Node:
    """Its Node object and its Lease."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api, self._settings, self.port = api, settings, 0
        self._path = f"/api/v1/nodes/{settings.node}"
        self._uid = ""
        self._ready_since = stamp()

    async def register(self) -> None:
        """Make the node, ready for pods; take it over if there is one of this name."""
        name, arch = self._settings.node, ARCH.get(platform.machine(), platform.machine())
        labels = {"kubernetes.io/hostname": name}
        for prefix in ("kubernetes.io", "beta.kubernetes.io"):
            labels |= {f"{prefix}/arch": arch, f"{prefix}/os": "linux"}
        meta: Json = {"name": name, "labels": labels | self._settings.labels}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": self._status()}
        try:
            made = await self._api.surely("POST", "/api/v1/nodes", body)
        except Refused as refused:
            if refused.code != 409:
                raise
            made = await self._api.patch(self._path, {"metadata": {"labels": meta["labels"]}})
        self._uid = made["metadata"]["uid"]
        await self._renew()
        await self._tell()

    async def run(self) -> None:
        """Heartbeats, until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            turn += 1
            try:
                await self._renew()
                # The node controller puts the taints on a new node after a moment.
                if turn % STATUS_EVERY == 0 or turn == 1:
                    await self._tell()
            except Refused as refused:
                if refused.code == 404:
                    with contextlib.suppress(Refused):
                        await self.register()

    async def remove(self) -> None:
        for path in (self._path, f"{LEASE}/{self._settings.node}"):
            with contextlib.suppress(Refused):
                await self._api.call("DELETE", path)

    async def _tell(self) -> None:
        node = await self._api.patch(f"{self._path}/status", {"status": self._status()})
        taints = node["spec"].get("taints") or []
        kept = [one for one in taints if one["key"] not in AWAY]
        if kept != taints:
            version = node["metadata"]["resourceVersion"]
            body = {"metadata": {"resourceVersion": version}, "spec": {"taints": kept}}
            with contextlib.suppress(Refused):  # changed meanwhile: at the next turn
                await self._api.call("PATCH", self._path, body, "application/merge-patch+json")

    async def _renew(self) -> None:
        name = self._settings.node
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
        spec: Json = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS}
        spec["renewTime"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        meta: Json = {"ownerReferences": [owner]}
        try:
            await self._api.patch(f"{LEASE}/{name}", {"metadata": meta, "spec": spec})
        except Refused as refused:
            if refused.code != 404:
                raise
            meta |= {"name": name, "namespace": "kube-node-lease"}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            try:
                await self._api.surely("POST", LEASE, lease | {"metadata": meta, "spec": spec})
            except Refused as late:
                if late.code != 409:  # an earlier try has made it, and its answer was lost
                    raise

    def _status(self) -> Json:
        settings, now = self._settings, stamp()
        return {
            "capacity": settings.allocatable(),
            "allocatable": settings.allocatable(),
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": settings.node},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "conditions": [
                {
                    "type": kind,
                    "status": "True" if kind == "Ready" else "False",
                    "reason": reason,
                    "message": "",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": self._ready_since,
                }
                for kind, reason in (
                    ("Ready", "KubeletReady"),
                    ("MemoryPressure", "KubeletHasSufficientMemory"),
                    ("DiskPressure", "KubeletHasNoDiskPressure"),
                    ("PIDPressure", "KubeletHasSufficientPID"),
                )
            ],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": platform.release(),
                "osImage": "Linux",
                "containerRuntimeVersion": "containerd://2.1.0",
                "kubeletVersion": "v1.36.0",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": ARCH.get(platform.machine(), platform.machine()),
            },
        }
