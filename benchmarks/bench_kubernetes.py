"""How far a server is behind its cluster, what it asks of it, and what a pod in between costs.

    .venv/bin/python benchmarks/bench_kubernetes.py [--quick] [--no-peers] [--kubeconfig FILE]

Claims: what a run's pod does, the server's API shows at most 2 s after the cluster's own does; with
nothing to do, and with 100 tasks that run, the server asks the cluster at most once a second.

The cluster is the tests' double or, with `--kubeconfig`, a bare control plane; its two nodes are
this machine either way. The peer is a plain client in this process: it watches the same pods, and
creates bare Jobs that do nothing.
"""

from __future__ import annotations

import os
import statistics
import time

from cluster import POLL, Ground, ground
from harness import Figure, Json, Result, bench, median, timed

JOB = """
import time

def nap(seconds=1.0):
    began = time.time()
    time.sleep(seconds)
    return {"began": began, "ended": time.time()}

def noop():
    return 0
"""


def spec_of(digest: str, name: str, **params: float) -> Json:
    """A small function run that nothing is known about but its code."""
    document = {"kind": "function", "name": name, "entry": f"job.py:{name}", "bundle": digest}
    small = {"cpu": 0.1, "memory": "64MiB"}
    return {**document, "cache": False, "resources": small, "params": params}


def shown(ground: Ground, spec: Json) -> tuple[Json, dict[str, float]]:
    """The run as it ended, and when the server's API first showed each state."""
    found = ground.api.create([spec])[0]
    seen: dict[str, float] = {}
    while found["state"] not in ("succeeded", "failed", "stopped"):
        time.sleep(POLL)
        found = ground.api.call("GET", f"/runs/{found['id']}")
        seen.setdefault(found["state"], time.time())
    if found["state"] != "succeeded":
        raise RuntimeError(f"{found['id']} {found['state']}: {found['error']}")
    return found, seen


def late(result: Result, ground: Ground, digest: str) -> None:
    """The states of a run, beside those of its pod."""
    sort: dict[str, list[float]] = {"start": [], "end": [], "peer end": []}
    for turn in range(6 if result.quick else 26):
        found, seen = shown(ground, spec_of(digest, "nap", seconds=1.0))
        truth = ground.api.call("GET", f"/runs/{found['id']}/results")["output"]["value"]
        running = ground.pods.at(found["id"], "running")
        over = ground.pods.at(found["id"], "terminated")
        if turn:  # the first warms up
            sort["start"].append(seen["running"] - running)
            sort["end"].append(seen["succeeded"] - over)
            sort["peer end"].append(over - truth["ended"])
    for name, words in (("start", "running"), ("end", "succeeded")):
        told = f"asked every {POLL * 1e3:.0f} ms"
        behind = f"a container's {name} in the cluster until the API says `{words}`"
        result.add(
            median(behind, sort[name], "s", 2.0, told),
            Figure("… longest", max(sort[name]), "s", 2.0),
        )
    seen_by_peer = "a function's end until a plain watch sees its container's"
    result.peer(median(seen_by_peer, sort["peer end"], "s"))


def idle(result: Result, ground: Ground, digest: str) -> None:
    """Requests of the cluster's API while nothing happens."""
    seconds, tasks = (20.0, 10) if result.quick else (60.0, 100)
    _asked(result, "nothing to do: requests of the cluster's API", ground.requests(seconds))
    runs = ground.api.create([spec_of(digest, "nap", seconds=3600.0)] * tasks)
    while True:
        states = [ground.api.call("GET", f"/runs/{run['id']}")["state"] for run in runs]
        if states.count("running") == tasks:
            break
        time.sleep(1.0)
    time.sleep(5.0)
    _asked(result, f"{tasks} tasks that run: requests", ground.requests(seconds))
    for run in runs:
        ground.api.call("POST", f"/runs/{run['id']}/stop")
    until_idle(ground)


def _asked(result: Result, name: str, rate: float | None) -> None:
    if rate is None:
        result.note(f"{name}: not counted, for there is no audit log beside the kubeconfig")
    else:
        result.add(Figure(name, rate, "/s", 1.0))


def until_idle(ground: Ground) -> None:
    while ground.api.call("GET", "/runs?state=placed,running,queued,stopping&limit=1")["items"]:
        time.sleep(POLL)


def throughput(result: Result, ground: Ground, digest: str) -> None:
    """No-ops through the whole chain, beside bare Jobs on the same nodes."""
    count, repeats = (10, 3) if result.quick else (100, 9)
    spec = spec_of(digest, "noop")
    ground.api.run(spec)
    ours = [timed(lambda: ground.api.run(spec)) for _ in range(repeats)]
    begin = time.perf_counter()
    for run in ground.api.create([spec] * count):
        ground.api.wait(run["id"])
    together = time.perf_counter() - begin
    theirs = [bare(ground, f"one-{turn}-", 1) for turn in range(repeats + 1)][1:]
    theirs_together = bare(ground, "many-", count)
    complete = [
        ground.jobs.at(f"one-{turn}-", "Complete") - ground.pods.at(f"one-{turn}-", "terminated")
        for turn in range(repeats)
    ]
    ratio = statistics.median(ours) / statistics.median(theirs)
    result.add(
        median("one no-op function, request to result", ours, "s", note=f"{ratio:.1f} of a Job"),
        Figure(f"{count} no-op functions until all have succeeded", together, "s",
               note=f"{together / theirs_together:.1f} of as many Jobs"),
    )  # fmt: skip
    result.peer(
        median("one bare Job, `python -c ''`, until its pod has ended", theirs, "s",
               note="one container; no code, result or log comes or goes"),
        Figure(f"{count} bare Jobs until all pods have ended", theirs_together, "s"),
        median("a bare Job's pod ends until the Job is Complete", complete, "s",
               note="which `kubectl wait` waits for"),
    )  # fmt: skip


def bare(ground: Ground, name: str, count: int) -> float:
    """Seconds for so many Jobs of the peer's."""
    begin = time.time()
    for number in range(count):
        ground.job(f"{name}{number}")
    return max(ground.pods.at(f"{name}{each}-", "terminated") for each in range(count)) - begin


def body(result: Result) -> None:
    with ground(os.environ.get("TRADEWIND_BENCH_KUBECONFIG", "")) as here:
        digest = here.code(job=JOB)
        late(result, here, digest)
        throughput(result, here, digest)
        idle(result, here, digest)


if __name__ == "__main__":
    bench("kubernetes", __doc__, body, cluster=True)
