"""What happens in the user's interpreter, through a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.node.machine import Machine, ended, last
from tradewind.records.tasks import Array, Entry, Gang, Input, Output, Role, Stop
from tradewind.testing.engine_suite import Session, Told, a_placement


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("inside"))
    yield machine
    machine.close()


class Names:
    count = 0


def call(machine: Machine, text: str, **fields: Any) -> Told:
    Names.count += 1
    return machine.call(text, name=f"p{Names.count}", **fields)


def result(machine: Machine, text: str, **fields: Any) -> Any:
    told = call(machine, text, **fields)
    assert told.reason()["reason"] == "ok", ended(told)
    return last(told).body["outputs"]["result"]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("None", None),
        ("{'a': [1, 2.5, 'ä', True, (1, 2)]}", {"a": [1, 2.5, "ä", True, [1, 2]]}),
        ("{'x': float('nan'), 1: float('inf')}", {"x": None, "1": None}),
        ("__import__('datetime').date(2024, 2, 29)", "2024-02-29"),
        ("'\\ud800'", "\ud800"),
    ],
)
def test_json_results(machine: Machine, code: str, value: Any) -> None:
    output = result(machine, f"def f():\n    return {code}\n")
    assert (output["kind"], output["value"]) == ("json", value)


def test_nothing_is_no_result_for_an_output_that_was_named(machine: Machine) -> None:
    text = "def f():\n    return None\n"
    told = call(machine, text, outputs={"output": Output(target="o_none", named=True)})
    reason = told.reason()
    assert (reason["reason"], "its output o_none" in reason["message"]) == ("output", True)
    assert "return a table" in reason["hint"]
    told = call(machine, text, outputs={"output": Output(target="f")})
    assert told.reason()["reason"] == "ok"


def test_a_large_result_is_a_file(machine: Machine) -> None:
    output = result(machine, "def f():\n    return ['x' * 100] * 10000\n")
    assert "value" not in output
    assert json.loads(machine.read(output["files"][0]["digest"])) == ["x" * 100] * 10000


def test_a_table_of_thousands_of_columns_is_told_whole(machine: Machine) -> None:
    text = (
        "import pyarrow as pa\ndef f():\n"
        "    return pa.table({f'\"col\u00fcmn\" {n}': [n] for n in range(6000)})\n"
    )
    output = result(machine, text)
    assert [each["name"] for each in output["schema"]] == [
        f'"col\u00fcmn" {n}' for n in range(6000)
    ]
    assert output["rows"] == 1


def test_bytes_and_paths(machine: Machine) -> None:
    output = result(machine, "def f():\n    return b'\\x00\\xff'\n")
    assert output["kind"] == "bytes" and machine.read(output["files"][0]["digest"]) == b"\0\xff"
    text = (
        "import pathlib\ndef f():\n    pathlib.Path('d/e').mkdir(parents=True)\n"
        "    pathlib.Path('d/e/x').write_text('1')\n    return pathlib.Path('d')\n"
    )
    output = result(machine, text)
    assert [(each["path"], each["size"]) for each in output["files"]] == [("e/x", 1)]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("(x for x in range(3))", "has no value yet"),
        ("{'a': {1, 2}}", "result.a is a builtins.set, which cannot be kept"),
        ("object()", "cannot be kept"),
        ("{(1, 2): 3}", "JSON has text keys only"),
        ("{1: 'a', '1': 'b'}", "the same as text"),
    ],
)
def test_what_cannot_be_kept(machine: Machine, code: str, words: str) -> None:
    told = call(machine, f"def f():\n    return {code}\n")
    assert ended(told)["reason"] == "output"
    assert words in ended(told)["message"]
    assert "return" in ended(told)["hint"]


def test_parameters_inputs_and_items_are_bound_by_name(machine: Machine) -> None:
    blob = machine.blob(b"hello")
    told = call(
        machine,
        "def f(item, text, given, *, fallback=3):\n"
        "    return [item, text.read_text(), text.name, given, fallback]\n",
        shape=Array(count=2, at_once=2),
        items=("a", {"b": 1}),
        params={"given": [1]},
        inputs={"text": Input(kind="file", digest=blob, meta={"name": "notes.txt"})},
    )
    found = {r.index: r.body["outputs"]["result"]["value"] for r in told if "outputs" in r.body}
    assert found[0] == ["a", "hello", "notes.txt", [1], 3]
    assert found[1][0] == {"b": 1}


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("f(x)", "the function needs 'x'"),
        ("f()", "the function has no parameter 'given'; it takes ()"),
    ],
)
def test_arguments_that_do_not_fit(machine: Machine, head: str, words: str) -> None:
    params = {} if "x" in head else {"given": 1}
    told = call(machine, f"def {head}:\n    return 1\n", params=params)
    assert ended(told)["reason"] == "input" and words in ended(told)["message"]


@pytest.mark.parametrize(
    ("head", "names", "words", "hint"),
    [
        ("data", ["dat"], "input 'dat': the function has no parameter 'dat'; it takes (data)",
         "did you mean 'data'?"),
        ("left, right", ["lfet", "right"], "input 'lfet': the function has no", "'left'"),
        ("data, ref=None", ["data", "reff"], "it takes (data, ref)", "'ref'"),
        ("rows", ["weather"], "input 'weather'", "name the input after a parameter: --data NAME"),
        ("rows, ref=None", ["rows", "data"], "input 'data': the function has no", "--data NAME"),
    ],
)  # fmt: skip
def test_an_input_of_a_name_spelt_wrong_is_bound_to_nothing(
    machine: Machine, head: str, names: list[str], words: str, hint: str
) -> None:
    given = {name: Input(kind="value", value=name) for name in names}
    exit_ = ended(call(machine, f"def f({head}):\n    return 1\n", inputs=given))
    assert exit_["reason"] == "input"
    assert words in exit_["message"] and hint in exit_["hint"]


@pytest.mark.parametrize(
    ("head", "names", "params"),
    [
        ("rows", ["data"], {}),
        ("rows, ref", ["data", "ref"], {}),
        ("limit, rows, ref=None", ["data"], {"limit": 1}),
        ("rows, data", ["rows", "data"], {}),
        ("**tables", ["data", "weather"], {}),
    ],
)
def test_an_input_without_a_name_is_the_first_parameter(
    machine: Machine, head: str, names: list[str], params: dict[str, int]
) -> None:
    given = {name: Input(kind="value", value=name) for name in names}
    text = f"def f({head}):\n    return locals()\n"
    made = result(machine, text, inputs=given, params=params)["value"]
    found = made.get("tables", made)
    assert found.get("rows", found.get("data")) in ("data", "rows")
    assert found.get("ref") in (None, "ref") and found.get("limit") in (None, 1)


def test_a_parameter_of_a_name_spelt_wrong_has_a_hint_of_its_own(machine: Machine) -> None:
    text = "def f(data, other=1):\n    return 1\n"
    given = {"data": Input(kind="value", value=1)}
    exit_ = ended(call(machine, text, inputs=given, params={"x": 4}))
    assert exit_["message"] == "the function has no parameter 'x'; it takes (data, other)"
    assert exit_["hint"] == "params are named after its parameters: --param NAME=VALUE"
    exit_ = ended(call(machine, text, inputs=given, params={"othr": 4}))
    assert exit_["hint"] == "did you mean 'other'?"


def test_an_exception_is_told_without_our_frames(machine: Machine) -> None:
    text = (
        "def g():\n    return {}['k']\ndef f():\n    try:\n        g()\n    except KeyError as e:\n"
    )
    told = call(machine, text + "        raise ValueError('no') from e\n")
    exit_ = ended(told)
    assert (exit_["type"], exit_["message"]) == ("ValueError", "no")
    assert 'File "f.py", line 7, in f' in exit_["traceback"]
    assert "tradewind" not in exit_["traceback"] and "KeyError: 'k'" in exit_["traceback"]
    told = call(machine, "import no_such_library\ndef f(): pass\n")
    assert ended(told)["hint"] == "add 'no_such_library' to the dependencies"
    told = call(machine, "def f(:\n")
    assert ended(told)["type"] == "SyntaxError" and "f.py" in ended(told)["traceback"]
    told = call(machine, "def g(): pass\n")
    assert ended(told)["message"] == "f.py has no function 'f'"


def test_tracking_and_declarations(machine: Machine) -> None:
    text = """
