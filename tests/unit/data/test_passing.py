"""Statistics of rows as they pass, against those of a table that is read for them."""

from __future__ import annotations

import datetime as dt
import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.data import bounds, duck, importing
from tradewind.data import profile as profiles
from tradewind.data.passing import Passing
from tradewind.data.profile import outline, profile
from tradewind.data.types import stored_schema

pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

PASSED = ("count", "nulls", "nan", "min", "max", "mean", "std")
FLOATS = st.floats(width=64, allow_subnormal=False).filter(
    lambda x: not 1e30 < abs(x) < float("inf")  # quantiles of larger ones overflow
)
TIMES = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "i": st.none() | st.integers(-(2**53), 2**53),
            "f": st.none() | FLOATS,
            "b": st.none() | st.booleans(),
            "s": st.none() | st.text(st.characters(exclude_categories=["Cs"], codec="utf-8"))
            .filter(lambda text: "\0" not in text),
            "d": st.none() | st.decimals(-9999, 9999, places=2),
            "day": st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1)),
            "t": st.none() | TIMES,
            "z": st.none() | TIMES.map(lambda one: one.replace(tzinfo=dt.UTC)),
            "l": st.none() | st.lists(st.integers(0, 9), max_size=2),
        }
    ),
    max_size=30,
)  # fmt: skip


def made(rows: list[dict[str, Any]]) -> Any:
    schema = pa.schema(
        [("i", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()), ("s", pa.string()),
         ("d", pa.decimal128(10, 2)), ("day", pa.date32()), ("t", pa.timestamp("us")),
         ("z", pa.timestamp("us", "UTC")), ("l", pa.list_(pa.int64()))]
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def written(table: Any, path: Path, group: int) -> Path:
    importlib.import_module("pyarrow.parquet").write_table(table, path, row_group_size=group)
    return path


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cut=st.integers(1, 31))
def test_they_are_those_of_a_second_reading(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cut: int
) -> None:
    table = made(rows)
    passing = Passing(table.schema)
    for batch in table.to_batches(max_chunksize=cut):
        passing.update(batch)
    whole = profile([written(table, tmp_path_factory.mktemp("t") / "t.parquet", cut)])
    for one, other in zip(passing.columns(), whole.columns, strict=True):
        for name in PASSED:
            here, there = getattr(one, name), getattr(other, name)
            if name in ("mean", "std") and there is not None:
                scale = max(abs(float(end or 0)) for end in (other.min, other.max))
                there = pytest.approx(there, rel=1e-6, abs=1e-6 * (1 + scale))
            assert here == there, (one.name, name)
        assert (one.type, one.distinct, one.top, one.quantiles) == (other.type, None, (), ())


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, group=st.integers(1, 31))
def test_what_footers_tell_is_true(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], group: int
) -> None:
    """And what they do not tell is left out."""
    table = made([row for row in rows if row["f"] is None or math.isfinite(row["f"])])
    path = written(table, tmp_path_factory.mktemp("t") / "t.parquet", group)
    whole, told = profile([path]), outline([path], "sha256:0")
    assert (told.rows, told.schema) == (whole.rows, whole.schema)
    for one, other in zip(told.columns, whole.columns, strict=True):
        if one.name == "l" and table.num_rows:
            assert (one.count, one.nulls) == (None, None)
            continue
        assert (one.count, one.nulls, one.type) == (other.count, other.nulls, other.type)
        assert _same(one.min, other.min) and _same(one.max, other.max)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and one[:3].isdigit() and "T" in one:  # 10:00:00.5 and .500000
        return dt.datetime.fromisoformat(one) == dt.datetime.fromisoformat(other)
    return bool(one == other)


