"""What all pods of one runner share."""

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kube.runner.memory import Memory
from tests.kube.runner.names import Names
from tests.kube.runner.rest import Api, Refused

Json = dict[str, Any]


@dataclass(kw_only=True)
class Settings:
    """How one node is and how it behaves. Tests may change the latter while it runs."""

    node: str
    cpu: str = "8"
    memory: str = "16Gi"
    extended: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)  # that exist; empty: all that begin like ours
    port: int = 0  # of the kubelet; 0: any that is free
    secure: bool = True  # the kubelet speaks TLS
    heartbeat: float = 4.0  # seconds between renewals of the lease
    keep_node: bool = False  # leave the node object behind at the end
    backoff: tuple[float, float] = (10.0, 300.0)  # seconds before a restart: first, most
    retry: float = 1.0  # seconds before what was missing is looked for again
    slow_start: float = 0.0  # seconds that a pod waits before its first container

    def allocatable(self) -> dict[str, str]:
        base = {"cpu": self.cpu, "memory": self.memory, "pods": "1000"}
        return base | {"ephemeral-storage": "100Gi"} | self.extended


@dataclass(kw_only=True)
class Home:
    settings: Settings
    api: Api
    root: Path
    names: Names
    memory: Memory = field(default_factory=Memory)
    addresses: dict[str, str] = field(default_factory=dict)  # IP -> uid of its pod

    def address(self, uid: str) -> str:
        """A loopback address of the pod's own, the same for the same pod."""
        for turn in range(1 << 16):
            digest = hashlib.sha256(f"{uid}/{turn}".encode()).digest()
            # Not 127.0.*: the machine's own.
            ip = f"127.{16 + digest[0] % 240}.{digest[1]}.{1 + digest[2] % 254}"
            if not self.names.taken(ip, uid) and self.addresses.setdefault(ip, uid) == uid:
                return ip
        raise RuntimeError("no address is left")

    async def data(self, namespace: str, kind: str, name: str) -> dict[str, bytes] | None:
        """A Secret's or ConfigMap's content; None if there is none."""
        try:
            found = await self.api.surely("GET", f"/api/v1/namespaces/{namespace}/{kind}/{name}")
        except Refused:
            return None
        data = found.get("data") or {}
        if kind == "secrets":
            return {key: base64.b64decode(value) for key, value in data.items()}
        binary = found.get("binaryData") or {}
        plain = {key: value.encode() for key, value in data.items()}
        return plain | {key: base64.b64decode(value) for key, value in binary.items()}
