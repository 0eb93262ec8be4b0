"""Opening: the sum of migrations equals the tables, and foreign or newer databases are refused."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tradewind import store
from tradewind.base import errors
from tradewind.base.clock import SystemClock
from tradewind.store import connect, schema, tables


def described(path: Path) -> dict[str, list[str]]:
    """Every table and index with its parts; the order of constraints says nothing."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {
            name: sorted(part.strip(" ()") for part in re.sub(r"\s+", " ", sql).split(","))
            for name, sql in rows
            if not name.startswith("sqlite_")
        }


def query(path: Path, sql: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def opened(path: Path | str) -> store.Store:
    return store.open(path, SystemClock())


def test_migrations_sum_up_to_the_tables(tmp_path: Path) -> None:
    opened(tmp_path / "made.db").close()
    database = connect.Database(str(tmp_path / "migrated.db"))
    database.write(schema.upgrade)
    database.close()
    assert described(tmp_path / "migrated.db") == described(tmp_path / "made.db")
    version = query(tmp_path / "migrated.db", "SELECT version_num FROM alembic_version")[0][0]
    assert version == tables.HEAD


def test_every_migration_has_the_number_of_its_file() -> None:
    names = sorted(path.name for path in (schema.MIGRATIONS / "versions").glob("m*.py"))
    assert [name[1:5] for name in names] == [f"{i:04d}" for i in range(1, len(names) + 1)]
    assert names[-1][1:5] == tables.HEAD


def test_an_older_database_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path / "a.db").close()
    asked: list[bool] = []
    monkeypatch.setattr(schema, "upgrade", lambda connection: asked.append(True))
    monkeypatch.setattr(tables, "HEAD", "9998")
    opened(tmp_path / "a.db").close()
    assert asked == [True]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "a.db").close()
    query(tmp_path / "a.db", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(errors.Broken, match=r"newer Tradewind.*9999") as caught:
        opened(tmp_path / "a.db")
    assert "upgrade" in caught.value.hint


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    query(tmp_path / "a.db", "CREATE TABLE theirs (x)")
    with pytest.raises(errors.Broken, match="something else"):
        opened(tmp_path / "a.db")


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"precious notes, long enough to be read as a header" * 50)
    before = path.read_bytes()
    with pytest.raises(errors.Broken, match="not a database"):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["mysql://host/x", "sqlite://", "sqlite:///:memory:", "://"])
def test_urls_that_are_no_store(where: str) -> None:
    with pytest.raises(errors.UserError):
        opened(where)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Broken, match="cannot be opened") as caught:
        opened(tmp_path / "nowhere" / "a.db")
    assert caught.value.hint


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(errors.Unreachable):
        opened(f"postgresql://nobody@/x?host={tmp_path}")


def test_opening_loads_no_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from tradewind import store; from tradewind.base.clock import SystemClock; "
        f"store.open({str(tmp_path / 'a.db')!r}, SystemClock()).close(); "
        "sys.exit('alembic' in sys.modules or 'psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_may_create_the_same_file(tmp_path: Path) -> None:
    code = (
        "from tradewind import store; from tradewind.base.clock import SystemClock; "
        f"store.open({str(tmp_path / 'a.db')!r}, SystemClock()).close()"
    )
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
