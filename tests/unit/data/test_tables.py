"""Versions: immutable, once, whole after a kill."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tradewind.base import errors
from tradewind.data import isolated, parquet, tables

pa = pytest.importorskip("pyarrow")
pytest.importorskip("deltalake")
pytest.importorskip("duckdb")


def stage(folder: Path, table: Any, name: str = "part-00000.parquet") -> Path:
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, folder / name)
    return folder / name


def numbers(count: int, start: int = 0) -> Any:
    return pa.table({"n": pa.array(range(start, start + count), pa.int64())})


def values(root: Path, version: int, column: str = "n") -> list[Any]:
    found: list[Any] = tables.read(root, version).read_all()[column].to_pylist()
    return found


def test_overwrite_append_and_time_travel(tmp_path: Path) -> None:
    root = tmp_path / "t"
    assert tables.latest(root) is None
    staged = stage(tmp_path / "s", numbers(3))
    inode = staged.stat().st_ino
    first = tables.commit(root, [staged], "a1")
    assert (first.table_version, first.rows, first.replayed) == (0, 3, False)
    assert (root / first.files[0]).stat().st_ino == inode and not staged.exists()
    assert first.schema == [{"name": "n", "type": "int64"}] and first.stats[0]["max"] == 2
    second = tables.commit(root, [stage(tmp_path / "s", numbers(2, 3))], "a2", mode="append")
    assert (second.table_version, second.rows, len(second.files)) == (1, 5, 2)
    whole = tables.commit(root, [stage(tmp_path / "s", numbers(5))], "a3")
    assert whole.digest == second.digest != first.digest
    assert [values(root, version) for version in range(3)] == [
        [0, 1, 2],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
    ]
    assert tables.latest(root) == 2
    with pytest.raises(errors.NotFound):
        tables.files(root, 7)
    with pytest.raises(errors.NotFound):
        tables.files(tmp_path / "nowhere", 0)


def test_a_replay_returns_the_same_version(tmp_path: Path) -> None:
    root = tmp_path / "t"
    staged = stage(tmp_path / "s", numbers(3))
    first = tables.commit(root, [staged], "a1")
    tables.commit(root, [stage(tmp_path / "s", numbers(4))], "a2")
    again = tables.commit(root, [staged], "a1")  # its files are gone, as after the first time
    assert again.replayed and again.to_json() == {**first.to_json(), "replayed": True}
    stage(tmp_path / "s", numbers(9))  # staged anew, by a task that ran twice
    assert tables.commit(root, [staged], "a1").rows == 3
    assert tables.latest(root) == 1 and not staged.exists()


def test_the_schema_may_change_with_a_whole_version_only(tmp_path: Path) -> None:
    root = tmp_path / "t"
    tables.commit(root, [stage(tmp_path / "s", numbers(3))], "a1")
    local = pa.table({"t": pa.array([1, None], pa.timestamp("us")), "x y;": ["a", "b"]})
    with pytest.raises(errors.InvalidData, match="'n' is missing"):
        tables.commit(root, [stage(tmp_path / "s", local)], "a2", mode="append")
    done = tables.commit(root, [stage(tmp_path / "s", local)], "a2")
    assert [one["type"] for one in done.schema] == ["timestamp", "string"]
    assert tables.read(root, done.table_version).read_all().equals(local)
    assert values(root, 0) == [0, 1, 2]
    with pytest.raises(errors.InvalidData, match="n is string here, but int64"):
        other = pa.table({"n": ["x"]})
        tables.commit(tmp_path / "u", [stage(tmp_path / "s", numbers(1))], "b1")
        tables.commit(tmp_path / "u", [stage(tmp_path / "s", other)], "b2", mode="append")
    assert sorted(path.name for path in (tmp_path / "u").glob("*.parquet")) == sorted(
        path.name for path in tables.files(tmp_path / "u", 0)
    )


def test_types_that_a_table_cannot_hold_are_fitted(tmp_path: Path) -> None:
    import datetime as dt

    odd = pa.table(
        {
            "u": pa.array([1, None], pa.uint64()),
            "ns": pa.array([1_500, None], pa.timestamp("ns")),
            "z": pa.array([0, None], pa.timestamp("ms", "Europe/Paris")),
            "time": pa.array([dt.time(10, 15), None]),
            "span": pa.array([dt.timedelta(seconds=2), None]),
            "cat": pa.array(["a", None]).dictionary_encode(),
            "none": pa.nulls(2),
            "half": pa.array([1.5, None], pa.float16()),
            "big": pa.array(["x", None], pa.large_string()),
            "deep": pa.array([{"l": [1]}, None], pa.struct([("l", pa.large_list(pa.uint8()))])),
        }
    )
    done = tables.commit(tmp_path / "t", [stage(tmp_path / "s", odd)], "a1")
    assert {one["name"]: one["type"] for one in done.schema} == {
        "u": "decimal(20, 0)", "ns": "timestamp", "z": "timestamp[UTC]", "time": "string",
        "span": "int64", "cat": "string", "none": "string", "half": "float32", "big": "string",
        "deep": "struct<l: list<item: int16>>",
    }  # fmt: skip
    row = tables.read(tmp_path / "t", 0).read_all().to_pylist()[0]
    assert str(row["u"]) == "1" and row["ns"].microsecond == 1 and row["span"] == 2_000_000
    assert row["time"].startswith("10:15:00") and row["deep"] == {"l": [1]}


def test_no_rows_no_columns_and_bad_files(tmp_path: Path) -> None:
    root = tmp_path / "t"
    done = tables.commit(root, [stage(tmp_path / "s", numbers(0))], "a1")
    assert done.rows == 0 and values(root, 0) == []
    bad = tmp_path / "s" / "bad.parquet"
    bad.write_bytes(b"PAR1 nonsense")
    for files in ([bad], [stage(tmp_path / "s", numbers(1)), bad], []):
        with pytest.raises(errors.InvalidData):
            tables.commit(root, files, "a2")
    with pytest.raises(errors.NotFound):
        tables.commit(root, [tmp_path / "none.parquet"], "a2")
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "A"])
    with pytest.raises(errors.InvalidData, match="column 2 is named 'A'"):
        tables.commit(root, [stage(tmp_path / "s", twice)], "a2")
    assert tables.latest(root) == 0 and len(list(root.glob("*.parquet"))) == 1


def test_folders_of_datasets_are_safe_names(tmp_path: Path) -> None:
    folder = tables.table_folder(tmp_path, "p", "../../etc/größe x")
    assert folder.parent == tmp_path / "p" and folder.name.isascii() and "/" not in folder.name
    assert tables.table_folder(tmp_path, "p", "a.b-c_1").name == "a.b-c_1"
    assert tables.table_folder(tmp_path, "p", "..").name == "%2E."
    with pytest.raises(errors.InvalidSpec):
        tables.table_folder(tmp_path, "p", "")


def test_many_versions_outlive_the_librarys_own_clean_up(tmp_path: Path) -> None:
    root = tmp_path / "t"
    stats: list[dict[str, Any]] = [{"name": "n"}]
    for number in range(103):
        staged = stage(tmp_path / "s", numbers(1, number))
        tables.commit(root, [staged], f"a{number}", digest="sha256:0", stats=stats)
    assert list((root / "_delta_log").glob("*.checkpoint.parquet"))
    assert [values(root, version) for version in (0, 50, 102)] == [[0], [50], [102]]
    assert tables.commit(root, [tmp_path / "gone"], "a3").table_version == 3


@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_concurrent_commits_all_count(tmp_path: Path, mode: tables.Mode) -> None:
    root = tmp_path / "t"
    done: list[tables.CommittedVersion] = []

    def work(number: int) -> None:
        staged = stage(tmp_path / f"s{number}", numbers(10, 10 * number))
        done.append(tables.commit(root, [staged], f"a{number}", mode=mode))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.table_version for one in done) == [0, 1, 2, 3]
    last = max(done, key=lambda one: one.table_version)
    assert len(values(root, 3)) == last.rows == (40 if mode == "append" else 10)
    for one in done:
        found = [path.name for path in tables.files(root, one.table_version)]
        assert list(one.files) == found
    visible = {name for one in done for name in one.files}
    assert visible == {path.name for path in root.glob("*.parquet")}


def test_twins_of_one_attempt_make_one_version(tmp_path: Path) -> None:
    root = tmp_path / "t"
    tables.commit(root, [stage(tmp_path / "s", numbers(1))], "a0")
    done: list[tables.CommittedVersion] = []

    def work(number: int) -> None:
        staged = stage(tmp_path / f"s{number}", numbers(5))
        done.append(tables.commit(root, [staged], "twin", mode="append"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.table_version for one in done} == {1} and tables.latest(root) == 1
    assert values(root, 1) == [0, 0, 1, 2, 3, 4]
    assert {path.name for path in root.glob("*.parquet")} == set(done[0].files)


def test_prune_removes_what_no_kept_version_has(tmp_path: Path) -> None:
    root = tmp_path / "t"
    for number in range(4):
        tables.commit(root, [stage(tmp_path / "s", numbers(2, number))], f"a{number}")
    orphan = root / "00000009-killed-abcdef-00000.parquet"
    orphan.write_bytes(b"x" * 50)
    assert tables.prune(root, [1], older_than=time.time() - 1000) == (0, 0)
    count, freed = tables.prune(root, [1], older_than=time.time() + 10)
    assert count == 3 and freed > 50 and not orphan.exists()
    assert values(root, 1) == [1, 2] and values(root, 3) == [3, 4]
    with pytest.raises(errors.NotFound, match="was pruned"):
        tables.files(root, 0)
    tables.commit(root, [stage(tmp_path / "s", numbers(1))], "a9")


def test_a_commit_killed_anywhere_leaves_the_old_version_and_can_be_done_again(
    tmp_path: Path,
) -> None:
    """At random points of the process's life, the replay included."""
    root = tmp_path / "t"
    tables.commit(root, [stage(tmp_path / "s", numbers(3))], "a0")
    chance, killed, expected = random.Random(7), 0, list(range(3))
    begun = time.monotonic()
    _ask(root, tmp_path, 0, kill_after=60.0)
    usual = time.monotonic() - begun
    expected += range(100)
    for attempt in range(1, 9):
        killed += _ask(root, tmp_path, attempt, kill_after=usual * chance.uniform(0.3, 1.1))
        assert values(root, 0) == [0, 1, 2]
        found = values(root, tables.latest(root) or 0)
        assert found in (expected, expected + list(range(100)))
        _ask(root, tmp_path, attempt, kill_after=60.0)  # the supervisor tries again
        expected += range(100)
        assert values(root, tables.latest(root) or 0) == expected
    assert killed
    tables.prune(root, [0], older_than=time.time() + 10)
    assert values(root, tables.latest(root) or 0) == expected


