"""The backend `spark`: carry a function out in its style on a Spark of the run's own.

`expression` becomes Spark SQL over the input's Parquet files; what Spark does not do as DuckDB does
is refused before it begins (`sparksql`). `batch`, `row` and `group` are carried out by Spark's
Python workers on shares of the table (`shares`), by the code that the other backends use: so rows,
keys and errors are the same. Here, beside the driver, the parts become one table.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any, Callable, Sequence

from . import (
    convert,
    expression,
    failing,
    groups,
    inputs,
    keys,
    loading,
    outputs,
    session,
    shares,
    sink,
    styles,
    tables,
)

_FOLDER = "spark"
# What Spark says of processes that end again and again, and what we say.
_DEATHS = {
    "Python worker exited unexpectedly": (
        "a Python process that called the function ended {} times before the function returned",
        "do not call os._exit in it; a native library may have crashed, or memory was short",
    ),
    "ExecutorLostFailure": (
        "a process of Spark's that called the function was killed {} times",
        "somebody, or the kernel for want of memory, kills it: raise resources.memory",
    ),
}


def carry_out(
    function: Callable[..., Any], start: dict[str, Any], phases: dict[str, float]
) -> dict[str, Any]:
    """Slot → what was staged; of a gang's other members nothing."""
    call = start["entry"]["call"]
    folder = os.path.join(start["out"], _FOLDER)
    if int(call.get("width") or 1) > 1 and os.environ.get("RANK", "0") != "0":
        session.member(call, folder)
        return {}
    slot = next(iter(start.get("outputs") or {}), "result")
    out = os.path.join(start["out"], slot)
    began = time.perf_counter()
    try:
        if call["style"] == "expression":
            return {slot: _expression(function, start, out, folder)}
        return {slot: _Streams(function, start, out, folder).run()}
    except tables.NoLibrary as error:
        text = f"the backend 'spark' cannot be used here: {error}"
        raise inputs.Unreadable(text, error.hint) from None
    finally:
        phases["call"] = time.perf_counter() - began


# -- expressions -----------------------------------------------------------------------------------


def _expression(
    function: Callable[..., Any], start: dict[str, Any], out: str, folder: str
) -> dict[str, Any]:
    with expression.Lazily(start) as lazily:
        schema, query = translated(lazily.made(function))
    with session.opened(start["entry"]["call"], folder) as spark:
        for name, slot in start["inputs"].items():
            if slot["kind"] == "table":
                _view(spark, "tw_" + name, slot["files"])
        staged = os.path.join(folder, f"staged-{os.getpid()}")
        shutil.rmtree(staged, ignore_errors=True)
        try:
            _run(lambda: spark.sql(query).write.parquet(staged))
            found = sorted(name for name in os.listdir(staged) if name.endswith(".parquet"))
            files = [os.path.join(staged, name) for name in found]
            return _table(files, out, schema)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def translated(made: Any) -> tuple[Any, str]:
    """The types of an Ibis table, and the SQL that has Spark make it. Raises as `check`."""
    from . import sparksql  # on use: it imports Ibis

    check(made)
    return made.schema().to_pyarrow(), sparksql.compiled(made)


def check(made: Any) -> None:
    """Raises Unreadable where Spark might make another table than DuckDB. Needs no Spark."""
    from . import sparksql

    found = sparksql.differences(made)
    if found:
        raise inputs.Unreadable(
            "Spark might not give what DuckDB gives (backend: duckdb would): {}".format(
                "; ".join(found[:5])
            ),
            "write backend: duckdb, or leave backend out",
        )


def _view(spark: Any, name: str, files: Sequence[str]) -> None:
    frame = spark.read.parquet(*(os.path.abspath(path) for path in files))
    frame.createOrReplaceTempView(name)


def _run(action: Callable[[], Any]) -> Any:
    """With Spark's own words where it raises, and not Java's."""
    try:
        with session.quiet():
            return action()
    except Exception as error:
        for sign, (words, hint) in _DEATHS.items():
            if sign in str(error):
                raise loading.Failure("error", words.format(session.TRIES), hint) from None
        words = _words(error)
        raise loading.Failure("error", f"Spark could not carry it out: {words}") from None


def _words(error: BaseException) -> str:
    text = str(error)
    cause = getattr(error, "getErrorClass", None) or getattr(error, "getCondition", None)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    known = [line for line in lines if line.startswith("[")]
    if cause is not None and known:
        return known[0][:1000]
    deepest = [line for line in lines if "Exception" in line or "Error" in line]
    return (known or deepest[:1] or lines[:1] or [type(error).__name__])[0][:1000]


# -- rows and groups -------------------------------------------------------------------------------


