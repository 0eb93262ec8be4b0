"""What people's code does to a machine, and what becomes of it."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.node.machine import Machine, ended, gone, last, sh, until_gone
from tradewind.base import errors
from tradewind.engines.local import LocalEngine
from tradewind.records.tasks import Resources, Stop
from tradewind.supervisor import processes
from tradewind.testing.engine_suite import Session, a_placement

_DAEMON = """
import os, sys, time
def f():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("/proc/self/oom_score_adj").read()
            with open({path!r}, "w") as file:
                file.write(str(os.getpid()))
            for fd in range(256):
                try: os.close(fd)
                except OSError: pass
            time.sleep(600)
        os._exit(0)
    while not os.path.exists({path!r}) or not open({path!r}).read():
        time.sleep(0.01)
    return 1
"""
_EATER = """
import time
def f():
    held = []
    while True:
        held.append(bytearray(8 << 20))
        time.sleep(0.005)
"""


def test_daemons_die_with_their_task(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    told = machine.call(_DAEMON.format(path=str(path)))
    assert told.ends() == {"p1": "succeeded"}
    assert gone(int(path.read_text()))


def test_a_daemon_with_the_log_open_keeps_nobody_waiting(machine: Machine) -> None:
    told = machine.shell("sleep 600 & echo out; exit 0")
    assert told.ends() == {"p1": "succeeded"}
    assert machine.log() == b"out\n"


def test_binary_output_and_closed_output(machine: Machine) -> None:
    every = "import os\ndef f():\n    os.write(1, bytes(range(256)) * 64)\n    return 1\n"
    machine.call(every, name="binary")
    assert machine.log("binary") == bytes(range(256)) * 64
    closing = "import os\ndef f():\n    print('x'); os.close(1); os.close(2)\n    return 7\n"
    told = machine.call(closing, name="closed")
    assert last(told).body["outputs"]["result"]["value"] == 7
    assert machine.log("closed") == b"x\n"


@pytest.mark.parametrize("enforced", [True, False])
def test_a_task_over_its_memory(
    machine: Machine, enforced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not enforced:
        machine.options["cgroups"] = False
    told = machine.call(_EATER, resources=Resources(memory=96 << 20))
    assert ended(told)["reason"] == "memory"
    assert "of its 96 MiB" in ended(told)["message"]
    assert "raise resources.memory or read the data in parts" in ended(told)["message"]


def test_the_machine_keeps_its_last_memory(tmp_path: Path) -> None:
    """The node believes that only this much may be taken, and ends the largest task."""
    machine = Machine(tmp_path, floor=max(1, processes.available() - (700 << 20)))
    try:

        async def test(session: Session) -> None:
            small = a_placement("small", sh("exec sleep 600"))
            await session.launch(small)
            request = session.engine.render(a_placement("large", sh(f"exec {eater}")))
            await session.engine.launch(request)
            told = await session.end("large")
            assert told.ends() == {"large": "failed"}
            assert told.reason()["reason"] == "memory"
            await session.engine.stop("small", Stop())
            await session.end("small")

        code = "a=[bytearray(64<<20) for _ in range(40)]; import time; time.sleep(600)"
        eater = f'{sys.executable} -c "{code}"'
        machine.run(test)
    finally:
        machine.close()


def test_signals_and_statuses_are_told(machine: Machine) -> None:
    told = machine.shell("kill -SEGV $$", name="a")
    assert ended(told)["reason"] == "signal" and ended(told)["signal"] == "SIGSEGV"
    told = machine.shell("exit 42", name="b")
    assert ended(told)["status"] == 42
    told = machine.call("import os\ndef f():\n    os._exit(0)\n", name="c")
    assert ended(told)["message"] == "the process ended before its function returned"


def test_a_command_that_is_not_there(machine: Machine) -> None:
    told = machine.call("def f(): pass\n", name="a")
    assert told.ends() == {"a": "succeeded"}

    async def test(session: Session) -> None:
        role = sh("")
        request = session.engine.render(a_placement("p2", role))
        request["roles"][0]["entry"]["args"] = ["no-such-command"]
        await session.engine.launch(request)
        told = await session.end("p2")
        assert "no command 'no-such-command'" in ended(told)["message"]

    machine.run(test)


def test_an_interpreter_that_is_not_there(machine: Machine) -> None:
    environment = {"digest": "x", "python": "/no/such/python"}
    told = machine.call("def f(): pass\n", environment=environment)
    assert ended(told)["reason"] == "environment"
    assert "/no/such/python cannot be started" in ended(told)["message"]


def test_an_interpreter_that_ends_at_once(machine: Machine) -> None:
    told = machine.call("def f(): pass\n", environment={"digest": "x", "python": "/bin/false"})
    assert ended(told)["reason"] == "environment"


def test_a_missing_bundle(machine: Machine) -> None:
    async def test(session: Session) -> None:
        request = session.engine.render(a_placement("p1", sh("true")))
        request["bundle"] = "sha256:" + "0" * 64
        await session.engine.launch(request)
        told = await session.end("p1")
        assert told.reason()["reason"] == "input"
        assert "the code bundle is not in the blob store" in told.reason()["message"]

    machine.run(test)


def test_an_id_that_is_a_path_is_refused(machine: Machine) -> None:
    async def test(session: Session) -> None:
        request = session.engine.render(a_placement("../../x", sh("true")))
        with pytest.raises(errors.Bug):
            await session.engine.launch(request)

    machine.run(test)


def test_a_long_data_folder(tmp_path: Path) -> None:
    machine = Machine(tmp_path / ("long" * 30) / ("longer" * 20))
    try:
        assert machine.shell("echo $TRADEWIND_RUN").ends() == {"p1": "succeeded"}
        assert machine.log() == b"rp1\n"
    finally:
        machine.close()


def test_two_nodes_on_one_folder(machine: Machine) -> None:
    async def test(session: Session) -> tuple[int, int]:
        other = LocalEngine(machine.data)
        assert isinstance(session.engine, LocalEngine)
        first, second = await asyncio.gather(session.engine.begin(), other.begin())
        await other.close()
        return first["pid"], second["pid"]

    first, second = machine.run(test)
    assert first == second


def test_a_log_is_capped(tmp_path: Path) -> None:
    machine = Machine(tmp_path, log_cap=1 << 20)
    try:
        machine.shell("yes 0123456789012345678901234567890 | head -c 8000000; echo end")
        kept = machine.log()
        assert kept.startswith(b"0123456789") and kept.endswith(b"end\n")
        assert b"bytes of this log are left out here]" in kept
        assert len(kept) < 2 << 20
    finally:
        machine.close()


@pytest.mark.root
def test_a_full_disk(tmp_path: Path) -> None:
    data = tmp_path / "small"
    data.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(data)], check=False)
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    machine = Machine(data)
    try:

        async def test(session: Session) -> None:
            await session.launch(a_placement("before", sh("true")))
            await session.end("before")
            fill = f"echo up; cat /dev/zero > {data}/fill; sleep 600"
            chatty = (
                "import time\nfrom tradewind import log_metric\ndef f():\n"
                "    for n in range(10**9):\n        log_metric('m', n); time.sleep(0.001)\n"
            )
            await session.launch(a_placement("fill", sh(fill)))
            request = session.engine.render(a_placement("chatty", sh("")))
            request["roles"][0]["entry"] = {"kind": "function", "target": "f.py:f", "args": []}
            request["bundle"] = machine.bundle(f=chatty)
            await session.engine.launch(request)
            told = await session.end("chatty")
            assert told.ends()["chatty"] == "failed"
            reasons = [
                r.body["reason"] for r in told if r.kind == "placement" and "reason" in r.body
            ]
            assert f"the disk that holds {data} is full" in reasons[-1]["message"]
            with pytest.raises(errors.Broken, match=os.strerror(errno.ENOSPC)):
                for number in range(2000):
                    await session.launch(a_placement(f"more{number}", sh("true")))
            (data / "fill").unlink()
            await session.engine.stop("fill", Stop())
            await session.end("fill")

        machine.run(test)
    finally:
        machine.close()
        subprocess.run(["umount", "-l", str(data)], check=True)


def test_stopping_while_an_environment_is_built(machine: Machine, tmp_path: Path) -> None:
    slow = tmp_path / "uv"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    slow.chmod(0o755)
    machine.options["uv"] = str(slow)
    lock = machine.blob(b"")

    async def test(session: Session) -> None:
        request = session.engine.render(a_placement("p1", sh("true")))
        request["environment"] = {"digest": "slow", "lock": lock}
        await session.engine.launch(request)
        await session.reached("preparing")
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        await session.engine.stop("p1", Stop())
        assert (await session.end("p1")).ends() == {"p1": "stopped"}
        await until_gone(int((tmp_path / "pid").read_text()))

    machine.run(test)
