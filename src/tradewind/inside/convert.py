"""One batch to the kind of table that a function wants, and what it returns to Arrow.

A batch looks as the whole table would: in pandas a column of whole numbers with a null anywhere in
the table is one of floats in every batch.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Sequence

from . import tables

EXPECTED = (
    "a pyarrow Table or RecordBatch, a pandas or polars DataFrame, a DuckDB relation, an Ibis "
    "table or a list of dicts"
)
# How surely the types of a result are meant: as they are; where pandas has to guess; where Python
# values are all there is.
SURENESS = MEANT, GUESSED, VALUES = "meant", "guessed", "values"


class Mixed(Exception):
    """Python values that have no type together: `row` is the first that differs."""

    def __init__(self, column: str, row: int, before: str, found: str) -> None:
        super().__init__(f"the column {column!r} holds {before}, and then {found}")
        self.row = row


def wanted(hint: Any) -> str:
    """Which kind of table a parameter takes for one batch: as `tables` says, and record batches."""
    text = hint if isinstance(hint, str) else tables.name_of(hint)
    if "RecordBatch" in text:
        return "batch"
    return tables.wanted(hint)


def giver(kind: str, schema: Any, nulls: set[str]) -> Callable[[Any], Any]:
    """Makes what the function gets of an Arrow table or record batch."""
    if kind == "pandas":
        floats = _floats(schema, nulls)
        return lambda data: _cast(table_of(data), floats).to_pandas()
    if kind == "polars":
        return lambda data: tables.use("polars").from_arrow(table_of(data))
    if kind == "lazy":
        return lambda data: tables.use("polars").from_arrow(table_of(data)).lazy()
    if kind == "duckdb":
        return lambda data: tables.use("duckdb").from_arrow(table_of(data))
    if kind == "ibis":
        return lambda data: tables.use("ibis").memtable(table_of(data))
    if kind == "rows":
        return lambda data: data.to_pylist()
    return _batch if kind == "batch" else table_of


def cutter(kind: str, give: Callable[[Any], Any], table: Any) -> Callable[[int, int], Any]:
    """Makes what the function gets of some rows of a table (start, number), for many small cuts:
    where that is much cheaper, the table is converted once."""
    if kind == "pandas":
        frame = give(table)
        return lambda start, rows: frame.iloc[start : start + rows].reset_index(drop=True)
    if kind == "polars":
        frame = give(table)
        return lambda start, rows: frame.slice(start, rows)
    return lambda start, rows: give(table.slice(start, rows))


def table_of(data: Any) -> Any:
    """A table or record batch as a table."""
    pyarrow = tables.use("pyarrow")
    return data if isinstance(data, pyarrow.Table) else pyarrow.Table.from_batches([data])


def _batch(data: Any) -> Any:
    pyarrow = tables.use("pyarrow")
    if isinstance(data, pyarrow.RecordBatch):
        return data
    found = data.combine_chunks().to_batches()
    return found[0] if found else pyarrow.RecordBatch.from_pylist([], schema=data.schema)


def _floats(schema: Any, nulls: set[str]) -> list[str]:
    is_integer = tables.use("pyarrow").types.is_integer
    return [field.name for field in schema if field.name in nulls and is_integer(field.type)]


def _cast(table: Any, floats: list[str]) -> Any:
    pyarrow = tables.use("pyarrow")
    for name in floats:
        place = table.schema.get_field_index(name)
        column = table.column(place)
        if not column.null_count:  # with one, pandas does it by itself
            column = column.cast(pyarrow.float64(), safe=False)
            table = table.set_column(place, name, column)
    return table


def taken(value: Any) -> tuple[Any, str] | None:
    """What a function returned as an Arrow table, and how surely its types are meant; None if it is
    no table. Raises Mixed."""
    made = _TAKERS.get(tables.library_of(value))
    if made is not None:
        return made(value)
    if isinstance(value, (list, tuple)) and all(isinstance(row, dict) for row in value):
        return from_rows(value), VALUES
    return None


def from_rows(rows: Sequence[dict[str, Any]]) -> Any:
    """Dicts as a table. Its columns are all keys; a row without one has null there."""
    pyarrow = tables.use("pyarrow")
    names = {name: None for row in rows for name in row}
    return pyarrow.table({str(name): _column(name, rows) for name in names})


def _column(name: Any, rows: Sequence[dict[str, Any]]) -> Any:
    pyarrow = tables.use("pyarrow")
    values = [row.get(name) for row in rows]
    errors = (pyarrow.ArrowException, TypeError, ValueError, OverflowError)
    try:
        return pyarrow.array(values)
    except errors as error:
        row = _bad(values, errors)
        before = {type(each).__name__ for each in values[:row] if each is not None}
        large = isinstance(error, OverflowError) and type(values[row]) is int
        what = "which is more than 64 bits hold" if large else f"of {type(values[row]).__name__}"
        found = f"{values[row]!r:.100}, {what}"
        words = " and ".join(sorted(before)) or "nothing"
        raise Mixed(str(name), row, words, found) from error


def _bad(values: list[Any], errors: Any) -> int:
    """Where the first value stands that does not go with those before it."""
    pyarrow = tables.use("pyarrow")
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pyarrow.array(values[:middle])
            low = middle
        except errors:
            high = middle
    return low


def _from_pandas(frame: Any) -> tuple[Any, str]:
    return tables.from_pandas(frame), GUESSED


def _from_polars(frame: Any) -> tuple[Any, str]:
    return frame.to_arrow(), MEANT


def described(value: Any) -> str:
    """What a function returned, as an error says it."""
    if value is None:
        return "None (nothing)"
    if inspect.isgenerator(value):
        return "a generator"
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")


_TAKERS: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "pyarrow.Table": lambda table: (table, MEANT),
    "pyarrow.RecordBatch": lambda batch: (table_of(batch), MEANT),
    "pyarrow.RecordBatchReader": lambda reader: (reader.read_all(), MEANT),
    "pandas.DataFrame": _from_pandas,
    "pandas.Series": lambda series: _from_pandas(series.to_frame()),
    "polars.DataFrame": _from_polars,
    "polars.Series": lambda series: _from_polars(series.to_frame()),
    "polars.LazyFrame": lambda frame: _from_polars(frame.collect()),
    "duckdb.DuckDBPyRelation": lambda relation: (relation.to_arrow_table(), MEANT),
    "ibis.Table": lambda table: (table.to_pyarrow(), MEANT),
}
