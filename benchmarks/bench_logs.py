"""How soon a printed line is seen, and what a task that prints without end does to the others.

    .venv/bin/python benchmarks/bench_logs.py [--quick] [--no-peers]

Claims: a line reaches `logs -f` at most 1 s after it was printed; a task that prints 100,000 lines
a second slows nobody more than one that only computes, fills no memory, and its log stays within
its limit.
"""

from __future__ import annotations

import io
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peers
from harness import Figure, Json, Platform, Result, bench, median, memory, percentile, timed

from tradewind.supervisor.logs import CAP

JOB = """
import os, time

def noop():
    return None

def talk(lines, pause):
    for _ in range(lines):
        print("LINE", time.time_ns(), flush=True)
        time.sleep(pause)

def flood(seconds, rate):
    # Each line is printed on its own; how many, and what that took, is the result.
    text, portion = "x" * 99, rate // 100
    begin, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < seconds:
        if done <= spent * rate:
            for _ in range(portion):
                print(text)
            done += portion
        else:
            time.sleep(0.001)
    return {"lines": done, "cpu": sum(os.times()[:2])}

def pour(amount):
    text = ("x" * 99 + "\\n") * 1000
    for _ in range(amount // len(text)):
        os.write(1, text.encode())

def compute(seconds, part):
    # Busy for this part of the time, and silent: what a flood is compared with.
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        stop = time.perf_counter() + 0.01 * part
        while time.perf_counter() < stop:
            pass
        time.sleep(0.01 * (1 - part) + 1e-5)
"""


def spec_of(code: str, name: str, **params: float) -> Json:
    spec: Json = {"kind": "function", "name": name, "entry": f"job.py:{name}", "bundle": code}
    if name in ("flood", "compute"):  # it is to have a core if it wants one
        spec["resources"] = {"cpu": 1}
    return {**spec, "cache": False, "params": params}


def stamps(lines: Iterator[bytes]) -> Iterator[float]:
    """Seconds between printing and now, for each line that says when it was printed."""
    for line in lines:
        if line.startswith(b"LINE "):
            yield (time.time_ns() - int(line.split()[1])) / 1e9


def lines_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def by_api(platform: Platform, spec: Json) -> list[float]:
    """Follow through the API; the first lines are the warm-up."""
    run = platform.api.create([spec])[0]["id"]
    api = platform.connect()
    answer = api.stream(f"/runs/{run}/logs?follow=true")
    delays = list(stamps(lines_of(iter(lambda: answer.read1(65536), b""))))
    api.close()
    platform.api.wait(run)
    return delays[5:]


