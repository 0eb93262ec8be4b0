"""Functions and trainings on the real local engine: tables in every dress, faults, stops."""

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import tradewind as tw
from tests.road.home import Home, until

pytestmark = pytest.mark.xdist_group("local-functions")

NUMBERS = "name,value\none,1\ntwo,2\nthree,3\n"
FRAMES = """
import pandas
import polars
import pyarrow
import pyarrow.compute as pc
import ibis


def by_arrow(data: pyarrow.Table):
    assert type(data) is pyarrow.Table
    return data.append_column("twice", pc.multiply(data["value"], 2))


def by_pandas(data: pandas.DataFrame):
    return data.assign(twice=data["value"] * 2)


def by_polars(data: polars.DataFrame):
    return data.with_columns(twice=polars.col("value") * 2)


def by_lazy(data: polars.LazyFrame):
    return data.with_columns(twice=polars.col("value") * 2)


def by_rows(data: list[dict]):
    return pyarrow.Table.from_pylist([{**row, "twice": row["value"] * 2} for row in data])


def by_ibis(data: ibis.Table):
    return data.mutate(twice=data["value"] * 2)
"""
TWICE = [("one", 1, 2), ("two", 2, 4), ("three", 3, 6)]


def rows(frame: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.itertuples(index=False)]


@pytest.mark.parametrize("how", ["arrow", "pandas", "polars", "lazy", "rows", "ibis"])
def test_a_table_comes_as_the_annotation_says(home: Home, how: str) -> None:
    spec = f"kind: function\nname: by-{how}\nentry: frames.py:by_{how}\n"
    folder = home.write(
        {"frames.py": FRAMES, "numbers.csv": NUMBERS, f"{how}.yaml": spec}, "frames"
    )
    home.good("run", folder / f"{how}.yaml", "--data", folder / "numbers.csv")
    [version] = home.json("describe", f"dataset/by-{how}")["versions"]
    assert version["rows"] == 3
    with home.client() as client:
        [run] = client.runs.list(name=f"by-{how}", limit=1)
        found = tw.RunHandle.of(client, run["id"]).result(as_="pandas")
    assert rows(found) == TWICE


SKIPS = """
def picky(row):
    if row["value"] == limit:
        raise ValueError("bad")
    return row

limit = {limit}

function: picky
    style: row
    on_error: skip
"""


def test_rows_that_are_left_out_are_told_wherever_the_result_is(home: Home) -> None:
    home.write({"numbers.csv": NUMBERS, "p.tw": SKIPS.format(limit=2)}, "skips")
    folder = home.write({"q.tw": SKIPS.format(limit=9)}, "skips")
    said = home.good("run", folder / "p.tw", "--data", folder / "numbers.csv")
    assert "output: picky@1, 2 rows, 1 left out (on_error: skip)" in said.err
    version = home.good("describe", "dataset/picky").out
    assert "1 row of the input (on_error: skip)" in version
    run = home.json("describe", "dataset/picky")["run"]
    assert "picky@1, 2 rows, 1 left out" in home.good("describe", run).out
    again = home.good("run", folder / "q.tw", "--data", folder / "numbers.csv")
    assert "output: picky@2, 3 rows\n" in again.err
    assert "left out" not in home.good("describe", "dataset/picky").out


def test_what_is_wrong_with_a_field_is_said_where_it_stands(home: Home) -> None:
    lost = "def f(data):\n    return data\n\nfunction: f\n    input: {data: nope}\n"
    query = "function: g\n    sql: select 1 from\n"
    folder = home.write({"f.tw": lost, "g.tw": query, "numbers.csv": NUMBERS}, "where")
    for verb in ("run", "quote", "plan"):
        said = home.tw(verb, folder / "f.tw").err
        assert "f.tw:5:19 (input.data): " in said and "nope" in said
    assert "error: input.data: " in home.tw("run", folder / "f.tw", "--data", "noep").err
    home.write({"p.tw": lost.replace("data: nope}", "data: numbers.csv}\n    pool: nope")}, "where")
    for verb in ("run", "quote"):
        assert "p.tw:6:11 (pool): " in (said := home.tw(verb, folder / "p.tw").err)
        assert "there is no pool named 'nope'" in said and "pools: local" in said
    said = home.tw("run", folder / "g.tw", "--data", folder / "numbers.csv").err
    assert "sql: syntax error at end of input" in said


