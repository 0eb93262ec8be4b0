"""What functions are given and what becomes of their results: files to frames, SQL, Ibis.

A version is a list of Parquet files in order. `stream` holds one block in memory, the others hold
the whole table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base import errors
from tradewind.data import direct, duck, parquet
from tradewind.data.types import arrow, first_line, fit, schema_json, stored_schema

if TYPE_CHECKING:
    import pyarrow as pa

Files = Sequence[Path | str]


def stream(files: Files, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
    """The rows in batches, in order."""
    pa = arrow()
    schema = parquet.schema_of(files)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    return pa.RecordBatchReader.from_batches(
        schema, parquet.batches(files, schema, columns=columns)
    )


def table(files: Files, columns: Sequence[str] | None = None) -> pa.Table:
    """A `pyarrow.Table`."""
    return stream(files, columns).read_all()


def pandas(files: Files, columns: Sequence[str] | None = None) -> Any:
    """A `pandas.DataFrame`."""
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise errors.missing_extra("pandas", "pandas") from error
    return table(files, columns).to_pandas()


def polars(files: Files, columns: Sequence[str] | None = None) -> Any:
    """A `polars.DataFrame`."""
    try:
        import polars
    except ImportError as error:
        raise errors.missing_extra("polars", "polars") from error
    return polars.from_arrow(table(files, columns))


def preview(files: Files, limit: int = 20) -> dict[str, Any]:
    """The first rows: {"columns": [...], "rows": [[...]]}; values are JSON, or their text."""
    pa = arrow()
    rows: list[list[Any]] = []
    schema = parquet.schema_of(files)
    for batch in parquet.batches(files, rows=max(1, min(limit, 1024))):
        if len(rows) >= limit:
            break
        part = batch.slice(0, limit - len(rows))
        rows += [[_json(value) for value in row] for row in _pylist(pa, part)]
    return {"columns": schema.names, "rows": rows}


def _pylist(pa: Any, batch: Any) -> list[list[Any]]:
    # Python's datetime ends at the year 9999 and Arrow raises beyond; the text has no such end.
    columns = []
    for values in batch.columns:
        try:
            columns.append(values.to_pylist())
        except (ValueError, OverflowError, pa.ArrowException):
            columns.append(values.cast(pa.string()).to_pylist())
    return [list(row) for row in zip(*columns, strict=True)]


def _json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def relation(connection: Any, files: Files) -> Any:
    """A DuckDB relation over these files, on a connection of the caller's own."""
    return connection.read_parquet([str(path) for path in files])


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a query made: Parquet files in order of rows, and what is known of them."""

    files: tuple[Path, ...]
    rows: int
    schema: list[dict[str, str]]


def sql(
    query: str,
    inputs: Mapping[str, Files],
    out: Path,
    *,
    params: Mapping[str, Any] | None = None,
    threads: int = 0,
    memory: int = 0,
) -> Written:
    """Run one SELECT on DuckDB over the named inputs; its rows as Parquet files in `out`.

    `$name` in the query is `params["name"]`. The query reads the inputs and nothing else. An error
    in it is InvalidSpec, in the data InvalidData, located by line and column of the query.
    """
    duckdb = duck.library()
    path = out / "part-00000.parquet"
    with duck.connect(inputs, threads=threads, memory=memory, file=path) as connection:
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise errors.InvalidSpec("expected one SELECT", where=errors.Location(field="sql"))
            given = _given(statements[0].named_parameters, params or {})
            duck.check(connection, query)
            if made := direct.write(connection, query, given, path, parquet.ROWS_PER_GROUP):
                return Written(files=(path,), rows=made[0], schema=made[1])
            found = connection.sql(query, params=given) if given else connection.sql(query)
            return _fetched(found, query, out)
        except duckdb.Error as error:
            raise duck.fault(error, query) from error


def _fetched(found: Any, query: str, out: Path) -> Written:
    try:
        return _through_arrow(found.to_arrow_reader(parquet.ROWS_PER_GROUP), out)
    except (duck.library().Error, arrow().ArrowException) as error:
        # raised by DuckDB, or by it while Arrow fetched its rows
        raise duck.fault(error, query) from error


def _given(wanted: set[str], params: Mapping[str, Any]) -> dict[str, Any]:
    if missing := sorted(wanted - params.keys()):
        raise errors.InvalidSpec(
            f"the query's parameter ${missing[0]} has no value",
            hint="the parameters given are " + (", ".join(sorted(params)) or "none"),
            where=errors.Location(field="sql"),
        )
    return {name: params[name] for name in wanted}


def ibis(expression: Callable[..., Any], inputs: Mapping[str, Files], out: Path) -> Written:
    """Call `expression` with an Ibis table per input (by name), run what it returns on DuckDB."""
    try:
        import ibis as library
    except ImportError as error:
        raise errors.missing_extra("ibis", "ibis") from error
    # Made of schemas alone, the expression becomes one SELECT, and reaches what a query reaches.
    tables = {
        name: library.table(library.Schema.from_pyarrow(parquet.schema_of(files)), name=name)
        for name, files in inputs.items()
    }
    made = expression(**tables)
    if not hasattr(made, "to_pyarrow_batches"):
        raise errors.InvalidData(f"expected an Ibis table, not {type(made).__name__}")
    return sql(str(library.to_sql(made.as_table(), dialect="duckdb")), inputs, out)


def write(frame: Any, out: Path) -> list[Path]:
    """A function's result as Parquet files: Arrow tables, batches and readers, pandas, polars,
    DuckDB relations and anything else that offers the Arrow stream protocol."""
    pa = arrow()
    if type(frame).__module__.split(".")[0] == "pandas" and hasattr(frame, "columns"):
        with _explained():
            frame = pa.Table.from_pandas(frame, preserve_index=False)
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, list) and all(isinstance(row, dict) for row in frame) and frame:
        with _explained():
            frame = pa.Table.from_pylist(frame)
    if hasattr(frame, "__arrow_c_stream__"):
        with _explained():
            return _write(pa.RecordBatchReader.from_stream(frame), out)
    raise errors.InvalidData(
        f"a {type(frame).__name__} is no table",
        hint="return a pyarrow.Table, a pandas or polars DataFrame, or a list of dicts",
    )


@contextlib.contextmanager
def _explained() -> Any:
    pa = arrow()
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise errors.InvalidData(f"this is no table: {first_line(error)}") from error


def _write(reader: Any, out: Path) -> list[Path]:
    return list(_through_arrow(reader, out).files)


def _through_arrow(reader: Any, out: Path) -> Written:
    schema = stored_schema(reader.schema)
    with parquet.Writer(out, schema) as writer:
        for batch in reader:
            writer.write(fit(batch, schema))
    return Written(files=tuple(writer.files), rows=writer.rows, schema=schema_json(schema))
