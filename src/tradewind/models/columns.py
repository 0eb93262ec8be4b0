"""Rows, tables and requests become the same columns, checked against a signature.

Training reads Arrow tables and serving reads JSON; both meet here, so that what comes after
cannot tell them apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from tradewind.base.errors import InvalidData, Location
from tradewind.models.heavy import Array, Columns, need, np
from tradewind.models.manifest import Column, Signature, Type

_SHOWN = 5  # errors in one message
_WHOLE = 2.0**63


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the input. Rows count from 0, as the caller's own list does."""

    column: str
    row: int
    expected: str
    got: str

    def __str__(self) -> str:
        place = f"column {self.column!r}" if self.row < 0 else f"row {self.row}, {self.column!r}"
        return f"{place}: expected {self.expected}, got {self.got}"


def validate(signature: Signature, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """JSON rows as columns, or InvalidData that names row, column, expected and got."""
    wanted = [column.name for column in signature.inputs]
    known, problems = set(wanted), []
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidData(f"row {index}: expected an object of columns, got {_show(row)}")
        if row.keys() != known:
            problems += [Problem(n, index, _nearest(n, wanted), "it") for n in row.keys() - known]
            problems += [
                Problem(column.name, index, _kind(column), "nothing: it is missing")
                for column in signature.inputs
                if column.name not in row and not column.nullable
            ]
    _refuse(sorted(problems, key=lambda one: one.row))
    return _check(signature, {name: [row.get(name) for row in rows] for name in wanted})


def validate_columns(signature: Signature, lists: Mapping[str, Sequence[Any]]) -> Columns:
    """JSON columns (name → list of values) as columns."""
    wanted = [column.name for column in signature.inputs]
    problems = [Problem(name, -1, _nearest(name, wanted), "it") for name in lists.keys() - wanted]
    lengths = {name: len(values) for name, values in lists.items()}
    rows = next(iter(lengths.values()), 0)
    for name, length in lengths.items():
        if length != rows:
            problems.append(Problem(name, -1, f"{rows} values", str(length)))
    for column in signature.inputs:
        if column.name not in lists and not column.nullable:
            problems.append(Problem(column.name, -1, _kind(column), "nothing: it is missing"))
    _refuse(problems)
    return _check(signature, {name: lists.get(name, [None] * rows) for name in wanted})


def from_table(signature: Signature, table: Any) -> Columns:
    """The columns that a signature names, out of an Arrow table that may hold more."""
    columns: Columns = {}
    for column in signature.inputs:
        if column.name not in table.column_names:
            expected = _nearest(column.name, table.column_names).removeprefix("no such column")
            raise InvalidData(f"the table has no column {column.name!r}{expected}")
        found = column_type(table.schema.field(column.name).type)
        if found != column.type and (found, column.type) != ("int64", "float64"):
            wrong = Problem(column.name, -1, column.type, str(table.schema.field(column.name).type))
            _refuse([wrong])
        columns[column.name] = _cast(to_array(table[column.name]), column.type)
    _refuse([wrong for column in signature.inputs for wrong in _values(column, columns)])
    return columns


def infer(table: Any, names: Sequence[str], *, nullable: Sequence[str] = ()) -> tuple[Column, ...]:
    """Input columns as a table has them. A column is nullable when it holds a null, or by name."""
    types, found = need("pyarrow", "data").types, []
    for name in names:
        kind = table.schema.field(name).type
        # A dictionary column is a closed list of categories.
        closed: set[Any] = set()
        if types.is_dictionary(kind):
            closed = set(table[name].unify_dictionaries().combine_chunks().dictionary.to_pylist())
        null = name in nullable or table[name].null_count > 0 or _has_nan(table[name])
        found.append(
            Column(
                name=name,
                type=column_type(kind),
                nullable=null,
                categories=tuple(sorted(str(one) for one in closed)),
            )
        )
    return tuple(found)


def column_type(kind: Any) -> Type:
    """The signature's word for an Arrow type."""
    types = need("pyarrow", "data").types
    if types.is_dictionary(kind):
        return column_type(kind.value_type)
    tests: tuple[tuple[Type, Callable[[Any], bool]], ...] = (
        ("bool", types.is_boolean),
        ("int64", types.is_integer),
        ("float64", types.is_floating),
        ("float64", types.is_decimal),
        ("string", types.is_string),
        ("string", types.is_large_string),
        ("string", types.is_string_view),
        ("timestamp", types.is_timestamp),
        ("timestamp", types.is_date),
        ("float64", types.is_null),
    )
    for name, test in tests:
        if test(kind):
            return name
    raise InvalidData(f"a column of type {kind} cannot be an input of a model")


def to_array(values: Any) -> Array:
    """An Arrow column as one array of this room's form."""
    pa = need("pyarrow", "data")
    kind = column_type(values.type)
    if kind == "string":
        text: Array = np.asarray(values.cast(pa.string()).to_numpy(zero_copy_only=False), object)
        return text
    if kind == "timestamp":
        # A column with a zone is stored in UTC already; one without is taken as it stands.
        moments = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)))
        whole = moments.cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
        made: Array = whole.to_numpy().astype("M8[us]")
        return made
    if kind == "float64" or values.null_count:
        floats: Array = values.cast(pa.float64()).to_numpy()
        return floats
    plain: Array = np.asarray(values.to_numpy()).astype(bool if kind == "bool" else np.int64)
    return plain


