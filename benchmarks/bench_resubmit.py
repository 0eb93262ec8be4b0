"""What a server does while one client sends the same run again and again.

    .venv/bin/python benchmarks/bench_resubmit.py [--quick]

Claims: 1,000 times a second the same `request_key` is answered with the one run that it is; that
run is carried out once, and runs of others end meanwhile, none lost. The client keeps its pace: who
is late sends at once, so that the rate reached is the server's where it is below what was asked.
"""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness import Figure, Json, Platform, Result, bench, core_seconds, percentile

RATE, CLIENTS, SECONDS = 1000, 8, 20.0
KEY = "again"


def storm(platform: Platform, spec: Json, begin: float, seconds: float) -> list[tuple[str, float]]:
    """One client's part: of each answer the run and the milliseconds that it took."""
    api, found = platform.connect(), []
    body = {"runs": [{"spec": spec, "request_key": KEY}]}
    due = begin
    while (now := time.monotonic()) < begin + seconds:
        if now < due:
            time.sleep(due - now)
        due += CLIENTS / RATE
        sent = time.monotonic()
        [run] = api.call("POST", "/runs", body)["runs"]
        found.append((run["id"], 1e3 * (time.monotonic() - sent)))
    api.close()
    return found


def others(platform: Platform, spec: Json, over: threading.Event) -> list[float]:
    """Seconds of runs that somebody else sends one after the other."""
    api, took = platform.connect(), []
    while not over.is_set():
        begin = time.monotonic()
        api.run(spec)  # raises if it fails
        took.append(time.monotonic() - begin)
    api.close()
    return took


def beside(platform: Platform, spec: Json, seconds: float) -> list[float]:
    """The same while nobody storms."""
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    return others(platform, spec, over)


def body(result: Result) -> None:
    seconds = SECONDS / 4 if result.quick else SECONDS
    with Platform() as platform, ThreadPoolExecutor(CLIENTS + 1) as pool:
        code = platform.code(job="def noop():\n    pass\n")
        spec = {"kind": "function", "entry": "job.py:noop", "bundle": code, "cache": False}
        again, other = {**spec, "name": "again"}, {**spec, "name": "other"}
        platform.api.run(other)
        calm = beside(platform, other, seconds / 4)
        over, begin = threading.Event(), time.monotonic()
        used = core_seconds([platform.server])
        busy = pool.submit(others, platform, other, over)
        parts = [pool.submit(storm, platform, again, begin, seconds) for _ in range(CLIENTS)]
        try:
            answers = [answer for part in parts for answer in part.result()]
        finally:
            over.set()
        wall, used = time.monotonic() - begin, core_seconds([platform.server]) - used
        took = busy.result()
        [run] = {run for run, _ in answers}
        platform.api.wait(run)
        counts = platform.api.call("GET", "/status")["counts"]
        placed = len(platform.api.call("GET", f"/runs/{run}")["placements"])
    late = [ms for _, ms in answers]
    expected = {"succeeded": 2 + len(calm) + len(took)}
    assert {name: count for name, count in counts.items() if count} == expected, counts
    assert placed == 1, f"{run} had {placed} placements"
    rate = len(answers) / wall
    result.add(
        Figure("between two of the same request", 1e3 / rate, "ms", 1e3 / RATE * 1.05,
               note=f"{rate:.0f} a second, {len(answers):,} in all, one run"),
        Figure("an answer to them, 95th percentile", percentile(late, 0.95), "ms",
               note=f"median {statistics.median(late):.1f} ms"),
        Figure("the server, meanwhile", 100 * used / wall, "% of a core",
               note=f"{1e3 * used / len(answers):.1f} core-ms for each of them"),
        Figure("a run of somebody else meanwhile", statistics.median(took), "s",
               repeats=len(took), note=f"without them {statistics.median(calm):.3f} s; none lost"),
    )  # fmt: skip


if __name__ == "__main__":
    bench("resubmit", __doc__, body)
