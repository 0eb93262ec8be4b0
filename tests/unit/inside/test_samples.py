"""A sample of row groups is the same bytes with holes; every reader sees only what was chosen."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inside import ways
from tests.unit.inside.ways import as_rows, written
from tradewind.inside import groups, samples


@settings(max_examples=30)
@given(ways.tables(), ways.layouts(), st.sets(st.integers(0, 80)))
def test_chosen_row_groups(
    tmp_path_factory: pytest.TempPathFactory,
    table: pa.Table,
    layout: tuple[int, int],
    places: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("samples")
    found = groups.listed(written(table, folder, *layout))
    chosen = [group for place, group in enumerate(found) if place in places]
    files = samples.of_groups(chosen, str(folder))
    if not chosen:
        assert files == []
        return
    expected = pa.concat_tables([table.slice(group.first, group.rows) for group in chosen])
    assert as_rows(pa.concat_tables([pq.read_table(file) for file in files])) == as_rows(expected)
    assert duckdb.read_parquet(files).to_arrow_table()["i"].to_pylist() == expected["i"].to_pylist()
    assert pl.read_parquet(files)["s"].to_list() == expected["s"].to_pylist()
    assert [group.bytes for group in groups.listed(files)] == [group.bytes for group in chosen]


@pytest.mark.parametrize("writer", ["duckdb", "polars", "pyarrow"])
def test_files_of_every_writer(tmp_path: Path, writer: str) -> None:
    path = str(tmp_path / "in.parquet")
    table = pa.table({"i": range(20_000), "s": [f"上海{i % 50}" for i in range(20_000)]})
    if writer == "duckdb":
        made = duckdb.from_arrow(table)
        made.to_parquet(path, row_group_size=2048)
    elif writer == "polars":
        pl.from_arrow(table).write_parquet(path, row_group_size=2048)  # type: ignore[union-attr]
    else:
        pq.write_table(table, path, row_group_size=2048, write_page_index=True)
    found = groups.listed([path])
    chosen = groups.spread(found, 3)
    (file,) = samples.of_groups(chosen, str(tmp_path))
    expected = [i for group in chosen for i in range(group.first, group.first + group.rows)]
    assert 3 <= len(chosen) < len(found)
    assert pq.read_table(file)["i"].to_pylist() == expected
    query = f"SELECT i FROM read_parquet('{file}') WHERE s = '上海7' AND i > 9000"
    wanted = [(i,) for i in expected if i % 50 == 7 and i > 9000]
    assert duckdb.sql(query).fetchall() == wanted
    lazy = pl.scan_parquet(file).filter(pl.col("s") == "上海7", pl.col("i") > 9000)
    assert lazy.collect()["i"].to_list() == [i for (i,) in wanted]
    assert Path(file).stat().st_blocks < Path(path).stat().st_blocks


def test_many_row_groups_are_still_listed(tmp_path: Path) -> None:
    found = groups.listed(written(pa.table({"i": range(400)}), tmp_path, 1))
    for count in (14, 15, 16, 200):
        (file,) = samples.of_groups(groups.spread(found, count), str(tmp_path))
        assert pq.ParquetFile(file).metadata.num_row_groups == count


def test_slices_and_nothing(tmp_path: Path) -> None:
    files = written(pa.table({"i": range(100)}), tmp_path, 40)
    group = groups.listed(files)[1]
    (file,) = samples.of_rows(group, 7, str(tmp_path))
    assert pq.read_table(file)["i"].to_pylist() == list(range(40, 47))
    (file,) = samples.of_nothing(files, str(tmp_path))
    assert pq.read_table(file).num_rows == 0 and pq.read_schema(file).names == ["i"]


@pytest.mark.parametrize("make", ["rows", "groups", "nothing"])
def test_a_sample_as_large_as_its_table_is_joined_like_it(tmp_path: Path, make: str) -> None:
    """A database builds on the side that has fewer rows, by what footers say."""
    many = written(pa.table({"i": range(9000)}), tmp_path, 300, 3)
    few = tmp_path / "few.parquet"
    pq.write_table(pa.table({"i": range(2000)}), few)
    found = groups.listed(many)
    folder = tmp_path / "made"
    folder.mkdir()
    own = {
        "rows": lambda: samples.of_rows(found[0], 10, str(folder)),
        "groups": lambda: samples.of_groups(found[:11], str(folder)),  # all of a file, one of two
        "nothing": lambda: samples.of_nothing(many, str(folder)),
    }[make]()

    def joined(files: list[str]) -> tuple[list[str], int]:
        query = f"SELECT i FROM read_parquet({files!r}) m JOIN '{few}' f USING (i)"
        told = duckdb.sql(f"EXPLAIN {query}").fetchone()
        assert told is not None
        return re.findall(r"~([0-9,]+) rows", told[1]), len(duckdb.sql(query).fetchall())

    wanted, _ = joined(many)
    assert wanted[-1] == "2,000", "it builds on the few"
    plan, given = joined(own)
    assert plan != wanted and given == {"rows": 10, "groups": 2000, "nothing": 0}[make]
    assert joined(samples.as_large(own, 9000, str(folder))) == (wanted, given)
    assert pq.read_table(many[0]).num_rows == 3000, "the table itself is as it was"
    assert samples.as_large(many, 9000, str(folder)) == many
