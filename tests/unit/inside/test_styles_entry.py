"""Styles and probes in the interpreter of a unit, from the packed file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.node.machine import Machine, ended, last
from tradewind.records.tasks import Array, Entry, Input, Output
from tradewind.testing.engine_suite import Told

ROW = """
def f(data):
    if data["i"] == 7:
        raise ValueError("seven")
    return {"i": data["i"], "城市": data["k"]}
"""
GROUP = """
import pyarrow as pa

def f(data: pa.Table):
    return [{"k": data["k"][0].as_py(), "n": data.num_rows}]
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("styles"))
    yield machine
    machine.close()


def call(machine: Machine, name: str, text: str, call: dict[str, Any], **fields: Any) -> Told:
    buffer = io.BytesIO()
    table = pa.table({"i": range(20), "k": ["上海", "a", None, "b"] * 5})
    pq.write_table(table, buffer, row_group_size=4)
    slot = Input(kind="table", source="flights@1", files=(machine.blob(buffer.getvalue()),))
    entry = Entry(kind="function", target="f.py:f", call=call)
    return machine.call(
        text, name=name, entry=entry, inputs={"data": slot}, outputs={"output": Output()}, **fields
    )


def table_of(machine: Machine, output: dict[str, Any]) -> pa.Table:
    return pq.read_table(io.BytesIO(machine.read(output["files"][0]["digest"])))


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_function_that_leaves_has_made_nothing(machine: Machine, on_error: str) -> None:
    how = {"style": "row", "backend": "duckdb", "on_error": on_error}
    told = call(machine, f"left-{on_error}", "import sys\ndef f(data):\n    sys.exit(0)\n", how)
    assert told.reason()["reason"] == "error"
    assert told.reason()["message"].startswith("sys.exit was called before the function returned")


def test_an_exception_that_cannot_be_printed_is_one_all_the_same(machine: Machine) -> None:
    text = ROW.replace("ValueError", "Mute") + (
        "\nclass Mute(Exception):\n    def __str__(self):\n        raise RuntimeError('no')\n"
    )
    how = {"style": "row", "backend": "duckdb"}
    told = call(machine, "mute-skip", text, {**how, "on_error": "skip"})
    assert last(told).body["outputs"]["output"]["meta"] == {"skipped": 1}
    told = call(machine, "mute", text, how)
    assert told.reason()["message"].startswith("(its message could not be printed) (at row 7 of")


def test_rows_are_left_out_and_counted(machine: Machine) -> None:
    told = call(machine, "p1", ROW, {"style": "row", "backend": "duckdb", "on_error": "skip"})
    assert told.reason()["reason"] == "ok", ended(told)
    output = last(told).body["outputs"]["output"]
    assert (output["kind"], output["rows"], output["meta"]) == ("table", 19, {"skipped": 1})
    found = table_of(machine, output)
    assert found.column_names == ["i", "城市"] and 7 not in found["i"].to_pylist()
    assert b"left out row 7 of flights@1" in machine.log("p1")


def test_the_row_is_in_the_end(machine: Machine) -> None:
    told = call(machine, "p2", ROW, {"style": "row", "backend": "duckdb"})
    exit = last(told).body["exit"]
    assert exit["type"] == "ValueError" and "on_error: skip" in exit["hint"]
    assert "seven (at row 7 of flights@1" in exit["message"] and "i=7" in exit["message"]
    assert "f.py" in exit["traceback"] and "styles.py" not in exit["traceback"]
    assert not last(told).body.get("outputs")


def test_parts_of_keys_are_an_array(machine: Machine, tmp_path: Path) -> None:
    told = call(
        machine, "p3", GROUP, {"style": "group", "backend": "partitions", "by": ["k"]},
        shape=Array(count=3, at_once=2), items=tuple({"part": n, "of": 3} for n in range(3)),
    )  # fmt: skip
    assert told.ends()["p3"] == "succeeded", ended(told)
    ends = [each.body["outputs"]["output"] for each in told
            if each.kind == "attempt" and each.body["state"] == "succeeded"]  # fmt: skip
    rows = [row for end in ends if end["files"] for row in table_of(machine, end).to_pylist()]
    assert len(ends) == 3
    expected = [{"k": key, "n": 5} for key in ("a", "b", "上海", None)]
    assert sorted(rows, key=str) == sorted(expected, key=str)


def test_a_probe_tells_what_it_found(machine: Machine) -> None:
    measured = {"seconds": 5.0, "share": 0.5}
    told = call(machine, "p4", GROUP, {"style": "group", "backend": "duckdb", "by": ["k"],
                                       "probe": measured})  # fmt: skip
    assert told.reason()["reason"] == "ok", ended(told)
    output = last(told).body["outputs"]["output"]
    assert output["kind"] == "json" and output["value"]["problems"] == []
    assert [each["rows"] for each in output["value"]["calls"]] == [0, 20, 20, 20, 20]
