"""One file from many batches: what is the same, what is wider, what is refused."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inside.ways import as_rows, tables
from tradewind.inside import sink as sinks
from tradewind.inside.convert import GUESSED, MEANT, VALUES, Mixed, from_rows
from tradewind.inside.outputs import Unstorable
from tradewind.inside.sink import Sink


def kept(
    folder: Path, *batches: pa.Table, sure: str = MEANT
) -> tuple[dict[str, Any], pa.Table | None]:
    sink = Sink(str(folder))
    for number, batch in enumerate(batches):
        sink.write(batch, sure, f"batch {number}")
    told = sink.close()
    return told, pq.read_table(sink.path) if told["schema"] else None


def column(values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


@settings(max_examples=40)
@given(tables(), st.lists(st.integers(0, 60), max_size=5), st.integers(1, 30))
def test_batches_come_back_as_the_table(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, cuts: list[int], small: int
) -> None:
    edges = sorted({0, table.num_rows, *(min(cut, table.num_rows) for cut in cuts)})
    batches = [table.slice(a, b - a) for a, b in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks, "SMALL", small)
        told, found = kept(tmp_path_factory.mktemp("sink"), *(batches or [table]))
    assert found is not None and told["rows"] == table.num_rows
    assert found.schema.equals(table.schema) and as_rows(found) == as_rows(table)


@given(st.lists(st.lists(st.fixed_dictionaries(
    {}, optional={
        "a": st.none() | st.integers(-9, 9) | st.floats(-2, 2, width=16),
        "b": st.none() | st.decimals(-99, 99, places=2) | st.just(Decimal("1.125")),
        "c": st.none() | st.lists(st.none() | st.integers(0, 3), max_size=2),
        "d": st.none() | st.fixed_dictionaries({"u": st.none() | st.integers(0, 3)}),
    }), min_size=1, max_size=4), min_size=1, max_size=5))  # fmt: skip
def test_dicts_in_batches_are_what_they_are_together(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[dict[str, Any]]]
) -> None:
    made = [from_rows(batch) for batch in batches]
    together = from_rows([row for batch in batches for row in batch])
    if not all(one.num_columns for one in made):
        return  # a dict without keys has no column
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks, "WAITING", 1)  # each batch is on disk when the next one comes
        _told, found = kept(tmp_path_factory.mktemp("sink"), *made, sure=VALUES)
    assert found is not None
    order = sorted(together.column_names)
    assert found.select(order).to_pylist() == together.select(order).to_pylist()
    assert found.select(order).schema.equals(together.select(order).schema)


@pytest.mark.parametrize(
    ("first", "then", "sure"),
    [
        (column([None]), column(["x"]), MEANT),
        (column([["a"]]), column([[]], pa.list_(pa.null())), MEANT),
        (column([1]), column([1.5]), GUESSED),
        (column([1], pa.int8()), column([10**6]), GUESSED),
        (column([1], pa.timestamp("s")), column([1], pa.timestamp("ns")), GUESSED),
        (column(["a"], pa.large_string()), column(["b"]), MEANT),
        (column(["a"]), pa.table({"x": pa.array(["b"]).dictionary_encode()}), MEANT),
    ],
)
def test_what_is_no_difference(tmp_path: Path, first: Any, then: Any, sure: str) -> None:
    told, found = kept(tmp_path, first, then, sure=sure)
    assert found is not None and told["rows"] == 2
    assert found.column("x").to_pylist()[:1] == first.column("x").to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.parquet"]


@pytest.mark.parametrize(
    ("then", "sure", "words"),
    [
        (column(["a"]), VALUES, ["'x' is int64 in batch 0", "is string in batch 1"]),
        (column([1.5]), MEANT, ["'x' is int64 in batch 0", "is double in batch 1"]),
        (pa.table({"y": [1]}), GUESSED, ["'x' is int64 in batch 0", "is missing in batch 1"]),
        (pa.table({"x": [1], "y": [1]}), MEANT, ["'y' is missing in batch 0", "is int64 in batch"]),
        (column([1], pa.timestamp("s", "UTC")), GUESSED, ["timestamp[s, tz=UTC] in batch 1"]),
        (pa.table([[1], [2]], names=["x", "x"]), MEANT, ["two columns named 'x'"]),
    ],
)
def test_what_is_refused_names_column_types_and_rows(
    tmp_path: Path, then: Any, sure: str, words: list[str]
) -> None:
    with pytest.raises(Unstorable) as caught:
        kept(tmp_path, column([1]), then, sure=sure)
    assert all(word in str(caught.value) for word in words), caught.value


def test_columns_in_another_order_are_the_same(tmp_path: Path) -> None:
    two = pa.table({"y": ["b"], "x": [2]})
    _told, found = kept(tmp_path, pa.table({"x": [1], "y": ["a"]}), two)
    assert found is not None and found.to_pylist() == [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]


def test_no_rows_keep_known_columns(tmp_path: Path) -> None:
    told, found = kept(tmp_path / "a", column([], pa.int8()), pa.table({}))
    assert found is not None and found.schema.names == ["x"] and told["rows"] == 0
    told, found = kept(tmp_path / "b")
    assert (told["rows"], told["schema"], found) == (0, [], None)
    # An empty batch fixes nothing.
    told, found = kept(tmp_path / "c", column([], pa.null()), column(["x"]))
    assert found is not None and found.column("x").to_pylist() == ["x"]


def test_nothing_is_left_of_what_is_discarded(tmp_path: Path) -> None:
    sink = Sink(str(tmp_path))
    sink.write(column([1]), MEANT, "a")
    sink._flush()
    assert list(tmp_path.iterdir())
    sink.discard()
    assert not list(tmp_path.iterdir())


def test_values_without_a_type_are_told_by_row() -> None:
    with pytest.raises(Mixed, match="'x' holds int, and then 'b', of str") as caught:
        from_rows([{"x": 1}, {}, {"x": None}, {"x": 2}, {"x": "b"}, {"x": 3}])
    assert caught.value.row == 4


def test_a_dictionary_is_for_values_that_repeat_themselves(tmp_path: Path) -> None:
    rows = 2 * sinks.TELLING
    table = pa.table({
        "id": range(rows), "score": [i / rows for i in range(rows)],
        "day": [i % 7 for i in range(rows)], "name": [f"{i % 9}" for i in range(rows)],
        "when": pa.array([None] * rows, pa.date32()),
    })  # fmt: skip
    _, found = kept(tmp_path, table)
    assert found == table
    group = pq.ParquetFile(tmp_path / "part-0.parquet").metadata.row_group(0)
    encoded = {
        group.column(i).path_in_schema: group.column(i).has_dictionary_page
        for i in range(group.num_columns)
    }
    assert encoded == {"id": False, "score": False, "day": True, "name": True, "when": True}
    nested = pa.table({"id": range(rows), "l": [[i] for i in range(rows)]})
    assert sinks.repeating(nested) is True and sinks.repeating(table.slice(0, 10)) is True
    _, again = kept(tmp_path / "nested", nested)
    assert again == nested
