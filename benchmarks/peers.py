"""Ray, Prefect and Dask, each in an environment of its own outside the checkout, made once.

A peer's program (`peer_ray.py`, `peer_prefect.py`) runs in that environment and prints one line of
JSON. What cannot be installed or does not run is noted, and the benchmark goes on without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Result, tree

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradewind-bench"
NAMES = ("ray", "prefect")


def pin(name: str) -> str:
    """The requirements of this peer, separated by blanks."""
    for line in (HERE / "peers.txt").read_text().splitlines():
        if line.startswith(name):
            return line.strip()
    raise KeyError(name)


def version(name: str) -> str:
    """The version that is pinned."""
    return pin(name).partition("==")[2].split()[0]


def python(result: Result, name: str) -> Path | None:
    """The interpreter of this peer's environment, made if it is not there; None with a note."""
    if not os.environ.get("TRADEWIND_BENCH_PEERS", "1"):
        return None
    folder, wanted = CACHE / name, f"{pin(name)} on {sys.version.split()[0]}"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        uv, at = str(Path(sys.executable).parent / "uv"), str(folder)
        print(f"  installing {pin(name)} into {folder} …", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for command in (
                [uv, "venv", "-q", "--python", sys.executable, at],
                [
                    uv,
                    "pip",
                    "install",
                    "-q",
                    "--compile-bytecode",
                    "--python",
                    at,
                    *pin(name).split(),
                ],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
            result.note(f"{name} could not be installed: {' '.join(said)}")
            return None
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def environment(folder: Path) -> dict[str, str]:
    """What both are told, so that neither phones home nor writes outside `folder`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TRADEWIND_", "PYTHON"))}
    return {
        **kept,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "BENCH_FOLDER": str(folder),
        "PREFECT_HOME": str(folder),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONWARNINGS": "ignore",
    }


class Peer:
    """A peer's program while it runs."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process, self._said = process, said

    @property
    def pid(self) -> int:
        return self.process.pid

    def answer(self, patience: float) -> Any:
        """The next line of JSON that it prints. RuntimeError when there is none."""
        assert self.process.stdout is not None
        alarm = _after(patience, self.process)
        try:
            for line in self.process.stdout:
                if line.startswith("BENCH "):
                    return json.loads(line.removeprefix("BENCH "))
        finally:
            alarm.cancel()
        tail = self._said.read_text(errors="replace").strip().splitlines()[-3:]
        raise RuntimeError(" / ".join(tail) or "it said nothing")


def _after(seconds: float, process: subprocess.Popen[str]) -> Any:
    import threading

    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    return timer


@contextmanager
def started(interpreter: Path, program: str, *arguments: object) -> Iterator[Peer]:
    """Run a peer's program; at the end nothing of it is left."""
    # Short: Ray puts sockets below it, whose paths may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="twpeer-"))
    said = folder / "said"
    with open(said, "w") as errors:
        process = subprocess.Popen(
            [str(interpreter), str(HERE / program), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(folder),
            cwd=folder,
        )
    try:
        yield Peer(process, said)
    finally:
        family = tree(process.pid)
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for pid in {*family, *tree(process.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        time.sleep(0.2)
        shutil.rmtree(folder, ignore_errors=True)


def ask(result: Result, name: str, *arguments: object, patience: float = 600.0) -> Any:
    """What the peer's program answers to these arguments; None, with a note, if it cannot."""
    interpreter = python(result, name)
    if interpreter is None:
        return None
    print(f"  {name} {' '.join(map(str, arguments))} …", file=sys.stderr)
    try:
        with started(interpreter, f"peer_{name}.py", *arguments) as peer:
            return peer.answer(patience)
    except (OSError, RuntimeError, ValueError) as error:
        result.note(f"{name} gave no figure: {error}")
        return None
