"""Secrets that the servers of one database share, and whom an attempt token opens the door to."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from tradewind.base.errors import NotFound
from tradewind.records.placements import Placement
from tradewind.records.states import PLACEMENT_ENDED
from tradewind.store.base import Store

_ATTEMPTS = "key:attempts"
MAKING_SECONDS = 5.0


def attempt_key(store: Store, worker: str, now: float) -> bytes:
    """What signs attempt tokens, made once: it outlives every server."""
    while (found := store.settings.get(_ATTEMPTS)) is None:
        # Of two servers that start at the same moment one makes it.
        if store.leases.take(_ATTEMPTS, worker, now, MAKING_SECONDS) is None:
            time.sleep(0.02)
        elif store.settings.get(_ATTEMPTS) is None:
            store.settings.put(_ATTEMPTS, secrets.token_hex(32))
    return bytes.fromhex(str(found))


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
