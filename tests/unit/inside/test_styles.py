"""Every style gives, on one process and in parts, what the function gives of the whole table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inside import ways
from tests.unit.inside.ways import as_rows, carried, rows_of, written
from tradewind.inside import convert, ends, failing, groups, inputs, keys, outputs, styles

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and buckets of a few rows, so that small tables are many of them."""
    monkeypatch.setattr(groups, "ROWS", 16)
    monkeypatch.setattr(styles, "DICTS", 8)
    monkeypatch.setattr(keys, "BUCKET", 5_000)


def arrow(data: pa.Table) -> pa.Table:
    kept = data.filter(pc.field("n") != 1)
    return kept.append_column("j", pc.multiply(kept["d"], kept["d"]))


def batch(data: pa.RecordBatch) -> pa.RecordBatch:
    return data


def polars(data: pl.DataFrame) -> pl.DataFrame:
    return data.filter(pl.col("f").is_not_nan()).with_columns(h=pl.col("z").dt.hour())


def lazy(data: pl.LazyFrame) -> pl.LazyFrame:
    return data.select("k", twice=pl.col("f") * 2)


def pandas(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(half=data["n"] / 2, text=data["s"] + "!")


def dicts(data: list[dict[str, Any]]) -> Rows:
    return [{**row, "more": row["i"] and row["i"] + 1} for row in data if row["b"] is not True]


def whole(function: Callable[..., Any], files: list[str]) -> pa.Table:
    """The result of one call with the whole table."""
    args, kwargs = inputs.bind(function, ways.start(files, Path(), "table"))
    found = convert.taken(function(*args, **kwargs))
    assert found is not None
    return found[0]


@pytest.mark.parametrize("function", [arrow, batch, polars, lazy, pandas, dicts])
def test_batches_are_as_the_whole(
    tmp_path_factory: pytest.TempPathFactory, function: Callable[..., Any]
) -> None:
    @settings(max_examples=8)
    @given(ways.tables(), ways.layouts(), st.integers(1, 6))
    def check(table: pa.Table, layout: tuple[int, int], parts: int) -> None:
        files = written(table, tmp_path_factory.mktemp("batch"), *layout)
        expected = whole(function, files)
        _told, one = carried(function, files, "batch")
        _told, several = carried(function, files, "batch", parts=parts)
        assert rows_of(one) == rows_of(several) == as_rows(expected)
        assert one[0].schema.names == expected.schema.names or not table.num_rows

    check()


def by_row(data: dict[str, Any]) -> Any:
    if data["n"] == 0:
        return None
    if data["n"] == 1:
        return [data, {**data, "s": "二"}]
    return {"i": data["i"], "s": data["s"], "f": data["f"]}


@settings(max_examples=25)
@given(ways.tables(), ways.layouts(), st.integers(1, 6))
def test_rows_are_as_a_loop(
    tmp_path_factory: pytest.TempPathFactory,
    table: pa.Table,
    layout: tuple[int, int],
    parts: int,
) -> None:
    files = written(table, tmp_path_factory.mktemp("row"), *layout)
    expected: Rows = []
    for row in table.to_pylist():
        made = by_row(row)
        expected += made if isinstance(made, list) else [made] if made else []
    for_all = {name: None for row in expected for name in row}
    filled = [{**for_all, **row} for row in expected]
    _told, one = carried(by_row, files, "row")
    _told, several = carried(by_row, files, "row", parts=parts)
    assert [_filled(row, for_all) for table in one for row in table.to_pylist()] == [
        _filled(row, for_all) for row in filled
    ]
    assert _texts(several, for_all) == _texts(one, for_all)


def _filled(row: dict[str, Any], names: dict[str, None]) -> str:
    return repr(sorted({**names, **row}.items())) if names else ""


def _texts(results: list[pa.Table], names: dict[str, None]) -> list[str]:
    return sorted(_filled(row, names) for table in results for row in table.to_pylist())


KEYS = (["k"], ["f"], ["n", "b"], ["d"], ["z"], ["k", "f"])


def canonical(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return value


@pytest.mark.parametrize("by", KEYS, ids=lambda by: "+".join(by))
def test_groups_are_whole(tmp_path_factory: pytest.TempPathFactory, by: list[str]) -> None:
    seen: list[list[Any]] = []

    def function(data: pa.Table) -> Rows:
        seen.append([canonical(data[name][0].as_py()) for name in by])
        for name in by:
            assert len({canonical(value) for value in data[name].to_pylist()}) == 1
        return [{"rows": data.num_rows, "i": data["i"].to_pylist(), "f": str(data["f"][0].as_py())}]

    @settings(max_examples=8)
    @given(ways.tables(), ways.layouts(), st.integers(2, 5))
    def check(table: pa.Table, layout: tuple[int, int], parts: int) -> None:
        files = written(table, tmp_path_factory.mktemp("group"), *layout)
        expected: dict[Any, list[Any]] = {}
        for row in table.to_pylist():
            key = tuple(canonical(row[name]) for name in by)
            expected.setdefault(key, []).append(row["i"])
        for some in (0, parts):
            seen.clear()
            if not table.num_rows and not some:
                with pytest.raises(outputs.Unstorable, match="has no rows"):
                    carried(function, files, "group", by=by)
                continue
            _told, found = carried(function, files, "group", parts=some, by=by)
            if table.num_rows:
                assert sorted(map(str, seen)) == sorted(str(list(key)) for key in expected)
            order = sorted(str(row["i"]) for one in found for row in one.to_pylist())
            assert order == sorted(map(str, expected.values()))

    check()


@pytest.mark.parametrize(
    "kind",
    [pa.dictionary(pa.int8(), pa.string()), pa.timestamp("ns", "Asia/Shanghai"), pa.time64("ns"),
     pa.duration("ms"), pa.decimal256(50, 2), pa.float32(), pa.binary(), pa.date32(), pa.uint64(),
     pa.struct([("a", pa.int8())]), pa.list_(pa.string())],
    ids=str,
)  # fmt: skip
def test_keys_of_every_type(tmp_path: Path, kind: pa.DataType) -> None:
    raw: list[Any] = [3, 1, None, 3, 2, None, 1, 3]
    if pa.types.is_dictionary(kind) or pa.types.is_binary(kind):
        raw = [None if n is None else str(n) for n in raw]
    elif pa.types.is_struct(kind):
        raw = [None if n is None else {"a": n} for n in raw]
    elif pa.types.is_list(kind):
        raw = [None if n is None else [str(n), None] for n in raw]
    values = pa.array(raw, kind if not pa.types.is_dictionary(kind) else pa.string())
    table = pa.table({"x": values, "i": range(8)})
    if pa.types.is_dictionary(kind):
        table = table.set_column(0, "x", values.dictionary_encode())
    files = written(table, tmp_path, 3)
    for parts in (0, 3):
        _told, found = carried(_rows_of_group, files, "group", parts=parts, by=["x"])
        got = sorted(row["i"] for one in found for row in one.to_pylist())
        assert got == [[0, 3, 7], [1, 6], [2, 5], [4]]


def _rows_of_group(data: pa.Table) -> Rows:
    return [{"i": data["i"].to_pylist()}]


def test_nanoseconds_part_keys(tmp_path: Path) -> None:
    table = pa.table({"t": pa.array([1, 2, 1], pa.timestamp("ns", "UTC"))})

    def function(data: pa.Table) -> Rows:
        return [{"n": data.num_rows}]

    _told, found = carried(function, written(table, tmp_path), "group", by=["t"])
    assert sorted(found[0]["n"].to_pylist()) == [1, 2]


def test_whole_numbers_in_pandas_are_alike_in_all_batches(tmp_path: Path) -> None:
    table = pa.table({"i": [1, 2, 3, None], "j": [1, 2, 3, 4]})
    kinds = set()

    def function(data: pd.DataFrame) -> pd.DataFrame:
        kinds.add(tuple(map(str, data.dtypes)))
        return data

    told, _found = carried(function, written(table, tmp_path, 1), "batch")
    assert kinds == {("float64", "int64")} and told[0]["rows"] == 4


def test_an_expression_joins_its_tables(tmp_path: Path) -> None:
    table = pa.table({"k": ["上海", None, "a", "a"], "n": [1, 2, 3, 4]})
    (tmp_path / "more").mkdir()
    names = written(pa.table({"k": ["a", "上海"], "full": ["A", "Shanghai"]}), tmp_path / "more")

    def function(data: Any, names: Any, least: int) -> Any:
        joined = data.join(names, "k").filter(data.n >= least)
        return joined.group_by("full").agg(total=joined.n.sum())

    more = {"names": {"kind": "table", "source": "names@1", "files": names}}
    told, found = carried(
        function, written(table, tmp_path), "expression", inputs=more, params={"least": 1}
    )
    assert rows_of(found) == rows_of([pa.table({"full": ["A", "Shanghai"], "total": [7, 1]})])
    assert told[0]["schema"][1] == {"name": "total", "type": "int64"}
    _told, none = carried(
        function, written(table, tmp_path), "expression", inputs=more, params={"least": 9}
    )
    assert none[0].num_rows == 0 and none[0].schema.names == ["full", "total"]


def test_the_first_parameter_that_is_a_table_streams(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    more = written(pa.table({"x": [1, 2, 3]}), tmp_path / "more")

    def function(times: int, data: pa.Table, whole: pa.Table) -> pa.Table:
        assert whole.num_rows == 3 and data.num_rows == 1
        return pa.table({"i": pc.multiply(data["i"], times)})

    files = written(pa.table({"i": [1, 2]}), tmp_path, 1)
    slot = {"kind": "table", "source": "w", "files": more}
    _told, found = carried(function, files, "batch", inputs={"whole": slot}, params={"times": 3})
    assert found[0]["i"].to_pylist() == [3, 6]


# -- what goes wrong -------------------------------------------------------------------------------


def exit_of(
    function: Callable[..., Any], files: list[str], out: Path, style: str, **fields: Any
) -> dict[str, Any]:
    """How the end is told."""
    start = {**ways.start(files, out, style, **fields), "bundle": ""}
    try:
        styles.carry_out(function, start, {})
    except (inputs.Unreadable, outputs.Unstorable) as error:
        ended: dict[str, Any] = error.exit
    except Exception as error:
        ended = ends.of_exception(error, start)
    else:
        raise AssertionError("it went well")
    assert not list(out.rglob("*.parquet")), "something half-written is left"
    return ended


def numbers(tmp_path: Path, rows: int = 100) -> list[str]:
    return written(pa.table({"i": range(rows), "k": ["上海", "a"] * (rows // 2)}), tmp_path, 30, 2)


def bad_row(data: dict[str, Any]) -> dict[str, Any]:
    if data["i"] == 77:
        raise ValueError("seventy-seven")
    return data


def bad_batch(data: pa.Table) -> pa.Table:
    if 77 in data["i"].to_pylist():
        raise ValueError("seventy-seven")
    return data


@pytest.mark.parametrize(("function", "style"), [(bad_row, "row"), (bad_batch, "batch")])
def test_the_row_that_raised_is_shown(
    tmp_path: Path, function: Callable[..., Any], style: str
) -> None:
    ended = exit_of(function, numbers(tmp_path), tmp_path / "out", style)
    assert ended["type"] == "ValueError" and "seventy-seven" in ended["traceback"]
    assert "row 77 of flights@1 (row 27 of its file 1, counted from 0)" in ended["message"]
    assert "i=77, k='a'" in ended["message"] and "on_error: skip" in ended["hint"]


@pytest.mark.parametrize("parts", [0, 3])
@pytest.mark.parametrize(("function", "style"), [(bad_row, "row"), (bad_batch, "batch")])
def test_skipped_rows_are_counted_and_shown(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    function: Callable[..., Any],
    style: str,
    parts: int,
) -> None:
    told, found = carried(function, numbers(tmp_path), style, parts=parts, on_error="skip")
    assert sum(each["meta"]["skipped"] for each in told) == 1
    assert sorted(i for one in found for i in one["i"].to_pylist()) == [
        i for i in range(100) if i != 77
    ]
    log = capsys.readouterr().err
    assert "left out row 77 of flights@1" in log and "left out 1 row in all" in log


def test_ten_skipped_rows_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def function(data: dict[str, Any]) -> dict[str, Any]:
        if data["i"] % 2:
            raise KeyError(data["i"])
        return data

    told, _found = carried(function, numbers(tmp_path), "row", on_error="skip")
    assert told[0]["meta"] == {"skipped": 50}
    log = capsys.readouterr().err
    assert log.count("left out row") == 10 and "left out 50 rows in all" in log


@pytest.mark.parametrize("style", ["row", "batch"])
def test_a_function_that_always_raises_is_not_skipped_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    monkeypatch.setattr(failing, "HOPELESS", 20)
    calls: list[int] = []

    def function(data: Any) -> Any:
        calls.append(1)
        raise NameError("nope")

    ended = exit_of(function, numbers(tmp_path), tmp_path / "out", style, on_error="skip")
    assert ended["type"] == "NameError" and "every one of the first 20 rows" in ended["message"]
    assert len(calls) <= 60


def test_a_batch_that_fails_only_as_a_whole(tmp_path: Path) -> None:
    def function(data: pa.Table) -> pa.Table:
        if data.num_rows > 1:
            raise ValueError("too many")
        return data

    ended = exit_of(function, numbers(tmp_path), tmp_path / "out", "batch")
    assert "rows 0 to 15 of flights@1" in ended["message"] or "rows 0 to 1 " in ended["message"]


def test_a_group_that_raises_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def function(data: pa.Table) -> pa.Table:
        if data["k"][0].as_py() == "上海":
            raise ValueError("not there")
        return data

    ended = exit_of(function, numbers(tmp_path), tmp_path / "out", "group", by=["k"])
    assert "not there (at the group k='上海' (50 rows" in ended["message"]
    told, found = carried(function, numbers(tmp_path), "group", by=["k"], on_error="skip")
    assert told[0]["meta"] == {"skipped": 50} and found[0]["k"].unique().to_pylist() == ["a"]
    assert "left out the group k='上海'" in capsys.readouterr().err


def test_a_group_without_memory_is_named(tmp_path: Path) -> None:
    def function(data: pa.Table) -> pa.Table:
        if data["k"][0].as_py() == "上海":
            raise MemoryError
        return data

    for on_error in ("fail", "skip"):
        ended = exit_of(
            function, numbers(tmp_path), tmp_path / "out", "group", by=["k"], on_error=on_error
        )
        assert ended["reason"] == "memory" and "k='上海' (50 rows" in ended["message"]


def test_a_group_that_cannot_be_held_is_refused(tmp_path: Path) -> None:
    keys_ = ["大"] * 5000 + [str(i) for i in range(100)]
    files = written(pa.table({"k": keys_, "v": range(5100)}), tmp_path, 300)

    def function(data: pa.Table) -> pa.Table:
        assert data.num_rows == 1
        return data

    ended = exit_of(function, files, tmp_path / "out", "group", by=["k"], memory=50_000)
    assert ended["reason"] == "memory"
    assert "the group k='大' has 5,000 rows" in ended["message"]


def none(data: Any) -> None:
    return None


def text(data: Any) -> str:
    return "done"


def lies(data: pa.Table) -> pa.Table:
    if data["i"][0].as_py() < 40:
        return data
    return data.set_column(0, "i", data["i"].cast(pa.string()))


def lies_by_row(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "i": "many"} if data["i"] == 77 else data


def yields(data: Any) -> Iterator[Any]:
    yield data


async def waits(data: Any) -> Any:
    return data


def delayed(data: Any) -> Any:
    return (each for each in [data])


@pytest.mark.parametrize(
    ("function", "style", "words"),
    [
        (none, "batch", ["returned None (nothing) for rows 0 to", "expected a table each time"]),
        (none, "group", ["returned None (nothing) for the group k=", "one without rows"]),
        (text, "batch", ["returned a str for rows 0 to"]),
        (text, "row", ["returned a str for row 0 of flights@1", "expected a dict for each row"]),
        (lies, "batch", ["the column 'i' is int64 in rows 0 to", "is string in rows 4"]),
        (lies_by_row, "row", ["'i' holds int, and then 'many', of str, for row 77 of flights@1"]),
        (yields, "batch", ["the function is a generator"]),
        (yields, "row", ["the function is a generator"]),
        (waits, "batch", ["the function is async"]),
        (delayed, "batch", ["returned a generator for rows"]),
        (none, "expression", ["returned None (nothing)", "returns an Ibis table"]),
        (yields, "expression", ["returned a generator"]),
    ],
)
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_what_is_no_result(
    tmp_path: Path, function: Callable[..., Any], style: str, words: list[str], on_error: str
) -> None:
    ended = exit_of(
        function, numbers(tmp_path), tmp_path / "out", style, by=["k"], on_error=on_error
    )
    said = f"{ended['message']} {ended['hint']}"
    assert ended["reason"] == "output" and all(word in said for word in words), said


def test_what_cannot_be_called(tmp_path: Path) -> None:
    def paths(data: list[Path]) -> None: ...

    out, files = tmp_path / "out", numbers(tmp_path)
    assert "gets tables and no paths" in exit_of(paths, files, out, "batch")["message"]
    ended = exit_of(none, files, out, "group", by=["key"])
    assert ended["reason"] == "input" and "no column 'key' to group by" in ended["message"]
    assert ended["hint"] == "it has: i, k"
    start = {**ways.start(files, out, "batch"), "inputs": {}}
    with pytest.raises(inputs.Unreadable, match="reads a table, and the run has none"):
        styles.carry_out(none, start, {})


def test_an_input_without_a_name_streams_as_the_first_parameter(tmp_path: Path) -> None:
    def joined(rows: pa.RecordBatch, ref: pa.Table) -> pa.Table:
        return pa.table({"i": rows["i"]})

    def rest(rows: pa.RecordBatch, **more: pa.Table) -> pa.Table:
        return pa.table({"i": rows["i"]})

    files = numbers(tmp_path)
    slot = {"kind": "table", "files": files}
    for function, others, streams in (
        (joined, ["data", "ref"], "data"),
        (joined, ["rows", "ref"], "rows"),
        (rest, ["data", "rows"], "rows"),
    ):
        start = ways.start(files, tmp_path / "out", "batch")
        start["inputs"] = dict.fromkeys(others, slot)
        assert styles.streamed(function, start) == streams
        told = styles.carry_out(function, start, {})["output"]
        assert told["rows"] == sum(group.rows for group in groups.listed(files))


def test_a_table_without_rows_is_tried_once(tmp_path: Path) -> None:
    files = written(pa.table({"i": pa.array([], pa.int64())}), tmp_path)

    def doubles(data: pl.DataFrame) -> pl.DataFrame:
        return data.select(j=pl.col("i") * 2)

    for parts in (0, 2):
        told, found = carried(doubles, files, "batch", parts=parts)
        assert [one.schema.names for one in found] == [["j"]] * max(1, parts)
        assert all(each["rows"] == 0 for each in told)

    def total(data: pl.DataFrame) -> pl.DataFrame:
        return data.sum()

    told, _found = carried(total, files, "batch", parts=2)
    assert [each["rows"] for each in told] == [0, 0], "rows were made of no batch"

    def first(data: pl.DataFrame) -> pl.DataFrame:
        return data.with_columns(j=data["i"][0])

    told, _found = carried(first, files, "batch", parts=2)
    assert [each["schema"] for each in told] == [[], []]
    ended = exit_of(first, files, tmp_path / "out", "batch")
    assert "has no rows, and what columns the result has is not known" in ended["message"]


def test_rows_that_are_all_dropped_keep_the_inputs_columns(tmp_path: Path) -> None:
    told, found = carried(none, numbers(tmp_path), "row")
    assert found[0].schema.names == ["i", "k"] and told[0]["rows"] == 0
    told, found = carried(none, numbers(tmp_path), "row", parts=2)
    assert found == [] and [each["schema"] for each in told] == [[], []]


@pytest.mark.parametrize("made", [pa.table({}), pd.DataFrame(), pl.DataFrame()])
@pytest.mark.parametrize("style", ["batch", "group"])
def test_tables_without_columns_are_no_result(tmp_path: Path, made: Any, style: str) -> None:
    def bare(data: pa.Table) -> Any:
        return made

    ended = exit_of(bare, numbers(tmp_path), tmp_path / "out", style, by=["k"])
    assert ended["reason"] == "output" and "has no columns" in ended["message"]
    place = "rows 0 to" if style == "batch" else "the group k="
    assert f"the result for {place}" in ended["message"]


def test_lists_without_rows_keep_the_inputs_columns(tmp_path: Path) -> None:
    def kept(data: list[dict[str, Any]]) -> Rows:
        return []

    _told, found = carried(kept, numbers(tmp_path), "batch")
    assert found[0].schema.names == ["i", "k"]


@pytest.mark.parametrize(
    "made",
    [
        pa.table([[1], [2]], names=["a", "a"]),
        pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
    ],
)
def test_two_columns_of_one_name_are_told_with_what_helps(tmp_path: Path, made: Any) -> None:
    def doubled(data: pa.Table) -> Any:
        return made

    ended = exit_of(doubled, numbers(tmp_path), tmp_path / "out", "batch")
    with pytest.raises(outputs.Unstorable) as caught:
        outputs.keep(made, {"outputs": {"output": {"kind": "result"}}, "out": str(tmp_path / "o")})
    for told in (ended, caught.value.exit):
        assert "has two columns named 'a'" in told["message"]
        assert told["hint"] == "rename one of the two"


def test_dicts_have_the_columns_that_ever_came_and_the_types_of_their_values(
    tmp_path: Path,
) -> None:
    kind = pa.struct([("x", pa.int64())])
    columns = {
        "i": pa.array(range(20)),
        "d": pa.array([Decimal("1.25")] * 20, pa.decimal128(20, 2)),
        "s": pa.array([{"x": 2**53 + 1}, {"x": None}] * 10, kind),
    }
    files = written(pa.table(columns), tmp_path)

    def row(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "late": 1} if data["i"] > 15 else data

    def frame(data: pd.DataFrame) -> pd.DataFrame:
        return data

    def kept(data: pa.Table) -> pa.Table:
        return data

    [_told], [table] = carried(row, files, "row")
    assert table.column("late").to_pylist() == [None] * 16 + [1] * 4
    assert table.schema.field("d").type == pa.decimal128(3, 2)
    assert table.schema.field("s").type == kind
    [_told], [table] = carried(frame, files, "batch")
    assert table.schema.field("s").type == pa.struct([("x", pa.float64())])
    [_told], [table] = carried(kept, files, "batch")
    assert table.schema.types == pa.table(columns).schema.types
