"""What becomes of NaN beside nulls in a column that a function returns untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.inside import ways
from tradewind.inside import styles

NAN = float("nan")
DATA = pa.table({"k": [1, 1, 1], "y": [0.5, NAN, None]})


def of_pandas(data: pd.DataFrame) -> pd.DataFrame:
    return data


def of_polars(data: pl.DataFrame) -> pl.DataFrame:
    return data


def of_arrow(data: pa.Table) -> pa.Table:
    return data


def of_duckdb(data: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return data


def of_rows(row: dict[str, Any]) -> dict[str, Any]:
    return row


@pytest.mark.parametrize("style", ["table", "batch", "group"])
@pytest.mark.parametrize(
    ("function", "kept"),
    [(of_pandas, False), (of_polars, True), (of_arrow, True), (of_duckdb, True)],
)
def test_nan_is_null_only_where_pandas_means_it(
    tmp_path: Path, function: Callable[..., Any], kept: bool, style: str
) -> None:
    told = ["0.5", "nan", "None"] if kept else ["0.5", "None", "None"]
    assert returned(function, style, tmp_path) == told


def test_rows_keep_nan_and_null_apart(tmp_path: Path) -> None:
    assert returned(of_rows, "row", tmp_path) == ["0.5", "nan", "None"]


def returned(function: Callable[..., Any], style: str, folder: Path) -> list[str]:
    fields: dict[str, Any] = {"by": ["k"]} if style == "group" else {}
    start = ways.start(ways.written(DATA, folder), folder, style, **fields)
    made = styles.carry_out(function, start, {})["output"]
    files = sorted(Path(made["path"]).glob("*.parquet"))
    return [str(value) for file in files for value in pq.read_table(file)["y"].to_pylist()]
