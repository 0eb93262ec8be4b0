"""Every error of a database becomes one of ours, and says who must act."""

from __future__ import annotations

import resource
import signal
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import exc

from tradewind import store
from tradewind.base import errors
from tradewind.base.clock import SystemClock
from tradewind.store import connect
from tradewind.store.errors import translate
from tradewind.testing.store_makers import a_run


def sqlite(name: str) -> exc.DBAPIError:
    native = sqlite3.OperationalError("detail")
    native.sqlite_errorname = name
    return exc.OperationalError("SELECT 1", None, native)


class Native(Exception):
    """Like an error of psycopg."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("detail\nmore")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_FULL", errors.Broken),
        ("SQLITE_READONLY_DBMOVED", errors.Broken),
        ("SQLITE_IOERR_WRITE", errors.Broken),
        ("SQLITE_CORRUPT_INDEX", errors.Broken),
        ("SQLITE_NOTADB", errors.Broken),
        ("SQLITE_CANTOPEN", errors.Broken),
        ("SQLITE_BUSY_SNAPSHOT", errors.TryAgain),
        ("SQLITE_LOCKED", errors.TryAgain),
        ("SQLITE_TOOBIG", errors.InvalidData),
        ("SQLITE_CONSTRAINT_UNIQUE", errors.Bug),
        ("SQLITE_ERROR", errors.Bug),
    ],
)
def test_sqlite(name: str, kind: type[errors.TradewindError]) -> None:
    found = translate(sqlite(name))
    assert type(found) is kind and "detail" in found.message
    assert found.hint or kind is not errors.Broken
    assert found.after == (1.0 if kind is errors.TryAgain else None)


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("53100", errors.Broken),
        ("53300", errors.TryAgain),
        ("08006", errors.Unreachable),
        ("57P01", errors.Unreachable),
        ("40P01", errors.TryAgain),
        ("25006", errors.Broken),
        ("28P01", errors.Broken),
        ("3D000", errors.Broken),
        ("XX001", errors.Broken),
        ("22021", errors.InvalidData),
        ("23505", errors.Bug),
        ("42P01", errors.Bug),
        (None, errors.Unreachable),
    ],
)
def test_postgresql(sqlstate: str | None, kind: type[errors.TradewindError]) -> None:
    found = translate(exc.OperationalError("SELECT 1", None, Native(sqlstate)))
    assert type(found) is kind and "more" not in found.message


def test_no_class_of_sqlalchemy_is_unmapped() -> None:
    def below(kind: type[exc.DBAPIError]) -> list[type[exc.DBAPIError]]:
        return [kind] + [found for child in kind.__subclasses__() for found in below(child)]

    for kind in below(exc.DBAPIError):
        assert type(translate(kind("SELECT 1", None, Native(None)))) in {
            errors.Bug,
            errors.Unreachable,
            errors.InvalidData,
        }
    assert type(translate(exc.TimeoutError())) is errors.TryAgain
    assert type(translate(exc.CompileError("x"))) is errors.Bug


def test_a_full_disk_is_named_and_heals(tmp_path: Path) -> None:
    """A limit on the file's size stands for a full disk: SQLite meets both as a failed write."""
    opened = store.open(tmp_path / "a.db", SystemClock())
    opened.runs.accept([a_run("ra")])
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        with pytest.raises(errors.Broken, match="disk") as caught:
            for i in range(50):
                opened.runs.accept([a_run(f"r{i}", spec={"x": "y" * 50_000})])
        assert "free space" in caught.value.hint
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert opened.runs.get("ra").id == "ra"
    opened.runs.accept([a_run("rafter")])
    opened.close()


def test_a_locked_database_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_BUSY_MILLISECONDS", 1)
    opened = store.open(tmp_path / "a.db", SystemClock())
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.TryAgain):
        opened.runs.accept([a_run("ra")])
    assert opened.runs.get_many(["ra"]) == {}  # readers do not wait
    other.execute("COMMIT")
    other.close()
    opened.runs.accept([a_run("ra")])
    opened.close()


def test_what_is_no_json_is_our_bug(tmp_path: Path) -> None:
    opened = store.open(tmp_path / "a.db", SystemClock())
    with pytest.raises(errors.Bug):
        opened.runs.accept([replace(a_run("ra"), spec={"x": threading.Lock()})])
    opened.close()


def test_accepting_syncs_and_the_rest_does_not(tmp_path: Path) -> None:
    database = connect.Database(str(tmp_path / "a.db"))
    level = "PRAGMA synchronous"
    assert database.write(lambda c: c.exec_driver_sql(level).scalar(), durable=True) == 2
    assert database.write(lambda c: c.exec_driver_sql(level).scalar()) == 1
    database.close()
