"""A spec's `source` as a stream of rows with one schema.

| format | files | what is guessed |
| csv | .csv .tsv .txt .psv | delimiter and types; the encoding only by its byte order mark |
| jsonl | .jsonl .ndjson .json | types |
| parquet | .parquet .pq | nothing |
| arrow | .arrow .feather .ipc .arrows | nothing |

Text formats and Arrow streams may be compressed (.gz .bz2 .zst .lz4, or .zip of one file).
Several files, a glob or a folder are one table, in the order of their names. A file of no bytes
is an error; a header without rows, and a column without any value, are not (such a column is
stored as string).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base import errors
from tradewind.data import csvfile, jsonlines, parquet, streams, types
from tradewind.data.streams import COMPRESSED, Options, reading
from tradewind.data.types import arrow, first_line

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """The rows of a source. `batches()` starts anew each time and holds one block in memory."""

    schema: pa.Schema
    files: tuple[Path, ...]
    batches: Callable[[], Iterator[pa.RecordBatch]]


def read(source: Any, base: Path) -> Rows:
    """`source` is a path, a list of paths or the mapping of a dataset spec; relative paths are
    below `base`. Raises InvalidSpec, InvalidData (located) or NotFound, here or while iterating."""
    options = source if isinstance(source, Options) else Options.from_json(source)
    files = streams.find(options, base)
    formats: dict[str, Path] = {}
    for path in files:
        formats.setdefault(streams.format_of(path, options), path)
    if len(formats) > 1:
        (one, first), (other, second) = list(formats.items())[:2]
        raise errors.InvalidData(
            f"one table cannot be of {one} ({first.name}) and {other} ({second.name})",
            hint="say which with a glob, such as data/*.csv",
            where=errors.Location(field="source.path"),
        )
    kind = next(iter(formats))
    if kind in ("csv", "jsonl"):
        for path in files:
            _not_empty(path)
        reader = csvfile.read if kind == "csv" else jsonlines.read
        schema, batches = reader(files, options)
    else:
        schema, batches = _columnar(files, options, _parquet if kind == "parquet" else _ipc)
    return Rows(schema, tuple(files), batches)


def _not_empty(path: Path) -> None:
    with reading(path):
        if path.stat().st_size == 0:
            raise errors.InvalidData(
                "the file is empty: it has no bytes",
                hint="a table of no rows still needs its header",
                where=errors.Location(file=str(path)),
            )


_DAMAGED = (EOFError, MemoryError, zipfile.BadZipFile)

Opened = tuple["pa.Schema", Callable[[], Iterator["pa.RecordBatch"]]]


def _columnar(files: Sequence[Path], options: Options, opener: Callable[[Path], Opened]) -> Opened:
    """Files that carry their schema: all must have the same, apart from the order of columns and
    from what `types.stored` makes equal."""
    pa = arrow()
    first: Any = None
    for path in files:
        _not_empty(path)
        try:
            schema = types.stored_schema(opener(path)[0], str(path))
        except UnicodeDecodeError as error:
            where = errors.Location(file=str(path))
            raise errors.InvalidData("a column's name is not UTF-8 text", where=where) from error
        if first is None:
            first = schema
            continue
        fault = streams.same_columns((files[0], first.names), (path, schema.names))
        if fault:
            raise fault
        for field in first:
            if (kind := schema.field(field.name).type) != field.type:
                raise errors.InvalidData(
                    f"{field.name} is {types.name_of(kind)} here, but "
                    f"{types.name_of(field.type)} in {files[0].name}",
                    hint="declare its type under `schema:`, or convert one of the files",
                    where=errors.Location(file=str(path), field=field.name),
                )
    known = types.declared(options.schema)
    if unknown := [name for name in known if name not in first.names]:
        raise errors.InvalidData(
            f"the schema declares {unknown[0]!r}, which the file does not have",
            hint="its columns are " + ", ".join(first.names[:30]),
            where=errors.Location(file=str(files[0]), field=f"source.schema.{unknown[0]}"),
        )
    schema = pa.schema([(one.name, known.get(one.name, one.type)) for one in first])

    def rows() -> Iterator[Any]:
        for path in files:
            for batch in opener(path)[1]():
                try:
                    yield types.fit(batch, schema)
                except errors.InvalidData as error:
                    name = error.where.field if error.where else ""
                    error.where = errors.Location(file=str(path), field=name)
                    raise

    return schema, rows


def _parquet(path: Path) -> Opened:
    if path.suffix.lower() in (*COMPRESSED, ".zip"):
        raise _cannot_seek(path, "Parquet file")
    with parquet.open_file(path) as reader:
        schema = reader.schema_arrow
    return schema, lambda: parquet.batches([path], check=True)


def _cannot_seek(path: Path, kind: str) -> errors.InvalidData:
    return errors.InvalidData(
        f"a {kind} that is compressed as a whole cannot be read piece by piece",
        hint="unpack it: it is compressed inside",
        where=errors.Location(file=str(path)),
    )


def _ipc(path: Path) -> Opened:
    pa = arrow()
    where = errors.Location(file=str(path))

    def batches() -> Iterator[Any]:
        with reading(path), _open_ipc(path) as reader:
            try:
                if hasattr(reader, "num_record_batches"):
                    parts = (reader.get_batch(n) for n in range(reader.num_record_batches))
                else:
                    parts = iter(reader)
                for batch in parts:
                    # A damaged file may hold offsets that point anywhere.
                    batch.validate(full=True)
                    for start in range(0, batch.num_rows, parquet.ROWS_PER_GROUP):
                        yield batch.slice(start, parquet.ROWS_PER_GROUP)
            # A damaged length asks for more memory than there is.
            except (pa.ArrowException, ValueError, KeyError, MemoryError) as error:
                text = f"the Arrow file is damaged: {first_line(error)}"
                raise errors.InvalidData(text, where=where) from error

    with reading(path), _open_ipc(path) as reader:
        return reader.schema, batches


@contextmanager
def _open_ipc(path: Path) -> Iterator[Any]:
    """A reader of an Arrow file (Feather is one), by memory map, or of a stream."""
    pa = arrow()
    where = errors.Location(file=str(path))
    packed = path.suffix.lower() in (*COMPRESSED, ".zip")
    with ExitStack() as opened:
        try:
            with streams.open_bytes(path) as stream:
                head = stream.read(6)
            if head.startswith(b"FEA1"):
                hint = "write it anew: pandas and pyarrow write version 2 since 2020"
                raise errors.InvalidData("Feather version 1 is not read", hint=hint, where=where)
            if head.startswith(b"ARROW1"):
                if packed:
                    raise _cannot_seek(path, "Arrow file")
                reader = pa.ipc.open_file(opened.enter_context(pa.memory_map(str(path))))
            else:
                stream = opened.enter_context(streams.open_bytes(path))
                reader = pa.ipc.open_stream(pa.PythonFile(stream, mode="r"))
        except (pa.ArrowException, ValueError, OSError, *_DAMAGED) as error:
            text = f"this is not a whole Arrow file: {first_line(error)}"
            raise errors.InvalidData(text, where=where) from error
        yield opened.enter_context(reader)
