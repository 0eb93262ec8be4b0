"""All rows of one key at once, for the style `group`.

Rows are dealt into buckets on disk by the hash of their key, each bucket small enough to be held;
in a bucket they are put together by key. So a group is never split, memory is bounded by a bucket
or the largest group, and every type stays what it was. Equal keys: as DuckDB groups them. Nulls are
one key, NaN is one key, -0.0 and 0.0 are one key; texts are equal byte by byte. The rows of a group
keep their order; the order of the groups is not promised.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

from . import groups, tables

# What a bucket should take in memory, and how many there may be.
BUCKET = 48 << 20
MOST = 256
# A group from this size on is announced in the log before the function is given it: if the kernel
# then kills the process, the last line says why.
LARGE = 256 << 20


class Keyed(NamedTuple):
    """The rows of one key; `value()` is what the function gets of them."""

    key: dict[str, Any]
    data: Any
    value: Callable[[], Any]

    def __str__(self) -> str:
        """For people: the key and how much it is."""
        return f"the group {shown(self.key)} ({sizes(self.data.num_rows, self.data.nbytes)})"


def sizes(rows: int, size: int) -> str:
    """Rows and bytes, for people."""
    unit = "MB" if size < 10_000_000_000 else "GB"
    amount = size / (1e6 if unit == "MB" else 1e9)
    return f"{rows:,} row{'s' * (rows != 1)}, {amount:,.1f} {unit}"


def shown(key: dict[str, Any]) -> str:
    """A key or a row as a message quotes it. Times and decimals as they are written, not made."""
    return ", ".join(f"{name}={_value(value):.80}" for name, value in key.items())[:1000]


def _value(value: Any) -> str:
    plain = value is None or isinstance(value, (str, bytes, bool, int, float, list, dict))
    return repr(value) if plain else str(value)


def buckets(mine: Sequence[groups.Group], of: int = 1) -> int:
    """How many buckets are needed for a share of these rows."""
    return min(MOST, 1 + sum(group.bytes for group in mine) // of // BUCKET)


class Shuffle:
    """Deals the rows of some row groups by key; the keys of one part of `of`, or all."""

    def __init__(
        self,
        by: Sequence[str],
        out: str,
        *,
        part: int = 0,
        of: int = 1,
        memory: int = 0,
        cores: int = 0,
    ) -> None:
        """`memory`: what a group may take at most, in bytes; 0: what the machine has left. `cores`:
        threads of the sorting; 0: as many as the machine has."""
        self.by, self.part, self.of = list(by), part, of
        self.memory = memory or _available()
        self._out = out
        self._connection = tables.use("duckdb").connect()
        self._connection.execute("SET enable_progress_bar = false")
        if cores:
            self._connection.execute(f"SET threads = {int(cores)}")

    def grouped(
        self, mine: Sequence[groups.Group], cut: Callable[[Any], Callable[[int, int], Any]]
    ) -> Iterator[Keyed]:
        """Every group, whole. `cut` makes of a table what makes values of its rows."""
        yield from self.gathered(self.dealt(mine, buckets(mine, self.of)), cut)

    def dealt(self, mine: Sequence[groups.Group], count: int) -> Iterator[tuple[int, Any]]:
        """Bucket → rows of it, in order; each key is in one bucket of `count`."""
        for piece in groups.batches(mine):
            for bucket, rows in self.places(piece.data, count):
                yield bucket, piece.data.take(rows)

    def gathered(
        self,
        dealt: Iterable[tuple[int, Any]],
        cut: Callable[[Any], Callable[[int, int], Any]],
    ) -> Iterator[Keyed]:
        """Every group of what was dealt: all rows of its buckets, in order."""
        os.makedirs(self._out, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="keys-", dir=self._out)
        try:
            kept = _Buckets(folder)
            for bucket, data in dealt:
                kept.add(bucket, data)
            for path in kept.closed():
                yield from self._of_bucket(path, cut)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._connection.close()

    def places(self, data: Any, count: int) -> Iterator[tuple[int, Any]]:
        """Bucket → places of the rows in it."""
        names = ", ".join(f"k{place}" for place in range(len(self.by)))
        found = self._ask(
            data,
            f"SELECT (h // {self.of}) % {count} AS b, list(i ORDER BY i) AS rows "
            f"FROM (SELECT i, hash({names}) AS h FROM keyed) "
            f"WHERE h % {self.of} = {self.part} GROUP BY b ORDER BY b",
        )
        buckets, rows = found.column("b").to_pylist(), found.column("rows")
        for place, bucket in enumerate(buckets):
            yield bucket, rows[place].values

    def sizes(self, data: Any, count: int, most: int) -> Iterator[tuple[int, int, list[int]]]:
        """Of all keys: bucket, how many rows are in it, and the hashes of so many of its keys."""
        names = ", ".join(f"k{place}" for place in range(len(self.by)))
        found = self._ask(
            data,
            f"SELECT h % {count} AS b, sum(n)::BIGINT AS n, list(h)[:{most}] AS some "
            f"FROM (SELECT hash({names}) AS h, count(*) AS n FROM keyed GROUP BY h) GROUP BY b",
        )
        for each in found.to_pylist():
            yield each["b"], each["n"], each["some"]

    def firsts(self, data: Any, count: int) -> Any:
        """The places of so many rows: the first of each key, then the second of each, and so on."""
        names = ", ".join(f"k{place}" for place in range(len(self.by)))
        found = self._ask(
            data,
            f"SELECT i FROM (SELECT i FROM (SELECT i, row_number() OVER (PARTITION BY {names} "
            f"ORDER BY i) AS n FROM keyed) ORDER BY n, i LIMIT {int(count)}) ORDER BY i",
        )
        return found.column("i").combine_chunks()

    def _of_bucket(
        self, path: str, cut: Callable[[Any], Callable[[int, int], Any]]
    ) -> Iterator[Keyed]:
        if os.path.getsize(path) > self.memory // 4:
            self._check_largest(path)
        table = _read(path)
        names = ", ".join(f"k{place}" for place in range(len(self.by)))
        found = self._ask(
            table, f"SELECT list(i ORDER BY i) AS rows FROM keyed GROUP BY {names} ORDER BY min(i)"
        )
        compute = tables.use("pyarrow.compute")
        ordered = table.take(compute.list_flatten(found.column("rows")))
        start, value = 0, cut(ordered)
        for rows in compute.list_value_length(found.column("rows")).to_pylist():
            data = ordered.slice(start, rows)
            yield Keyed(self._key(data), data, functools.partial(value, start, rows))
            start += rows

    def _key(self, data: Any) -> dict[str, Any]:
        return {name: data.column(name)[0].as_py() for name in self.by}

    def _check_largest(self, path: str) -> None:
        """Refuse a group that cannot be held, before it is loaded."""
        rows, most, largest = 0, 0, {}
        counted: dict[Any, list[Any]] = {}
        names = ", ".join(f"k{place}" for place in range(len(self.by)))
        for batch in _batches(path):
            found = self._ask(
                batch,
                f"SELECT hash({names}) AS h, count(*) AS n, min(i) AS i FROM keyed GROUP BY h",
            )
            for each in found.to_pylist():
                entry = counted.setdefault(each["h"], [0, None])
                entry[0] += each["n"]
                entry[1] = entry[1] or self._key(batch.slice(each["i"], 1))
            rows += batch.num_rows
        for number, key in counted.values():
            if number > most:
                most, largest = number, key
        size = os.path.getsize(path) * most // max(1, rows)
        if size > self.memory:
            raise MemoryError(
                f"the group {shown(largest)} has {sizes(most, size)}, more than the "
                f"{self.memory / 1e6:,.0f} MB that there are; a group is given as a whole"
            )

    def _ask(self, data: Any, query: str) -> Any:
        pyarrow = tables.use("pyarrow")
        columns = {f"k{i}": _comparable(data.column(name)) for i, name in enumerate(self.by)}
        compute = tables.use("pyarrow.compute")
        ones = pyarrow.repeat(pyarrow.scalar(1, pyarrow.int64()), data.num_rows)
        columns["i"] = compute.subtract(compute.cumulative_sum(ones), 1)
        self._connection.register("keyed", pyarrow.table(columns))
        try:
            return self._connection.execute(query).to_arrow_table()
        finally:
            self._connection.unregister("keyed")


class _Buckets:
    """Files of Arrow batches, by number."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open: dict[int, Any] = {}

    def add(self, bucket: int, data: Any) -> None:
        data = merged(data)
        if bucket not in self._open:
            path = os.path.join(self._folder, f"{bucket}.arrow")
            self._open[bucket] = tables.use("pyarrow.ipc").new_stream(path, data.schema)
        self._open[bucket].write_batch(data)

    def closed(self) -> list[str]:
        """The files, whole."""
        for writer in self._open.values():
            writer.close()
        return [os.path.join(self._folder, f"{bucket}.arrow") for bucket in sorted(self._open)]