def test_sql_over_a_dataset_and_a_path(home: Home) -> None:
    home.write({"more.csv": "name,bonus\none,10\ntwo,20\n", "numbers.csv": NUMBERS}, "sql")
    text = (
        "kind: dataset\nname: numbers\nsource: numbers.csv\n---\n"
        "kind: function\nname: joined\ninput: {numbers: numbers, more: more.csv}\n"
        "sql: SELECT name, value + bonus AS sum FROM numbers JOIN more USING (name) ORDER BY sum\n"
    )
    spec = home.write({"joined.yaml": text}, "sql") / "joined.yaml"
    said = home.good("run", f"{spec}:joined")
    assert "joined@1, 2 rows" in said.err
    handle = tw.sql("SELECT max(value) AS most FROM numbers", name="most").run(
        numbers=tw.dataset("numbers", 1)
    )
    assert rows(handle.result(as_="pandas")) == [(3,)]


def test_a_function_of_this_session(home: Home) -> None:
    import pandas

    frame = pandas.DataFrame({"x": [1, 2, 3]})

    @tw.function(performance="60s")
    def tripled(data: Any, by: int = 3) -> Any:
        print("working on", len(data), "rows")
        return data.assign(x=data["x"] * by)

    run = tripled.run(frame, by=4)
    assert rows(run.result()) == [(4,), (8,), (12,)]
    assert list(run.logs()) == ["working on 3 rows"]
    assert rows(tripled.run(run).result()) == [(12,), (24,), (36,)]
    assert rows(tripled(frame)) == [(3,), (6,), (9,)]


def test_an_array_gives_a_list_in_order(home: Home) -> None:
    @tw.function
    def slow_square(x: int, plus: int = 0) -> int:
        import time

        time.sleep(0.05 * (3 - x))
        return x * x + plus

    assert slow_square.map([0, 1, 2, 3], at_once=2, plus=1).result() == [1, 2, 5, 10]


def test_half_a_character_hides_no_list(home: Home) -> None:
    @tw.function
    def half(bad: bool) -> str:
        if bad:
            raise ValueError("no \ud800")
        return "a\ud83d"

    assert half.run(bad=False).result() == "a\ufffd"
    with pytest.raises(tw.RunFailed, match="no \ufffd"):
        half.run(bad=True).result()
    assert {run["name"] for run in home.json("get", "runs")} >= {"half"}
    home.good("events")


def test_a_large_value_is_handed_on_as_the_value(home: Home) -> None:
    text = """
import tradewind as tw

@tw.function
def made(count: int):
    return ["ä"] * count

@tw.function
def counted(found):
    return len(found)

@tw.pipeline
def flow():
    return {"few": counted(made(10)), "many": counted(made(100_000))}
"""
    home.good("run", home.write({"large.py": text}, "large") / "large.py")
    found = home.json("get", "runs", "--kind", "function", "-n", "4")
    made = [home.json("describe", run["id"]) for run in found if run["name"] == "counted"]
    assert {run["result"]["output"]["value"] for run in made} == {10, 100_000}


def test_one_bad_item_is_named(home: Home) -> None:
    @tw.function
    def inverse(x: int) -> float:
        return 1 / x

    with pytest.raises(tw.RunFailed, match="division by zero") as raised:
        inverse.map([1, 0, 2]).result()
    assert "return 1 / x" in raised.value.traceback


SCRIPT = """
import sys
import tradewind as tw

rate = float(sys.argv[1])
for step in range(5):
    tw.log_metric("loss", 1 / (step + 1), step=step)
tw.log_params({"rate": rate})
with open("weights.txt", "w") as file:
    file.write("0.5")
tw.log_artifact("weights.txt")
print("the rate is", rate)
"""


def test_a_plain_script(home: Home) -> None:
    folder = home.write({"train.py": SCRIPT}, "script")
    said = home.good("run", "train.py", "--performance", "1h", "--", "0.25", cwd=folder)
    assert "the rate is 0.25" in said.out
    assert "loss 0.2" in said.err
    [run] = home.json("get", "runs", "train", "-n", "1")
    with home.client() as client:
        points = client.runs.metrics(run["id"])
        results = client.runs.results(run["id"])
        artifact = tw.RunHandle.of(client, run["id"]).result("artifacts/weights.txt")
    assert [(p["name"], p["step"]) for p in points] == [("loss", step) for step in range(5)]
    assert list(results) == ["artifacts/weights.txt", "output"]
    assert artifact == b"0.5"
    assert not (folder / "weights.txt").exists()  # it ran somewhere else
    body = home.json("describe", run["id"])
    assert body["logged"] == {"params": {"rate": 0.25}, "metrics": {"loss": 0.2}}
    assert "rate 0.25" in home.good("describe", run["id"]).out


