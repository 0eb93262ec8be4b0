"""How many runs a second, and how long one takes, when the work itself is nothing.

    .venv/bin/python benchmarks/bench_runs.py [--quick] [--no-peers]

Claims: 1,000 no-op function runs, accepted durably, each a process of its own, end within 10 s (aim
5); one no-op takes at most 60 ms (median) from the request until the client knows its result.
"""

from __future__ import annotations

import statistics
import threading
import time

import peers
from harness import Figure, Json, Platform, Result, bench, median, percentile, timed

JOB = "import os\n\ndef noop():\n    return os.getpid()\n"
CLIENTS = 4


def spec_of(platform: Platform) -> Json:
    """A function run that nothing is known about but its code."""
    code = platform.code(job=JOB)
    return {
        "kind": "function",
        "name": "noop",
        "entry": "job.py:noop",
        "bundle": code,
        "cache": False,
    }


def until_idle(platform: Platform) -> None:
    while platform.busy():
        time.sleep(0.02)


def batched(platform: Platform, spec: Json, count: int) -> tuple[float, float, list[str]]:
    """Seconds until accepted, until ended; the ids. One request carries them all."""
    begin = time.perf_counter()
    runs = platform.api.create([spec] * count)
    accepted = time.perf_counter() - begin
    platform.api.wait(runs[-1]["id"])
    until_idle(platform)
    return accepted, time.perf_counter() - begin, [run["id"] for run in runs]


def singly(platform: Platform, spec: Json, count: int) -> tuple[float, float, list[str]]:
    """As `batched`, with a request for each, over a few connections."""
    ids: list[str] = []

    def client() -> None:
        api = platform.connect()
        for _ in range(count // CLIENTS):
            ids.append(api.create([spec])[0]["id"])
        api.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = time.perf_counter() - begin
    until_idle(platform)
    return accepted, time.perf_counter() - begin, ids


def check(platform: Platform, ids: list[str]) -> int:
    """How many processes carried these out; every run must have succeeded."""
    pids = set()
    for run in ids:
        found = platform.api.call("GET", f"/runs/{run}/results")
        pids.add(found["output"]["value"])
    return len(pids)


def one(platform: Platform, spec: Json, count: int) -> list[float]:
    return [timed(lambda: platform.api.run(spec)) * 1e3 for _ in range(count)]


def body(result: Result) -> None:
    count, repeats = (200, 1) if result.quick else (1000, 3)
    scale = 1000 / count
    with Platform() as platform:
        spec = spec_of(platform)
        one(platform, spec, 15)
        batched(platform, spec, 40)
        start = platform.used()
        latencies = one(platform, spec, 30 if result.quick else 100)
        before = platform.used()
        together = [batched(platform, spec, count) for _ in range(repeats)]
        platform.api.run(spec)
        after = platform.used()
        apart = [singly(platform, spec, count) for _ in range(repeats)]
        processes = check(platform, together[-1][2])
    alone = {name: (before[name] - start[name]) / len(latencies) * 1e3 for name in before}
    each = {name: (after[name] - before[name]) / (repeats * count) * 1e3 for name in after}
    result.add(
        median("one no-op, request to result", latencies, "ms", 60),
        Figure("one no-op, 95th percentile", percentile(latencies, 0.95), "ms"),
        median(
            "1,000 no-ops, one request", [scale * each[1] for each in together], "s", 10,
            f"aim 5; {processes} processes for {count} runs",
        ),
        median("… until all are accepted", [scale * each[0] for each in together], "s"),
        median(
            "1,000 no-ops, 1,000 requests", [scale * each[1] for each in apart], "s", 10,
            f"{CLIENTS} connections",
        ),
        median("… until all are accepted", [scale * each[0] for each in apart], "s"),
        Figure("core time of a run, one at a time", sum(alone.values()), "ms"),
        Figure("core time of a run, many at once", sum(each.values()), "ms"),
    )  # fmt: skip
    result.parts["core ms of a run, one at a time"] = alone
    result.parts["core ms of a run, many at once"] = each
    _ray(result, count)
    _prefect(result)
    if result.quick:
        result.note(f"measured with {count} runs and scaled to 1,000")


def _ray(result: Result, count: int) -> None:
    fresh = 16 if result.quick else 40
    found = peers.ask(result, "ray", "runs", count, fresh)
    if found is None:
        return
    result.peer(
        median("Ray: one plain task", [1e3 * s for s in found["one_plain"]], "ms",
               note="reuses a worker process"),
        median("Ray: one task, process of its own", [1e3 * s for s in found["one_fresh"]], "ms",
               note="max_calls=1"),
        median("Ray: 1,000 plain tasks", [s * 1000 / count for s in found["plain"]], "s",
               note="nothing is stored; reused workers"),
        Figure("Ray: 1,000 tasks, processes of their own", found["fresh"] * 1000 / fresh, "s",
               note=f"scaled from {fresh}, {found['processes']} processes"),
    )  # fmt: skip


def _prefect(result: Result) -> None:
    tasks = 50 if result.quick else 200
    found = peers.ask(result, "prefect", "runs", tasks, 3 if result.quick else 7)
    if found is None:
        return
    process = statistics.median(found["one_process"])
    result.peer(
        median("Prefect: one flow run, in this process",
               [1e3 * s for s in found["one_flow"]], "ms"),
        median("Prefect: one flow run, process of its own",
               [1e3 * s for s in found["one_process"]], "ms"),
        median("Prefect: 1,000 task runs", [s * 1000 / tasks for s in found["tasks"]], "s",
               note=f"scaled from {tasks}; 8 threads of one process"),
        Figure("Prefect: 1,000 flow runs, processes of their own", 1000 * process, "s",
               note="1,000 x one, one after the other"),
    )  # fmt: skip


if __name__ == "__main__":
    bench("runs", __doc__, body)
