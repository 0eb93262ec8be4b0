"""Parquet files to the kind of table that a function wants, and back.

Which kind a parameter gets: the one of its annotation (`pandas.DataFrame`, `polars.DataFrame`,
`polars.LazyFrame`, `pyarrow.Table`, a DuckDB relation, an Ibis table, `list[dict]`, `list[Path]`).
Without an annotation: of the library that the user's file imported, else of the first that is
installed, in the order of `_ORDER`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pathlib
import sys
from typing import Any, Callable, Iterable

_ORDER = ("pandas", "polars", "pyarrow", "duckdb")
# Rows of one row group: what a reader has to hold at least.
ROWS = 122_880


class NoLibrary(Exception):
    """The library that reads or writes this is not in the environment."""

    def __init__(self, library: str) -> None:
        super().__init__(f"{library} is not installed in this environment")
        self.hint = f"add {library!r} to the dependencies"


def use(library: str) -> Any:
    """The module. Raises NoLibrary where the environment lacks it."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        if error.name and error.name.partition(".")[0] != library.partition(".")[0]:
            raise
        raise NoLibrary(library.partition(".")[0]) from None


def _installed(library: str) -> bool:
    return library in sys.modules or importlib.util.find_spec(library) is not None


def read(files: list[str], hint: Any) -> Any:
    """All files as one table of the wanted kind."""
    return _READERS[wanted(hint)](files)


def wanted(hint: Any) -> str:
    """The kind of table that an annotation asks for, by its text or itself; see above for none."""
    text = hint if isinstance(hint, str) else name_of(hint)
    for sign, kind in _SIGNS:
        if sign in text:
            return kind
    present = [name for name in _ORDER if name in sys.modules]
    present += [name for name in _ORDER if _installed(name)]
    for library in present:
        if library != "pandas" or _installed("pyarrow"):
            return library
    raise NoLibrary("pyarrow")


def name_of(hint: Any) -> str:
    """An annotation's text, with the module of a class; empty for none."""
    if hint is None:
        return ""
    if isinstance(hint, type) and not getattr(hint, "__args__", None):
        return f"{hint.__module__}.{hint.__qualname__}"
    return str(hint)


_SIGNS = (
    ("LazyFrame", "lazy"),
    ("polars", "polars"),
    ("pl.DataFrame", "polars"),
    ("pandas", "pandas"),
    ("pd.DataFrame", "pandas"),
    ("pyarrow", "pyarrow"),
    ("pa.Table", "pyarrow"),
    ("DuckDBPyRelation", "duckdb"),
    ("ibis", "ibis"),
    ("Path", "paths"),
    ("list[str]", "names"),
    ("List[str]", "names"),
    ("list", "rows"),
    ("List", "rows"),
)


def _arrow(files: list[str]) -> Any:
    pyarrow, parquet = use("pyarrow"), use("pyarrow.parquet")
    parts = [parquet.ParquetFile(path).read() for path in files]
    return parts[0] if len(parts) == 1 else pyarrow.concat_tables(parts)


def _pandas(files: list[str]) -> Any:
    use("pandas")
    return _arrow(files).to_pandas()


def _rows(files: list[str]) -> Any:
    if _installed("pyarrow"):
        return _arrow(files).to_pylist()
    if _installed("polars"):
        return use("polars").read_parquet(files).to_dicts()
    relation = _relation(files) if _installed("duckdb") else _arrow(files)
    return [dict(zip(relation.columns, row)) for row in relation.fetchall()]


def _relation(files: list[str]) -> Any:
    return use("duckdb").read_parquet(files)


_READERS: dict[str, Callable[[list[str]], Any]] = {
    "pyarrow": _arrow,
    "pandas": _pandas,
    "polars": lambda files: use("polars").read_parquet(files),
    "lazy": lambda files: use("polars").scan_parquet(files),
    "duckdb": _relation,
    "ibis": lambda files: use("ibis").duckdb.connect().read_parquet(files),
    "paths": lambda files: [pathlib.Path(path) for path in files],
    "names": list,
    "rows": _rows,
}


def write(value: Any, path: str) -> dict[str, Any] | None:
    """Write a table as one Parquet file and return its rows and columns; None if it is no table."""
    writer = _WRITERS.get(library_of(value))
    if writer is None:
        return None
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return writer(value, path)


class Doubled(ValueError):
    """Two columns with one name: no table that is kept has them."""

    hint = "rename one of the two"

    def __init__(self, name: Any) -> None:
        super().__init__(f"has two columns named {name!r}")


def check_names(names: Iterable[Any]) -> None:
    """Refuse columns that have the same name. Raises Doubled."""
    seen = set()
    for name in names:
        if name in seen:
            raise Doubled(name)
        seen.add(name)


def library_of(value: Any) -> str:
    """Whose this value is, as `library.Class`."""
    kind = type(value)
    return kind.__module__.partition(".")[0].lstrip("_") + "." + kind.__name__


def _write_arrow(table: Any, path: str) -> dict[str, Any]:
    check_names(table.column_names)
    use("pyarrow.parquet").write_table(table, path, row_group_size=ROWS, compression="zstd")
    columns = [{"name": field.name, "type": str(field.type)} for field in table.schema]
    return {"rows": table.num_rows, "schema": columns}


def _write_pandas(frame: Any, path: str) -> dict[str, Any]:
    return _write_arrow(from_pandas(frame), path)


def from_pandas(frame: Any) -> Any:
    """A frame as an Arrow table. An index with a name is data, also one that only counts on, as ids
    may in one batch and not in the next; one without is what filtering left of the row numbers, and
    one of a column's name is that column."""
    check_names(frame.columns)
    names = enumerate(frame.index.names)
    unnamed = [level for level, name in names if name is None or name in frame.columns]
    named = len(unnamed) < len(frame.index.names)
    if named and unnamed:
        frame = frame.droplevel(unnamed)
    return use("pyarrow").Table.from_pandas(frame, preserve_index=named)


def _write_polars(frame: Any, path: str) -> dict[str, Any]:
    frame.write_parquet(path, row_group_size=ROWS)
    columns = [{"name": name, "type": str(kind)} for name, kind in frame.schema.items()]
    return {"rows": frame.height, "schema": columns}


def _write_batches(reader: Any, path: str) -> dict[str, Any]:
    return _write_arrow(reader.read_all(), path)


def _write_duckdb(relation: Any, path: str) -> dict[str, Any]:
    relation.to_parquet(path, compression="zstd", row_group_size=ROWS)
    rows = use("duckdb").read_parquet([path]).count("*").fetchone()[0]
    pairs = zip(relation.columns, relation.types)
    return {"rows": rows, "schema": [{"name": name, "type": str(kind)} for name, kind in pairs]}


def _write_ibis(table: Any, path: str) -> dict[str, Any]:
    return _write_batches(table.to_pyarrow_batches(), path)


_WRITERS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "pyarrow.Table": _write_arrow,
    "pyarrow.RecordBatch": lambda batch, path: _write_arrow(
        use("pyarrow").Table.from_batches([batch]), path
    ),
    "pyarrow.RecordBatchReader": _write_batches,
    "pandas.DataFrame": _write_pandas,
    "pandas.Series": lambda series, path: _write_pandas(series.to_frame(), path),
    "polars.DataFrame": _write_polars,
    "polars.Series": lambda series, path: _write_polars(series.to_frame(), path),
    "polars.LazyFrame": lambda frame, path: _write_polars(frame.collect(), path),
    "duckdb.DuckDBPyRelation": _write_duckdb,
    "ibis.Table": _write_ibis,
}
