"""What Spark's Python workers do: each task carries a function out on its share of a table.

A share is what a part of the backend `partitions` is: whole row groups, read here and not by Spark,
so that every type stays what it was; the rows that come out are written here too. Groups are dealt
into buckets by key, Spark moves the buckets, and each is put together by who gets it. What a task
tells is one JSON text.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Iterable, Iterator

from . import ends, groups, inputs, keys, loading, outputs, styles, tables

# What travels between the two halves of a grouping.
DEALT = "bucket int, share int, number int, data binary"
TOLD = "told string"
_loaded: dict[tuple[str, str], Callable[..., Any]] = {}


class Share:
    """Carries out the styles batch and row. Pickled: it holds what the unit was told."""

    def __init__(self, start: dict[str, Any], of: int) -> None:
        call = {**start["entry"]["call"], "cores": 1}
        self.start = {**start, "entry": {**start["entry"], "call": call}}
        self.of = of

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """For each number of a share, how it went."""
        for batch in batches:
            for part in batch.column(0).to_pylist():
                yield _batch({"told": [json.dumps(self._told(part))]})

    def _told(self, part: int) -> dict[str, Any]:
        if os.path.exists(self._mark()):
            return {"part": part}
        try:
            streamed = self._streamed(_function(self.start), self._part(part))
            told = streamed.run()
            return {"part": part, "told": told, "sure": streamed.sink.sure}
        except (loading.Failure, outputs.Unstorable, inputs.Unreadable) as error:
            ended = error.exit
        except tables.NoLibrary as error:
            ended = {"reason": "input", "message": str(error), "hint": error.hint}
        except SystemExit as leaving:
            ended = ends.of_system_exit(leaving)
        except BaseException as error:
            ended = ends.of_exception(error, self.start)
        with open(self._mark(), "w"):  # the others need not begin
            pass
        return {"part": part, "exit": ended}

    def _streamed(self, function: Callable[..., Any], start: dict[str, Any]) -> styles.Streamed:
        return styles.Streamed(function, start)

    def _part(self, part: int) -> dict[str, Any]:
        # A try that was given up may still write when the next one does.
        context = tables.use("pyspark").TaskContext.get()
        out = os.path.join(self.start["out"], "shares", f"{part:05d}-{context.taskAttemptId()}")
        os.makedirs(out, exist_ok=True)
        return {**self.start, "item": {"part": part, "of": self.of}, "out": out}

    def _mark(self) -> str:
        return os.path.join(self.start["out"], "shares", "failed")


class Deal(Share):
    """The first half of a grouping: the rows of a share, by bucket."""

    def __init__(self, start: dict[str, Any], of: int, count: int) -> None:
        super().__init__(start, of)
        self.count = count

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Arrow streams of one record batch, as DEALT."""
        pyarrow = tables.use("pyarrow")
        files = self.start["inputs"][self.start["streamed"]]["files"]
        found = groups.listed(files)
        for batch in batches:
            for part in batch.column(0).to_pylist():
                mine = groups.share(found, part, self.of)
                shuffle = keys.Shuffle(self.start["entry"]["call"]["by"], "", cores=1)
                for number, (bucket, rows) in enumerate(shuffle.dealt(mine, self.count)):
                    data = _packed(keys.merged(rows))
                    row = {"bucket": bucket, "share": part, "number": number, "data": data}
                    columns = {name: [value] for name, value in row.items()}
                    kinds = (pyarrow.int32(), pyarrow.int32(), pyarrow.int32(), pyarrow.binary())
                    arrays = [pyarrow.array(v, k) for v, k in zip(columns.values(), kinds)]
                    yield pyarrow.RecordBatch.from_arrays(arrays, list(columns))


class Gather(Share):
    """The second half: the buckets that Spark brought, each with all rows of its keys."""

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """One telling, or none where no bucket came."""
        batches = iter(batches)
        first = next((batch for batch in batches if batch.num_rows), None)
        if first is None:
            return
        self._dealt = _unpacked([first], batches)
        part = tables.use("pyspark").TaskContext.get().partitionId()
        yield _batch({"told": [json.dumps(self._told(part))]})

    def _streamed(self, function: Callable[..., Any], start: dict[str, Any]) -> styles.Streamed:
        return _Gathered(function, start, self._dealt)


class _Gathered(styles.Streamed):
    """Groups out of what was dealt."""

    def __init__(
        self,
        function: Callable[..., Any],
        start: dict[str, Any],
        dealt: Iterable[tuple[int, Any]],
    ) -> None:
        super().__init__(function, start)
        self._dealt = dealt

    def keyed(self, shuffle: keys.Shuffle, found: Any, cut: Any) -> Iterator[keys.Keyed]:
        return shuffle.gathered(self._dealt, cut)


def _unpacked(*sources: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    ipc = tables.use("pyarrow.ipc")
    for source in sources:
        for batch in source:
            for bucket, data in zip(batch.column("bucket").to_pylist(), batch.column("data")):
                with ipc.open_stream(data.as_buffer()) as reader:
                    for rows in reader:
                        yield bucket, rows


def _packed(rows: Any) -> bytes:
    pyarrow = tables.use("pyarrow")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def _batch(columns: dict[str, list[Any]]) -> Any:
    return tables.use("pyarrow").RecordBatch.from_pydict(columns)


def _function(start: dict[str, Any]) -> Callable[..., Any]:
    """Loaded once in a worker, as a part of an array loads it."""
    which = (str(start.get("bundle", "")), start["entry"]["target"])
    if which not in _loaded:
        sys.path[:0] = [path for path in start.get("path", []) if path not in sys.path]
        if os.path.isdir(start.get("cwd", "")):
            os.chdir(start["cwd"])
        _loaded[which] = loading.load(start)
    return _loaded[which]
