"""What carries out a query tells of its result."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tradewind.data import bounds
from tradewind.inside import expression, measure, outputs
from tradewind.kinds.function import work
from tradewind.supervisor import tables


def test_a_query_tells_how_much_its_result_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a large result that is small on disk would be read a second time for its commit."""
    monkeypatch.setenv("TRADEWIND_OUT", str(tmp_path / "out"))
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": [7] * 3000, "b": ["x"] * 3000}), path)
    made = outputs.keep(
        work.run_sql("SELECT a, b FROM data WHERE a > 1", data=[path]), {"out": str(tmp_path)}
    )["result"]
    assert made["rows"] == 3000 and [each["name"] for each in made["schema"]] == ["a", "b"]
    many = {**made, "rows": bounds.VALUES, "files": [{"size": 1}]}
    assert tables.large(many) and not tables.large({**made, "files": [{"size": 1}]})


def test_a_query_is_held_below_the_memory_that_its_task_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which the process itself has a part: else it is ended, and nothing is spilled."""
    monkeypatch.setenv("TRADEWIND_OUT", str(tmp_path / "out"))
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": [1]}), path)

    def most(given: str) -> str:
        monkeypatch.setenv("TRADEWIND_MEMORY", given)
        made = work.run_sql("SELECT current_setting('memory_limit') AS m FROM data", data=[path])
        return str(pq.read_table(made.files[0])["m"][0].as_py())

    assert most("100000000") == "64.0 MiB"  # less than the process has
    value, unit = most(str(4 << 30)).split()
    assert unit == "GiB" and 2 < float(value) < 4
    assert most("0") != most(str(4 << 30))


def test_an_expression_is_held_below_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "spare", lambda threads: 150 << 20)
    start = {"entry": {"call": {"cores": 1}}, "out": str(tmp_path / "out")}
    with expression.Lazily(start) as lazily:
        told = lazily.connection.raw_sql("SELECT current_setting('memory_limit')").fetchone()
        assert told == ("150.0 MiB",)
        much = "SELECT i, repeat(i::VARCHAR, 20) AS t FROM range(2000000) r(i) ORDER BY hash(i)"
        lazily.connection.raw_sql(f"COPY ({much}) TO '{tmp_path / 'much.parquet'}'")
    assert pq.read_metadata(tmp_path / "much.parquet").num_rows == 2_000_000
