"""Carry the same out on several backends and count where they differ.

An input is a seed: it makes a table, another one, and an expression of a few steps over both; every
twentieth makes a function of the style batch, row or group instead. The results are compared as
bags of rows with their types. `packs` does it with hundreds of inputs in a job of Spark's.
"""

from __future__ import annotations

import importlib.util
import math
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import ibis.expr.operations as ops
import pyarrow as pa
import pyarrow.parquet as pq

from tests.differential import expressions, tables
from tests.unit.inside import ways
from tradewind.inside import expression, inputs, loading, outputs, session, spark, styles

ROOT = str(Path(__file__).resolve().parents[2])
FUNCTIONS = 20
CALL = {"cores": 2}
# What ends a run by saying why: both backends may, and then they agree.
ENDS = (loading.Failure, outputs.Unstorable, inputs.Unreadable)
# A float whose last digits depend on the order of rows is compared by so many digits.
DIGITS = 11
Outcome = tuple[str, Any, Any]
Row = tuple[str, ...]
Case = tuple[str, Callable[..., Any], dict[str, Any]]


def why_not() -> str:
    """What is missing here for a Spark; empty if nothing is."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: make .venv/.test installs it"
    try:
        session.java()
    except inputs.Unreadable as error:
        return f"{error}: {error.exit['hint']}"
    return ""


@contextmanager
def opened() -> Iterator[Any]:
    """One session for all that follows in this process."""
    folder = tempfile.mkdtemp(prefix="tw-spark-")
    # Each query is another program for Java, and none of them runs for long: half the time.
    # What Java keeps of its own programs has to hold those of thousands of queries.
    java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=240m"
    quick = {"PYTHONPATH": ROOT, "JDK_JAVA_OPTIONS": java}
    with mock.patch.dict(os.environ, quick), session.opened(CALL, folder) as found:
        # Tables of a few rows: more partitions are only more tasks.
        found.conf.set("spark.sql.shuffle.partitions", "2")
        yield found


def carried(function: Callable[..., Any], start: dict[str, Any], backend: str) -> Outcome:
    """("rows", schema, rows) or ("raised", message, type)."""
    out = tempfile.mkdtemp(dir=start["out"])
    call = {**start["entry"]["call"], **CALL, "backend": backend}
    start = {**start, "entry": {**start["entry"], "call": call}, "out": out}
    way = spark.carry_out if backend == "spark" else styles.carry_out

    def read() -> pa.Table:
        made = way(function, start, {})["output"]
        found = [pq.read_table(path) for path in sorted(Path(made["path"]).glob("*.parquet"))]
        table = pa.concat_tables(found)
        assert table.num_rows == made["rows"]
        return table

    return outcome(read)


def outcome(made: Callable[[], pa.Table]) -> Outcome:
    """What it gave, or what it raised."""
    try:
        table = made()
    except ENDS as error:
        return "raised", error.exit["message"], type(error).__name__
    except Exception as error:
        return "raised", str(error), type(error).__name__
    return "rows", table.schema.remove_metadata(), table


def bag(table: pa.Table, rounded: bool) -> list[Row]:
    """All rows as text, in an order of their own. Of the two zeros which one is not said."""

    def plain(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        if rounded and math.isfinite(value):
            return f"{value + 0.0:.{DIGITS}g}"
        return value + 0.0

    rows = table.to_pylist()
    return sorted(tuple(repr(plain(value)) for value in row.values()) for row in rows)


def difference(seed: int, counts: Counter[str]) -> str:
    """What differs for this input; empty if nothing does."""
    folder = Path(tempfile.mkdtemp(prefix="tw-differential-"))
    try:
        if is_function(seed):
            return _of_function(*data_of(seed, folder), folder, counts)
        start = start_of_expression(seed, folder)
        try:
            with expression.Lazily(start) as lazily:
                rounds = rounded(lazily.made(steps_of(seed)))
        except Exception:
            counts["no expression"] += 1  # Ibis has no type for it
            return ""
        one = carried(steps_of(seed), start, "duckdb")
        two = carried(steps_of(seed), start, "spark")
        counts["expressions"] += 1
        return compared(one, two, counts, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_function(seed: int) -> bool:
    """Whether it makes a function, and no expression."""
    return seed % FUNCTIONS == FUNCTIONS - 1


def data_of(seed: int, folder: Path) -> tuple[random.Random, list[str]]:
    """The files of the first table, and what the rest of the input is drawn from."""
    rng = random.Random(seed)
    data = tables.table(rng)
    groups = rng.choice((3, 10, 1000))
    return rng, ways.written(data, folder, groups, rng.choice((1, 2)))


def start_of_expression(seed: int, folder: Path) -> dict[str, Any]:
    """What a unit is told for the expression of a seed."""
    rng, files = data_of(seed, folder)
    other = folder / "other.parquet"
    pq.write_table(tables.table(rng, "r_"), other)
    more = {"other": {"kind": "table", "source": "other@1", "files": [str(other)]}}
    return ways.start(files, folder, "expression", inputs=more)


def steps_of(seed: int) -> Callable[..., Any]:
    """The expression of a seed, the same each time."""

    def function(data: Any, other: Any) -> Any:
        return expressions.Steps(seed)(data, other)

    return function


def rounded(made: Any) -> bool:
    """Whether an operation in it depends on the order of rows in its last digits."""
    from tradewind.inside import sparksql

    return bool({type(node).__name__ for node in made.op().find(ops.Node)} & sparksql.ROUNDS)


def sample(seed: int) -> pa.Table:
    """A table with some rows."""
    return pa.concat_tables([tables.table(random.Random(seed + i)) for i in range(4)])


def start_of(case: Case, files: list[str], folder: Path) -> dict[str, Any]:
    """What a unit is told for a function of this module or another: workers import it by name."""
    style, function, call = case
    start = ways.start(files, folder, style, **call)
    target = f"{function.__module__}:{function.__qualname__}"
    start["entry"] = {**start["entry"], "kind": "module", "target": target}
    return {**start, "path": [ROOT], "bundle": ""}


def _of_function(rng: random.Random, files: list[str], folder: Path, counts: Counter[str]) -> str:
    from tests.contract import test_backends

    cases = [each for each in test_backends.CASES if each[0] in ("batch", "row", "group")]
    case = rng.choice(cases)
    start = start_of(case, files, folder)
    one, two = (carried(case[1], start, backend) for backend in ("duckdb", "spark"))
    counts["functions"] += 1
    found = compared(one, two, counts, False)
    return f"{case[0]} {case[1].__name__} {case[2]}: {found}" if found else ""


def compared(one: Outcome, two: Outcome, counts: Counter[str], rounded: bool) -> str:
    """What differs between what DuckDB and what Spark gave; empty if nothing does."""
    if one[0] == two[0] == "raised":
        counts["raised by both"] += 1
        return ""
    if one[0] == "raised" and re.match("(Binder|Parser) Error", one[1]):
        counts["no expression"] += 1  # Ibis leaves out brackets that DuckDB needs
        return ""
    if one[0] != two[0]:
        if "might not give what DuckDB gives" in str(two[1]):
            counts["refused"] += 1
            return ""
        return f"one raised: duckdb {_short(one)}, spark {_short(two)}"
    if one[1] != two[1]:
        return f"types: duckdb {one[1]}, spark {two[1]}"
    first, second = bag(one[2], rounded), bag(two[2], rounded)
    counts["rows"] += len(first)
    if first == second:
        return ""
    return _unlike(first, second, one[1].names)


def _unlike(first: list[Row], second: list[Row], names: list[str]) -> str:
    """The first row that only DuckDB gave, and how Spark's that is most like it differs."""
    lacking = [row for row in first if row not in second]
    strange = [row for row in second if row not in first]
    counts = f"{len(first)} rows by duckdb, {len(second)} by spark"
    if not lacking or not strange:
        return f"{counts}; only duckdb: {lacking[:1]}, only spark: {strange[:1]}"
    row = lacking[0]
    like = max(strange, key=lambda other: sum(a == b for a, b in zip(row, other, strict=True)))
    unlike = [
        f"{name}: duckdb {a}, spark {b}"
        for name, a, b in zip(names, row, like, strict=True)
        if a != b
    ]
    return f"{counts}; {'; '.join(unlike)}"


def _short(outcome: Outcome) -> str:
    if outcome[0] == "rows":
        return f"gave {outcome[2].num_rows} rows"
    return f"raised {re.sub(chr(10), ' ', str(outcome[1]))[:600]}"
