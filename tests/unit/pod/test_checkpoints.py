"""What a task writes into its checkpoint folder reaches the server, and the task's next try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.pod.pods import TOKEN, Pod, Server, journal_of, until
from tradewind.pod import checkpoints
from tradewind.pod.checkpoints import Keeping
from tradewind.pod.desk import Desk
from tradewind.pod.place import Place

CODE = """
import os, time, tradewind as tw
def f():
    here = tw.checkpoint_dir()
    print(sorted(path.name for path in here.iterdir()), flush=True)
    (here / "deep").mkdir(exist_ok=True)
    (here / "deep" / "step").write_text("1")
    os.symlink("deep/step", here / "last")
"""


def told(server: Server) -> dict[str, Any]:
    """Path → bytes or link, as all changes leave it."""
    found: dict[str, Any] = {}
    for change in server.changes:
        for path in change["dropped"]:
            del found[path]
        for file in change["changed"]:
            found[file["path"]] = file.get("link") or server.put[file["digest"]]
    return found


@pytest.mark.parametrize("end", ["pass", "raise ValueError('no')", "os.kill(os.getpid(), 9)"])
def test_what_it_leaves_is_kept_before_its_end_is_told(
    tmp_path: Path, server: Server, end: str
) -> None:
    ended = Pod(tmp_path, server, f"{CODE}    {end}\n").both()
    assert ended.told["state"] == ("succeeded" if end == "pass" else "failed")
    assert ended.out.startswith(b"[]\n")
    assert told(server) == {"deep/step": b"1", "last": "deep/step"}
    assert {each["pod"] for each in server.changes} == {"pod-1"}


def test_the_next_try_finds_it(tmp_path: Path, server: Server) -> None:
    code = CODE.replace("    os.symlink", "    assert (here/'last').read_text() == '1'#")
    digest = server.add(b"1")
    one = {"digest": digest, "size": 1, "mtime": 10**18, "mode": 0o640}
    server.checkpoint = [
        {"path": "last", "link": "deep/step"},
        {"path": "deep/step", **one},
        {"path": "again", **one, "mtime": 10**18 + 1},
    ]
    pod = Pod(tmp_path, server, code)
    assert pod.stage().told == {}
    root = pod.home / "checkpoints" / "run-1-main" / "main-0"
    assert (root / "deep/step").stat().st_mtime_ns == 10**18
    assert (root / "deep/step").stat().st_mode & 0o777 == 0o640
    assert (root / "again").stat().st_mtime_ns == 10**18 + 1
    # A pod that is set up again keeps what it has.
    (root / "again").unlink()
    assert pod.stage().told == {}
    ended = pod.run()
    assert ended.told["state"] == "succeeded" and ended.out == b"['deep', 'last']\n"
    # Its bytes are as they were; when they were written is not.
    (change,) = server.changes
    assert [file["path"] for file in change["changed"]] == ["deep/step"]
    assert change["changed"][0]["digest"] == digest and change["dropped"] == ["again"]
    assert digest not in server.put and "PUT checkpoint" not in server.asked


def test_no_checkpoint_costs_one_question(tmp_path: Path, server: Server) -> None:
    assert Pod(tmp_path, server, "def f(): pass\n").both().told["state"] == "succeeded"
    assert [what for what in server.asked if "checkpoint" in what or "claim" in what] == [
        "POST claim"
    ]


@pytest.mark.parametrize("what", ["POST claim", "GET checkpoint"])
def test_what_cannot_be_had_is_said_and_no_failure(
    tmp_path: Path, server: Server, what: str
) -> None:
    one = {"digest": server.add(b"1"), "size": 1, "mtime": 1, "mode": 0o600}
    server.checkpoint = [{"path": "x", **one}]
    server.answers[what] = 404
    pod = Pod(tmp_path, server, CODE)
    assert pod.stage().told == {}
    ended = pod.run()
    assert ended.told["state"] == "succeeded" and ended.out == b"[]\n"
    assert ended.err.startswith(b"tradewind: the checkpoint of earlier tries cannot be had (")
    assert ended.err.count(b"\n") == 1 + (what == "POST claim")


@pytest.mark.parametrize("what", ["HEAD checkpoint", "PUT checkpoint", "POST checkpoint"])
def test_what_is_not_taken_is_said_and_no_failure(
    tmp_path: Path, server: Server, what: str
) -> None:
    server.answers[what] = 422
    pod = Pod(tmp_path, server, CODE)
    assert pod.stage().told == {}
    ended = pod.run()
    assert ended.told["state"] == "succeeded" and server.changes == []
    assert ended.err.startswith(b"tradewind: the checkpoint cannot be kept on the server: ")
    assert ended.err.count(b"\n") == 1


def test_a_checkpoint_at_being_stopped(tmp_path: Path, server: Server) -> None:
    code = """
import time, tradewind as tw
def f():
    print(flush=True)
    while not tw.stop_requested():
        time.sleep(0.01)
    (tw.checkpoint_dir() / "last").write_text("all")
"""
    pod = Pod(tmp_path, server, code)
    pod.role["stop"] = {"way": "checkpoint", "grace": 30.0}
    assert pod.stage().status == 0
    process = pod.begin("run")
    assert process.stdout is not None and process.stdout.readline() == b"\n"
    # Before the supervisor knows that it runs there is nobody to ask.
    until(lambda: b"running" in journal_of(pod))
    assert pod.stop(process).told["state"] == "stopped"
    assert told(server) == {"last": b"all"}


# -- when it is told, on a clock of ours -----------------------------------------------------------


class Kept:
    """A unit's checkpoint folder, looked at when the test says so."""

    def __init__(self, home: Path, server: Server) -> None:
        self.server, self.now = server, 1000.0
        self.place = Place(
            server=server.url, token=TOKEN, pod="pod-1", address="", home=str(home),
            termination="", service_token="",
        )  # fmt: skip
        Pod(home.parent / "pod", server)
        self.folder = Path(checkpoints.folder(self.place, server.work))
        self.folder.mkdir(parents=True)
        self.keeping = self.begin()

    def begin(self) -> Keeping:
        return Keeping(self.place, self.server.work, lambda: self.now)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def look(self, after: float = 0.0, over: bool = False) -> int:
        """How many changes have been told in all."""
        self.now += after
        self.keeping.look(over)
        return len(self.server.changes)


