"""A data folder of its own with the real server, node and local engine, driven as a person does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tradewind import cli
from tradewind.sdk import local, session
from tradewind.sdk.client import Client

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LEAVING = 30.0


@dataclass(frozen=True)
class Said:
    """What one command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, with `-o json`."""
        return json.loads(self.out)

    @property
    def records(self) -> list[Any]:
        """One object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Home:
    """One server and one node, and the folder in which the person stands."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "tradewind"
        self.work = folder / "work"
        self.work.mkdir()

    def tw(self, *words: str | Path, cwd: Path | None = None) -> Said:
        """One command, in this process: a process for each would only cost time."""
        out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
        with (
            contextlib.chdir(cwd or self.work),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                status = cli.main([str(word) for word in words])
            except SystemExit as leaving:  # argparse, after --help
                status = int(leaving.code or 0)
        return Said(status, out.buffer.getvalue().decode(), err.getvalue())

    def good(self, *words: str | Path, cwd: Path | None = None) -> Said:
        """One that has to go well."""
        said = self.tw(*words, cwd=cwd)
        assert said.status == 0, f"tw {words}: {said.status}\n{said.out}\n{said.err}"
        return said

    def json(self, *words: str | Path, cwd: Path | None = None) -> Any:
        """What a command that goes well says with `-o json`."""
        return self.good(*words, "-o", "json", cwd=cwd).json

    def write(self, files: Mapping[str, str], folder: str = "") -> Path:
        """Files in a folder below the work folder; the folder."""
        top = self.work / folder
        for name, text in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return top

    def client(self) -> Client:
        """A client of the server."""
        return local.connect()

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to this data folder."""
        mine = str(self.data)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and any(mine in word for word in process.cmdline()):
                    found.append(process)
        return found

    def leave(self) -> list[str]:
        """Stop everything; what was left behind all the same, and is killed now."""
        self.tw("down", "--stop-runs")
        until(lambda: not self.processes(), LEAVING, must=False)
        left = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                left.append(f"{process.pid}: {' '.join(process.cmdline())[:200]}")
                process.send_signal(signal.SIGKILL)
        return left


def until(what: Callable[[], Any], seconds: float = 60.0, *, must: bool = True) -> Any:
    """Ask until the answer is not empty."""
    end = time.monotonic() + seconds
    while True:
        if found := what():
            return found
        if time.monotonic() > end:
            assert not must, f"not within {seconds:g} s: {what}"
            return found
        time.sleep(0.05)


@contextlib.contextmanager
def home_in(folder: Path, *arguments: str) -> Iterator[Home]:
    """A home whose server is up; at the end nothing of it is left."""
    before = {name: os.environ.get(name) for name in ("TRADEWIND_HOME", "TRADEWIND_URL")}
    home = Home(folder)
    os.environ["TRADEWIND_HOME"] = str(home.data)
    os.environ.pop("TRADEWIND_URL", None)
    try:
        home.good("up", *arguments)
        with local.connect() as client:
            session.use(client)
            yield home
        left = home.leave()
        assert left == [], "left behind:\n" + "\n".join(left)
    finally:
        home.leave()
        session.use(None)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
