"""Events: appended inside the transaction of what they tell, read by whoever follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, select

from tradewind.records.events import Event
from tradewind.store import tables
from tradewind.store.connect import EVENTS_LOCK, AnyRow, Database

_EVENTS = tables.events
_COLUMNS = [_EVENTS.c[n] for n in ("type", "at", "project", "subject", "run", "body", "seq")]
# An event carries the root of its run, so that a whole tree is followed by one index.
_INSERT = insert(_EVENTS).values(
    root=func.coalesce(
        select(tables.runs.c.root).where(tables.runs.c.id == bindparam("_run")).scalar_subquery(),
        "",
    )
)


def append(connection: Connection, events: Sequence[Event]) -> None:
    """Insert events, as the last thing of a transaction; their runs are stored before."""
    if not events:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(EVENTS_LOCK)))
    connection.execute(
        _INSERT,
        [
            {
                "at": event.at,
                "type": event.type,
                "project": event.project,
                "subject": event.subject,
                "run": event.run,
                "_run": event.run,
                "body": event.body,
            }
            for event in events
        ],
    )


class SqlEvents:
    """`base.Events`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, events: Sequence[Event]) -> int:
        def work(connection: Connection) -> int:
            append(connection, events)
            return _last(connection)

        return self._database.write(work)

    def after(
        self, seq: int, *, project: str = "", run: str = "", root: str = "", limit: int = 1000
    ) -> list[Event]:
        query: Select[Any] = (
            select(*_COLUMNS).where(_EVENTS.c.seq > seq).order_by(_EVENTS.c.seq).limit(limit)
        )
        if project:
            query = query.where(_EVENTS.c.project == project)
        if root:
            query = query.where(_EVENTS.c.root == root, tables.HAS_ROOT)
        if run:
            tree = select(tables.runs.c.root).where(tables.runs.c.id == run).scalar_subquery()
            query = query.where(_EVENTS.c.run == run, _EVENTS.c.root == tree, tables.HAS_ROOT)
        with self._database.read() as connection:
            return [_event(row) for row in connection.execute(query)]

    def last_seq(self) -> int:
        with self._database.read() as connection:
            return _last(connection)


def _last(connection: Connection) -> int:
    return connection.scalar(select(func.max(_EVENTS.c.seq))) or 0


def _event(row: AnyRow) -> Event:
    kind, at, project, subject, run, body, seq = row
    return Event(type=kind, at=at, project=project, subject=subject, run=run, body=body, seq=seq)