def _ask(root: Path, folder: Path, attempt: int, kill_after: float) -> int:
    staged = folder / f"s{attempt}" / "part-00000.parquet"
    if not staged.exists():
        stage(staged.parent, numbers(100))
    request = {
        "op": "commit", "root": str(root), "files": [str(staged)], "mode": "append",
        "attempt": f"k{attempt}", "result": str(folder / "answer.json"),
    }  # fmt: skip
    command = [sys.executable, "-m", isolated.MODULE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return 1
    return 0


@pytest.mark.root
def test_a_full_disk_is_said_and_leaves_the_old_version(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs: " + mounted.stderr.decode().strip())
    try:
        root, chance = small / "t", random.Random(1)
        tables.commit(root, [stage(tmp_path / "s", numbers(3))], "a0")
        noise = pa.table({"n": pa.array([chance.getrandbits(62) for _ in range(200_000)])})
        with pytest.raises(errors.Broken, match="disk is full"):
            tables.commit(root, [stage(tmp_path / "s", noise)], "a1")
        with (
            pytest.raises(errors.Broken, match="disk is full"),
            parquet.Writer(small / "w", noise.schema) as writer,
        ):
            for batch in noise.to_batches():
                writer.write(batch)
        assert not list((small / "w").iterdir())
        assert values(root, 0) == [0, 1, 2] and len(list(root.glob("*.parquet"))) == 1
        assert tables.commit(root, [stage(tmp_path / "s", numbers(4))], "a1").rows == 4
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("deltalake", "duckdb", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    from tradewind.data import duck, types

    for use in (tables.library, duck.library, types.arrow):
        with pytest.raises(errors.MissingExtra) as caught:
            use()
        assert "tradewind[data]" in caught.value.hint


def test_files_are_read_only(tmp_path: Path) -> None:
    done = tables.commit(tmp_path / "t", [stage(tmp_path / "s", numbers(1))], "a1")
    assert os.stat(tmp_path / "t" / done.files[0]).st_mode & 0o222 == 0


def test_parts_whose_types_were_guessed_apart_become_one_table(tmp_path: Path) -> None:
    parts = [
        pa.table({"a": pa.nulls(2), "b": [1, 2]}),
        pa.table({"a": ["x", "y"], "b": [1.5, None], "c": [True, False]}),
    ]
    files = [tmp_path / f"{number}.parquet" for number in range(2)]
    for part, path in zip(parts, files, strict=True):
        pa.parquet.write_table(part, path)
    made = tables.commit(tmp_path / "t", files, "r1.output.1", digest="sha256:x", outlined=True)
    assert (made.rows, made.digest) == (4, "sha256:x")
    found = pa.concat_tables(pa.parquet.read_table(tmp_path / "t" / name) for name in made.files)
    assert found.to_pydict() == {
        "a": [None, None, "x", "y"],
        "b": [1.0, 2.0, 1.5, None],
        "c": [None, None, True, False],
    }
    by_name = {each["name"]: each for each in made.stats}
    assert (by_name["a"]["nulls"], by_name["b"]["count"]) == (2, 3)


def test_parts_that_mean_other_things_are_told(tmp_path: Path) -> None:
    files = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    pa.parquet.write_table(pa.table({"a": [1]}), files[0])
    pa.parquet.write_table(pa.table({"a": ["x"]}), files[1])
    with pytest.raises(errors.InvalidData, match="parts of the table differ"):
        tables.commit(tmp_path / "t", files, "r1.output.1", digest="sha256:x", outlined=True)