def nulls(values: Array) -> Array:
    """Where a column has no value."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    if values.dtype.kind == "O":
        return np.fromiter((one is None for one in values), bool, len(values))
    return np.zeros(len(values), bool)


def _check(signature: Signature, lists: Mapping[str, Sequence[Any]]) -> Columns:
    columns: Columns = {}
    problems: list[Problem] = []
    for column in signature.inputs:
        values = lists[column.name]
        if wrong := _wrong(column, values):
            problems += wrong
            continue
        try:
            columns[column.name] = _PACK[column.type](values)
        except OverflowError:
            problems.append(Problem(column.name, -1, _kind(column), "a number out of range"))
            continue
        problems += _values(column, columns)
    _refuse(problems)
    return columns


def _wrong(column: Column, values: Sequence[Any]) -> list[Problem]:
    kinds = set(map(type, values))
    takes = _TAKES[column.type] | ({type(None)} if column.nullable else set())
    if kinds <= takes and column.type in {"bool", "float64", "string"} and not column.categories:
        return []
    found = []
    for row, value in enumerate(values):
        if type(value) not in takes or (value is not None and not _fits(column, value)):
            found.append(Problem(column.name, row, _kind(column), _show(value)))
    return found


def _fits(column: Column, value: Any) -> bool:
    if column.categories:
        return value in column.categories
    if column.type == "int64":
        return float(value).is_integer() and -_WHOLE <= value < _WHOLE
    if column.type == "timestamp":
        return _moment(value) is not None
    return True


def _values(column: Column, columns: Columns) -> list[Problem]:
    """What only shows once the values are packed: nulls, infinite numbers, foreign categories."""
    values, got = columns[column.name], "null"
    wrong = np.zeros(len(values), bool) if column.nullable else nulls(values)
    if values.dtype.kind == "f" and not wrong.any():
        wrong, got = np.isinf(values), "an infinite number"
    if column.categories and not wrong.any():
        known = {*column.categories, None}
        wrong, got = np.fromiter((one not in known for one in values), bool, len(values)), ""
    rows = np.flatnonzero(wrong)[: _SHOWN + 1]
    return [
        Problem(column.name, int(row), _kind(column), got or _show(values[row])) for row in rows
    ]


def _refuse(problems: Sequence[Problem]) -> None:
    if not problems:
        return
    lines = [str(problem) for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"and {len(problems) - _SHOWN} more")
    first = problems[0]
    field = first.column if first.row < 0 else f"rows[{first.row}].{first.column}"
    raise InvalidData("; ".join(lines), where=Location(field=field))


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"no such column (did you mean {near[0]!r}?)" if near else "no such column"


def _kind(column: Column) -> str:
    text = f"one of {', '.join(column.categories[:8])}" if column.categories else column.type
    if column.type == "timestamp":
        text = "timestamp such as 2013-11-01T10:00:00Z"
    return f"{text} or null" if column.nullable else text


def _show(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value)
    kind = {"str": "text", "dict": "an object", "list": "a list"}.get(type(value).__name__, "")
    return f"{kind} {text if len(text) < 40 else text[:37] + '...'}".strip()


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return datetime(value.year, value.month, value.day)


def _has_nan(values: Any) -> bool:
    if column_type(values.type) != "float64":
        return False
    return bool(np.isnan(to_array(values)).any())


def _cast(values: Array, kind: Type) -> Array:
    return values.astype(np.float64) if kind == "float64" and values.dtype.kind != "f" else values


def _floats(values: Sequence[Any]) -> Array:
    return np.array(values, np.float64)  # None becomes NaN


def _whole(values: Sequence[Any]) -> Array:
    return _floats(values) if None in values else np.array([int(one) for one in values], np.int64)


def _truth(values: Sequence[Any]) -> Array:
    return _floats(values) if None in values else np.array(values, bool)


def _text(values: Sequence[Any]) -> Array:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _times(values: Sequence[Any]) -> Array:
    moments = [None if one is None else _moment(one) for one in values]
    return np.array(moments, "M8[us]")


_TAKES: dict[Type, set[type]] = {
    "bool": {bool},
    "int64": {int, float},
    "float64": {int, float},
    "string": {str},
    "timestamp": {str, datetime, date},
}
_PACK: dict[Type, Callable[[Sequence[Any]], Array]] = {
    "bool": _truth,
    "int64": _whole,
    "float64": _floats,
    "string": _text,
    "timestamp": _times,
}
