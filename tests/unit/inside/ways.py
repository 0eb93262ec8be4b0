"""Functions carried out in a style, in this process, on tables made here."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from tradewind.inside import styles

ZONES = ("UTC", "Asia/Shanghai", None)
TYPES = {
    "i": pa.int64(), "f": pa.float64(), "d": pa.decimal128(12, 3), "t": pa.timestamp("us", "UTC"),
    "z": pa.timestamp("us", "Asia/Shanghai"), "s": pa.string(), "b": pa.bool_(),
    "k": pa.string(), "n": pa.int32(),
}  # fmt: skip
_TEXTS = ("上海", "北京", "", "a", "ä", "A", "a ")
_FLOATS = (0.0, -0.0, math.nan, math.inf, 1.5, -2.25, 1e300)


def _times() -> st.SearchStrategy[Any]:
    return st.integers(0, 4 * 10**15).map(lambda us: pa.scalar(us, pa.timestamp("us", "UTC")))


def tables(most: int = 60) -> st.SearchStrategy[pa.Table]:
    """Tables with nulls, NaN, both zeros, decimals, zones and texts; often few different keys."""

    def of(size: int) -> st.SearchStrategy[pa.Table]:
        def column(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
            return st.lists(st.none() | values, min_size=size, max_size=size)

        micros = st.integers(0, 4 * 10**15)
        cents = st.integers(-(10**8), 10**8).map(lambda n: Decimal(n).scaleb(-3))
        return st.fixed_dictionaries(
            {
                "i": column(st.integers(-(2**40), 2**40)),
                "f": column(st.sampled_from(_FLOATS)),
                "d": column(cents),
                "t": column(micros),
                "z": column(micros),
                "s": column(st.text(st.characters(codec="utf-8"), max_size=5)),
                "b": column(st.booleans()),
                "k": column(st.sampled_from(_TEXTS)),
                "n": column(st.integers(0, 3)),
            }
        ).map(
            lambda columns: pa.table(
                {name: pa.array(v, TYPES[name]) for name, v in columns.items()}
            )
        )

    return st.integers(0, most).flatmap(of)


def layouts() -> st.SearchStrategy[tuple[int, int]]:
    """(rows of a row group, files)."""
    return st.tuples(st.integers(1, 25), st.integers(1, 3))


def written(table: pa.Table, folder: Path, rows: int = 1000, files: int = 1) -> list[str]:
    """As a version of so many files, of row groups of so many rows."""
    step, paths = max(1, math.ceil(table.num_rows / files)), []
    for number in range(files):
        path = folder / f"in-{number}.parquet"
        pq.write_table(table.slice(number * step, step), path, row_group_size=rows)
        paths.append(str(path))
    return paths


def start(
    files: Sequence[str], out: Path, style: str, *, item: Any = None, **fields: Any
) -> dict[str, Any]:
    """What a unit is told."""
    params = fields.pop("params", {})
    more = fields.pop("inputs", {})
    backend = "partitions" if item else "duckdb"
    made = {
        "entry": {"kind": "function", "target": "f.py:f",
                  "call": {"style": style, "backend": backend, **fields}},
        "inputs": {"data": {"kind": "table", "source": "flights@1", "files": list(files)}, **more},
        "outputs": {"output": {"kind": "result"}},
        "params": params,
        "out": str(out),
    }  # fmt: skip
    return {**made, "item": item} if item else made


def carried(
    function: Callable[..., Any], files: Sequence[str], style: str, *, parts: int = 0, **fields: Any
) -> tuple[list[dict[str, Any]], list[pa.Table]]:
    """What each process told, and its rows."""
    told, results = [], []
    with tempfile.TemporaryDirectory() as folder:
        for part in range(max(1, parts)):
            item = {"part": part, "of": parts} if parts else None
            out = Path(folder, str(part))
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TRADEWIND_OUT", str(out))
                made = styles.carry_out(function, start(files, out, style, item=item, **fields), {})
            told.append(made["output"])
            found = sorted(Path(made["output"]["path"]).glob("*"))
            assert all(path.suffix == ".parquet" for path in found) and len(found) <= 1, found
            results += [pq.read_table(path).combine_chunks() for path in found]
    return told, results


def rows_of(results: Sequence[pa.Table]) -> list[str]:
    """All rows, in an order of their own, as text: so NaN is NaN, and 1.0 is not 1."""
    return sorted(repr(sorted(row.items())) for table in results for row in table.to_pylist())


def as_rows(table: pa.Table) -> list[str]:
    """The same of one table."""
    return rows_of([table])
