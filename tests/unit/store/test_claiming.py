"""What idles, and what is due for other servers, is not looked at by a claim."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tradewind import store
from tradewind.base.clock import SystemClock
from tradewind.records.states import LIVE
from tradewind.testing.store_makers import a_run


@pytest.mark.parametrize(
    ("pools", "index"),
    [
        (None, "ix_runs_due (due"),
        (["a"], "ix_runs_pool_due (pool=? AND due"),
        (["a", "b", "c"], "ix_runs_pool_due (pool=? AND due"),
    ],
)
def test_claims_are_read_off_the_index_of_what_is_due(
    tmp_path: Path, pools: list[str] | None, index: str
) -> None:
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, given: Any, *___: Any) -> None:
        sent.append((statement, given))

    opened = store.open(tmp_path / "a.db", SystemClock())
    opened.runs.accept([a_run("ra")])
    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert len(opened.runs.claim("w", LIVE, 10, 2000.0, 9.0, pools)) == 1
        assert opened.runs.next_due(LIVE, 2000.0, pools) == 2009.0
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        opened.close()
    (claim,) = [each for each in sent if "UPDATE" in each[0]]
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + claim[0], claim[1])]
    reads = [line for line in plan if "runs USING" in line and "PRIMARY KEY" not in line]
    assert len(reads) == len({*(pools or ()), ""})
    assert all(f"INDEX {index}" in line for line in reads), plan