def test_a_metric_that_is_no_number_any_more(home: Home) -> None:
    text = "import tradewind as tw\ntw.log_metric('loss', float('nan'))\n"
    folder = home.write({"diverged.py": text}, "nan")
    home.good("run", "diverged.py", cwd=folder)
    [run] = home.json("get", "runs", "diverged")
    with home.client() as client:
        [point] = client.runs.metrics(run["id"])
    assert point["value"] is None
    assert home.json("describe", run["id"])["logged"]["metrics"] == {"loss": "nan"}


def test_a_script_that_fails_says_where(home: Home) -> None:
    folder = home.write({"bad.py": "def f():\n    return {}['no']\n\nf()\n"}, "bad")
    said = home.tw("run", "bad.py", cwd=folder)
    assert said.status == 1
    assert "KeyError: 'no'" in said.err
    assert 'bad.py", line 2' in said.out + said.err
    said = home.tw("run", "bad.py", "-o", "json", cwd=folder)
    assert (said.status, said.json["state"]) == (1, "failed")
    assert said.json["error"]["code"] == "user_error"


def test_retries_with_backoff(home: Home, tmp_path: Path) -> None:
    @tw.function(retries=2)
    def stubborn(path: str) -> int:
        with open(path, "a+") as file:
            file.write("x")
            file.seek(0)
            tries = len(file.read())
        if tries < 3:
            raise RuntimeError(f"try {tries}")
        return tries

    run = stubborn.run(str(tmp_path / "tries"))
    assert run.result() == 3
    body = run.refresh().body
    assert [each["state"] for each in body["attempts"]] == ["failed", "failed", "succeeded"]
    with home.client() as client:
        told = b"".join(client.runs.logs(run.id))
        assert told.count(b"RuntimeError: try 2") == 1
        for seen in (1, told.index(b"try 2"), len(told)):  # who comes back misses nothing
            assert b"".join(client.runs.logs(run.id, offset=seen)) == told[seen:]

    @tw.function(retries=1)
    def hopeless() -> None:
        raise RuntimeError("never")

    with pytest.raises(tw.RunFailed, match="never"):
        hopeless.run().result()


TREE = """
import os, signal, subprocess, sys, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time, signal; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
if os.fork() == 0:
    os.setsid()  # a daemon that leaves its session
    if os.fork() == 0:
        with open(sys.argv[1] + ".daemon", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not os.path.exists(sys.argv[1] + ".daemon"):
    time.sleep(0.01)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {child.pid} " + open(sys.argv[1] + ".daemon").read())
print("ready", flush=True)
time.sleep(600)
"""


def test_a_stop_ends_the_whole_tree(home: Home, tmp_path: Path) -> None:
    """One that ignores SIGTERM, its child, and a daemon that left its session."""
    folder = home.write({"tree.py": TREE}, "tree")
    path = tmp_path / "pids"
    run = home.good("run", "tree.py", "--detach", "--", path, cwd=folder).out.strip()
    until(lambda: path.exists() and len(path.read_text().split()) == 3)
    pids = [int(pid) for pid in path.read_text().split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    [body] = home.json("stop", run, "--wait")
    assert body["state"] == "stopped"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_timeout_says_so(home: Home) -> None:
    @tw.function(timeout="500ms")
    def sleeper() -> None:
        import time

        time.sleep(60)

    begin = time.monotonic()
    with pytest.raises(tw.RunFailed, match=r"time|500"):
        sleeper.run().result()
    assert time.monotonic() - begin < 40


def test_nothing_of_the_callers_environment_leaks(home: Home, monkeypatch: Any) -> None:
    monkeypatch.setenv("MY_SECRET", "hush")

    @tw.function(env={"COLOUR": "red"})
    def seen() -> dict[str, str]:
        import os

        return {name: os.environ.get(name, "") for name in ("MY_SECRET", "COLOUR")}

    assert seen.run().result() == {"MY_SECRET": "", "COLOUR": "red"}
    assert os.environ["MY_SECRET"] == "hush"
    assert json.dumps(home.json("get", "runs", "seen")).find("hush") < 0
