"""Where everything of a machine's node lies below its data folder. The only place with names."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")

REQUEST = "request.json"
JOURNAL = "reports.jsonl"
WANTED = "wanted.json"


class Layout:
    """`<data>/node/…`; `<data>/blobs` and `<data>/checkpoints` are shared with others."""

    def __init__(self, data: str) -> None:
        self.data = os.path.abspath(data)
        self.node = os.path.join(self.data, "node")
        self.socket = os.path.join(self.node, "node.sock")
        self.lock = os.path.join(self.node, "node.lock")
        self.log = os.path.join(self.node, "node.log")
        self.identity = os.path.join(self.node, "node.json")
        self.attempts = os.path.join(self.node, "attempts")
        self.ended = os.path.join(self.node, "ended")
        self.bundles = os.path.join(self.node, "bundles")
        self.environments = os.path.join(self.node, "environments")
        self.warm = os.path.join(self.node, "warm")
        self.ports = os.path.join(self.node, "ports.lock")
        self.checkpoints = os.path.join(self.data, "checkpoints")

    def make(self) -> None:
        """Create the folders, readable by their owner only."""
        for folder in (self.attempts, self.ended, self.bundles, self.environments, self.warm):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def attempt(self, placement: str) -> str:
        """The folder of a placement that has not been acknowledged to its end."""
        return os.path.join(self.attempts, safe(placement))

    def past(self, placement: str) -> str:
        """Where that folder goes once its end is acknowledged."""
        return os.path.join(self.ended, safe(placement))

    def unpacked(self, digest: str) -> str:
        """Where a bundle, or the blob of a `folder` input, is unpacked."""
        return os.path.join(self.bundles, safe(digest.rpartition(":")[2]))

    def environment(self, digest: str) -> str:
        """Where the environment of this digest is."""
        return os.path.join(self.environments, safe(digest.rpartition(":")[2]))

    def checkpoint(self, request: dict[str, Any], role: str, index: int) -> str:
        """Where all tries of a unit find what the earlier ones wrote."""
        run = safe(f"{request['run']}-{request['task']}")
        return os.path.join(self.checkpoints, run, f"{role}-{index}")

    def zygote(self, python: str) -> str:
        """The socket of the warm interpreter for this python."""
        return os.path.join(self.warm, f"{_short_hash(python):08x}.sock")


def _short_hash(text: str) -> int:
    """FNV-1a: hashlib would weigh more than everything else here."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def safe(name: str) -> str:
    """A name that comes from a request and becomes a path: refuse anything else."""
    if not _SAFE.fullmatch(name) or ".." in name:
        raise ValueError(f"not a name for a folder: {name!r}")
    return name


def unit(role: str, index: int, attempt: int) -> str:
    """The name of one try at one unit. Below its placement's folder this is the working folder of
    its process; what we keep of it stands beside, under the name and a suffix (`.log.…`, `.usage`,
    `.out`): user code never finds our files among its own."""
    return f"{safe(role)}-{index}-{attempt}"


def boot_id() -> str:
    """Changes when the machine restarts: a pid from before means nothing."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


def blob(blobs: str, digest: str) -> str:
    """Where the blob store keeps these bytes."""
    name = safe(digest.rpartition(":")[2])
    return os.path.join(blobs, name[:2], name[2:])
