"""What becomes of the index of a frame that a function returns, in every style."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.unit.inside import ways
from tradewind.inside import convert, tables

# Ids that count on: pandas keeps such an index as a range.
DATA = pa.table({"id": [0, 1, 2, 3], "w": [0.5, 1.5, 2.5, 3.5], "k": ["a", "b", "a", "b"]})


def by_id(data: pd.DataFrame) -> pd.DataFrame:
    return data.set_index("id")[["w"]]


def filtered(data: pd.DataFrame) -> pd.DataFrame:
    return data[data["w"] > 1][["w"]]


def lettered(data: pd.DataFrame) -> pd.DataFrame:
    return data.set_index(pd.Index(list("abcdefgh"[: len(data)])))[["w"]]


def half_named(data: pd.DataFrame) -> pd.DataFrame:
    return data.set_index(["id", pd.Index(list("abcdefgh"[: len(data)]))])[["w"]]


def kept(data: pd.DataFrame) -> pd.DataFrame:
    return data.set_index("w", drop=False)[["w"]]


def summed(data: pd.DataFrame) -> pd.Series[float]:
    return data.groupby("k")["w"].sum()


@pytest.mark.parametrize(
    ("function", "columns"),
    [
        (by_id, ["w", "id"]),
        (filtered, ["w"]),
        (lettered, ["w"]),
        (half_named, ["w", "id"]),
        (kept, ["w"]),
        (summed, ["w", "k"]),
    ],
)
def test_a_named_index_is_data_and_one_without_a_name_is_not(
    tmp_path: Path, function: Callable[[pd.DataFrame], pd.DataFrame], columns: list[str]
) -> None:
    made = function(DATA.to_pandas())
    found = convert.taken(made)
    assert found is not None and found[0].column_names == columns
    tables.write(made, str(tmp_path / "whole.parquet"))
    written = pa.parquet.read_table(tmp_path / "whole.parquet")
    assert written.column_names == columns and written.equals(found[0])


def test_ids_are_there_whatever_they_are_in_a_batch(tmp_path: Path) -> None:
    """They count on in one batch and not in the other."""
    table = pa.table({"id": [0, 1, 7, 3], "w": [0.5, 1.5, 2.5, 3.5]})
    told, found = ways.carried(by_id, ways.written(table, tmp_path, 2), "batch")
    assert told[0]["rows"] == 4
    assert [row for each in found for row in each["id"].to_pylist()] == [0, 1, 7, 3]