@pytest.mark.parametrize("whole", [True, False])
def test_a_large_import_is_not_read_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(bounds, "VALUES", 10_000)
    rows = 10_000 * bounds.IMPORTED // 2 + (not whole)
    table = pa.table({"n": range(rows), "s": ["x", None, "y"] * (rows // 3) + ["x"] * (rows % 3)})
    path = written(table, tmp_path / "t.parquet", 30_000)
    done = importing.import_dataset({"source": str(path)}, tmp_path / "out", tmp_path)
    n, s = done.stats
    assert (n["count"], n["min"], n["max"], n["mean"]) == (rows, 0, rows - 1, (rows - 1) / 2)
    assert (s["nulls"], s["min"], s["max"]) == (rows // 3, "x", "y")
    assert ("distinct" in n, "top" in s) == (whole, whole)
    # The hash is that of the rows either way.
    assert done.digest == profile(done.files).digest
    assert done.schema == [{"name": "n", "type": "int64"}, {"name": "s", "type": "string"}]


def test_long_texts_make_a_table_large() -> None:
    assert bounds.large(10, 1, bounds.BYTES + 1) and not bounds.large(10, 1, bounds.BYTES)
    assert bounds.large(bounds.VALUES + 1, 1, 0) and not bounds.large(None, 1, 0)
    assert not bounds.large(10, 1, bounds.BYTES + 1, bounds.IMPORTED)


def test_decimals_and_no_rows() -> None:
    schema = stored_schema(pa.schema([("d", pa.decimal128(10, 2)), ("n", pa.int64())]))
    empty = Passing(schema)
    assert [(one.count, one.min, one.mean) for one in empty.columns()] == [(0, None, None)] * 2
    passing = Passing(schema)
    for value in (Decimal("1.10"), Decimal("-2.25")):
        passing.update(pa.record_batch([[value], [None]], schema=schema))
    decimal, numbers = passing.columns()
    assert (decimal.min, decimal.max) == ("-2.25", "1.10")
    assert decimal.mean == pytest.approx(-0.575)
    assert (numbers.count, numbers.nulls, numbers.std) == (0, 2, None)


class _Heard:
    """A connection, and the queries that it was given."""

    def __init__(self, connection: Any, said: list[str]) -> None:
        self.connection, self.said = connection, said

    def execute(self, query: str) -> Any:
        self.said.append(query)
        return self.connection.execute(query)


def test_no_query_grows_with_the_columns_of_a_wide_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = []
    for columns in (200, 400):
        said: list[str] = []

        @contextmanager
        def heard(tables: Any, said: list[str] = said) -> Iterator[Any]:
            with duck.connect(tables) as connection:
                yield _Heard(connection, said)

        monkeypatch.setattr(profiles, "connect", heard)
        table = pa.table({f"c{n:04}": [n, 3, None] for n in range(columns)})
        found = profile([written(table, tmp_path / "t.parquet", 2)])
        assert [one.max for one in found.columns] == [max(n, 3) for n in range(columns)]
        longest.append(max(map(len, said)))
    assert longest[0] == longest[1]


@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_a_table_that_is_taken_apart_has_the_same_statistics(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    # In one row group: the last digit of a mean depends on which thread adds first.
    path = written(made(rows), tmp_path_factory.mktemp("t") / "t.parquet", 31)
    whole = profile([path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiles, "TOGETHER", 2)
        assert profile([path]) == whole


def test_a_table_of_many_columns_is_large_however_few_its_rows() -> None:
    assert not bounds.large(1, 500, 1) and bounds.large(1, 501, 1)
    assert not bounds.large(500, 3_000, 1, bounds.IMPORTED)
    assert not bounds.large(bounds.VALUES, 1, 1) and bounds.large(bounds.VALUES + 1, 1, 1)


def test_a_zero_at_an_end_has_no_sign(tmp_path: Path) -> None:
    pq = importlib.import_module("pyarrow.parquet")
    # Parquet writes -0.0 for a least value of 0.0: nobody's rows hold it.
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [0.0, 2.0], "b": [-2.0, 0.0], "c": [-0.0, -0.0]}), path)
    for found in (outline([path], "sha256:0"), profile([path])):
        shown = [(str(one["min"]), str(one["max"])) for one in found.to_json()["columns"]]
        assert shown == [("0.0", "2.0"), ("-2.0", "0.0"), ("0.0", "0.0")]
