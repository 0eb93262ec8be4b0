"""Carry out a function of the style `expression`: Ibis tables in, an Ibis table out, on DuckDB.

Every table input is a table of one connection, so that they can be joined.
"""

from __future__ import annotations

import os
import warnings
from typing import Any, Callable, Iterator

from . import brackets, convert, groups, inputs, measure, outputs, tables
from .sink import Sink, fit


def carry_out(function: Callable[..., Any], start: dict[str, Any], out: str) -> dict[str, Any]:
    """What was staged in the folder `out`. Memory holds a few batches, and what DuckDB does not
    spill."""
    with Lazily(start) as lazily:
        made = lazily.made(function)
        sink = Sink(out)
        try:
            for table in rows(made):
                sink.write(table, convert.MEANT, "a batch")
            if sink.schema is None:
                sink.write(made.schema().to_pyarrow().empty_table(), convert.MEANT, "no rows")
            return sink.close()
        except BaseException:
            sink.discard()
            raise


def rows(made: Any) -> Iterator[Any]:
    """The rows of an Ibis table, as tables of the types that Ibis says."""
    # DuckDB's own types are wider here and there: a sum of int64 is a decimal.
    schema = made.schema().to_pyarrow()
    with warnings.catch_warnings():  # Ibis calls what newer DuckDBs deprecate
        warnings.simplefilter("ignore", DeprecationWarning)
        for batch in made.to_pyarrow_batches(chunk_size=groups.ROWS):
            yield fit(convert.table_of(batch), schema)


class Lazily:
    """Ibis tables over the inputs of `start`, on one connection that ends with this."""

    def __init__(self, start: dict[str, Any]) -> None:
        """`cores` of the call limits its threads; what does not fit its memory is spilled."""
        cores = int(start["entry"]["call"].get("cores") or 0)
        settings: dict[str, Any] = {"threads": cores} if cores else {}
        backend = tables.use("ibis").duckdb  # importing it takes memory
        if spare := measure.spare(cores):
            settings["memory_limit"] = f"{spare}B"
        self.start = start
        self.connection = backend.connect(**settings)
        self.connection.compiler = brackets.of_duckdb()
        self.connection.raw_sql("SET TimeZone = 'UTC'")
        os.makedirs(start["out"], exist_ok=True)  # the last folder of its path DuckDB makes itself
        spill = os.path.join(start["out"], "spill")
        self.connection.raw_sql("SET temp_directory = '{}'".format(spill.replace("'", "''")))

    def __enter__(self) -> Lazily:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.disconnect()

    def made(self, function: Callable[..., Any]) -> Any:
        """What the function returns: an Ibis table."""
        given = dict(self.start.get("inputs", {}))
        for name, slot in given.items():
            if slot["kind"] == "table":
                table = self.connection.read_parquet(slot["files"], table_name="tw_" + name)
                given[name] = {"kind": "value", "value": table}
        args, kwargs = inputs.bind(function, {**self.start, "inputs": given})
        made = function(*args, **kwargs)
        if not hasattr(made, "to_pyarrow_batches"):
            raise outputs.Unstorable(
                f"the function returned {convert.described(made)}",
                "a function of the style 'expression' returns an Ibis table: what it makes of its "
                "inputs, not yet carried out",
            )
        return made.as_table()
