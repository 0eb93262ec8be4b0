"""Spark gives what DuckDB gives, on generated tables. Skipped where there is no Spark.

One session for all of them: it takes seconds to begin. `make differential` is the same with
thousands of inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.contract import test_backends
from tests.differential import run
from tests.unit.inside import ways
from tradewind.inside import loading

INPUTS = 40

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
    found = {seed: run.difference(seed, counts) for seed in range(1, INPUTS + 1)}
    assert {seed: text for seed, text in found.items() if text} == {}
    # Most inputs are carried out, and not refused or without an expression.
    done = counts["expressions"] + counts["functions"] - counts["refused"]
    assert done > 0.8 * INPUTS and counts["rows"]


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
