"""A node in a folder of its own, and short ways to run things on it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import signal
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from tradewind.engines.local import LocalEngine
from tradewind.records.reports import Report
from tradewind.records.tasks import Entry, Environment, Gang, Role
from tradewind.testing.engine_suite import Session, Told, a_placement

Result = TypeVar("Result")


class Machine:
    """One data folder, its node, and a session with it."""

    def __init__(self, data: Path, **options: Any) -> None:
        self.data, self.options = data, options

    def run(self, test: Callable[[Session], Awaitable[Result]]) -> Result:
        """A coroutine with an engine of its own."""

        async def whole() -> Result:
            engine = LocalEngine(self.data, options=self.options)
            try:
                return await test(Session(engine))
            finally:
                await engine.close()

        return asyncio.run(whole())

    def close(self) -> None:
        async def end(session: Session) -> None:
            assert isinstance(session.engine, LocalEngine)
            await session.engine.shutdown(stop=True)

        with contextlib.suppress(OSError):
            self.run(end)

    def blob(self, data: bytes) -> str:
        """Put bytes into the blob store."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.data / "blobs" / digest[:2] / digest[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return "sha256:" + digest

    def read(self, digest: str) -> bytes:
        name = digest.partition(":")[2]
        return (self.data / "blobs" / name[:2] / name[2:]).read_bytes()

    def bundle(self, **files: str) -> str:
        """An archive of Python files, by their stem."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for stem, text in sorted(files.items()):
                member = tarfile.TarInfo(stem + ".py")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return self.blob(buffer.getvalue())

    def call(self, text: str, *, name: str = "p1", environment: Any = None, **fields: Any) -> Told:
        """Run the function `f` of this text to its end."""
        bundle = self.bundle(f=text)

        async def test(session: Session) -> Told:
            entry = Entry(kind="function", target="f.py:f")
            role = Role(**{"name": "main", "shape": Gang(), "entry": entry, **fields})
            request = session.engine.render(a_placement(name, role))
            request["bundle"] = bundle
            if environment is not None:
                request["environment"] = environment
            await session.engine.launch(request)
            return await session.end(name)

        return self.run(test)

    def shell(self, script: str, *, name: str = "p1", **fields: Any) -> Told:
        """Run a shell script to its end."""

        async def test(session: Session) -> Told:
            await session.launch(a_placement(name, sh(script, **fields)))
            return await session.end(name)

        return self.run(test)

    def log(self, name: str = "p1", index: int = 0) -> bytes:
        async def test(session: Session) -> bytes:
            logs = session.engine.logs(name, "main", index, offset=0, follow=False)
            return b"".join([data async for data in logs])

        return self.run(test)


def sh(script: str, **fields: Any) -> Role:
    """A role that is a shell script."""
    entry = Entry(kind="command", args=("sh", "-c", script))
    return Role(**{"name": "main", "shape": Gang(), "entry": entry, **fields})


def last(told: Told) -> Report:
    """The end of the only unit."""
    return [report for report in told if report.kind == "attempt"][-1]


def ended(told: Told) -> dict[str, Any]:
    """How the only unit ended."""
    body: dict[str, Any] = last(told).body["exit"]
    return body


def gone(pid: int) -> bool:
    """Whether this process is dead (a zombie is)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def until_gone(pid: int) -> None:
    """Wait for a process's death."""
    for _try in range(1000):
        if gone(pid):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"process {pid} lives on")


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


__all__ = ["Environment", "Machine", "ended", "gone", "kill", "last", "sh", "until_gone"]
