"""What makes a run due. Used by everything that happens to runs; the claim loop is in `runs.py`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, case, select, update

from tradewind.records.states import ENDED
from tradewind.store.tables import runs

ENDED_STATES = sorted(ENDED)


def lock(connection: Connection, ids: Collection[str]) -> None:
    """Lock runs in one order, so that transactions wait for each other and never in a circle.
    SQLite has one writer and needs none."""
    if ids and connection.dialect.name != "sqlite":
        query = select(runs.c.id).where(runs.c.id.in_(sorted(set(ids)))).order_by(runs.c.id)
        connection.execute(query.with_for_update())


def poke(connection: Connection, ids: Collection[str], at: float, **values: Any) -> None:
    """Make these due at `at` or as soon as they were before, and count it. Locks come first."""
    if not ids:
        return
    c = runs.c
    connection.execute(
        update(runs)
        .where(c.id.in_(sorted(ids)), c.state.not_in(ENDED_STATES))
        .values(
            pokes=c.pokes + 1,
            due=case((c.due.is_(None), at), (c.due > at, at), else_=c.due),
            **values,
        )
    )
