"""The one client that decorated functions and handles use when none is given."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from tradewind.sdk import local

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

_lock = threading.Lock()
_held: tuple[int, Client] | None = None


def client() -> Client:
    """Found, and its server started, at the first use in this process; or what `use` was given."""
    global _held
    with _lock:
        if _held is None or _held[0] != os.getpid():
            _held = (os.getpid(), local.connect())
        return _held[1]


def use(given: Client | None) -> None:
    """Take this client from now on; None: find one anew."""
    global _held
    with _lock:
        _held = None if given is None else (os.getpid(), given)
