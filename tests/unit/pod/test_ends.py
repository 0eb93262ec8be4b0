"""What a pod does when it is stopped, and when its server or its neighbours misbehave."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
from pathlib import Path

import pytest

from tests.unit.pod.pods import Pod, Server, journal_of, until

STAY = """
import os, signal, sys, time, tradewind as tw
def f(kind):
    if kind == "drain":
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"asked\\n"), sys.exit(0)))
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tw.log_metric("begun", 1.0)
    print("begun", flush=True)
    while kind == "deaf" or not tw.stop_requested():
        time.sleep(0.01)
    print("noticed", flush=True)
"""

SOON = """
import sys
from tradewind.pod import __main__, delivery
delivery.SILENT = 0.2
__main__.main(sys.argv)
"""


@pytest.mark.parametrize(
    ("kind", "stop", "said"),
    [
        ("none", {"way": "kill"}, b""),
        ("drain", {"way": "drain", "grace": 20.0}, b"asked\n"),
        ("checkpoint", {"way": "checkpoint", "grace": 20.0}, b"noticed\n"),
        ("deaf", {"way": "checkpoint", "grace": 1e4}, b""),
        ("stubborn", {"way": "drain", "grace": 0.2}, b""),
    ],
)
def test_a_stop(
    tmp_path: Path, server: Server, kind: str, stop: dict[str, object], said: bytes
) -> None:
    pod = Pod(tmp_path, server, STAY)
    pod.role |= {"params": {"kind": kind}, "stop": stop}
    assert pod.stage().status == 0
    process = pod.begin("run")
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGTERM)
    ended = pod.stop(process)  # the second time changes nothing
    assert (ended.status, ended.told["state"]) == (143, "stopped")
    assert ended.exit["reason"] == "stopped"
    assert (ended.out, ended.err) == (said, b"")
    assert ended.told["usage"]["wall"] > 0


def test_a_stop_while_it_stages(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, STAY)
    server.answers["GET work"] = 503
    process = pod.begin("stage")
    server.wait_for("GET work")
    ended = pod.stop(process)
    assert (ended.status, ended.told["state"]) == (143, "stopped")


TELLS = "import tradewind as tw\n"
HURRIED = """
import sys
from tradewind.pod import __main__, run
run.LEAVE = 0.3
__main__.main(sys.argv)
"""


@pytest.mark.parametrize("code", ["pass", "import time; print(flush=True); time.sleep(60)"])
def test_a_stop_while_the_server_is_away(tmp_path: Path, server: Server, code: str) -> None:
    pod = Pod(tmp_path, server, f"{TELLS}def f():\n    tw.log_metric('m', 1.0)\n    {code}\n")
    assert pod.stage().status == 0
    pod.python = ["-c", HURRIED]
    server.down = {"POST facts"}
    process = pod.begin("run")
    if code == "pass":
        until(lambda: b"succeeded" in journal_of(pod))
    else:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
    ended = pod.stop(process)
    assert (ended.status, ended.told["state"]) == (143, "stopped")
    assert ("usage" in ended.told) == (code != "pass")
    assert server.facts == []


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("stage", "GET work"),
        ("stage", "GET blobs"),
        ("run", "POST facts"),
        ("run", "HEAD blobs"),
        ("run", "PUT blobs"),
    ],
)
def test_a_server_that_is_away_comes_back(
    tmp_path: Path, server: Server, verb: str, what: str
) -> None:
    code = TELLS + "def f():\n    tw.log_metric('m', 1.0)\n    return ['x' * 20_000]\n"
    pod = Pod(tmp_path, server, code)
    if verb == "run":
        assert pod.stage().status == 0
    server.down.add(what)
    process = pod.begin(verb)
    server.wait_for(what)
    server.down.clear()
    server.answers[what] = 503
    server.wait_for(what)
    server.answers.clear()
    assert pod.end(process).status == 0
    if verb == "run":
        assert len(server.put) == 2  # the result, and an end too long for the message
        assert [fact["body"]["name"] for fact in server.facts] == ["m"]


def test_a_newer_try_ends_this_one(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, STAY)
    pod.role["params"] = {"kind": "stubborn"}
    assert pod.stage().status == 0
    server.answers["POST facts"] = 410
    ended = pod.run()
    assert (ended.status, ended.told["state"]) == (75, "lost")
    assert ended.exit["message"] == "a newer try of this has been started"

    server.answers["GET work"] = 410
    ended = pod.stage()
    assert (ended.status, ended.told["state"]) == (75, "lost")


def test_who_has_nothing_to_say_hears_of_a_newer_try(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, "def f():\n    import time\n    time.sleep(600)\n")
    assert pod.stage().status == 0
    pod.python = ["-c", SOON]
    server.answers["POST facts"] = 410
    ended = pod.run()
    assert (ended.status, ended.told["state"]) == (75, "lost")
    assert ended.exit["message"] == "a newer try of this has been started"


def test_a_token_that_is_not_good(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, STAY)
    pod.role["params"] = {"kind": "none"}
    assert pod.stage().status == 0
    pod.env["TRADEWIND_TOKEN"] = "x.y"
    for ended in (pod.stage(), pod.run()):
        assert (ended.status, ended.told["state"]) == (1, "failed")
        assert "does not know this task" in ended.exit["message"]
        assert server.url in ended.exit["message"]


def test_facts_that_make_no_sense_end_nothing(tmp_path: Path, server: Server) -> None:
    code = (
        "import os, tradewind as tw\n"
        "def f():\n"
        "    tw.log_param('half', '\\ud800')\n"
        "    fd = int(os.environ['TRADEWIND_CHANNEL'].partition(':')[0])\n"
        '    os.write(fd, b\'{"kind":"metric","name":"m","value":NaN}\')\n'
    )
    pod = Pod(tmp_path, server, code)
    assert pod.both().status == 0
    assert server.values("param", "half") == ["\ud800"]
    assert len(server.values("metric", "m")) == 1
    server.answers["POST facts"] = 422
    assert pod.run().status == 0


def test_an_output_that_the_server_refuses(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, "def f():\n    return ['x' * 20_000]\n")
    assert pod.stage().status == 0
    server.answers["PUT blobs"] = 413
    ended = pod.run()
    assert (ended.status, ended.exit["reason"]) == (1, "output")
    assert ended.exit["message"] == "because the test says so"
    assert ended.told["usage"]["wall"] > 0 and ended.told["outputs"] == {}


def test_wrong_bytes_are_never_used(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server, "def f():\n    pass\n")
    server.blobs[pod.request["bundle"]] = b"something else"
    ended = pod.stage()
    assert (ended.status, ended.exit["reason"]) == (1, "input")
    assert pod.request["bundle"] in ended.exit["message"]
    assert [path for path in pod.home.rglob("*") if path.is_file() and "blobs" in path.parts] == []


def test_an_archive_that_leads_out_is_refused(tmp_path: Path, server: Server) -> None:
    pod = Pod(tmp_path, server)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../../out"))
    pod.request["bundle"] = server.add(buffer.getvalue())
    ended = pod.stage()
    assert (ended.status, ended.exit["reason"]) == (1, "input")
    assert not list(tmp_path.rglob("out"))


def test_a_dead_supervisor_is_a_loss(tmp_path: Path, server: Server) -> None:
    pod = Pod(
        tmp_path,
        server,
        "import os, time\ndef f():\n    print('in', flush=True)\n    time.sleep(60)\n",
    )
    assert pod.stage().status == 0
    process = pod.begin("run")
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        (supervisor,) = map(int, file.read().split())
    os.kill(supervisor, signal.SIGKILL)
    ended = pod.end(process)
    assert (ended.status, ended.told["state"]) == (75, "lost")


def test_run_without_stage_is_a_loss(tmp_path: Path, server: Server) -> None:
    ended = Pod(tmp_path, server, STAY).run()
    assert (ended.status, ended.told["state"]) == (75, "lost")


COUNTED = """
import sys
from tradewind.pod import __main__, alone
alone.COUNTERS = (sys.argv.pop(1),)
__main__.main(sys.argv)
"""


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "1 / 0", "None"])
def test_whom_the_kernel_ends_for_memory(tmp_path: Path, server: Server, how: str) -> None:
    events = tmp_path / "events"
    events.write_text("low 0\noom 0\noom_kill 3\n")
    code = f"import os\ndef f(path):\n    open(path, 'w').write('oom_kill 4\\n')\n    {how}\n"
    pod = Pod(tmp_path, server, code)
    pod.python = ["-c", COUNTED, str(events)]
    pod.role |= {"params": {"path": str(events)}, "resources": {"memory": 1 << 30}}
    assert pod.stage().status == 0
    ended = pod.run()
    if how == "None":  # what it had started was killed, and it could do without
        assert ended.status == 0
        return
    assert (ended.status, ended.exit["reason"]) == (1, "memory")
    assert "of its 1 GiB" in ended.exit["message"]


def test_facts_arrive_while_it_runs(tmp_path: Path, server: Server) -> None:
    code = STAY.replace('print("begun"', "tw.log_metric('m', 1); print(\"begun\"")
    pod = Pod(tmp_path, server, code)
    pod.role |= {"params": {"kind": "none"}}
    assert pod.stage().status == 0
    process = pod.begin("run")
    until(lambda: server.values("metric", "m") == [1.0])
    assert pod.stop(process).status == 143


def test_a_reader_of_the_log_that_is_slow_holds_up_nothing_else(
    tmp_path: Path, server: Server
) -> None:
    code = "def f():\n    while True:\n        print('x' * 1000)\n"
    pod = Pod(tmp_path, server, code)
    pod.role["timeout"] = 0.5
    assert pod.stage().status == 0
    process = pod.begin("run")
    assert process.stdout is not None
    # Nothing is read until the unit has been ended.
    until(lambda: running(pod))
    (pid,) = running(pod)
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    ended = pod.end(process)
    assert (ended.status, ended.exit["reason"]) == (1, "timeout")


def running(pod: Pod) -> list[int]:
    """The pid that the journal tells."""
    reports = map(json.loads, journal_of(pod).splitlines())
    return [report["body"]["pid"] for report in reports if "pid" in report["body"]]