def merged(data: Any) -> Any:
    """Dictionaries differ from batch to batch, and a take of several needs one: plain values."""
    pyarrow = tables.use("pyarrow")
    is_dictionary = pyarrow.types.is_dictionary
    for place, field in enumerate(data.schema):
        if is_dictionary(field.type):
            values = data.column(place).cast(field.type.value_type)
            data = data.set_column(place, field.name, values)
    return data


def _batches(path: str) -> Iterator[Any]:
    with tables.use("pyarrow").memory_map(path) as source:
        yield from tables.use("pyarrow.ipc").open_stream(source)


def _read(path: str) -> Any:
    with tables.use("pyarrow").memory_map(path) as source:
        return tables.use("pyarrow.ipc").open_stream(source).read_all().combine_chunks()


def _comparable(column: Any) -> Any:
    """A key column as DuckDB compares it without loss: times as numbers, since it has fewer digits;
    floats with one zero and one NaN."""
    pa, compute = tables.use("pyarrow"), tables.use("pyarrow.compute")
    is_, kind = pa.types, column.type
    if is_.is_dictionary(kind):
        return _comparable(column.cast(kind.value_type))
    if (
        is_.is_timestamp(kind)
        or is_.is_duration(kind)
        or is_.is_time64(kind)
        or is_.is_date64(kind)
    ):
        return column.cast(pa.int64())
    if is_.is_time32(kind):
        return column.cast(pa.int32())
    if is_.is_decimal256(kind):
        return column.cast(pa.string())
    if is_.is_floating(kind):
        column = compute.add(column.cast(pa.float64()), pa.scalar(0.0))
        return compute.if_else(compute.is_nan(column), pa.scalar(float("nan")), column)
    return column


def _available() -> int:
    """Bytes of memory that the machine has left."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 1 << 50
