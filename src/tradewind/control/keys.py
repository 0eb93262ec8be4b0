"""Secrets that the servers of one database share, and whom an attempt token opens the door to."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from tradewind.base.errors import NotFound
from tradewind.records.placements import Placement
from tradewind.records.states import PLACEMENT_ENDED
from tradewind.store.base import Store

SERVICE_FILE = "service-token"
MAKING_SECONDS = 5.0


def attempt_key(store: Store, worker: str, now: float) -> bytes:
    """What signs attempt tokens, made once: it outlives every server."""
    return bytes.fromhex(_shared(store, "key:attempts", secrets.token_hex(32), worker, now))


def service_token(store: Store, data: Path, worker: str, now: float) -> str:
    """The secret between servers and replicas, in the file where this folder's replicas look."""
    path = data / SERVICE_FILE
    here = path.read_text("ascii").strip() if path.exists() else ""
    told = _shared(store, "key:services", here or secrets.token_urlsafe(32), worker, now)
    if told != here:
        path.touch(mode=0o600)
        path.write_text(told, encoding="ascii")
    return told


def _shared(store: Store, key: str, offered: str, worker: str, now: float) -> str:
    """A text that all servers of a database have in common: the first one's offer."""
    while (found := store.settings.get(key)) is None:
        # Of two servers that start at the same moment one makes it.
        if store.leases.take(key, worker, now, MAKING_SECONDS) is None:
            time.sleep(0.02)
        elif store.settings.get(key) is None:
            store.settings.put(key, offered)
    return str(found)


def live(store: Store) -> Callable[[str], Placement | None]:
    """Looks a placement up: None when it has ended, or a newer one of its run has begun."""

    def look_up(placement: str) -> Placement | None:
        try:
            found = store.placements.get(placement)
            run = store.runs.get(found.run)
        except NotFound:
            return None
        newest = found.number == run.number
        return found if newest and found.state not in PLACEMENT_ENDED else None

    return look_up
