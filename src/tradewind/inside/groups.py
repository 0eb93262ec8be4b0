"""Which row groups a Parquet table has, which of them are whose, and reading them in batches.

A row group is the unit of sharing: parts and samples are made of whole ones, so that what is
measured on a sample holds for the table. Reading keeps the types that the files' writer meant.
"""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Sequence

from . import tables

# A batch holds at most so many rows, and fewer where these would take more bytes than this.
ROWS = 131_072
BYTES = 32 << 20


class Group(NamedTuple):
    """One row group: its file, its place there and in the table. `bytes` is its size when it is
    no longer compressed."""

    file: str
    place: int
    rows: int
    bytes: int
    number: int
    start: int
    first: int


class Piece(NamedTuple):
    """Rows that lie together: a batch, or a part of one. `number` is that of their file; `start`
    counts from that file's first row, `first` from the table's."""

    data: Any
    number: int
    start: int
    first: int

    def cut(self, start: int, rows: int) -> Piece:
        """Some of its rows, without a copy."""
        return Piece(
            self.data.slice(start, rows), self.number, self.start + start, self.first + start
        )


def listed(files: Sequence[str]) -> list[Group]:
    """All row groups, in order, from the footers alone."""
    found: list[Group] = []
    first = 0
    for number, path in enumerate(files):
        footer = opened(path).metadata
        start = 0
        for index in range(footer.num_row_groups):
            group = footer.row_group(index)
            found.append(
                Group(path, index, group.num_rows, group.total_byte_size, number, start, first)
            )
            start += group.num_rows
            first += group.num_rows
    return found


def opened(path: str) -> Any:
    """The `pyarrow.parquet.ParquetFile`."""
    return tables.use("pyarrow.parquet").ParquetFile(path)


def schema_of(files: Sequence[str]) -> Any:
    """The Arrow schema of the first file: all files of a version have the same."""
    return opened(files[0]).schema_arrow


def share(groups: Sequence[Group], part: int, of: int) -> list[Group]:
    """The groups of one part of a table: neighbours, balanced by bytes, each in exactly one part.
    With more parts than groups some have none."""
    weights = [max(1, group.bytes) for group in groups]
    total, before = sum(weights), 0
    mine = []
    for group, weight in zip(groups, weights):
        # It belongs where its middle lies.
        if (2 * before + weight) * of // (2 * total) == part:
            mine.append(group)
        before += weight
    return mine


def spread(groups: Sequence[Group], count: int) -> list[Group]:
    """So many of them, evenly spread over the table."""
    count = min(count, len(groups))
    return [groups[(2 * i + 1) * len(groups) // (2 * count)] for i in range(count)]


def batches(groups: Sequence[Group], most: int = ROWS) -> Iterator[Piece]:
    """Their rows, in order, in record batches of at most `most` rows. No batch reaches over the
    end of a row group; how many rows one has is not promised."""
    file, reader = "", None
    for group in groups:
        if group.file != file:
            file, reader = group.file, opened(group.file)
        start = 0
        assert reader is not None
        for data in reader.iter_batches(batch_rows(group, most), row_groups=[group.place]):
            if data.num_rows:
                yield Piece(data, group.number, group.start + start, group.first + start)
            start += data.num_rows


def batch_rows(group: Group, most: int) -> int:
    """At most so many rows of this group are in one batch."""
    return max(1, min(most, BYTES * group.rows // max(1, group.bytes)))


def with_nulls(files: Sequence[str]) -> set[str]:
    """The names of the plain columns that have a null somewhere, or may have one: their statistics
    do not say."""
    found: set[str] = set()
    for path in files:
        footer = opened(path).metadata
        for index in range(footer.num_row_groups):
            group = footer.row_group(index)
            for place in range(group.num_columns):
                column = group.column(place)
                told = column.statistics
                if told is None or not told.has_null_count or told.null_count:
                    found.add(column.path_in_schema)
    return found
