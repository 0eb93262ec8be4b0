"""What carries out a query tells of its result."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tradewind.data import bounds
from tradewind.inside import outputs
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