import tradewind
from tradewind import function, log_artifact, log_metric, log_param, progress

@function(performance="60s")
def f():
    log_metric("auc", 0.5, step=1)
    log_param("depth", 3)
    progress(1, 2)
    open("a.txt", "w").write("kept")
    log_artifact("a.txt")
    return sorted(tradewind.run_info())
"""
    told = call(machine, text)
    facts = [(r.kind, r.body) for r in told if r.kind in ("metric", "param", "progress")]
    assert ("metric", {"name": "auc", "value": 0.5, "step": 1}) in facts
    assert ("param", {"name": "depth", "value": 3}) in facts
    assert ("progress", {"done": 1.0, "total": 2.0}) in facts
    outputs = last(told).body["outputs"]
    assert machine.read(outputs["artifacts/a.txt"]["files"][0]["digest"]) == b"kept"
    assert "attempt" in outputs["result"]["value"]


def test_folder_outputs(machine: Machine) -> None:
    told = call(
        machine,
        "def f(model):\n    (model / 'w').write_bytes(b'123')\n",
        outputs={"model": Output(kind="model")},
    )
    output = last(told).body["outputs"]["model"]
    assert [(each["path"], each["size"]) for each in output["files"]] == [("w", 3)]


def test_scripts_and_exit_statuses(machine: Machine) -> None:
    bundle = machine.bundle(
        train="import sys, os\nprint(__name__, sys.argv[1:], sorted(os.listdir()))\nsys.exit(5)\n"
    )

    async def test(session: Session) -> Told:
        entry = Entry(kind="script", target="train.py", args=("--n", "1"))
        request = session.engine.render(
            a_placement("script", Role(name="main", shape=Gang(), entry=entry))
        )
        request["bundle"] = bundle
        await session.engine.launch(request)
        return await session.end("script")

    told = machine.run(test)
    assert ended(told)["status"] == 5
    assert machine.log("script") == b"__main__ ['--n', '1'] ['train.py']\n"


POOL = """
import multiprocessing, os, signal, time, tradewind

