"""The only SQL. `base` is the contract, `rows` its values, `open` the way in."""

from __future__ import annotations

from pathlib import Path

from tradewind.base.clock import Clock
from tradewind.store.base import Store

__all__ = ["Store", "open"]


def open(where: str | Path, clock: Clock) -> Store:
    """Open the database at a file's path (SQLite) or at a `postgresql://` URL.

    It is created when it is not there, and migrated when it is older than this program. Raises
    Broken when it is newer, unreadable or no database, Unreachable when a server does not answer.
    """
    from tradewind.store.sql import SqlStore

    return SqlStore(str(where), clock)
