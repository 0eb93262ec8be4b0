"""Keys are sampled with all rows that they have in the row groups that are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inside import ways
from tests.unit.inside.ways import as_rows, written
from tradewind.inside import groups
from tradewind.inside.keysample import Keys


def sizes(table: pa.Table, by: Sequence[str]) -> Counter[str]:
    """Key → rows; both zeros are one key."""
    columns = [[v + 0.0 if isinstance(v, float) else v for v in table[n].to_pylist()] for n in by]
    return Counter(repr(key) for key in zip(*columns, strict=True))


@settings(max_examples=40)
@given(
    ways.tables(), ways.layouts(), st.sampled_from([["k"], ["f"], ["n", "b"], ["t"]]),
    st.integers(1, 60),
)  # fmt: skip
def test_a_sample_has_whole_keys(
    tmp_path_factory: pytest.TempPathFactory,
    table: pa.Table,
    layout: tuple[int, int],
    by: list[str],
    rows: int,
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    found = [group for group in groups.listed(written(table, folder, *layout)) if group.rows]
    if not found:
        return
    kept = Keys(found, by, str(folder), 60.0)
    every, known = sizes(table, by), as_rows(table)
    (file,), count = kept.some(table.num_rows, str(folder))
    pool = pq.read_table(file)
    assert count == kept.rows == pool.num_rows
    assert set(as_rows(pool)) <= set(known)
    if kept.whole:
        assert all(every[key] == n for key, n in sizes(pool, by).items())
    (file,), count = kept.some(rows, str(folder))
    some = pq.read_table(file)
    assert 0 < count == some.num_rows <= max(2 * rows, kept.rows)
    assert set(as_rows(some)) <= set(as_rows(pool))
    (file,), count = kept.many(rows, str(folder))
    many = pq.read_table(file)
    assert many.num_rows == count == min(rows, kept.rows)
    assert len(sizes(many, by)) == min(rows, len(sizes(pool, by)))


@pytest.mark.parametrize("by_key", [False, True])
def test_as_many_rows_as_a_row_group_has_from_all_over_the_table(
    tmp_path: Path, by_key: bool
) -> None:
    keys = [n % 500 for n in range(20_000)]
    table = pa.table({"k": sorted(keys) if by_key else keys, "i": range(20_000)})
    found = groups.listed(written(table, tmp_path, 2000, 2))
    kept = Keys(found, ["k"], str(tmp_path), 60.0)
    assert kept.whole and 1000 <= kept.rows <= 4000
    (file,), count = kept.some(400, str(tmp_path))
    some = pq.read_table(file)
    assert set(sizes(some, ["k"]).values()) == {40} and 200 <= count <= 800
    assert some["i"].to_pylist() == sorted(some["i"].to_pylist()), "the order of rows is kept"


@pytest.mark.parametrize("lies", ["mixed", "by key"])
def test_few_keys_are_all_there_with_some_of_their_rows(tmp_path: Path, lies: str) -> None:
    keys = [n % 5 for n in range(20_000)]
    table = pa.table({"k": sorted(keys) if lies == "by key" else keys})
    kept = Keys(groups.listed(written(table, tmp_path, 2000)), ["k"], str(tmp_path), 60.0)
    assert not kept.whole and kept.rows == 2000
    (file,), _ = kept.many(100, str(tmp_path))
    assert len(sizes(pq.read_table(file), ["k"])) == 5


def test_without_time_one_row_group_is_read(tmp_path: Path) -> None:
    keys = [n % 500 for n in range(20_000)]
    found = groups.listed(written(pa.table({"k": keys}), tmp_path, 2000))
    kept = Keys(found, ["k"], str(tmp_path), 0.0)
    (file,), _ = kept.some(20_000, str(tmp_path))
    assert set(sizes(pq.read_table(file), ["k"]).values()) == {4}
