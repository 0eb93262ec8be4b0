"""How much of what has ended is kept: logs and journals, bundles, environments, checkpoints."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, NamedTuple

from tradewind.supervisor import layout, staging


class Keep(NamedTuple):
    """Limits. The oldest goes first; what runs now, and what was used within `rest`, stays."""

    attempts: int = 5_000
    attempt_bytes: int = 4 << 30
    bundle_bytes: int = 4 << 30
    environment_bytes: int = 20 << 30
    checkpoint_bytes: int = 20 << 30
    rest: float = 3600.0
    every: float = 600.0


def run(places: layout.Layout, keep: Keep, live: list[dict[str, Any]]) -> None:
    """Prune, in a process of its own. Does not return."""
    try:
        os.nice(10)
        prune(places, keep, live)
    finally:
        os._exit(0)


def prune(places: layout.Layout, keep: Keep, live: list[dict[str, Any]]) -> None:
    """Bring every folder under its limit."""
    used = _used(places, live)
    _shrink(places.ended, keep.attempt_bytes, used, 0.0, keep.attempts)
    _shrink(places.bundles, keep.bundle_bytes, used, keep.rest)
    _shrink(places.environments, keep.environment_bytes, used, keep.rest)
    _shrink(places.checkpoints, keep.checkpoint_bytes, used, keep.rest)


def _used(places: layout.Layout, live: list[dict[str, Any]]) -> set[str]:
    """Paths that a placement which is not ended needs."""
    used = set()
    for request in live:
        if request.get("bundle"):
            used.add(places.unpacked(request["bundle"]))
        if request.get("environment", {}).get("lock"):
            used.add(places.environment(request["environment"]["digest"]))
        name = f"{request.get('run')}-{request.get('task')}"
        used.add(os.path.join(places.checkpoints, name))
        for role in request.get("roles", ()):
            for slot in role.get("inputs", {}).values():
                if slot["kind"] == "folder":
                    used.add(places.unpacked(slot["digest"]))
    return used


def _shrink(folder: str, most: int, used: set[str], rest: float, count: int = 0) -> None:
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            found.append((os.stat(path).st_mtime, path))
    found.sort(reverse=True)
    total, young = 0, time.time() - rest
    for position, (changed, path) in enumerate(found):
        total += _size(path)
        over = total > most or (count and position >= count)
        if over and path not in used and not (rest and changed > young):
            remove(path)


def _size(path: str) -> int:
    if not os.path.isdir(path):
        return os.lstat(path).st_size
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def remove(path: str) -> None:
    """Delete a file or a tree; what cannot be deleted stays."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            staging.remove(path)
        else:
            os.unlink(path)
