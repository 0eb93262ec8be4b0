"""CSV: dialect and header by looking, types over the whole file, errors with their line.

The header is read here; Arrow parses the rest. A first pass settles the types: Arrow guesses them
from the first block, and when a later value does not fit, the column's type is widened to one that
takes both and the pass starts again with larger blocks. The second pass yields the rows, and cannot
fail on a type. Where every column's type is declared there is one pass.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base import errors
from tradewind.data import streams, types
from tradewind.data.streams import NULLS, Options, Utf8, reading
from tradewind.data.types import arrow, first_line

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_BLOCK = 8 << 20
_ONLY_BLOCK = 32 << 20  # where no first pass finds the size that is enough
_LAST_BLOCK = 512 << 20
_CONVERSION = re.compile(
    r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error to (.+?): invalid value '(.*)'\Z",
    re.DOTALL,
)
_COLUMN = re.compile(r"CSV column #(\d+)")


@dataclass(frozen=True)
class _File:
    path: Path
    delimiter: str
    names: list[str]
    skip: int  # bytes of the header, after the encoding was made UTF-8


@dataclass
class _Reading:
    """What is known of the table so far: types by column, and the block size that was enough."""

    options: Options
    files: list[_File]
    types: dict[str, pa.DataType]
    declared: frozenset[str]
    block: int
    tried: set[tuple[str, str]] = field(default_factory=set)


def read(
    files: Sequence[Path], options: Options
) -> tuple[pa.Schema, Callable[[], Iterator[pa.RecordBatch]]]:
    """The stored schema of these files as one table, and its rows as often as asked."""
    pa = arrow()
    opened = [_look(path, options) for path in files]
    for other in opened[1:]:
        fault = streams.same_columns((opened[0].path, opened[0].names), (other.path, other.names))
        if fault:
            raise fault
    names = opened[0].names
    known = types.declared(options.schema)
    if unknown := [name for name in known if name not in names]:
        raise errors.InvalidData(
            f"the schema declares {unknown[0]!r}, which the file does not have",
            hint="its columns are " + ", ".join(names[:30]),
            where=errors.Location(file=str(files[0]), field=f"source.schema.{unknown[0]}"),
        )
    state = _Reading(options, opened, dict(known), frozenset(known), _FIRST_BLOCK)
    if len(known) < len(names):
        _settle(state)
    else:
        state.block = _ONLY_BLOCK
    schema = pa.schema([(name, types.stored(state.types.get(name, pa.null()))) for name in names])

    def rows() -> Iterator[Any]:
        for file in state.files:
            try:
                for batch in _parse(state, file):
                    yield types.fit(batch, schema)
            except _DoesNotFit as misfit:
                where = errors.Location(file=str(file.path), field=misfit.name)
                text = "the file changed while it was read"
                raise errors.InvalidData(text, where=where) from misfit

    return schema, rows


def _look(path: Path, options: Options) -> _File:
    text = streams.sample(path, options.encoding)
    delimiter = options.delimiter or _delimiter(text, path, options.quote or '"')
    lines = io.StringIO(text, newline="")
    used = 0

    def counted() -> Iterator[str]:
        nonlocal used
        for line in lines:
            used += len(line.encode())
            yield line

    where = errors.Location(file=str(path), line=1)
    reader = _rows(counted(), delimiter, options.quote or '"')
    try:
        before = 0
        for row in reader:
            if row:
                break
            before = used
    except csv.Error as error:
        raise errors.InvalidData(f"the header cannot be read: {error}", where=where) from error
    if not options.header:
        names = [f"column_{number}" for number in range(1, len(row) + 1)]
        return _File(path, delimiter, names, before)
    types.check_names(row, errors.Location(file=str(path), line=reader.line_num))
    return _File(path, delimiter, row, used)


def _rows(lines: Iterator[str], delimiter: str, quote: str) -> Any:
    csv.field_size_limit(sys.maxsize)
    try:
        return csv.reader(lines, delimiter=delimiter, quotechar=quote)
    except (TypeError, ValueError) as error:
        where = errors.Location(field="source.delimiter")
        raise errors.InvalidSpec(f"this cannot delimit columns: {error}", where=where) from error


def _delimiter(text: str, path: Path, quote: str) -> str:
    """The character that cuts the first rows into the same number of columns, more than one."""
    best, best_score = ",", (False, 1)
    order = "\t,;|" if ".tsv" in path.name.lower() else ",;\t|"
    for candidate in order:
        widths: list[int] = []
        try:
            for row in _rows(iter(io.StringIO(text, newline="")), candidate, quote):
                if row:
                    widths.append(len(row))
                if len(widths) == 50:
                    break
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (len(set(widths[:-1] or widths)) == 1, widths[0])
            if score > best_score:
                best, best_score = candidate, score
    return best


def _settle(state: _Reading) -> None:
    """Find a type for every column that fits all its values."""
    pa = arrow()
    while True:
        large: set[str] = set()
        try:
            for file in state.files:
                for batch in _parse(state, file):
                    for column in batch.schema:
                        state.types.setdefault(column.name, column.type)
                    large.update(_large(batch))
            break
        except _DoesNotFit as misfit:
            _widen(state, misfit)
    for name in state.files[0].names:
        state.types.setdefault(name, pa.null())
    for name in large - state.declared:
        state.types[name] = pa.string()
        if not _has_long_integers(state, name):
            state.types[name] = pa.float64()


def _large(batch: pa.RecordBatch) -> Iterator[str]:
    """The columns of floats with a value that no int64 takes."""
    pa = arrow()
    import pyarrow.compute as pc

    for name, kind in zip(batch.schema.names, batch.schema.types, strict=True):
        if kind == pa.float64():
            size = pc.abs(batch.column(name))
            if pc.any(pc.and_(pc.greater_equal(size, 2.0**63), pc.is_finite(size))).as_py():
                yield name


def _has_long_integers(state: _Reading, name: str) -> bool:
    """Whether it holds integers such as ids, of which floats would make equal what is not."""
    import pyarrow.compute as pc

    return any(
        pc.any(pc.match_substring_regex(batch.column(name), r"^\s*[+-]?\d{19,}\s*$")).as_py()
        for file in state.files
        for batch in _parse(state, file)
    )


def _widen(state: _Reading, misfit: _DoesNotFit) -> None:
    pa = arrow()
    before = state.types.get(misfit.name, misfit.kind)
    after = _join(before, _type_of(misfit.value, state.options))
    if after == before or (misfit.name, str(after)) in state.tried:
        after = pa.string()
    state.tried.add((misfit.name, str(after)))
    # What was guessed from the first block of a smaller size is guessed again; what was widened
    # stays.
    kept = {name for name, _ in state.tried} | state.declared
    state.types = {name: kind for name, kind in state.types.items() if name in kept}
    state.types[misfit.name] = after
    state.block = max(state.block, min(state.block * 4, 128 << 20))


def _join(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    pa = arrow()
    is_ = pa.types
    if one == other or is_.is_null(other):
        return one
    if is_.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    dated = [kind for kind in (one, other) if is_.is_date(kind) or is_.is_timestamp(kind)]
    if len(dated) == 2:
        zones = {kind.tz for kind in dated if is_.is_timestamp(kind)}
        if len(zones) == 1 and (None in zones or not any(is_.is_date(kind) for kind in dated)):
            units = [kind.unit for kind in dated if is_.is_timestamp(kind)]
            return pa.timestamp("ns" if "ns" in units else units[0], zones.pop())
    return pa.string()


def _type_of(value: str, options: Options) -> pa.DataType:
    """The type Arrow would guess for this one value."""
    pa = arrow()
    import pyarrow.csv as arrow_csv

    text = '"' + value.replace('"', '""') + '"\n'
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=arrow_csv.ReadOptions(column_names=["v"], use_threads=False),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        )
    except pa.ArrowInvalid:
        return pa.string()
    return _guess(table.schema.field(0).type)


def _guess(kind: pa.DataType) -> pa.DataType:
    """Types that a table cannot hold are read as text."""
    pa = arrow()
    return pa.string() if pa.types.is_time(kind) or pa.types.is_binary(kind) else kind


class _DoesNotFit(Exception):
    """A value that the guessed type of its column does not take."""

    def __init__(self, name: str, kind: pa.DataType, value: str) -> None:
        super().__init__(name)
        self.name, self.kind, self.value = name, kind, value


def _parse(state: _Reading, file: _File) -> Iterator[pa.RecordBatch]:
    """One file's rows, in the first file's order of columns and the types known so far."""
    pa = arrow()
    ragged: list[Any] = []
    shown = False
    while True:
        with reading(file.path), Utf8(file.path, state.options.encoding, file.skip) as stream:
            try:
                rows = _open(state, file, stream, ragged)
                if rows is None:
                    return
                for batch in rows:
                    shown = True
                    yield batch.select(state.files[0].names)
                return
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error) or state.block * 4 > _LAST_BLOCK:
                    raise _explain(state, file, error, ragged) from error
                if shown and len(state.types) == len(file.names) == len(state.declared):
                    raise _explain(state, file, error, ragged) from error
                # A row longer than a block. What was yielded of this file was to find its types;
                # the pass that keeps the rows has blocks that are enough.
                state.block *= 4


def _open(state: _Reading, file: _File, stream: Any, ragged: list[Any]) -> Any:
    pa = arrow()
    import pyarrow.csv as arrow_csv

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    options = state.options
    known = {name: kind for name, kind in state.types.items() if name in file.names}
    single = len(file.names) == 1
    try:
        reader = arrow_csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=arrow_csv.ReadOptions(
                column_names=file.names, block_size=state.block, use_threads=False
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=file.delimiter,
                quote_char=options.quote or '"',
                newlines_in_values=True,
                # In a table of one column an empty line is a row without a value.
                ignore_empty_lines=not single,
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=known,
                null_values=list(options.nulls or NULLS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return None
        raise
    odd = {one.name: _guess(one.type) for one in reader.schema if _guess(one.type) != one.type}
    if odd:  # a time of day, say: read it as text from the start
        for name, kind in odd.items():
            raise _DoesNotFit(name, kind, "")
    return reader


def _explain(state: _Reading, file: _File, error: Exception, ragged: list[Any]) -> Exception:
    """The error for people: with the line, which Arrow does not know."""
    text = str(error)
    if ragged:
        return _ragged(state, file, ragged[0])
    if match := _CONVERSION.search(text):
        index, value = int(match[1]), match[3]
        name = file.names[index]
        if name not in state.declared:
            return _DoesNotFit(name, state.types.get(name, arrow().null()), value)
        line = _line(state, file, lambda row: len(row) > index and row[index] == value)
        wanted = types.name_of(state.types[name])
        return errors.InvalidData(
            f"{value!r} is not {wanted}",
            hint=f"the schema declares {name}: {wanted}; add the text to `nulls:` if it means "
            "that there is no value, or declare the column as string",
            where=errors.Location(file=str(file.path), line=line, field=name),
        )
    name = ""
    if match := _COLUMN.search(text):
        name = file.names[int(match[1])]
        if name not in state.declared and (name, "string") not in state.tried:
            return _DoesNotFit(name, arrow().string(), "")
    where = errors.Location(file=str(file.path), field=name)
    if "straddling" in text:
        return errors.InvalidData(
            f"a row is longer than {state.block >> 20} MiB: is a quote never closed?", where=where
        )
    return errors.InvalidData(f"this is not CSV: {first_line(error)}", where=where)


def _ragged(state: _Reading, file: _File, row: Any) -> errors.InvalidData:
    width = len(file.names)
    line = _line(state, file, lambda cells: bool(cells) and len(cells) != width)
    shown = row.text if len(row.text) <= 80 else row.text[:77] + "..."
    return errors.InvalidData(
        f"expected {width} columns as in the header, found {row.actual_columns}: {shown!r}",
        hint=f"the columns are cut at {file.delimiter!r}: quote texts that hold one, or say "
        "`delimiter:` under `source:`",
        where=errors.Location(file=str(file.path), line=line),
    )


def _line(state: _Reading, file: _File, wanted: Callable[[list[str]], bool]) -> int:
    """The line on which the first row of this sort begins; 0 if a second reading finds none."""
    lines = streams.text_lines(file.path, state.options.encoding)
    reader = _rows(lines, file.delimiter, state.options.quote or '"')
    begin, header = 1, state.options.header
    try:
        for row in reader:
            if row and header:
                header = False
            elif wanted(row):
                return begin
            begin = reader.line_num + 1
    except csv.Error:
        return begin
    return 0
