"""Which types a table's columns have: how people write them, and what the table format can hold.

`stored` maps every Arrow type to one that Delta Lake, Parquet and DuckDB all know; a table is
fitted to that once, when it is written, so that every reader sees the same types:

    unsigned integers          the next larger signed one (64 bit: decimal(20, 0))
    float16                    float32
    timestamps of any unit     microseconds; finer digits are cut off
    timestamps with a zone     the same instant in UTC
    time of day                its text, 10:15:00
    duration                   int64, microseconds
    decimals over 38 digits    their text
    null (no value at all)     string
    dictionary, views, large_, fixed-size, run-end and extension types: the plain type below them
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tradewind.base import errors

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES = {
    "string": "string", "str": "string", "text": "string", "varchar": "string",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "int": "int64", "integer": "int64", "long": "int64", "bigint": "int64",
    "float32": "float32", "float64": "float64", "float": "float64", "double": "float64",
    "bool": "bool_", "boolean": "bool_", "date": "date32", "binary": "binary",
}  # fmt: skip
_TIMES = {"timestamp": None, "datetime": None, "timestamp[utc]": "UTC", "timestamptz": "UTC"}
_DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\Z")
MAX_DEPTH = 30


def arrow() -> Any:
    """pyarrow, or the error that names how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise errors.missing_extra("pyarrow", "data") from error
    return pyarrow


def kernels() -> Any:
    """pyarrow.compute. Who only commits files does without it: it is a third of pyarrow's start."""
    arrow()
    import pyarrow.compute

    return pyarrow.compute


def parse(name: str, column: str = "") -> pa.DataType:
    """`int64`, `string`, `timestamp[UTC]`, `decimal(10, 2)`, `date` … → the Arrow type."""
    pa, text = arrow(), name.strip().lower()
    if text in _NAMES:
        return getattr(pa, _NAMES[text])()
    if text in _TIMES:
        return pa.timestamp("us", _TIMES[text])
    if match := _DECIMAL.match(text):
        precision, scale = int(match[1]), int(match[2] or 0)
        if 1 <= precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    near = difflib.get_close_matches(text, [*_NAMES, *_TIMES, "decimal(10, 2)"], 1)
    known = "string, int64, float64, bool, date, timestamp, timestamp[UTC], decimal(10, 2), binary"
    raise errors.InvalidSpec(
        f"{name!r} is no type of a column" + (f"; did you mean {near[0]!r}?" if near else ""),
        hint=f"the types are {known}; also int8, int16, int32, float32",
        where=errors.Location(field=f"source.schema.{column}" if column else "source.schema"),
    )


def name_of(kind: pa.DataType) -> str:
    """How a stored type is written; `parse` reads all but the nested ones."""
    text = str(kind)
    plain = {"double": "float64", "float": "float32", "date32[day]": "date"}
    text = plain.get(text, text)
    if text.startswith("decimal128"):
        return text.replace("decimal128", "decimal")
    if text.startswith("timestamp["):
        return "timestamp[UTC]" if "tz=" in text else "timestamp"
    return text


def schema_json(schema: pa.Schema) -> list[dict[str, str]]:
    """`[{"name": …, "type": …}]`, in order."""
    return [{"name": field.name, "type": name_of(field.type)} for field in schema]


