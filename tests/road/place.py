"""A data folder with a server of its own, and user code that misbehaves in every way."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tradewind.sdk import local
from tradewind.sdk.client import Client

Json = dict[str, Any]

CODE = '''
import os, subprocess, sys, time

def daemons(pids):
    """Leaves a child, a grandchild in a session of its own, and a program."""
    first = os.fork()
    if first == 0:
        os.setsid()
        second = os.fork()
        if second == 0:
            with open(pids, "a") as file:
                file.write("%d\\n" % os.getpid())
            time.sleep(600)
        with open(pids, "a") as file:
            file.write("%d\\n" % os.getpid())
        time.sleep(600)
    program = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open(pids, "a") as file:
        file.write("%d\\n" % program.pid)
    while len(open(pids).read().split()) < 3:
        time.sleep(0.01)
    return "done"

def stubborn(ready):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(ready, "w").close()
    while True:
        time.sleep(0.1)

def binary():
    os.write(1, bytes(range(256)))
    return 1

def silent():
    os.close(1)
    os.close(2)
    return 2

def eats():
    held = []
    while True:
        held.append(bytearray(64 << 20))

def eats_without_limit():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    eats()

def fills(megabytes):
    with open(os.path.join(os.environ["TRADEWIND_OUT"], "..", "big"), "wb") as file:
        for _ in range(megabytes):
            file.write(bytes(1 << 20))

def large(megabytes):
    return os.urandom(megabytes << 20)

def wide(rows):
    import pyarrow
    return pyarrow.table({"n": list(range(rows))})

def rows(table: "pyarrow.Table"):
    return table.num_rows

def fine():
    return "fine"

def leaves(pids, program):
    if os.path.exists(pids):
        return "again"
    if program:
        pid = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
    else:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            time.sleep(600)
    with open(pids + ".new", "w") as file:
        file.write("%d %d" % (os.getpid(), pid))
    os.rename(pids + ".new", pids)
    time.sleep(600)
'''


class Place:
    """A data folder with a server, and words to talk to it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.address = local.ensure_server(data)
        self.client = Client(self.address.url, self.address.token)
        self.code = self.client.blobs.put(packed({"code.py": CODE}))

    def function(self, name: str, **more: Any) -> Json:
        return {"kind": "function", "name": name, "entry": f"code.py:{name}", "bundle": self.code,
                **more}  # fmt: skip

    def run(self, document: Json, timeout: float = 30.0) -> Json:
        """Accept it and wait for its end."""
        return self.end(self.start(document), timeout)

    def start(self, document: Json) -> str:
        return str(self.client.runs.create([{"spec": document}])[0]["id"])

    def end(self, run: str, timeout: float = 30.0) -> Json:
        ended = self.client.runs.wait(run, timeout)
        assert ended["state"] in {"succeeded", "failed", "stopped"}, ended
        return ended

    def fails(self, document: Json) -> Json:
        """The error of a run that must fail."""
        ended = self.run(document)
        assert ended["state"] == "failed", ended
        error: Json = ended["error"]
        assert error["code"] and error["message"], error
        return error

    def close(self) -> None:
        self.client.close()
        local.stop_server(self.data)
        end_node(self.data)


def end_node(data: Path) -> None:
    from tradewind.engines.local import LocalEngine

    asyncio.run(LocalEngine(data).shutdown(stop=True))


def packed(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
