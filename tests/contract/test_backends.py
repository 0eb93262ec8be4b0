"""Every backend gives what the function gives of the whole table, up to the order of rows.

A backend sits this exam by a line in `CARRIERS`. What it cannot do is a gap of the matrix
(kinds/function/matrix.py): a gap that works fails here, and so does a promise that does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inside import ways
from tests.unit.inside.ways import carried, rows_of, written
from tradewind.data import frames
from tradewind.inside import convert, inputs, outputs
from tradewind.kinds.function import matrix, work

# How many generated tables each function is tried on.
INPUTS = 6
Rows = list[dict[str, Any]]
Carrier = Callable[[Callable[..., Any], list[str], str, dict[str, Any], int], list[pa.Table]]


def _in_one(
    function: Callable[..., Any], files: list[str], style: str, call: dict[str, Any], parts: int
) -> list[pa.Table]:
    return carried(function, files, style, **call)[1]


def _in_parts(
    function: Callable[..., Any], files: list[str], style: str, call: dict[str, Any], parts: int
) -> list[pa.Table]:
    return carried(function, files, style, parts=parts, **call)[1]


# Backend → the styles that it is tried with, and what carries them out.
CARRIERS: dict[str, tuple[tuple[str, ...], Carrier]] = {
    "python": (("table",), _in_one),
    "duckdb": (("expression", "sql", "batch", "row", "group"), _in_one),
    "partitions": (("batch", "row", "group"), _in_parts),
}

# What tests/contract/test_spark.py tries, where there is a Spark.
ELSEWHERE = {"spark": {"expression", "batch", "row", "group"}}


# -- functions, each with how it is called and what it gives of a whole table ----------------------


def late(data: pa.Table) -> pa.Table:
    kept = data.filter(pc.greater(data["n"], 0))
    return kept.append_column("double", pc.add(kept["d"], kept["d"]))


def hours(data: pl.DataFrame) -> pl.DataFrame:
    return data.select("k", "f", hour=pl.col("z").dt.hour(), city=pl.col("k") + "市")


def shares(data: pd.DataFrame) -> pd.DataFrame:
    return data[["i", "n", "s"]].assign(part=data["n"] / 4, more=data["i"] + 1)


def tidy(data: dict[str, Any]) -> dict[str, Any] | None:
    if data["b"] is None:
        return None
    return {"s": data["s"], "d": data["d"], "f": data["f"], "t": data["t"], "是": data["b"]}


def doubled(data: dict[str, Any]) -> Rows:
    return [{"k": data["k"], "n": data["n"]}] * (data["n"] or 0)


def sizes(data: pa.Table) -> Rows:
    total = pc.sum(data["n"]).as_py()
    return [{"n": data.num_rows, "total": total, "largest": pc.max(data["i"]).as_py()}]


def firsts(data: pl.DataFrame) -> pl.DataFrame:
    return data.sort("i", nulls_last=True).select("i").head(1).with_columns(rows=data.height)


def described(data: pa.Table) -> pa.Table:
    return data.group_by("n").aggregate([("i", "count")])


def by_city(data: Any) -> Any:
    return data.group_by("k").agg(n=data.count(), total=data.n.sum(), last=data.t.max())


def kept(data: Any) -> Any:
    return data.filter(data.n > 0).select("i", "d", "t", "s", "f")


# Which of the two zeros a key shows is chance: the threads race.
QUERY = "SELECT k, f + 0 AS f, count(*) AS n, sum(d) AS total FROM data GROUP BY k, f"

CASES: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
    ("table", described, {}),
    ("batch", late, {}),
    ("batch", hours, {}),
    ("batch", shares, {}),
    ("row", tidy, {}),
    ("row", doubled, {}),
    ("group", sizes, {"by": ["f"]}),
    ("group", sizes, {"by": ["k", "b"]}),
    ("group", firsts, {"by": ["d"]}),
    ("group", firsts, {"by": ["z", "n"]}),
    ("expression", by_city, {}),
    ("expression", kept, {}),
    ("sql", work.run_sql, {"params": {"sql": QUERY}}),
]


def whole(
    function: Callable[..., Any], style: str, call: dict[str, Any], files: list[str], folder: Path
) -> list[pa.Table]:
    """What it gives, without a backend: by a loop, or by the library that it is written for."""
    table = frames.table(files)
    if style == "row":
        given = [function(row) for row in table.to_pylist()]
        rows = [one for each in given for one in (each if isinstance(each, list) else [each])]
        return [convert.from_rows([row for row in rows if row is not None])]
    if style == "group":
        hint = inputs.hints_of(function).get("data")
        give = convert.giver(convert.wanted(hint), table.schema, set())
        return [_taken(function(give(each))) for each in _groups(table, call["by"])]
    if style == "expression":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return [function(ibis.memtable(table)).to_pyarrow()]
    if style == "sql":
        return [frames.table(frames.sql(QUERY, {"data": files}, folder).files)]
    args, kwargs = inputs.bind(function, ways.start(files, folder, style))
    return [_taken(function(*args, **kwargs))]


def _taken(made: Any) -> pa.Table:
    found = convert.taken(made)
    assert found is not None
    return found[0]


def _groups(table: pa.Table, by: list[str]) -> list[pa.Table]:
    """One key after the other, by comparing them in Python."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(table.select(by).to_pylist()):
        # 0.0 is -0.0, and NaN is NaN.
        key = repr([value + 0.0 if isinstance(value, float) else value for value in row.values()])
        found.setdefault(key, []).append(place)
    return [table.take(places) for places in found.values()]


@pytest.mark.parametrize("backend", list(CARRIERS))
@pytest.mark.parametrize(
    ("style", "function", "call"),
    CASES,
    ids=[f"{style}-{function.__name__}-{'+'.join(call.get('by', []))}".rstrip("-")
         for style, function, call in CASES],
)  # fmt: skip
def test_a_backend_gives_what_the_function_gives(
    tmp_path_factory: pytest.TempPathFactory,
    backend: str,
    style: str,
    function: Callable[..., Any],
    call: dict[str, Any],
) -> None:
    styles, carrier = CARRIERS[backend]
    if style not in styles:
        assert matrix.MATRIX[style][backend].state != "yes"
        return

    @settings(max_examples=INPUTS)
    @given(ways.tables(), ways.layouts(), st.integers(2, 5))
    def check(table: pa.Table, layout: tuple[int, int], parts: int) -> None:
        folder = tmp_path_factory.mktemp("backends")
        files = written(table, folder, *layout)
        expected = rows_of(whole(function, style, call, files, folder / "whole"))
        try:
            found = rows_of(carrier(function, files, style, call, parts))
        except outputs.Unstorable as error:
            # Of a table without rows nobody knows what columns a function of groups gives.
            assert not table.num_rows and "has no rows" in str(error)
            return
        assert found == expected

    check()


def test_what_works_is_what_the_matrix_says() -> None:
    """A backend that carries a style out is said to; what is said to work is tried above."""
    said = {name: {style for style in matrix.MATRIX if name in matrix.able(style)} for name in
            matrix.BACKENDS}  # fmt: skip
    works = {name: set(CARRIERS[name][0]) if name in CARRIERS else ELSEWHERE[name] for name in said}
    assert works == said
    assert {style for style, _function, _call in CASES} == set(matrix.STYLES)
