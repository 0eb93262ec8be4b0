"""`tw quote --against`: a change in a real repository, its verdict and its line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.road.home import Home

pytestmark = pytest.mark.xdist_group("local-against")

ROWS = 400_000
CODE = """\
import pyarrow
import pyarrow.compute as pc


def f(data: pyarrow.RecordBatch):
    a = pc.sqrt(data["v"])
    for _ in range(20):
        a = pc.add(pc.sqrt(a), data["v"])
    return pyarrow.table({"a": a})

function: f
    style: batch
"""
SLOWER = CODE.replace("range(20)", "range(80)").replace(
    "import pyarrow\n", "# new\nimport pyarrow\n", 1
)


def git(home: Home, *words: str) -> None:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    subprocess.run(["git", *who, *words], cwd=home.work, check=True, capture_output=True)


@pytest.fixture
def repository(home: Home) -> Home:
    """A repository whose second commit is the present code, and a table beside it."""
    table = pa.table({"v": [float(n) for n in range(ROWS)]})
    pq.write_table(table, home.work / "p.parquet", row_group_size=20_000)
    home.write({".gitignore": "*.parquet\n"})
    git(home, "init", "-q")
    commit(home, CODE)
    return home


def commit(home: Home, text: str, file: str = "f.tw") -> None:
    home.write({file: text})
    git(home, "add", ".")
    git(home, "commit", "-q", "--allow-empty", "-m", "more")


def asked(home: Home, revision: str, file: str = "f.tw") -> Any:
    return home.json("quote", file, "--data", "p.parquet", "--against", revision)


def test_a_change_is_told_with_its_line_and_both_prices(repository: Home) -> None:
    repository.write({"f.tw": SLOWER})  # not committed: what is here is the present version
    said = repository.good("quote", "f.tw", "--data", "p.parquet", "--against", "HEAD").out
    assert "against HEAD: " in said and "version" in said
    quote = asked(repository, "HEAD")
    found = quote["against"]
    assert quote["plans"] and found["name"] == "HEAD"
    for which in ("before", "now"):
        assert found[which]["price"]["p50"] > 0 and found[which]["seconds"]["p90"] > 0
        assert found[which]["problems"] == []
    assert found["verdict"] in ("dearer", "unclear"), "three times the work, if it could be seen"
    if found["verdict"] == "dearer":
        first = found["lines"][0]
        assert (first["file"], first["was"]) == ("f.tw", first["line"] - 1)
    assert repository.json("quote", "f.tw", "--data", "p.parquet")["against"] == {}


SEEN = """\
import os
import time

import pyarrow


def f(data: pyarrow.Table, log: str):
    began, cores = time.monotonic(), len(os.sched_getaffinity(0))
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {data.num_rows} {cores} {began} {time.monotonic()}\\n")
    return data

function: f
    style: table
