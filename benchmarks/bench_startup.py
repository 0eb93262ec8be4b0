"""How long the platform takes to be there, and what it weighs when it does nothing.

    .venv/bin/python benchmarks/bench_startup.py [--quick] [--no-peers]

Claims: `tw up` to ready within 3 s; all processes together at most 200 MB proportional memory 60 s
after a first run; `tw --help` within 150 ms; next to no core time while idle.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import peers
from harness import (
    Figure,
    Platform,
    Result,
    bench,
    core_seconds,
    end,
    gone,
    median,
    memory,
    repeat,
    timed,
    tree,
)

TW = str(Path(sys.executable).parent / "tw")
NOOP = "def noop():\n    return None\n"


def up(folder: Path) -> float:
    """Seconds of `tw up` on this data folder."""
    environment = Platform.environment(folder)
    return timed(
        lambda: subprocess.run([TW, "up"], check=True, capture_output=True, env=environment)
    )


def fresh() -> float:
    """On a folder that has never been used: the store is made."""
    top = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    try:
        return up(top / "data")
    finally:
        end(top / "data")
        gone(str(top))
        shutil.rmtree(top, ignore_errors=True)


def again(folder: Path) -> float:
    """On one that has."""
    try:
        return up(folder)
    finally:
        end(folder)


def starts(result: Result) -> None:
    """`tw up`, `tw --help`."""
    count = 3 if result.quick else 7
    result.add(median("`tw up` to ready, new data folder", repeat(fresh, count), "s", 3))
    top = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    try:
        values = repeat(lambda: again(top / "data"), count)
    finally:
        gone(str(top))
        shutil.rmtree(top, ignore_errors=True)
    result.add(median("`tw up` to ready, used data folder", values, "s", 3))

    def help_of(command: str) -> float:
        return (
            timed(lambda: subprocess.run([command, "--help"], check=True, capture_output=True))
            * 1e3
        )

    values = repeat(lambda: help_of(TW), 10 if result.quick else 30, 3)
    result.add(median("`tw --help`", values, "ms", 150))
    for name in peers.NAMES:
        interpreter = peers.python(result, name)
        if interpreter is not None:
            command = str(interpreter.parent / name)
            values = repeat(partial(help_of, command), 3 if result.quick else 7)
            result.peer(median(f"`{name} --help`", values, "ms"))


def weights(result: Result) -> None:
    """After one run all are left alone for a while, side by side; then they are weighed."""
    pause = 10 if result.quick else 60
    families: dict[str, list[int]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(Platform())
        code = ours.code(job=NOOP)
        spec = {"kind": "function", "name": "noop", "entry": "job.py:noop", "bundle": code}
        for _ in range(5):
            ours.api.run(spec)
        for name in peers.NAMES:
            interpreter = peers.python(result, name)
            if interpreter is None:
                continue
            peer = stack.enter_context(peers.started(interpreter, f"peer_{name}.py", "startup"))
            try:
                seconds = peer.answer(120)["seconds"]
            except RuntimeError as error:
                result.note(f"{name} did not start: {error}")
                continue
            what = "ray.init()" if name == "ray" else "prefect server start"
            result.peer(Figure(f"`{what}` to ready", seconds, "s"))
            families[name] = [pid for pid in tree(peer.pid) if pid != peer.pid or name == "ray"]
        time.sleep(2)
        families["tradewind"] = ours.processes()
        before = {name: core_seconds(pids) for name, pids in families.items()}
        begin = time.perf_counter()
        time.sleep(pause)
        seconds = time.perf_counter() - begin
        for name, pids in families.items():
            idle = 100 * (core_seconds(pids) - before[name]) / seconds
            add = result.add if name == "tradewind" else result.peer
            who = "all processes" if name == "tradewind" else name
            count = f"{len(pids)} processes"
            target = 200 if name == "tradewind" else 0
            add(
                Figure(
                    f"{who}: memory (PSS) {pause} s later", memory(pids), "MB", target, note=count
                )
            )
            add(Figure(f"{who}: idle CPU", idle, "% of a core", 1 if target else 0))
        result.parts["memory, MB"] = {
            "server": memory([ours.server]),
            "node": memory([ours.node]),
            "warm interpreters": memory([p for p in tree(ours.node) if p != ours.node]),
        }


def body(result: Result) -> None:
    os.environ.pop("TRADEWIND_HOME", None)
    starts(result)
    weights(result)


if __name__ == "__main__":
    bench("startup", __doc__, body)