def stored(kind: pa.DataType, depth: int = 0) -> pa.DataType:
    """The type in which values of this one are stored. InvalidData if there is none."""
    pa = arrow()
    is_ = pa.types
    if depth > MAX_DEPTH:
        raise errors.InvalidData(f"a column is nested more than {MAX_DEPTH} levels deep")
    if isinstance(kind, pa.BaseExtensionType):
        return stored(kind.storage_type, depth + 1)
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return stored(kind.value_type, depth + 1)
    if is_.is_map(kind):
        return pa.map_(stored(kind.key_type, depth + 1), stored(kind.item_type, depth + 1))
    if is_.is_struct(kind):
        if not kind.num_fields:
            raise errors.InvalidData("a struct without fields cannot be stored")
        return pa.struct([(one.name, stored(one.type, depth + 1)) for one in kind])
    if hasattr(kind, "value_type"):
        return pa.list_(stored(kind.value_type, depth + 1))
    return _plain(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    pa = arrow()
    is_ = pa.types
    if is_.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if is_.is_decimal(kind):
        fits = kind.precision <= 38 and 0 <= kind.scale <= kind.precision
        return pa.decimal128(kind.precision, kind.scale) if fits else pa.string()
    table = {
        pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0), pa.float16(): pa.float32(), pa.null(): pa.string(),
        pa.large_string(): pa.string(), pa.string_view(): pa.string(), pa.date64(): pa.date32(),
        pa.large_binary(): pa.binary(), pa.binary_view(): pa.binary(),
    }  # fmt: skip
    if kind in table:
        return table[kind]
    if is_.is_time(kind):
        return pa.string()
    if is_.is_duration(kind):
        return pa.int64()
    if is_.is_fixed_size_binary(kind):
        return pa.binary()
    same = (is_.is_integer, is_.is_floating, is_.is_boolean, is_.is_date32, is_.is_string)
    if any(check(kind) for check in (*same, is_.is_binary)):
        return kind
    raise errors.InvalidData(f"the type {kind} cannot be stored in a table")


def stored_schema(schema: pa.Schema, file: str = "") -> pa.Schema:
    """The schema in which this one is stored: checked names, stored types, no metadata."""
    pa = arrow()
    check_names(schema.names, errors.Location(file=file))
    fields = []
    for field in schema:
        try:
            fields.append(pa.field(field.name, stored(field.type)))
        except errors.InvalidData as error:
            error.where = errors.Location(file=file, field=field.name)
            raise
    return pa.schema(fields)


def check_names(names: Sequence[str], where: errors.Location) -> None:
    """Refuse tables without columns, and names that are empty or the same but for case: SQL and the
    table format cannot tell them apart."""
    if not names:
        raise errors.InvalidData("the table has no columns", where=where)
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise errors.InvalidData(
                f"column {number} has no name",
                hint="pandas writes its index so: name it, or write with to_csv(…, index=False)"
                if number == 1
                else "name it in the first line",
                where=where,
            )
        if "\0" in name:
            raise errors.InvalidData(f"the name of column {number} has a zero byte", where=where)
        first = seen.setdefault(name.lower(), number)
        if first != number:
            raise errors.InvalidData(
                f"column {number} is named {name!r}, as column {first} is",
                hint="names must differ in more than their case: rename one of the two",
                where=where,
            )


def fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch's columns, by name, in the types and the order of a stored schema; nulls for one
    that it lacks."""
    pa = arrow()
    columns = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        if place < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        values = batch.column(place)
        try:
            columns.append(cast(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise errors.InvalidData(
                f"{field.name} cannot be stored as {name_of(field.type)}: {first_line(error)}",
                where=errors.Location(field=field.name),
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast one array to a stored type: finer digits of a time are cut off, nothing else is lost."""
    pa = arrow()
    is_ = pa.types
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if is_.is_dictionary(values.type):
        values = values.dictionary_decode()
    elif is_.is_run_end_encoded(values.type):
        values = kernels().run_end_decode(values)
    if values.type == kind:
        return values
    if is_.is_duration(values.type):
        return values.cast(pa.duration("us"), safe=False).cast(kind)
    if is_.is_timestamp(values.type) and is_.is_timestamp(kind):
        # Only the fine digits may be lost, not the range: that is checked by Arrow when the unit
        # becomes finer, and cannot happen when it becomes coarser.
        return values.cast(kind, safe=values.type.unit in ("s", "ms"))
    return values.cast(kind)


def first_line(error: BaseException) -> str:
    """A foreign message without the pages that some libraries append."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]


def declared(columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    """The types of a spec's `source.schema`."""
    return {name: parse(text, name) for name, text in columns.items()}
