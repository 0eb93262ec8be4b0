"""Writing and reading the Parquet files of a version.

Row groups hold 131,072 rows, or fewer where these would take more than 64 MiB in memory: near
DuckDB's unit of parallel work (122,880), small enough that a probe which samples whole row groups
touches about 1 % of a 10-million-row table, large enough that the footer stays small. Compression
is zstd: as fast to write as snappy here, 7 % smaller on the flights. A file is closed at about
512 MiB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base import errors
from tradewind.blobs.base import disk_fault
from tradewind.data.types import arrow, first_line, fit

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 131_072
BYTES_PER_GROUP = 64 << 20
BYTES_PER_FILE = 512 << 20


@dataclass
class Writer:
    """Writes batches as `part-00000.parquet` and on into a folder; always at least one file, so
    that a table of no rows keeps its schema. After an error the files are gone."""

    folder: Path
    schema: pa.Schema
    files: list[Path] = field(default_factory=list)
    rows: int = 0
    _sink: Any = None
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    _waiting_rows: int = 0
    _waiting_bytes: int = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(self, batch: pa.RecordBatch) -> None:
        """The next rows, in the writer's schema."""
        for start in range(0, batch.num_rows, ROWS_PER_GROUP):
            part = batch.slice(start, ROWS_PER_GROUP)
            if self._waiting_rows + part.num_rows > ROWS_PER_GROUP:
                first = part.slice(0, ROWS_PER_GROUP - self._waiting_rows)
                part = part.slice(first.num_rows)
                self._wait(first)
            self._wait(part)

    def close(self) -> None:
        """Write what waits, finish the file and flush it to disk."""
        try:
            self._flush()
            if not self.files:
                self._open()
            self._finish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove everything that was written."""
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except (OSError, arrow().ArrowException):
                pass  # a full disk fails a second time here; the files go anyway
        for path in self.files:
            path.unlink(missing_ok=True)
        self.files.clear()

    def _wait(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= ROWS_PER_GROUP or self._waiting_bytes >= BYTES_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        pa = arrow()
        table = pa.Table.from_batches(self._waiting, schema=self.schema)
        self.rows += table.num_rows
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        if self._sink is None:
            self._open()
        with write_faults(self.folder):
            self._sink.write_table(table, row_group_size=ROWS_PER_GROUP)
            full = self.files[-1].stat().st_size >= BYTES_PER_FILE
        if full:
            self._finish()

    def _open(self) -> None:
        import pyarrow.parquet as pq

        path = self.folder / f"part-{len(self.files):05d}.parquet"
        with write_faults(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.files.append(path)
            self._sink = pq.ParquetWriter(
                path, self.schema, compression="zstd", store_schema=True, version="2.6"
            )

    def _finish(self) -> None:
        if self._sink is None:
            return
        sink, self._sink = self._sink, None
        with write_faults(self.folder):
            sink.close()
            handle = os.open(self.files[-1], os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


class write_faults:
    """Map what a failing disk makes Arrow raise."""

    def __init__(self, folder: Path) -> None:
        """`folder` is named in the error."""
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise disk_fault(error, f"writing a table into {self.folder}") from error


def open_file(path: Path | str) -> Any:
    """A `pyarrow.parquet.ParquetFile`; NotFound or InvalidData if it is none, or if it is not the
    rows that it says: readers go by its groups."""
    pa = arrow()
    import pyarrow.parquet as pq

    where = errors.Location(file=str(path))
    try:
        file = pq.ParquetFile(path)
        told = file.metadata
        held = sum(told.row_group(group).num_rows for group in range(told.num_row_groups))
    except FileNotFoundError as error:
        raise errors.NotFound("the file does not exist", where=where) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        text = f"this is not a whole Parquet file: {first_line(error)}"
        raise errors.InvalidData(text, where=where) from error
    if held != told.num_rows:
        file.close()
        raise errors.InvalidData(
            f"the Parquet file contradicts itself: its footer says {told.num_rows:,} rows, its row "
            f"groups {held:,}",
            hint="write it anew from where it came from; whichever is read, rows may be missing",
            where=where,
        )
    return file


def schema_of(files: Sequence[Path | str]) -> pa.Schema:
    """The Arrow schema of the first file: all files of a version have the same."""
    with open_file(files[0]) as reader:
        schema: pa.Schema = reader.schema_arrow
        return schema


def common_schema(files: Sequence[Path | str]) -> pa.Schema:
    """The Arrow schema that holds the rows of all of them: types that were guessed apart, from the
    values of each file, are widened (nothing to something, whole numbers to floats)."""
    pa = arrow()
    found: list[Any] = []
    for path in files:
        with open_file(Path(path)) as reader:
            if reader.schema_arrow.remove_metadata() not in found:
                found.append(reader.schema_arrow.remove_metadata())
    try:
        schema: Any = pa.unify_schemas(found, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise errors.InvalidData(
            f"parts of the table differ: {first_line(error)}",
            hint="return the same columns and types for every part",
        ) from error
    return schema


def batches(
    files: Iterable[Path | str],
    schema: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
    rows: int = ROWS_PER_GROUP,
    check: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of these files, in order, fitted to `schema` if one is given. `check` files that we
    did not write: texts in Parquet may be no text."""
    pa = arrow()
    for path in files:
        with open_file(path) as reader:
            try:
                for batch in reader.iter_batches(rows, columns=columns):
                    if check:
                        batch.validate(full=True)
                    yield batch if schema is None else fit(batch, schema)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                text = f"the Parquet file is damaged: {first_line(error)}"
                where = errors.Location(file=str(path))
                raise errors.InvalidData(text, where=where) from error
