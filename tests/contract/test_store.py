"""The store's exam over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests import postgres
from tradewind import store
from tradewind.store import connect, schema, tables
from tradewind.testing.store_makers import Opener, StepClock
from tradewind.testing.store_pools import claimed
from tradewind.testing.store_streams import loss
from tradewind.testing.store_suite import StoreSuite

_count = itertools.count()


def old_row(table: sa.Table, id_: str, **documents: Any) -> dict[str, Any]:
    """A run as the first schema has it, due since 900."""
    row: dict[str, Any] = {
        column.name: "" if isinstance(column.type, sa.Text) else 0
        for column in table.c
        if column.name != "seq"
    }
    given = {"id": id_, "root": id_, "project": "p", "kind": "function", "state": "queued"}
    row |= given | {"due": 900.0}
    for name in ("error", "result", "memory", "plan", "pinned", "spec"):
        row[name] = json.dumps(documents.get(name, {}))
    return row


class Upgrades:
    """A database of the first schema is brought up to this one with all that is in it."""

    @pytest.fixture
    def bare(self) -> str:
        raise NotImplementedError("a subclass gives this")

    def test_an_older_database_is_brought_up(self, bare: str) -> None:
        database = connect.Database(bare)
        database.write(lambda connection: schema.upgrade(connection, "0001"))
        with database.read() as connection:
            runs, placements = (
                sa.Table(name, sa.MetaData(), autoload_with=connection)
                for name in ("runs", "placements")
            )
        rows = [
            old_row(runs, "rplan", plan={"pool": "a", "x": float("nan")}, spec={"pool": "b"}),
            old_row(runs, "rspec", spec={"pool": "b", "note": "\0\ud800"}),
            old_row(runs, "rnone", spec={"pool": None}, plan={"pool": 5}),
            *(old_row(runs, f"r{i}", plan={"pool": "many"}) for i in range(1100)),
        ]
        values = {column.name: 0 for column in placements.c if column.name != "seq"}
        texts = {c.name: "{}" for c in placements.c if isinstance(c.type, sa.Text)}
        seen = {"id": "ra-main-1", "run": "rplan", "task_name": "main", "state": "running"}

        def write(connection: sa.Connection) -> None:
            connection.execute(sa.insert(runs), rows)
            connection.execute(sa.insert(placements).values(values | texts | seen | {"seen": 4}))

        database.write(write)
        opened = store.open(bare, StepClock())
        assert claimed(opened, "a") == {"rplan", "rnone"}
        assert claimed(opened, "b") == {"rspec", "rnone"}
        assert len(claimed(opened, "many", limit=2000)) == 1101
        old, new = loss("", 4, 1.0), loss("", 5, 2.0)
        assert opened.reports.record([old, loss("x", 1, 3.0), new]).fresh[1:] == (new,)
        # A server of the version before goes on beside this one.
        database.write(
            lambda connection: (
                connection.execute(
                    sa.insert(runs), [old_row(runs, "rlate", spec={"pool": "c"})]
                ).rowcount
            )
        )
        assert claimed(opened, "zz") == {"rnone", "rlate"}
        opened.close()
        database.close()


class TestSqlite(StoreSuite, Upgrades):
    @pytest.fixture
    def bare(self, tmp_path: Path) -> str:
        return str(tmp_path / "old.db")

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return lambda clock: store.open(tmp_path / "store.db", clock)

    @pytest.fixture
    def empty_opener(self, tmp_path: Path) -> Callable[[], Opener]:
        def empty() -> Opener:
            path = tmp_path / f"{next(_count)}.db"
            return lambda clock: store.open(path, clock)

        return empty


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database on a PostgreSQL of our own, that need not survive loss of power."""
    with postgres.serving(tmp_path_factory.mktemp("pg")) as server:
        server.psql("ALTER SYSTEM SET fsync = off;")
        server.psql("SELECT pg_reload_conf();")
        server.psql("CREATE DATABASE exam;")
        store.open(server.get_uri(database="exam"), StepClock()).close()
        yield server.get_uri(database="exam")


def emptied(url: str) -> None:
    import psycopg

    names = ", ".join(f'"{table}"' for table in tables.metadata.tables)
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())


@pytest.mark.postgres
class TestPostgresql(StoreSuite, Upgrades):
    @pytest.fixture
    def bare(self, url: str) -> str:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS old")
            connection.execute("CREATE DATABASE old")
        return sa.make_url(url).set(database="old").render_as_string(hide_password=False)

    @pytest.fixture
    def empty_opener(self, url: str) -> Callable[[], Opener]:
        def empty() -> Opener:
            emptied(url)
            return lambda clock: store.open(url, clock)

        return empty

    @pytest.fixture
    def opener(self, empty_opener: Callable[[], Opener]) -> Opener:
        return empty_opener()
