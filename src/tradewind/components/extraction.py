"""`extract`: rows and columns out of a table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.base.errors import InvalidData, InvalidSpec, Location, missing_extra
from tradewind.components.arrow import pa, pc, refuse_missing


def extract(
    rows: pa.Table,
    *,
    columns: Sequence[str] = (),
    where: str = "",
    rename: Mapping[str, str] | None = None,
    cast: Mapping[str, str] | None = None,
    limit: int = 0,
) -> pa.Table:
    """Filter, select, limit, rename, cast, in this order."""
    table = _filtered(rows, where) if where else rows
    if columns:
        refuse_missing(table, columns, "columns")
        table = table.select(list(columns))
    if limit:
        table = table.slice(0, limit)
    if rename:
        refuse_missing(table, rename, "rename")
        names = [rename.get(name, name) for name in table.column_names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidSpec(
                f"two columns would be named {twice[0]!r}", where=Location(field="rename")
            )
        table = table.rename_columns(names)
    for name, kind in (cast or {}).items():
        refuse_missing(table, [name], "cast")
        index = table.column_names.index(name)
        table = table.set_column(index, name, _cast(table[name], name, kind))
    return table


def _filtered(rows: pa.Table, where: str) -> pa.Table:
    """The rows for which the condition holds. It sees this table and nothing else."""
    try:
        duckdb = importlib.import_module("duckdb")
    except ModuleNotFoundError as error:
        raise missing_extra("duckdb", "data") from error
    with duckdb.connect(config={"enable_external_access": "false", "threads": "2"}) as connection:
        try:
            # `filter` takes an expression and nothing else, so no second statement slips in.
            found = connection.from_arrow(rows).filter(where)
            return found.to_arrow_table().cast(rows.schema)
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise InvalidSpec(f"{where!r}: {first}", where=Location(field="where")) from error


def _cast(values: Any, name: str, kind: str) -> Any:
    try:
        target = _type(kind)
    except (ValueError, TypeError) as error:
        raise InvalidSpec(f"{kind!r} is not an Arrow type", where=Location(field="cast")) from error
    try:
        return values.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row = next((row for row, one in enumerate(values) if not _fits(one, target)), 0)
        raise InvalidData(
            f"row {row}, {name!r}: {values[row].as_py()!r} is not a {kind}",
            where=Location(field=f"rows[{row}].{name}"),
        ) from error


def _fits(value: Any, target: Any) -> bool:
    try:
        pc.cast(value, target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _type(kind: str) -> Any:
    """`int64`, `timestamp[us]`, `timestamp[us, UTC]`, as Arrow prints them."""
    if kind.startswith("timestamp[") and kind.endswith("]"):
        unit, _, zone = kind[len("timestamp[") : -1].partition(",")
        return pa.timestamp(unit, zone.strip().removeprefix("tz=") or None)
    return pa.type_for_alias(kind)