"""


def test_both_are_called_at_the_same_time_on_one_core(repository: Home, tmp_path: Path) -> None:
    """Then whatever else the machine does meets them alike."""
    log = tmp_path / "calls"
    commit(repository, SEEN, "s.tw")
    repository.write({"s.tw": SEEN.replace("return data", "return data.slice(0)")})
    quote = repository.json(
        "quote", "s.tw", "--data", "p.parquet", "--param", f"log={log}", "--against", "HEAD"
    )
    assert quote["against"]["verdict"] == "same"
    calls = [[float(word) for word in line.split()] for line in log.read_text().splitlines()]
    last: dict[float, list[float]] = {call[0]: call for call in calls}
    (_, rows, cores, began, ended), (_, others, core, start, end) = last.values()
    assert rows == others and cores == core == 1
    assert max(began, start) < min(ended, end)
    assert not all(call[2] == 1 for call in calls), "those before were called alone"


LARGE = SEEN.replace("    began,", "    held = bytearray(b'1') * (300 << 20)\n    began,").replace(
    "    style: table", "    style: table\n    resources:\n        memory: 800MiB"
)


def test_what_has_no_room_beside_the_other_is_called_after_it(
    repository: Home, tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    commit(repository, LARGE, "s.tw")
    repository.write({"s.tw": LARGE.replace("return data", "return data.slice(0)")})
    quote = repository.json(
        "quote", "s.tw", "--data", "p.parquet", "--param", f"log={log}", "--against", "HEAD"
    )
    found = quote["against"]
    assert found["verdict"] in ("same", "unclear"), found
    assert found["before"]["problems"] == found["now"]["problems"] == []
    calls = [[float(word) for word in line.split()] for line in log.read_text().splitlines()]
    last = {call[0]: call for call in calls}  # on a busy machine one is called more than once
    *_, (_, _, _, _, ended), (_, _, _, start, _) = last.values()
    assert len(last) > 1 and ended <= start


def test_against_a_run_and_with_other_parameters(repository: Home) -> None:
    run = repository.json("run", "f.tw", "--data", "p.parquet")
    found = asked(repository, run["id"])["against"]
    assert found["run"] == found["name"] == run["id"]
    assert found["verdict"] in ("same", "unclear") and found["lines"] == []


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [("import nothing_of_that_name\n" + CODE, "import", "nothing_of_that_name"),
     (CODE.replace("    a = pc.sqrt", "    1 / 0\n    a = pc.sqrt", 1), "raised", "ZeroDivision"),
     (CODE.replace("    a = pc.sqrt", "    import os; os.abort()\n    a = pc.sqrt", 1), "died",
      "SIGABRT")],
)  # fmt: skip
def test_old_code_that_fails_is_said_and_the_present_quote_given(
    repository: Home, text: str, kind: str, words: str
) -> None:
    commit(repository, text)
    repository.write({"f.tw": CODE})
    quote = asked(repository, "HEAD")
    found = quote["against"]
    [problem] = found["before"]["problems"]
    assert problem["kind"] == kind and words in problem["message"] + found["words"]
    assert (found["verdict"], found["before"]["price"]) == ("unclear", None)
    assert "the earlier version could not be measured" in found["words"]
    assert quote["plans"][0]["price"]["p50"] > 0 and found["now"]["price"]


def test_what_cannot_be_compared_is_refused_before_anything_is_paid(repository: Home) -> None:
    def refused(revision: str, file: str = "f.tw") -> str:
        said = repository.tw("quote", file, "--data", "p.parquet", "--against", revision)
        assert said.status == 2, said
        return said.err

    assert "there is no revision 'nowhere'" in refused("nowhere")
    assert "no run 'nowhere'" in refused("nowhere")
    assert "is no revision" in refused("-x") or "argument" in refused("-x")
    count = len(repository.json("get", "runs"))
    repository.write({"g.tw": CODE.replace("f(", "g(").replace("function: f", "function: g")})
    assert "g.tw is not in HEAD" in refused("HEAD", "g.tw")
    run = repository.json("run", "g.tw", "--data", "p.parquet")
    assert "not function f" in refused(run["id"])
    assert len(repository.json("get", "runs")) == count + 2, "g and the import of its table"


def test_a_file_without_a_repository(home: Home, tmp_path: Path) -> None:
    (tmp_path / "f.tw").write_text(CODE)
    pq.write_table(pa.table({"v": [1.0]}), tmp_path / "p.parquet")
    said = home.tw("quote", "f.tw", "--data", "p.parquet", "--against", "HEAD", cwd=tmp_path)
    assert said.status == 2 and "lies in no git repository" in said.err


DECORATED = """\
import pyarrow

from tradewind import function


@function(style="batch")
def f(data: pyarrow.RecordBatch):
    return pyarrow.table({"v": data["v"]})
"""


def test_another_style_is_called_as_it_was(repository: Home) -> None:
    before = DECORATED.replace('"batch"', '"row"').replace(
        'data: pyarrow.RecordBatch):\n    return pyarrow.table({"v": data["v"]})',
        'data):\n    return {"v": data["v"]}',
    )
    commit(repository, before, "d.py")
    repository.write({"d.py": DECORATED})
    found = asked(repository, "HEAD", "d.py")["against"]
    assert found["before"]["problems"] == found["now"]["problems"] == []
    assert found["verdict"] in ("cheaper", "unclear")
    repository.write({"d.py": DECORATED.replace("def f", "def g")})
    said = repository.tw("quote", "d.py", "--data", "p.parquet", "--against", "HEAD")
    assert said.status == 2 and "d.py has no 'g'" in said.err
