"""Samples of a Parquet table: whole row groups in their original bytes, some rows, none.

A sample of row groups is a file in which the others are holes: nothing is decoded or written anew,
so dictionaries, encodings and sizes are those of the table, and a measurement on it holds there.
Only the footer is new; it lists fewer row groups. The format is Parquet's, whose footer is a struct
in Thrift's compact encoding; of that just enough is read here to cut a list.
"""

from __future__ import annotations

import functools
import os
import shutil
import struct
from typing import IO, Any, Sequence

from . import groups, tables
from .groups import Group

_MAGIC = b"PAR1"
_NUM_ROWS, _ROW_GROUPS = 3, 4
_I64, _LIST = 6, 9
_FIELD = 0


def of_groups(chosen: Sequence[Group], folder: str) -> list[str]:
    """Files with these row groups and no others, in the table's order; a file of which all are
    chosen is itself."""
    found: list[str] = []
    for number in sorted({group.number for group in chosen}):
        mine = [group for group in chosen if group.number == number]
        footer = groups.opened(mine[0].file).metadata
        if len(mine) == footer.num_row_groups:
            found.append(mine[0].file)
            continue
        target = os.path.join(folder, f"sample-{number}.parquet")
        _with_holes(mine, footer, target)
        found.append(target)
    return found


def as_large(files: Sequence[str], rows: int, folder: str) -> list[str]:
    """Samples in this folder, which then say that they have so many rows together: a database plans
    by what footers say, and joins a table of so many rows otherwise than a few. Files that lie
    elsewhere are copied first."""
    if sum(groups.opened(path).metadata.num_rows for path in files) == rows:
        return list(files)
    found = []
    for number, path in enumerate(files):
        if os.path.dirname(path) != folder:
            path = shutil.copyfile(path, os.path.join(folder, f"copy-{number}.parquet"))
        with open(path, "r+b") as file:
            footer, begin = _footer(file)
            file.seek(begin)
            _end(file, cut(footer, None, rows // len(files)))
            file.truncate()
        found.append(path)
    return found


def of_rows(chosen: Group, rows: int, folder: str) -> list[str]:
    """The first rows of a row group, written anew."""
    path = os.path.join(folder, "slice.parquet")
    parts = []
    for piece in groups.batches([chosen], rows):
        parts.append(piece.data.slice(0, rows))
        rows -= parts[-1].num_rows
        if not rows:
            break
    table = tables.use("pyarrow").Table.from_batches(parts)
    tables.use("pyarrow.parquet").write_table(table, path)
    return [path]


def distinct(files: Sequence[str], by: Sequence[str]) -> int:
    """How many keys these files have."""
    connection = tables.use("duckdb").connect()
    try:
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in by)
        query = f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM read_parquet(?))"
        return int(connection.execute(query, [list(files)]).fetchone()[0])
    finally:
        connection.close()


def of_nothing(files: Sequence[str], folder: str) -> list[str]:
    """The same columns without rows."""
    path = os.path.join(folder, "empty.parquet")
    tables.use("pyarrow.parquet").write_table(groups.schema_of(files).empty_table(), path)
    return [path]


def _with_holes(chosen: Sequence[Group], footer: Any, target: str) -> None:
    source = chosen[0].file
    kept = {group.place for group in chosen}
    with open(source, "rb") as old, open(target, "wb") as new:
        data, end = _footer(old)
        start = 0
        for begin, stop in _spans(footer, kept):
            _copy(old, new, start, begin)
            start = max(start, stop)
        _copy(old, new, start, end)
        new.seek(end)
        _end(new, cut(data, kept, sum(group.rows for group in chosen)))


def _footer(file: IO[bytes]) -> tuple[bytes, int]:
    """The footer, and where it begins."""
    end = file.seek(-8, os.SEEK_END)
    length = struct.unpack("<I", file.read(4))[0]
    begin = file.seek(end - length)
    return file.read(length), begin


def _end(file: IO[bytes], footer: bytes) -> None:
    """What stands at the end of a file: its footer, its length, the mark."""
    file.write(footer + struct.pack("<I", len(footer)) + _MAGIC)


