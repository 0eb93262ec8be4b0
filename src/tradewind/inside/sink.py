"""Writes a result batch by batch to one Parquet file in the staging place.

The first batch with rows fixes the columns and their types. A later batch that differs is refused,
with the column, both types and the rows. What Arrow would have found for all values at once is no
difference: a column that was all null so far; where types are only guessed from Python values or by
pandas, wider numbers, more digits, and (of dicts) keys that come or go. Layouts of equal values
(dictionaries, `large_` and views) are made plain. At most one row group waits in memory.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from . import tables
from .convert import MEANT, SURENESS, VALUES
from .outputs import Unstorable

WAITING = 32 << 20
# So many rows tell whether the values of a column repeat themselves.
TELLING = 10_000
# So many small results are copied together: a slice keeps all of what it was cut from.
SMALL = 256
_UNITS = ("s", "ms", "us", "ns")


class Sink:
    """Give it tables, then `close` it; or `discard` it, and nothing is left."""

    def __init__(self, folder: str, name: str = "part-0.parquet") -> None:
        self.folder, self.path = folder, os.path.join(folder, name)
        self.rows = 0
        self.schema: Any = None
        self.sure = MEANT
        # The first table that had no columns; of dicts none are no table but no rows.
        self.bare = ""
        self._fixed_by = ""
        self._writer: Any = None
        self._repeating: bool | list[str] = True
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = self._loose = 0

    def write(self, table: Any, sure: str, where: str) -> None:
        """The next rows. `sure` is one of convert's words; `where` names them in an error."""
        if self.schema is None or not table.schema.equals(self.schema, check_metadata=True):
            table = _plain(table, where)
        if not table.num_rows:
            if not self.rows and table.num_columns:
                self.schema = table.schema
            if not table.num_columns and sure != VALUES:
                self.bare = self.bare or where
            return
        if not table.num_columns:
            raise Unstorable(f"the result for {where} has rows and no columns")
        self.sure = max(self.sure, sure, key=SURENESS.index)
        if not self.rows:
            self.schema, self._fixed_by = table.schema, where
        elif table.schema != self.schema:
            merged = self._merged(table.schema, sure, where)
            if merged != self.schema:
                self._widen(merged)
            table = fit(table, merged)
        self._wait(table)

    def close(self) -> dict[str, Any]:
        """What was written, as the end tells it; without a known schema there is no file."""
        self._flush()
        os.makedirs(self.folder, exist_ok=True)
        told: dict[str, Any] = {"kind": "table", "path": self.folder, "rows": self.rows}
        told["schema"] = []
        if self.schema is not None:
            if self._writer is None:
                self._open()
            self._writer.close()
            told["schema"] = [{"name": f.name, "type": str(f.type)} for f in self.schema]
        return told

    def discard(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(Exception):  # a full disk fails a second time here
            if self._writer is not None:
                self._writer.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _merged(self, new: Any, sure: str, where: str) -> Any:
        try:
            return unify(self.schema, new, sure)
        except Differs as error:
            raise Unstorable(
                f"the function's results differ: the column {error.column!r} {error.was} in "
                f"{self._fixed_by}, and {error.found} in {where}",
                "return the same columns with the same types each time",
            ) from None

    def _wait(self, table: Any) -> None:
        self._waiting.append(table)
        self._loose += 1
        if self._loose == SMALL:
            together = tables.use("pyarrow").concat_tables(self._waiting[-SMALL:])
            self._waiting[-SMALL:] = [together.combine_chunks()]
            self._loose = 0
        self._waiting_rows += table.num_rows
        self._waiting_bytes += table.nbytes
        self.rows += table.num_rows
        if self._waiting_rows >= tables.ROWS or self._waiting_bytes >= WAITING:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = tables.use("pyarrow").concat_tables(self._waiting)
        self._waiting, self._waiting_rows, self._waiting_bytes, self._loose = [], 0, 0, 0
        if self._writer is None:
            self._repeating = repeating(table.slice(0, TELLING))
            self._open()
        self._writer.write_table(table, row_group_size=tables.ROWS)

    def _open(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        parquet = tables.use("pyarrow.parquet")
        try:
            self._writer = parquet.ParquetWriter(
                self.path, self.schema, compression="zstd", use_dictionary=self._repeating
            )
        except tables.use("pyarrow").ArrowException as error:
            raise Unstorable(f"the table cannot be written as Parquet: {error}") from error

    def _widen(self, schema: Any) -> None:
        """What is written already gets the wider types, row group by row group."""
        self._waiting = [fit(table, schema) for table in self._waiting]
        self.schema = schema
        if self._writer is None:
            return
        self._writer.close()
        narrow = self.path + ".narrow"
        os.replace(self.path, narrow)
        self._open()
        file = tables.use("pyarrow.parquet").ParquetFile(narrow)
        for index in range(file.num_row_groups):
            self._writer.write_table(fit(file.read_row_group(index), schema))
        os.unlink(narrow)


def repeating(table: Any) -> bool | list[str]:
    """The columns worth a dictionary. To try one for values that are all different is two thirds of
    the time that writing them takes, and gives them up in the end. True: all."""
    if table.num_rows < TELLING or any(kind.num_fields for kind in table.schema.types):
        return True
    return [name for name in table.column_names if _repeats(table.column(name))]


def _repeats(column: Any) -> bool:
    try:
        distinct = tables.use("pyarrow.compute").count_distinct(column).as_py()
    except tables.use("pyarrow").ArrowNotImplementedError:  # a rare type
        return True
    return bool(2 * distinct <= len(column))


def _plain(table: Any, where: str) -> Any:
    try:
        tables.check_names(table.column_names)
    except tables.Doubled as error:
        raise Unstorable(f"the result for {where} {error}", error.hint) from None
    pyarrow = tables.use("pyarrow")
    schema = pyarrow.schema([(field.name, plain(field.type)) for field in table.schema])
    if table.schema.equals(schema, check_metadata=True):
        return table
    return fit(table, schema)


def plain(kind: Any) -> Any:
    """The type without what is only a layout of the same values."""
    pa = tables.use("pyarrow")
    is_ = pa.types
    if is_.is_dictionary(kind) or str(kind).startswith("run_end_encoded"):
        return plain(kind.value_type)
    if is_.is_struct(kind):
        return pa.struct([(one.name, plain(one.type)) for one in _fields(kind)])
    if is_.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if is_.is_large_list(kind) or is_.is_list(kind) or "list_view" in str(kind).split("<")[0]:
        return pa.list_(plain(kind.value_type))
    if is_.is_large_string(kind) or str(kind) == "string_view":
        return pa.string()
    if is_.is_large_binary(kind) or str(kind) == "binary_view":
        return pa.binary()
    return kind


def _fields(kind: Any) -> list[Any]:
    return [kind.field(place) for place in range(kind.num_fields)]


def fit(table: Any, schema: Any) -> Any:
    """The table's columns, by name, in these types; one that it lacks is null."""
    pa = tables.use("pyarrow")
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if column.type != field.type:
            column = _cast(column, field.type)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: Any, kind: Any) -> Any:
    pa = tables.use("pyarrow")
    # Whole numbers beyond 2**53 lose digits as they would in pandas.
    safe = not pa.types.is_floating(kind)
    try:
        return column.cast(kind, safe=safe)
    except pa.ArrowNotImplementedError:  # some nested ones: through Python
        return pa.chunked_array([pa.array(column.to_pylist(), kind)])


# -- what two batches have in common ---------------------------------------------------------------


class Differs(Exception):
    """A column that two batches do not agree on; `was` and `found` are the ends of a sentence."""

    def __init__(self, column: str, was: str, found: str) -> None:
        super().__init__(f"the column {column!r} {was} and {found}")
        self.column, self.was, self.found = column, was, found


def unify(old: Any, new: Any, sure: str) -> Any:
    """The schema that holds both; the old one's order. Raises Differs."""
    pa = tables.use("pyarrow")
    found = []
    for field in old:
        place = new.get_field_index(field.name)
        if place < 0 and sure != VALUES:
            raise Differs(field.name, f"is {field.type}", "is missing")
        kind = field.type if place < 0 else _both(field.type, new.field(place).type, sure)
        if kind is None:
            raise Differs(field.name, f"is {field.type}", f"is {new.field(place).type}")
        found.append((field.name, kind))
    for field in new:
        if old.get_field_index(field.name) < 0:
            if sure != VALUES:
                raise Differs(field.name, "is missing", f"is {field.type}")
            found.append((field.name, field.type))
    return pa.schema(found)


def _both(one: Any, other: Any, sure: str) -> Any:
    """The type that holds values of both; None if there is none."""
    pa = tables.use("pyarrow")
    is_ = pa.types
    if one == other or is_.is_null(other):
        return one
    if is_.is_null(one):
        return other
    if is_.is_list(one) and is_.is_list(other):
        inner = _both(one.value_type, other.value_type, sure)
        return None if inner is None else pa.list_(inner)
    if is_.is_struct(one) and is_.is_struct(other):
        with contextlib.suppress(Differs):
            return pa.struct(unify(pa.schema(_fields(one)), pa.schema(_fields(other)), sure))
        return None
    return None if sure == MEANT else _wider(one, other)


def _wider(one: Any, other: Any) -> Any:
    pa = tables.use("pyarrow")
    is_ = pa.types
    if is_.is_decimal(one) and is_.is_decimal(other):
        scale = max(one.scale, other.scale)
        digits = scale + max(one.precision - one.scale, other.precision - other.scale)
        return (
            pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(min(76, digits), scale)
        )
    if is_.is_integer(one) and is_.is_integer(other):
        same = is_.is_signed_integer(one) == is_.is_signed_integer(other)
        return max(one, other, key=lambda kind: kind.bit_width) if same else pa.int64()
    if _number(one) and _number(other):
        return pa.float64()
    if is_.is_timestamp(one) and is_.is_timestamp(other) and one.tz == other.tz:
        return max(one, other, key=lambda kind: _UNITS.index(kind.unit))
    return None


def _number(kind: Any) -> bool:
    is_ = tables.use("pyarrow").types
    return bool(is_.is_integer(kind) or is_.is_floating(kind))
