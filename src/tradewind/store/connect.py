"""Connections and transactions: the only difference between SQLite and PostgreSQL.

SQLite has one writer, so one lock in this process stands before `BEGIN IMMEDIATE`, and a pool of
readers beside it (WAL: they never wait). An accepted run must survive loss of power: that commit
goes through a connection with `synchronous=FULL`, whose sync covers all commits before it, too.
PostgreSQL orders writers itself; there only the same commit waits for the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, exc, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL

from tradewind.base import errors
from tradewind.store.errors import lost_a_race, mapped

Answer = TypeVar("Answer")
# A row of a result. SQLAlchemy 2.0 and 2.1 spell its type in different ways.
AnyRow = Any

_TRIES = 8
_BUSY_MILLISECONDS = 10_000
# PostgreSQL gives out an event's number before its commit: events are inserted under this lock, so
# that their order is the order of commits and a follower misses none.
EVENTS_LOCK = 7_218_001
SCHEMA_LOCK = 7_218_002


class Database:
    """One database: `read` for queries, `write` for a transaction."""

    def __init__(self, where: str) -> None:
        url = _url(where)
        self.sqlite = url.get_backend_name() == "sqlite"
        self.path = Path(str(url.database)) if self.sqlite else None
        self._closed = False
        self._lock = threading.Lock()
        if self.sqlite:
            self._writer = _sqlite(url, "NORMAL", writes=True)
            self._durable = _sqlite(url, "FULL", writes=True)
            self._reader = _sqlite(url, "NORMAL", writes=False)
        else:
            self._writer = self._durable = _postgresql(url)
            self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that only reads; each statement sees what is committed by then."""
        self._check_open()
        with mapped(), self._reader.connect() as connection:
            yield connection

    def write(self, work: Callable[[Connection], Answer], *, durable: bool = False) -> Answer:
        """Carry `work` out in one transaction; again when PostgreSQL made it lose a race. It must
        do nothing but talk to the database."""
        self._check_open()
        with mapped():
            if self.sqlite:
                with self._lock, (self._durable if durable else self._writer).begin() as connection:
                    return work(connection)
            for _ in range(_TRIES - 1):
                try:
                    return self._write_once(work, durable)
                except exc.DBAPIError as error:
                    if not lost_a_race(error):
                        raise
            return self._write_once(work, durable)

    def _write_once(self, work: Callable[[Connection], Answer], durable: bool) -> Answer:
        with self._writer.begin() as connection:
            if durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO on")
            return work(connection)

    def maintain(self, *statements: str) -> None:
        """Statements that SQLite wants outside a transaction."""
        self._check_open()
        with mapped(), self._lock, self._reader.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")
            try:
                for statement in statements:
                    connection.exec_driver_sql(statement).close()
            finally:
                connection.exec_driver_sql("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close every connection that is not in use, the others when they are given back."""
        self._closed = True
        with self._lock:
            for engine in (self._reader, self._writer, self._durable):
                engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise errors.Bug("the store is closed")


def _url(where: str) -> URL:
    if "://" not in where:
        return URL.create("sqlite", database=where)
    if where.startswith("postgres://"):
        where = "postgresql://" + where.removeprefix("postgres://")
    try:
        url = make_url(where)
    except exc.ArgumentError as error:
        raise errors.UserError(f"{where!r} is no database URL") from error
    match url.get_backend_name():
        case "sqlite":
            if not url.database or url.database == ":memory:":
                raise errors.UserError("a store needs a file: sqlite:///path/of/the/file")
            return url
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise errors.UserError(
                f"{other} is no database that Tradewind can use",
                hint="use a file's path (SQLite) or postgresql://user@host/database",
            )


def _sqlite(url: URL, synchronous: str, *, writes: bool) -> Engine:
    engine = create_engine(
        url,
        pool_size=1 if writes else 4,
        max_overflow=0 if writes else 28,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000},
    )

    def prepare(connection: Any, _: Any) -> None:
        # None: the driver begins no transactions of its own accord.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "auto_vacuum = INCREMENTAL",  # has a say only while the file is empty
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            f"cache_size = {-8000 if writes else -2000}",
            f"query_only = {'OFF' if writes else 'ON'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    if writes:
        event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            connect_args={"options": "-c synchronous_commit=off -c timezone=UTC"},
        )
    except ModuleNotFoundError as error:
        raise errors.missing_extra("psycopg", "postgres") from error


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str],
    *,
    update: bool = True,
) -> None:
    """Insert; where the key is there already, replace the other columns or leave the row."""
    if not rows:
        return
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = make(table)
    if update:
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=list(keys), set_=others)
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement, rows)
