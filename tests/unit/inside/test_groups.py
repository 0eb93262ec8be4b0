"""Sharing out row groups, and reading them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inside.ways import written
from tradewind.inside import groups
from tradewind.inside.groups import Group

sizes = st.lists(st.integers(0, 1000), max_size=40)


def made(sizes: list[int]) -> list[Group]:
    return [Group("a", place, 1, size, 0, place, place) for place, size in enumerate(sizes)]


@given(sizes, st.integers(1, 20))
def test_every_group_is_in_one_part_and_parts_are_neighbours(sizes: list[int], of: int) -> None:
    found = made(sizes)
    assert [g for part in range(of) for g in groups.share(found, part, of)] == found


@given(sizes, st.integers(1, 20))
def test_parts_are_balanced_to_a_group(sizes: list[int], of: int) -> None:
    found = made([size + 1 for size in sizes])
    fair = sum(group.bytes for group in found) / of
    largest = max((group.bytes for group in found), default=0)
    for part in range(of):
        assert sum(group.bytes for group in groups.share(found, part, of)) <= fair + largest


@given(st.integers(1, 50), st.integers(0, 60))
def test_a_sample_is_spread_over_the_table(size: int, count: int) -> None:
    found = made([1] * size)
    picked = groups.spread(found, count)
    assert len(picked) == min(count, size) and picked == sorted(set(picked), key=found.index)
    if count >= 2 and size >= 4:
        assert picked[0] in found[: size // 2] and picked[-1] in found[size // 2 :]


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 4), st.integers(1, 40))
def test_batches_hold_every_row_once_and_know_where_it_lies(
    tmp_path_factory: pytest.TempPathFactory, rows: int, size: int, files: int, most: int
) -> None:
    folder = tmp_path_factory.mktemp("groups")
    paths = written(pa.table({"i": pa.array(range(rows), pa.int64())}), folder, size, files)
    found = groups.listed(paths)
    assert sum(group.rows for group in found) == rows
    seen: list[int] = []
    for piece in groups.batches(found, most):
        values = piece.data.column("i").to_pylist()
        assert 0 < len(values) <= most and values[0] == piece.first == len(seen)
        assert piece.cut(1, 1).first == piece.first + 1
        own = pa.parquet.read_table(paths[piece.number]).column("i").to_pylist()
        assert own[piece.start] == values[0]
        seen += values
    assert seen == list(range(rows))


def test_wide_rows_make_small_batches(tmp_path: Path) -> None:
    rows = 2000
    text = pa.array([f"{i:06}" * 10_000 for i in range(rows)])
    paths = written(pa.table({"s": text}), tmp_path)
    pieces = [piece.data.num_rows for piece in groups.batches(groups.listed(paths))]
    assert sum(pieces) == rows and max(pieces) * 60_000 <= 1.1 * groups.BYTES


def test_which_columns_have_nulls(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, None], "b": [1, 2, 3], "c": ["x", "y", "z"]})
    assert groups.with_nulls(written(table, tmp_path, 1, 2)) == {"a"}
    pa.parquet.write_table(table, tmp_path / "bare", write_statistics=False)
    assert groups.with_nulls([str(tmp_path / "bare")]) == {"a", "b", "c"}