def _spans(footer: Any, kept: set[int]) -> list[tuple[int, int]]:
    """Where the pages of the row groups lie that are not kept."""
    found = []
    for place in range(footer.num_row_groups):
        group = footer.row_group(place)
        for number in range(group.num_columns if place not in kept else 0):
            column = group.column(number)
            begin = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                begin = min(begin, column.dictionary_page_offset)
            found.append((begin, begin + column.total_compressed_size))
    joined: list[tuple[int, int]] = []
    for begin, stop in sorted(found):
        if joined and begin == joined[-1][1]:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((begin, stop))
    return joined


def _copy(old: IO[bytes], new: IO[bytes], begin: int, end: int) -> None:
    old.seek(begin)
    new.seek(begin)
    while begin < end:
        data = old.read(min(1 << 20, end - begin))
        new.write(data)
        begin += len(data)


# -- the footer ----------------------------------------------------------------------------------


def cut(footer: bytes, kept: set[int] | None, rows: int) -> bytes:
    """The footer with these row groups and no others (None: all), as of so many rows."""
    made, place, field = bytearray(), 0, 0
    while footer[place]:
        begin, kind = place, footer[place] & 15
        delta = footer[place] >> 4
        place += 1
        if delta:
            field += delta
        else:
            number, place = _varint(footer, place)
            field = _unzigzag(number)
        made += footer[begin:place]
        begin = place
        if kept is not None and field == _ROW_GROUPS and kind == _LIST:
            made += _cut_list(footer, begin, kept)
            place = _ends(footer, begin)[-1]
            continue
        place = _after(footer, place, kind)
        if field == _NUM_ROWS and kind == _I64:
            made += _varint_of(rows << 1)
        else:
            made += footer[begin:place]
    return bytes(made) + footer[place:]


def _cut_list(data: bytes, begin: int, kept: set[int]) -> bytes:
    kind = _list_head(data, begin)[1]
    ends = _ends(data, begin)
    parts = [data[ends[number] : ends[number + 1]] for number in sorted(kept)]
    if len(parts) < 15:
        head = bytes([len(parts) << 4 | kind])
    else:
        head = bytes([0xF0 | kind]) + _varint_of(len(parts))
    return head + b"".join(parts)


@functools.lru_cache(maxsize=4)
def _ends(data: bytes, place: int) -> list[int]:
    """Where the list's first value begins, and where each of them ends."""
    size, kind, place = _list_head(data, place)
    found = [place]
    for _ in range(size):
        found.append(place := _after(data, place, kind))
    return found


def _list_head(data: bytes, place: int) -> tuple[int, int, int]:
    size, kind = data[place] >> 4, data[place] & 15
    place += 1
    if size == 15:
        size, place = _varint(data, place)
    return size, kind, place


def _after(data: bytes, place: int, kind: int) -> int:
    """Where the value of this kind that begins at `place` ends. One loop, no calls: a table of a
    thousand row groups has a million values in its footer."""
    # What is still to be passed over: kinds of values, and _FIELD where a struct goes on.
    left = [kind]
    while left:
        kind = left.pop()
        if kind == _FIELD:
            head = data[place]
            place += 1
            if not head:
                continue
            if head < 16:  # the number of the field follows
                while data[place] > 127:
                    place += 1
                place += 1
            left.append(_FIELD)
            kind = head & 15
            if kind in (1, 2):  # a field's truth lies in its kind
                continue
        if 4 <= kind <= 6:
            while data[place] > 127:
                place += 1
            place += 1
        elif kind == 8:
            size, place = _varint(data, place)
            place += size
        elif kind == 12:
            left.append(_FIELD)
        elif kind in (9, 10):
            size, inner, place = _list_head(data, place)
            left += [3 if inner in (1, 2) else inner] * size
        elif kind == 7:
            place += 8
        elif kind == 3:
            place += 1
        else:
            raise ValueError(f"a Parquet footer with a value of kind {kind}")
    return place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            return value, place
        shift += 7


def _varint_of(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def _unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