class _Streams:
    """A function of the style batch, row or group, on shares of its table."""

    def __init__(
        self, function: Callable[..., Any], start: dict[str, Any], out: str, folder: str
    ) -> None:
        self.function, self.out, self.folder = function, out, folder
        self.call = start["entry"]["call"]
        self.whole = styles.Streamed(function, start)
        name = styles.streamed(function, start)
        shared = os.path.join(folder, "work")
        self.start = {**start, "out": shared, "streamed": name}

    def run(self) -> dict[str, Any]:
        """What was staged. A table of no rows is not Spark's."""
        found = groups.listed(self.whole.files)
        if not any(group.rows for group in found):
            return self.whole.run()
        if self.call["style"] == "group":
            self._check_keys()
        os.makedirs(os.path.join(self.start["out"], "shares"), exist_ok=True)
        try:
            with session.opened(self.call, os.path.join(self.folder, "own")) as spark:
                told = self._told(spark, found)
            return self._together(told)
        finally:
            shutil.rmtree(self.start["out"], ignore_errors=True)

    def _check_keys(self) -> None:
        self.whole.schema = groups.schema_of(self.whole.files)
        self.whole.check_keys()

    def _told(self, spark: Any, found: list[groups.Group]) -> list[dict[str, Any]]:
        """What each share told, in their order."""
        of = min(sum(1 for group in found if group.rows), session.tasks(self.call))
        with session.quiet():
            numbers = spark.range(0, of, 1, of)
            if self.call["style"] != "group":
                made = numbers.mapInArrow(shares.Share(self.start, of), shares.TOLD)
            else:
                made = self._grouped(spark, numbers, found, of)
        rows = _run(made.collect)
        told = [json.loads(row["told"]) for row in rows]
        return sorted(told, key=lambda each: int(each["part"]))

    def _grouped(self, spark: Any, numbers: Any, found: list[groups.Group], of: int) -> Any:
        """Deal, move, gather. Rows of a bucket stay in the order of the table."""
        parts = session.tasks(self.call)
        count = min(keys.MOST, max(4 * parts, keys.buckets(found)))
        # A chunk may be megabytes: few of them travel together.
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "16")
        dealt = numbers.mapInArrow(shares.Deal(self.start, of, count), shares.DEALT)
        moved = dealt.repartition(min(parts, count), "bucket")
        moved = moved.sortWithinPartitions("bucket", "share", "number")
        return moved.mapInArrow(shares.Gather(self.start, max(2, of)), shares.TOLD)

    def _together(self, told: list[dict[str, Any]]) -> dict[str, Any]:
        for each in told:
            if "exit" in each:
                failure = loading.Failure("error", "")
                failure.exit = each["exit"]
                raise failure
        parts = [each for each in told if "told" in each]
        files = [os.path.join(each["told"]["path"], "part-0.parquet") for each in parts]
        known = [(f, each) for f, each in zip(files, parts) if os.path.exists(f)]
        full = [(f, each) for f, each in known if each["told"]["rows"]] or known[-1:]
        if not full:
            made = self._nothing()
        else:
            schema = _schema([(f, each["sure"]) for f, each in full])
            made = _table([f for f, _each in full], self.out, schema)
        skipped = sum(each["told"].get("meta", {}).get("skipped", 0) for each in parts)
        if self.whole.rows.skip:
            made["meta"] = {"skipped": skipped}
        if skipped:
            failing.told(skipped)
        return made

    def _nothing(self) -> dict[str, Any]:
        """No rows came out, and no share knows the columns."""
        kept = sink.Sink(self.out)
        self.whole.schema = groups.schema_of(self.whole.files)
        self.whole.learn(kept, True)
        return kept.close()


def _schema(files: Sequence[tuple[str, str]]) -> Any:
    """That which holds the rows of all parts."""
    found: Any = None
    weakest = convert.MEANT
    for number, (path, sure) in enumerate(files):
        weakest = max(weakest, sure, key=convert.SURENESS.index)
        new = groups.opened(path).schema_arrow
        try:
            found = new if found is None else sink.unify(found, new, weakest)
        except sink.Differs as error:
            raise outputs.Unstorable(
                f"the function's results differ: the column {error.column!r} {error.was} in "
                f"share 0, and {error.found} in share {number}",
                "return the same columns with the same types each time",
            ) from None
    return found


def _table(files: Sequence[str], out: str, schema: Any) -> dict[str, Any]:
    """The files as one staged table. Those that have other types are written again."""
    os.makedirs(out, exist_ok=True)
    rows = 0
    for number, path in enumerate(files):
        target = os.path.join(out, f"part-{number:05d}.parquet")
        file = groups.opened(path)
        rows += file.metadata.num_rows
        if file.schema_arrow.equals(schema, check_metadata=False):
            os.rename(path, target)
        else:
            _again(file, target, schema)
    if not files:
        tables.use("pyarrow.parquet").write_table(
            schema.empty_table(), os.path.join(out, "part-00000.parquet")
        )
    told = [{"name": field.name, "type": str(field.type)} for field in schema]
    return {"kind": "table", "path": out, "rows": rows, "schema": told}


def _again(file: Any, target: str, schema: Any) -> None:
    pyarrow, parquet = tables.use("pyarrow"), tables.use("pyarrow.parquet")
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in file.iter_batches(groups.ROWS):
            writer.write_table(sink.fit(pyarrow.Table.from_batches([batch]), schema))
