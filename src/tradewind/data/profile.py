"""Statistics of each column of a version, and its content hash.

The files are read by column, each column once for the figures of all rows and once for its values;
nothing is held but aggregates, of a wide table for some columns at a time. `distinct` and `top` are
exact up to 2 million rows. Beyond that `distinct` comes from DuckDB's HyperLogLog
(`distinct_exact: false`; within about 5 % on the flights) and `top` are the values of its
approximate top list with their exact counts.

    count      rows with a value         nulls   rows without
    min, max   numbers, times (ISO 8601, UTC), texts (first 200 characters)
    mean, std  numbers and bools (the share of true); std is of the sample
    quantiles  numbers, at 5, 25, 50, 75, 95 %; exact up to 2 million rows, else a t-digest
    nan        floats that are no number or infinite: not in the figures above
    top        at most 10 values, most frequent first
Columns of lists, structs, maps and bytes have `count` and `nulls` only.

All that holds for small tables (`bounds`). A larger one is not read a second time: an import has
what `passing` saw of its rows (no `distinct`, `quantiles`, `top`), a function's result what the
footers of its files say (`outline`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.data import parquet
from tradewind.data.digest import TableDigest
from tradewind.data.duck import connect, quoted
from tradewind.data.types import arrow, name_of, schema_json, stored_schema

if TYPE_CHECKING:
    import pyarrow as pa

EXACT_ROWS = 2_000_000
TOP = 10
# So many columns of a table are looked at in one go.
TOGETHER = 64
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LONGEST = 200
LARGEST = 1e150  # the squares of larger numbers are no floats: they have no deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column's statistics."""

    name: str
    type: str
    count: int | None
    nulls: int | None
    distinct: int | None = None
    distinct_exact: bool = True
    min: Any = None
    max: Any = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float, ...] = ()
    nan: int = 0
    top: tuple[tuple[Any, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A version's statistics. `digest` is the content hash (tradewind.data.digest)."""

    rows: int
    schema: list[dict[str, str]]
    digest: str
    columns: tuple[ColumnProfile, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The form in which versions carry it."""
        body = asdict(self)
        body["columns"] = [_lean(column) for column in body["columns"]]
        return body


def _lean(column: dict[str, Any]) -> dict[str, Any]:
    """Without what does not apply to the column's type."""
    empty: tuple[Any, ...] = (None, (), [])
    kept = {name: value for name, value in column.items() if value not in empty}
    if not kept.get("nan"):
        kept.pop("nan", None)
    if "distinct" not in kept:
        kept.pop("distinct_exact")
    for end in ("min", "max"):
        # A Parquet footer has -0.0 for a least value of 0.0, whichever of them the rows hold.
        if isinstance(kept.get(end), float) and kept[end] == 0:
            kept[end] = 0.0
    return kept


def profile(files: Sequence[Path | str], digest: str = "") -> Profile:
    """Statistics of these Parquet files as one table; `digest` if it is known already."""
    schema = stored_schema(parquet.schema_of(files))
    if not digest:
        running = TableDigest(schema)
        for batch in parquet.batches(files, schema, check=True):
            running.update(batch)
        digest = running.value()
    with connect({"t": files}) as connection:
        rows = connection.execute("SELECT count(*) FROM t").fetchall()[0][0]
        columns: list[ColumnProfile] = []
        for some in _together(connection, list(schema)):
            figures = _figures(connection, some, exact=rows <= EXACT_ROWS)
            columns += map(partial(_column, connection, rows), some, figures)
    return Profile(rows=rows, schema=schema_json(schema), digest=digest, columns=tuple(columns))


def _together(connection: Any, fields: list[pa.Field]) -> Iterator[list[pa.Field]]:
    """The columns, so many at a time; `t` has at least these. A query over a table looks at all of
    its columns, so a wide one is taken apart: else each column would cost as much as there are
    columns, and the state of all their figures would be held at once."""
    if len(fields) <= TOGETHER:
        yield fields
        return
    connection.execute("ALTER VIEW t RENAME TO whole")
    for start in range(0, len(fields), TOGETHER):
        some = fields[start : start + TOGETHER]
        names = ", ".join(quoted(one.name) for one in some)
        connection.execute(f"CREATE TEMP TABLE t AS SELECT {names} FROM whole")
        yield some
        connection.execute("DROP TABLE t")


def outline(files: Sequence[Path | str], digest: str) -> Profile:
    """What the files' footers say: rows, and by column values, nulls, smallest and largest. Nothing
    is read but footers, so that a large table that was made here costs no second reading."""
    schema = stored_schema(parquet.schema_of(files))
    rows, found = 0, {name: _Footers() for name in schema.names}
    for path in files:
        with parquet.open_file(Path(path)) as reader:
            rows += reader.metadata.num_rows
            for number in range(reader.metadata.num_row_groups):
                group_ = reader.metadata.row_group(number)
                if not group_.num_rows:  # it tells nothing, and there is nothing to tell
                    continue
                for index in range(group_.num_columns):
                    column = group_.column(index)
                    if column.path_in_schema in found:
                        found[column.path_in_schema].add(column)
    columns = tuple(found[one.name].column(one.name, name_of(one.type), rows) for one in schema)
    return Profile(rows=rows, schema=schema_json(schema), digest=digest, columns=columns)


class _Footers:
    """One column's figures over row groups; what one group does not tell, nobody tells."""

    def __init__(self) -> None:
        self.nulls: int | None = 0
        self.least: Any = None
        self.most: Any = None
        self.whole, self.told = True, False

    def add(self, column: Any) -> None:
        self.told = True
        told = column.statistics
        if told is None or not told.has_null_count or self.nulls is None:
            self.nulls = None
        else:
            self.nulls += told.null_count
        if told is not None and told.has_min_max:
            self.least = told.min if self.least is None else min(self.least, told.min)
            self.most = told.max if self.most is None else max(self.most, told.max)
        elif told is None or told.null_count != column.num_values:
            self.whole = False

    def column(self, name: str, kind: str, rows: int) -> ColumnProfile:
        least, most = (self.least, self.most) if self.whole else (None, None)
        if rows and not self.told:  # a footer tells of the leaves of lists and structs only
            self.nulls = None
        return ColumnProfile(
            name=name,
            type=kind,
            count=None if self.nulls is None else rows - self.nulls,
            nulls=self.nulls,
            min=_told(least),
            max=_told(most),
        )


def _told(value: Any) -> Any:
    """A footer's value as a statistic is written: JSON, times as ISO 8601, short texts."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, Decimal):
        return str(value)
    if not hasattr(value, "isoformat"):
        return None
    return value.isoformat().replace("+00:00", "Z")


def group(kind: pa.DataType) -> str:
    """`number`, `float`, `bool`, `time`, `text` or `other`: which statistics a column has."""
    is_ = arrow().types
    if is_.is_floating(kind):
        return "float"
    if is_.is_integer(kind) or is_.is_decimal(kind):
        return "number"
    if is_.is_boolean(kind):
        return "bool"
    if is_.is_date(kind) or is_.is_timestamp(kind):
        return "time"
    return "text" if is_.is_string(kind) else "other"


def _figures(connection: Any, fields: list[pa.Field], exact: bool) -> list[list[Any]]:
    """[count, nan, min, max, mean, std, quantiles] of each of these columns, in one reading."""
    quantile = "quantile_cont" if exact else "approx_quantile"
    wanted: list[str] = []
    for one in fields:
        name, sort = quoted(one.name), group(one.type)
        number = f"CAST({name} AS DOUBLE)"
        finite = f" FILTER (WHERE isfinite({name}))" if sort == "float" else ""
        wanted.append(f"count({name})")
        wanted.append(f"count({name}) FILTER (WHERE NOT isfinite({name}))" if finite else "0")
        if sort == "other":
            wanted += ["NULL", "NULL"]
        elif sort in ("text", "time"):
            wanted += [f"CAST(min({name}) AS VARCHAR)", f"CAST(max({name}) AS VARCHAR)"]
        else:
            wanted += [f"min({name}){finite}", f"max({name}){finite}"]
        if sort in ("number", "float", "bool"):
            number = f"CAST(CAST({name} AS INT) AS DOUBLE)" if sort == "bool" else number
            small = f" FILTER (WHERE abs({number}) < {LARGEST})"
            wanted += [f"avg({number}){finite}", f"stddev_samp({number}){small}"]
        else:
            wanted += ["NULL", "NULL"]
        has = sort in ("number", "float")
        wanted.append(f"{quantile}({number}, {list(QUANTILES)}){finite}" if has else "NULL")
    row = connection.execute(f"SELECT {', '.join(wanted)} FROM t").fetchall()[0]
    return [list(row[start : start + 7]) for start in range(0, len(row), 7)]


def _column(connection: Any, rows: int, one: pa.Field, figures: list[Any]) -> ColumnProfile:
    count, nan, low, high, mean, std, quantiles = figures
    if any(isinstance(end, float) and abs(end) >= LARGEST for end in (low, high)):
        std = None
    distinct: int | None = None
    top: tuple[tuple[Any, int], ...] = ()
    if group(one.type) != "other":
        distinct, top = _values(connection, one, rows <= EXACT_ROWS)
    return ColumnProfile(
        name=one.name,
        type=name_of(one.type),
        count=count,
        nulls=rows - count,
        distinct=distinct,
        distinct_exact=rows <= EXACT_ROWS,
        min=plain(low, one.type),
        max=plain(high, one.type),
        mean=_finite(mean),
        std=_finite(std),
        quantiles=tuple(value for value in quantiles or () if math.isfinite(value)),
        nan=nan,
        top=top,
    )


def _values(connection: Any, one: pa.Field, exact: bool) -> tuple[int, tuple[tuple[Any, int], ...]]:
    name = quoted(one.name)
    shown = "CAST(v AS VARCHAR)" if group(one.type) in ("text", "time") else "v"
    if exact:
        source, distinct = "t", "count(*) OVER ()"
    else:
        source = f"t WHERE {name} IN (SELECT unnest(approx_top_k({name}, {TOP})) FROM t)"
        distinct = f"(SELECT approx_count_distinct({name}) FROM t)"
    found = connection.execute(
        f"WITH g AS (SELECT {name} AS v, count(*) AS n FROM {source} GROUP BY 1) "
        f"SELECT {shown}, n, {distinct} FROM g WHERE v IS NOT NULL "
        f"ORDER BY n DESC, v LIMIT {TOP}"
    ).fetchall()
    top = tuple((plain(value, one.type), count) for value, count, _ in found)
    return (found[0][2] if found else 0), top


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def plain(value: Any, kind: pa.DataType) -> Any:
    """A value as JSON has it. Times are ISO 8601; a decimal keeps its digits as text."""
    sort = group(kind)
    if value is None:
        return None
    if sort == "text":
        return value[:_LONGEST]
    if sort == "time":
        text = value.replace(" ", "T")
        return text[:-3] + "Z" if text.endswith("+00") else text
    if sort == "float":
        return value if math.isfinite(value) else str(value)
    return str(value) if arrow().types.is_decimal(kind) else value