@pytest.fixture
def kept(tmp_path: Path, server: Server) -> Iterator[Kept]:
    kept = Kept(tmp_path / "home", server)
    yield kept
    kept.keeping.close()


def test_only_what_has_come_to_rest_is_told(kept: Kept) -> None:
    assert kept.look() == 0
    kept.write("a", "1")
    kept.write("b", "1")
    assert kept.look(1.0) == 0
    assert kept.look(1.0) == 0
    kept.write("b", "12")
    assert kept.look(1.0) == 0
    assert kept.look(checkpoints.REST) == 1
    assert told(kept.server) == {"a": b"1", "b": b"12"}
    # Not too often, and nothing twice.
    kept.write("b", "123")
    (kept.folder / "a").unlink()
    assert kept.look(checkpoints.REST) == kept.look(checkpoints.REST) == 1
    assert kept.look(checkpoints.PAUSE) == 2
    assert told(kept.server) == {"b": b"123"}
    assert kept.look(100.0) == kept.look(over=True) == 2


def test_one_file_that_never_rests_holds_the_others_up_for_a_while(kept: Kept) -> None:
    kept.write("step", "1")
    for second in range(int(checkpoints.LONGEST)):
        kept.write("log", "x" * second)
        assert kept.look(1.0) == 0
    kept.write("log", "y" * 100)
    assert kept.look(1.0) == 1
    assert told(kept.server) == {"step": b"1"}
    assert kept.look(over=True) == 2
    assert told(kept.server) == {"step": b"1", "log": b"y" * 100}


def test_the_old_one_stays_until_the_new_one_is_there(kept: Kept) -> None:
    kept.write("old", "1")
    assert kept.look(over=True) == 1
    for second in range(int(checkpoints.LONGEST)):
        kept.write("log", "x" * second)
        assert kept.look(1.0) == 1
    kept.write("new", "2")
    (kept.folder / "old").unlink()
    kept.write("log", "y" * 100)
    kept.look(1.0)
    assert told(kept.server) == {"old": b"1"}
    kept.write("log", "z" * 100)
    kept.look(checkpoints.REST)
    kept.write("log", "z" * 200)
    kept.look(1.0)
    assert told(kept.server) == {"new": b"2"}


def test_a_file_that_changes_while_it_is_read_waits(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put = Desk.put

    def late(*words: Any) -> None:
        kept.write("a", "22")
        put(*words)

    kept.write("a", "1")
    kept.look(1.0)
    with monkeypatch.context() as changed:
        changed.setattr(Desk, "put", late)
        assert kept.look(checkpoints.REST) == 0
    kept.look(1.0)
    assert kept.look(checkpoints.PAUSE) == 1
    assert told(kept.server) == {"a": b"22"} and capfd.readouterr().err == ""


def test_what_the_server_has_lost_is_sent_anew(
    kept: Kept, capfd: pytest.CaptureFixture[str]
) -> None:
    kept.write("a", "1")
    kept.look(1.0)
    assert kept.look(checkpoints.REST) == 1
    kept.write("b", "1")
    assert kept.server.asked.count("POST claim") == 1
    kept.server.answers["POST checkpoint"] = 404
    for _again in range(3):
        kept.look(checkpoints.REST)
        assert kept.look(checkpoints.PAUSE + checkpoints.TROUBLE) == 1
    assert capfd.readouterr().err.count("\n") == 1
    kept.server.answers.clear()
    assert kept.look(checkpoints.PAUSE) == 1
    assert kept.look(checkpoints.TROUBLE) == 2
    assert [file["path"] for file in kept.server.changes[1]["changed"]] == ["a", "b"]
    assert kept.server.asked.count("POST claim") == 1 + 2 + 1


def test_a_container_that_starts_again_knows_what_was_told(kept: Kept) -> None:
    kept.write("a", "1")
    kept.write("b", "1")
    assert kept.look(over=True) == 1
    (kept.folder / "a").unlink()
    kept.keeping.close()
    kept.keeping = kept.begin()
    assert kept.look(over=True) == 2
    assert kept.server.changes[1] == {"pod": "pod-1", "changed": [], "dropped": ["a"]}


def test_a_newer_try_ends_it_quietly(kept: Kept, capfd: pytest.CaptureFixture[str]) -> None:
    kept.server.answers["POST checkpoint"] = 410
    kept.write("a", "1")
    kept.keeping.finish()
    kept.keeping.run()
    assert kept.server.asked.count("POST checkpoint") == 1 and capfd.readouterr().err == ""


def test_what_cannot_be_kept_is_said(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "MOST", 2)
    os.mkfifo(kept.folder / "pipe")
    with open(os.fsencode(kept.folder) + b"/\xff", "w"):
        kept.write("a", "1")
    assert kept.look(over=True) == kept.look(over=True) == 1
    assert told(kept.server) == {"a": b"1"}
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "is no text" in said
    for name in "bcd":
        kept.write(name, "1")
    assert kept.look(over=True) == 1
    assert "it has 4 files, and 2 is the limit" in capfd.readouterr().err