def f():
    tradewind.stop_requested()
    os.kill(os.getpid(), signal.SIGTERM)
    found = set()
    for _ in range(50):  # told at once: some have not come to themselves
        other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        other.start()
        other.terminate()
        other.join(5)
        found.add(other.exitcode)
    return [list(found), os.environ["TRADEWIND_STOPPING"]]
"""


def test_what_a_function_that_saves_its_work_forks_ends_when_told(machine: Machine) -> None:
    output = result(machine, POOL, stop=Stop(way="checkpoint"))
    assert output["value"] == [[-15], "1"]


def test_modules_and_gang_variables(machine: Machine) -> None:
    async def test(session: Session) -> Told:
        entry = Entry(kind="module", target="os:getcwd")
        await session.launch(a_placement("module", Role(name="main", shape=Gang(), entry=entry)))
        return await session.end("module")

    assert machine.run(test).ends() == {"module": "succeeded"}
    names = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "TRADEWIND_ROLE", "TRADEWIND_EPOCH"]
    text = f"import os\ndef f():\n    return [os.environ[n] for n in {names}]\n"
    told = call(machine, text, shape=Gang(least=2, most=2))
    assert last(told).body["outputs"]["result"]["value"] == ["0", "2", "127.0.0.1", "main", "1"]


def table(machine: Machine, tmp_path: Path) -> Input:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    digests = []
    for number in range(2):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(pyarrow.table({"a": [number, number + 10]}), path)
        digests.append(machine.blob(path.read_bytes()))
    return Input(kind="table", source="numbers@1", files=tuple(digests))


@pytest.mark.parametrize(
    ("head", "library", "body"),
    [
        ("import pandas as pd\ndef f(data: pd.DataFrame):", "pandas", "data.assign(b=1)"),
        ("import polars as pl\ndef f(data: 'pl.DataFrame'):", "polars", "data"),
        ("import polars as pl\ndef f(data: pl.LazyFrame):", "polars", "data"),
        ("import pyarrow as pa\ndef f(data: pa.Table):", "pyarrow", "data"),
        ("import pyarrow\ndef f(data):", "pyarrow", "data.slice(0)"),
        ("import duckdb\ndef f(data):", "duckdb", "data.filter('a >= 0')"),
    ],
)
def test_tables_in_and_out(
    machine: Machine, tmp_path: Path, head: str, library: str, body: str
) -> None:
    slot = table(machine, tmp_path)
    pytest.importorskip(library)
    output = result(machine, f"{head}\n    return {body}\n", inputs={"data": slot})
    assert output["kind"] == "table" and output["rows"] == 4
    assert output["schema"][0]["name"] == "a"
    assert machine.read(output["files"][0]["digest"])[:4] == b"PAR1"


def test_tables_as_rows(machine: Machine, tmp_path: Path) -> None:
    slot = table(machine, tmp_path)
    text = "def f(data: 'list[dict]'):\n    return data\n"
    found = result(machine, text, inputs={"data": slot})["value"]
    assert found == [{"a": 0}, {"a": 10}, {"a": 1}, {"a": 11}]
