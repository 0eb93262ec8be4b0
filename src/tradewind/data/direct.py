"""A query's rows as one Parquet file that DuckDB writes itself.

They pass through no other library, on all threads of the query, in the query's order; half of a
large query's time was their way through Arrow. Only for columns whose types DuckDB writes as they
are stored, or can cast; `types.stored` fits the others, through Arrow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradewind.base import errors
from tradewind.data import duck
from tradewind.data.types import check_names

# DuckDB's type → what it is cast to, and the stored one as `types.name_of` writes it.
_TYPES = {
    "BOOLEAN": ("", "bool"),
    "TINYINT": ("", "int8"),
    "SMALLINT": ("", "int16"),
    "INTEGER": ("", "int32"),
    "BIGINT": ("", "int64"),
    "UTINYINT": ("SMALLINT", "int16"),
    "USMALLINT": ("INTEGER", "int32"),
    "UINTEGER": ("BIGINT", "int64"),
    "UBIGINT": ("DECIMAL(20, 0)", "decimal(20, 0)"),
    "HUGEINT": ("DECIMAL(38, 0)", "decimal(38, 0)"),
    "FLOAT": ("", "float32"),
    "DOUBLE": ("", "float64"),
    "VARCHAR": ("", "string"),
    "BLOB": ("", "binary"),
    "DATE": ("", "date"),
    "TIMESTAMP": ("", "timestamp"),
    "TIMESTAMP WITH TIME ZONE": ("", "timestamp[UTC]"),
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)\Z")


def write(
    connection: Any, query: str, params: Mapping[str, Any], path: Path, group: int
) -> tuple[int, list[dict[str, str]]] | None:
    """Carry out one SELECT, in row groups of so many rows: its rows and stored columns. None: a
    column is none for DuckDB, and nothing was done. After an error there is no file. The connection
    must allow the path."""
    query = _bare(query)
    found = connection.execute(f"DESCRIBE (\n{query}\n)", dict(params)).fetchall()
    check_names([name for name, *_ in found], errors.Location(field="sql"))
    kinds = [_stored(kind) for _, kind, *_ in found]
    columns = []
    for number, (name, *_) in enumerate(found):
        if (kind := kinds[number]) is None:
            return None
        value = f"CAST(c{number} AS {kind[0]})" if kind[0] else f"c{number}"
        columns.append(f"{value} AS {duck.quoted(name)}")
    aliases = ", ".join(f"c{number}" for number in range(len(columns)))
    options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The query keeps its lines: an error is located in them.
        made = connection.execute(
            f"COPY (SELECT {', '.join(columns)} FROM (\n{query}\n) AS q({aliases})) "
            f"TO {duck.literal(str(path.absolute()))} ({options})",
            dict(params),
        ).fetchall()
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, duck.library().Error):
            raise duck.fault(error, query, above=1) from error
        raise
    names = [name for name, *_ in found]
    return made[0][0], [{"name": n, "type": k[1]} for n, k in zip(names, kinds, strict=True) if k]


def _bare(query: str) -> str:
    """One statement without the semicolons that end it."""
    duckdb, text = duck.library(), query.encode()
    for start, kind in duckdb.tokenize(query):
        if kind == duckdb.token_type.operator and text[start : start + 1] == b";":
            return text[:start].decode()
    return query


def _stored(kind: str) -> tuple[str, str] | None:
    if match := _DECIMAL.match(kind):
        return "", f"decimal({match[1]}, {match[2]})"
    return _TYPES.get(kind)
