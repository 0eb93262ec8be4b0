"""JSON lines: one object per line, read by the standard library's parser.

A first pass over all lines settles each column's type: a number is int64 or float64 (if any value
has a fraction), a list or an object keeps its structure, an absent name is no value. Texts stay
texts: no date is guessed. A column that is a number here and a text there is an error that names
both lines; declared as `string` it holds the JSON text of what is no text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base import errors
from tradewind.data import streams, types
from tradewind.data.streams import Options
from tradewind.data.types import arrow, first_line

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 16_384
_WORDS = {bool: "true or false", int: "a number", float: "a number", str: "a text",
          list: "a list", dict: "an object"}  # fmt: skip


@dataclass
class _Shape:
    """What was seen in one place: the kinds of values, each with the line it was first seen in."""

    kinds: dict[type, int] = field(default_factory=dict)
    items: _Shape | None = None
    fields: dict[str, _Shape] = field(default_factory=dict)

    def see(self, value: Any, line: int, depth: int = 0) -> None:
        if value is None:
            return
        kind = type(value)
        if kind not in self.kinds:
            self.kinds[float if kind is Decimal else kind] = line
        if kind is int:
            if not -(2**63) <= value < 2**63:
                raise _Misfit("the number does not fit into 64 bits", line)
        elif kind is dict:
            if depth > types.MAX_DEPTH:
                raise _Misfit(f"nested more than {types.MAX_DEPTH} levels deep", line)
            for name, part in value.items():
                self.fields.setdefault(name, _Shape()).see(part, line, depth + 1)
        elif kind is list:
            if depth > types.MAX_DEPTH:
                raise _Misfit(f"nested more than {types.MAX_DEPTH} levels deep", line)
            self.items = self.items or _Shape()
            for part in value:
                self.items.see(part, line, depth + 1)

    def type(self) -> pa.DataType:
        pa = arrow()
        kinds = set(self.kinds)
        if kinds == {int, float}:
            kinds = {float}
        if len(kinds) > 1:
            (one, first), (other, second) = list(self.kinds.items())[:2]
            if {one, other} == {int, float}:
                (other, second) = list(self.kinds.items())[2]
            raise _Misfit(f"{_WORDS[other]} here, but {_WORDS[one]} in line {first}", second)
        if not kinds:
            return pa.null()
        kind = kinds.pop()
        if kind is list:
            assert self.items is not None
            return pa.list_(self.items.type())
        if kind is dict:
            if not self.fields:
                raise _Misfit("an object without names has no columns", self.kinds[dict])
            return pa.struct([(name, shape.type()) for name, shape in self.fields.items()])
        scalars = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
        return scalars[kind]


class _Misfit(Exception):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message, self.line = message, line


def read(
    files: Sequence[Path], options: Options
) -> tuple[pa.Schema, Callable[[], Iterator[pa.RecordBatch]]]:
    """The stored schema of these files as one table, and its rows as often as asked."""
    pa = arrow()
    known = types.declared(options.schema)
    columns: dict[str, Any] = {}
    for number, path in enumerate(files):
        found = _look(path, options, known)
        columns = found if number == 0 else _merge(columns, found, files[0], path)
    if missing := [name for name in known if name not in columns]:
        columns.update({name: known[name] for name in missing})
    schema = types.stored_schema(pa.schema(list(columns.items())), str(files[0]))

    def rows() -> Iterator[Any]:
        for path in files:
            waiting: list[tuple[int, dict[str, Any]]] = []
            for entry in _objects(path, options, known):
                waiting.append(entry)
                if len(waiting) == _ROWS:
                    yield _batch(waiting, schema, known, path)
                    waiting = []
            if waiting:
                yield _batch(waiting, schema, known, path)

    return schema, rows


def _look(path: Path, options: Options, known: Mapping[str, Any]) -> dict[str, pa.DataType]:
    shapes: dict[str, _Shape] = {}
    for line, row in _objects(path, options, known):
        for name, value in row.items():
            shape = shapes.get(name)
            if shape is None:
                shape = shapes[name] = _Shape()
            if name not in known:
                try:
                    shape.see(value, line)
                except _Misfit as misfit:
                    raise _located(misfit, path, name) from misfit
    if not shapes and not known:
        streams.sample(path, options.encoding)  # tells an empty file as such
        raise errors.InvalidData("no line has a column", where=errors.Location(file=str(path)))
    columns = {}
    for name, shape in shapes.items():
        try:
            columns[name] = known[name] if name in known else shape.type()
        except _Misfit as misfit:
            raise _located(misfit, path, name) from misfit
    return columns


def _located(misfit: _Misfit, path: Path, name: str) -> errors.InvalidData:
    return errors.InvalidData(
        f"{name} is {misfit.message}" if "here" in misfit.message else misfit.message,
        hint=f"declare it under `source:` as `schema: {{{name}: string}}` to keep its JSON text",
        where=errors.Location(file=str(path), line=misfit.line, field=name),
    )


def _merge(
    columns: dict[str, pa.DataType], found: dict[str, pa.DataType], first: Path, path: Path
) -> dict[str, pa.DataType]:
    """A later file may lack columns, as a later line may, but not add or change them."""
    pa = arrow()
    merged = dict(columns)
    for name, kind in found.items():
        where = errors.Location(file=str(path), field=name)
        if name not in columns:
            text = f"column {name!r} is not in {first.name}, the first file"
            raise errors.InvalidData(text, where=where)
        before = columns[name]
        if before == kind or pa.types.is_null(kind):
            continue
        if pa.types.is_null(before) or {before, kind} == {pa.int64(), pa.float64()}:
            merged[name] = kind if pa.types.is_null(before) else pa.float64()
            continue
        text = f"{name} is {kind} here, but {before} in {first.name}"
        raise errors.InvalidData(text, hint="declare its type under `schema:`", where=where)
    return merged


def _objects(
    path: Path, options: Options, known: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    pa = arrow()
    exact = any(pa.types.is_decimal(kind) for kind in known.values())
    decoder = json.JSONDecoder(parse_float=Decimal if exact else None)
    for number, line in enumerate(streams.text_lines(path, options.encoding), 1):
        if not (text := line.strip(" \t\r\n")):
            continue
        try:
            row = decoder.decode(text)
        except (ValueError, RecursionError) as error:
            column = getattr(error, "colno", 0)
            what = getattr(error, "msg", first_line(error))
            hint = ""
            if number == 1 and text.startswith(("[", "{")) and column > 1:
                hint = "is it one JSON document over several lines? write one object per line"
            where = errors.Location(file=str(path), line=number, column=column)
            raise errors.InvalidData(
                f"this line is not JSON: {what}", hint=hint, where=where
            ) from (error)
        if not isinstance(row, dict):
            where = errors.Location(file=str(path), line=number)
            hint = "a JSON array must be written as one object per line" if number == 1 else ""
            raise errors.InvalidData("this line is not an object", hint=hint, where=where)
        yield number, row


def _batch(
    entries: list[tuple[int, dict[str, Any]]],
    schema: pa.Schema,
    known: Mapping[str, Any],
    path: Path,
) -> pa.RecordBatch:
    pa = arrow()
    columns = []
    for column in schema:
        values = [row.get(column.name) for _, row in entries]
        convert = _declared if column.name in known else _plain
        try:
            columns.append(convert(values, column.type))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            for (line, _), value in zip(entries, values, strict=True):
                try:
                    convert([value], column.type)
                except (pa.ArrowException, ValueError, TypeError, OverflowError) as single:
                    shown = json.dumps(value, default=str)[:80]
                    raise errors.InvalidData(
                        f"{shown} is not {types.name_of(column.type)}: {first_line(single)}",
                        where=errors.Location(file=str(path), line=line, field=column.name),
                    ) from error
            where = errors.Location(file=str(path), field=column.name)
            raise errors.InvalidData(first_line(error), where=where) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain(values: list[Any], kind: pa.DataType) -> pa.Array:
    pa = arrow()
    if pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, kind)


def _declared(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values of any sort as a declared type, by way of their text."""
    pa = arrow()
    texts = [value if value is None or isinstance(value, str) else _text(value) for value in values]
    return pa.array(texts, pa.string()).cast(kind)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False, default=str)