def by_command(platform: Platform, spec: Json) -> list[float]:
    """Follow with `tw logs -f`. What was printed before it was there does not count."""
    command, environment = platform.command()
    run = platform.api.create([spec])[0]["id"]
    with subprocess.Popen(
        [*command, "logs", run, "-f"], stdout=subprocess.PIPE, env=environment
    ) as process:
        out = process.stdout
        assert isinstance(out, io.BufferedReader)
        delays = list(stamps(lines_of(iter(lambda: out.read1(65536), b""))))
    platform.api.wait(run)
    return delays[len(delays) // 3 :]


class Watch(threading.Thread):
    """The most that server, node and supervisors weigh while something happens."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(daemon=True)
        self._pids = platform.processes()
        self._platform = platform
        self._done = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self._done.wait(0.5):
            self.most = max(self.most, memory(self._platform.processes()))

    def stop(self) -> float:
        self._done.set()
        self.join()
        return self.most


@contextmanager
def beside(platform: Platform, spec: Json) -> Iterator[str]:
    """While this runs."""
    run = platform.api.create([spec])[0]["id"]
    while platform.api.call("GET", f"/runs/{run}")["state"] != "running":
        time.sleep(0.02)
    time.sleep(0.5)
    yield run
    platform.api.wait(run)


def noops(platform: Platform, noop: Json, seconds: float) -> list[float]:
    """Milliseconds of one no-op after the other, for so long."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        found.append(timed(lambda: platform.api.run(noop)) * 1e3)
        time.sleep(0.02)
    return found


def logged(folder: Path, run: str) -> int:
    """Bytes on disk that belong to a run."""
    return sum(
        path.stat().st_size
        for path in (folder / "node").rglob("*")
        if run in str(path) and path.is_file() and not path.is_symlink()
    )


def body(result: Result) -> None:
    seconds, rate = (4 if result.quick else 10), 100_000
    pause = 0.05 if result.quick else 0.1
    with Platform() as platform:
        code = platform.code(job=JOB)
        noop = spec_of(code, "noop")
        for _ in range(15):
            platform.api.run(noop)
        talk = spec_of(code, "talk", lines=55, pause=pause)
        delays = by_api(platform, talk)
        result.add(
            median("a line until the API's follower has it", [1e3 * d for d in delays], "ms", 1000),
            Figure("… 99th percentile", 1e3 * percentile(delays, 0.99), "ms", 1000),
        )
        delays = by_command(platform, spec_of(code, "talk", lines=75, pause=pause))
        result.add(
            median("a line until `tw logs -f` prints it", [1e3 * d for d in delays], "ms", 1000),
            Figure("… 99th percentile", 1e3 * percentile(delays, 0.99), "ms", 1000),
        )
        _flood(result, platform, code, noop, seconds, rate)
    _peers(result, pause)


def _flood(
    result: Result, platform: Platform, code: str, noop: Json, seconds: float, rate: int
) -> None:
    alone = noops(platform, noop, seconds / 2)
    light = memory(platform.processes())
    watch = Watch(platform)
    watch.start()
    before = platform.used()
    with beside(platform, spec_of(code, "flood", seconds=seconds, rate=rate)) as run:
        flooded = noops(platform, noop, seconds - 1.5)
    heavy = watch.stop()
    said = platform.api.wait(run)["result"]["output"]["value"]
    time.sleep(1)
    spent = {key: value - before[key] for key, value in platform.used().items()}
    part = min(1.0, said["cpu"] / seconds)
    with beside(platform, spec_of(code, "compute", seconds=seconds, part=part)):
        computed = noops(platform, noop, seconds - 1.5)
    after = memory(platform.processes())
    poured = platform.api.run(spec_of(code, "pour", amount=3 * CAP))
    size = logged(platform.folder, poured["id"])
    result.add(
        Figure("lines a second that one task printed", said["lines"] / seconds, "lines/s",
               note=f"asked for {rate:,}; of 100 bytes"),
        median("one no-op alone", alone, "ms"),
        median("one no-op beside the flood", flooded, "ms"),
        median("one no-op beside a task that computes as much and prints nothing", computed, "ms",
               note=f"busy {part:.0%} of the time"),
        Figure("memory during the flood, more than before", heavy - light, "MB", 50,
               note="all processes, the tasks too"),
        Figure("memory after it, more than before", after - light, "MB", 20),
        Figure("a log on disk", size / 1e6, "MB", CAP * 1.2 / 1e6,
               note=f"of {3 * CAP / 1e6:.0f} MB printed; limit {CAP >> 20} MiB"),
    )  # fmt: skip
    result.parts["core seconds during the flood"] = spent


def _peers(result: Result, pause: float) -> None:
    for name, note in (
        ("ray", "a task's print until the driver prints it"),
        ("prefect", "a logged line until its API has it"),
    ):
        found = peers.ask(result, name, "logs", 55, pause)
        if found is not None:
            delays = [1e3 * d for d in found["delays"]][5:]
            result.peer(
                median(f"{name}: a line until it is seen", delays, "ms", note=note),
                Figure("… 99th percentile", percentile(delays, 0.99), "ms"),
            )


if __name__ == "__main__":
    bench("logs", __doc__, body)
