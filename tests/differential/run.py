"""Carry the same out on several backends and count where they differ.

python -m tests.differential.run INPUTS SEED: `make differential`. An input is a seed: it makes a
table, another one, and an expression of a few steps over both; every twentieth makes a function of
the style batch, row or group instead. The results are compared as bags of rows with their types.
"""

from __future__ import annotations

import importlib.util
import math
import os
import random
import re
import shutil
import sys
import tempfile
import time
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
        return "pyspark is not installed: make differential installs it, or requirements/spark.txt"
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
    quick = {"PYTHONPATH": ROOT, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
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
    try:
        made = way(function, start, {})["output"]
    except ENDS as error:
        return "raised", error.exit["message"], type(error).__name__
    except Exception as error:
        return "raised", str(error), type(error).__name__
    found = [pq.read_table(path) for path in sorted(Path(made["path"]).glob("*.parquet"))]
    table = pa.concat_tables(found)
    assert table.num_rows == made["rows"]
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
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="tw-differential-"))
    try:
        data = tables.table(rng)
        groups = rng.choice((3, 10, 1000))
        files = ways.written(data, folder, groups, rng.choice((1, 2)))
        if seed % FUNCTIONS == FUNCTIONS - 1:
            return _of_function(rng, files, folder, counts)
        other = folder / "other.parquet"
        pq.write_table(tables.table(rng, "r_"), other)
        steps = expressions.Steps(seed)
        more = {"other": {"kind": "table", "source": "other@1", "files": [str(other)]}}
        start = ways.start(files, folder, "expression", inputs=more)
        try:
            rounds = rounded(steps, start)
        except Exception:
            counts["no expression"] += 1  # Ibis has no type for it
            return ""
        one = carried(steps_of(seed), start, "duckdb")
        two = carried(steps_of(seed), start, "spark")
        counts["expressions"] += 1
        return _compared(one, two, counts, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def steps_of(seed: int) -> Callable[..., Any]:
    """The expression of a seed, the same each time."""

    def function(data: Any, other: Any) -> Any:
        return expressions.Steps(seed)(data, other)

    return function


def rounded(steps: Any, start: dict[str, Any]) -> bool:
    """Whether an operation in it depends on the order of rows in its last digits."""
    from tradewind.inside import sparksql

    with expression.Lazily(start) as lazily:
        names = {type(node).__name__ for node in lazily.made(steps).op().find(ops.Node)}
    return bool(names & sparksql.ROUNDS)


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
    found = _compared(one, two, counts, False)
    return f"{case[0]} {case[1].__name__} {case[2]}: {found}" if found else ""


def _compared(one: Outcome, two: Outcome, counts: Counter[str], rounded: bool) -> str:
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


def main(inputs_: int, seed: int) -> int:
    """How many differed."""
    lacking = why_not()
    if lacking:
        print(f"differential: {lacking}")
        return 1
    counts: Counter[str] = Counter()
    began, different = time.monotonic(), 0
    with opened():
        print(f"differential: Spark is there after {time.monotonic() - began:.0f} s", flush=True)
        for number in range(seed, seed + inputs_):
            try:
                found = difference(number, counts)
            except Exception as error:
                found = f"the harness failed: {type(error).__name__}: {error}"
            if found:
                different += 1
                print(f"seed {number}: {found}", flush=True)
            if (number - seed + 1) % 100 == 0:
                took = time.monotonic() - began
                print(
                    f"differential: {number - seed + 1} inputs, {different} differ, {took:.0f} s",
                    flush=True,
                )
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    took = time.monotonic() - began
    figures = f"{inputs_} inputs from seed {seed}, {different} differ, {took:.0f} s"
    print(f"differential: {figures} ({told})")
    return different


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]))))
