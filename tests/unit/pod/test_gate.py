"""A member of a gang begins user code when the server says that all members are set up."""

from __future__ import annotations

from pathlib import Path

from tests.unit.pod.pods import Pod, Server, until

CODE = "import pathlib\ndef f():\n    pathlib.Path('{}').write_text('began')\n    return 1\n"


def member(folder: Path, server: Server, width: int = 2) -> Pod:
    pod = Pod(folder, server, CODE.format(folder / "began"), rank=1, width=width)
    pod.role["shape"] = {"shape": "gang", "least": width, "most": width}
    assert pod.stage().status == 0
    return pod


def test_it_begins_when_the_gang_is_whole(tmp_path: Path, server: Server) -> None:
    server.open = False
    pod = member(tmp_path, server)
    process = pod.begin("run")
    for _ in range(2):
        server.wait_for("GET gate")
    assert process.poll() is None and not (tmp_path / "began").exists()
    # The server goes away, and comes back busy with something else.
    server.down.add("GET gate")
    server.wait_for("GET gate")
    server.down.clear()
    server.answers["GET gate"] = 503
    server.wait_for("GET gate")
    server.open = True
    del server.answers["GET gate"]
    ended = pod.end(process)
    assert (ended.status, ended.told["state"]) == (0, "succeeded")
    assert (tmp_path / "began").exists()


def test_it_is_asked_to_end_while_it_waits(tmp_path: Path, server: Server) -> None:
    server.open = False
    pod = member(tmp_path, server)
    process = pod.begin("run")
    until(lambda: "GET gate" in server.asked)
    ended = pod.stop(process)
    assert (ended.status, ended.told["state"], ended.out) == (143, "stopped", b"")
    assert ended.exit["message"] == "stopped on request, before it began"
    assert not (tmp_path / "began").exists()


def test_another_try_has_taken_its_place(tmp_path: Path, server: Server) -> None:
    pod = member(tmp_path, server)
    server.answers["GET gate"] = 410
    ended = pod.run()
    assert (ended.status, ended.told["state"]) == (75, "lost")
    assert "newer try" in ended.exit["message"] and not (tmp_path / "began").exists()


def test_who_is_refused_says_so(tmp_path: Path, server: Server) -> None:
    pod = member(tmp_path, server)
    server.answers["GET gate"] = 403
    ended = pod.run()
    assert (ended.status, ended.exit["reason"]) == (1, "environment")


def test_who_is_alone_asks_nobody(tmp_path: Path, server: Server) -> None:
    server.open = False
    assert member(tmp_path, server, width=1).run().status == 0
    assert "GET gate" not in server.asked


def test_who_falls_tells_before_it_ends(tmp_path: Path, server: Server) -> None:
    """Once, and for whatever answer: the others' logs are read, its own end is as it was."""
    for name, trouble in (("had", None), ("busy", 503), ("away", "down")):
        (folder := tmp_path / name).mkdir()
        server.asked.clear()
        server.down = {"POST falls"} if trouble == "down" else set()
        server.answers = {"POST falls": 503} if trouble == 503 else {}
        pod = Pod(folder, server, "def f():\n    return 1 / 0\n", rank=1, width=2)
        pod.role["shape"] = {"shape": "gang", "least": 2, "most": 2}
        assert pod.stage().status == 0
        ended = pod.run()
        assert (ended.status, ended.told["state"]) == (1, "failed")
        assert server.asked.count("POST falls") == 1


def test_who_does_its_work_or_is_stopped_says_nothing(tmp_path: Path, server: Server) -> None:
    assert member(tmp_path, server).run().status == 0
    assert "POST falls" not in server.asked
