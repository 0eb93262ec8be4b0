"""How soon 15,000 small workloads in 30 queues are through, against Kueue's figures for the same.

    .venv/bin/python benchmarks/bench_queues.py [--quick]

Claims: the generator of Kueue's own performance test (5 cohorts of 6 queues; its quotas alone force
66 s) is carried out in the simulator within 15 % of that; through API, store, scheduler and an
engine of timers, as Kueue's test runs its workloads, within 100 s; 1,000 of them also as processes
of this machine, none lost; queues that want more than there is get parts of it within 5 % of their
weights. Kueue took 351 s, with an API server of Kubernetes in its path, which is not in ours.
`--quick` runs one cohort. Traces as in `bench_openb.py`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
from bench_muri import FOLDER
from harness import Figure, Platform, Result, bench

from tradewind.api.app import create_app
from tradewind.api.guard import Keys
from tradewind.base.clock import SystemClock
from tradewind.control.assemble import Settings, assemble
from tradewind.control.pools import LOCAL
from tradewind.records.reports import Report
from tradewind.records.states import LIVE, RunState
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged, QueuesChanged
from tradewind.scheduler.nodes import WHOLE, Ask
from tradewind.scheduler.queues import Queue
from tradewind.scheduler.rows import FirstFit
from tradewind.simulator import quotas
from tradewind.simulator.replay import Job, Outcome, Replay
from tradewind.specs import PoolSpec, from_document
from tradewind.testing.fake_engine import FakeEngine, FakePlacement, World
from tradewind.testing.fake_engine import Outcome as Acts

FILE = FOLDER / "kueue" / "baseline_generator.yaml"
FORCED, WALL, KUEUE = 66.0, 100.0, 351.0
ADMITTED = {"small": 215.0, "medium": 76.8, "large": 16.5}
TOKEN, HOST = "bench", "127.0.0.1"
Json = dict[str, Any]


class Timers(FakeEngine):
    """Runs end after their time, on the real clock; what is over and told is forgotten."""

    async def observe(self, timeout: float) -> Sequence[Report]:
        until = time.monotonic() + timeout
        while True:
            self.world.run()
            found = self._waiting()
            if found or time.monotonic() >= until:
                return found
            await asyncio.sleep(0.005)

    async def acknowledge(self, reports: Sequence[Report]) -> None:
        await super().acknowledge(reports)
        for name in {report.placement for report in reports}:
            told: FakePlacement = self.world.placements[name]
            if told.over and told.reports[-1].seq <= told.acknowledged:
                del self.world.placements[name]


def simulated(generator: quotas.Generator) -> list[Outcome]:
    cluster = Cluster(FirstFit)
    cluster.feed([PoolChanged(pool="units", nodes=tuple(generator.nodes())),
                  QueuesChanged(queues=tuple(generator.queues()))])  # fmt: skip
    return Replay(cluster, "units", generator.jobs(), known=False).run()


def shares(seconds: float = 200.0) -> float:
    """Three queues of weights 1, 2 and 3 that always want more: how far the time that each got is
    from its part, at most."""
    names = {"a": 1.0, "b": 2.0, "c": 3.0}
    cluster = Cluster(FirstFit)
    queues = tuple(Queue(name=name, weight=weight) for name, weight in names.items())
    nodes = quotas.Generator.model_validate(ONE).nodes()
    cluster.feed([PoolChanged(pool="units", nodes=tuple(nodes)), QueuesChanged(queues=queues)])
    jobs = [Job(name=f"{name}{at}", at=0.0, seconds=1.0 + at % 3, queue=name, keeps=False,
                parts=((Ask(cpu=WHOLE * (1 + at % 2)), 1),))
            for name in names for at in range(20 * int(seconds))]  # fmt: skip
    got: dict[str, float] = defaultdict(float)
    for each in Replay(cluster, "units", jobs, known=False).run():
        if each.ended <= seconds:
            got[each.job.queue] += each.job.seconds * each.job.parts[0][0].cpu
    whole, weights = sum(got.values()), sum(names.values())
    return max(abs(got[name] / whole / (weight / weights) - 1) for name, weight in names.items())


ONE = {"cohorts": [{"className": "one", "count": 1, "queuesSets": [
    {"className": "q", "count": 1, "nominalQuota": 30, "workloadsSets": []}]}]}  # fmt: skip


def documents(generator: quotas.Generator) -> list[Json]:
    """The queues as specs."""
    found = []
    for queue in generator.queues():
        body: Json = {"kind": "queue", "name": queue.name}
        body |= {"parent": queue.parent} if queue.parent else {}
        for name in ("guarantee", "borrow", "lend"):
            if getattr(queue, name):
                body[name] = {"cpu": dict(getattr(queue, name))["cpu"] / WHOLE}
        found.append(body)
    return found


def spec(job: Job) -> Json:
    """A run of its class in its queue."""
    cpu = job.parts[0][0].cpu / WHOLE
    return {"kind": "function", "name": job.owner, "entry": f"tradewind.components:{job.owner}",
            "queue": job.queue, "priority": job.priority, "resources": {"cpu": cpu},
            "cache": False}  # fmt: skip


async def live(
    generator: quotas.Generator, data: Path
) -> tuple[float, dict[str, list[float]], int]:
    """Wall seconds until all have ended; by class the seconds until the first placement; how many
    did not succeed."""
    jobs, seconds = generator.jobs(), {}
    for job in jobs:
        seconds[job.owner] = job.seconds

    def acts(_request: Json, role: Json, _index: int, _attempt: int) -> Acts:
        return Acts(seconds=seconds[role["entry"]["target"].rpartition(":")[2]])

    clock = SystemClock()
    engine = Timers(World(clock, acts), jump=False)  # type: ignore[arg-type]
    capacity = {"cpu": sum(node.cpu for node in generator.nodes()) / WHOLE, "memory": "64GiB"}
    pool = from_document({"kind": "pool", "name": LOCAL, "engine": LOCAL, "capacity": capacity,
                          "price": "$1"})  # fmt: skip
    assert isinstance(pool, PoolSpec)
    here = assemble(Settings(data=data, pools=(pool,)), clock=clock, engines={LOCAL: engine})
    app = create_app(here, Keys(TOKEN, time.monotonic), frozenset({HOST}), lambda: None)
    here.start()
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HOST}",
                                 headers=headers, timeout=60.0) as client:  # fmt: skip
        (await client.put("/api/v1/specs", json={"specs": documents(generator)})).raise_for_status()
        began = time.monotonic()
        ids = await submit(client, jobs, began)
        while any(here.store.runs.counts().get(state) for state in LIVE):
            await asyncio.sleep(0.25)
        wall = time.monotonic() - began
    admitted: dict[str, list[float]] = defaultdict(list)
    placed = here.store.placements.of(ids)
    for run, job in zip(ids, jobs, strict=True):
        first = min(each.placed for each in placed[run])
        admitted[job.owner].append(first - here.store.runs.find(run).created)
    failed = len(ids) - here.store.runs.counts().get(RunState.SUCCEEDED, 0)
    await here.close()
    return wall, admitted, failed


def smaller(generator: quotas.Generator) -> quotas.Generator:
    """Two of its queues."""
    [cohort] = generator.cohorts
    two = [each.model_copy(update={"count": 2}) for each in cohort.queuesSets]
    return generator.model_copy(
        update={"cohorts": [cohort.model_copy(update={"count": 1, "queuesSets": two})]}
    )


def processes(generator: quotas.Generator) -> tuple[float, int]:
    """On a real server, each workload a process that sleeps: wall seconds until all have
    succeeded, and how many there were. Raises RuntimeError if one does not."""
    jobs = generator.jobs()
    capacity = {"cpu": sum(node.cpu for node in generator.nodes()) / WHOLE, "memory": "64GiB"}
    pool = {"kind": "pool", "name": LOCAL, "engine": LOCAL, "capacity": capacity}
    lines = [f"def {job.owner}():\n    time.sleep({job.seconds})\n" for job in jobs]
    with Platform() as platform:
        code = platform.code(work="import time\n\n\n" + "\n\n".join(dict.fromkeys(lines)))
        platform.api.call("PUT", "/specs", {"specs": [pool, *documents(generator)]})
        began = time.monotonic()
        ids = []
        for at, together in groupby(jobs, key=lambda job: job.at):
            time.sleep(max(0.0, began + at - time.monotonic()))
            wanted = [{**spec(job), "entry": f"work.py:{job.owner}", "bundle": code}
                      for job in together]  # fmt: skip
            ids += [run["id"] for run in platform.api.create(wanted)]
        for run in ids:
            platform.api.wait(run)
        return time.monotonic() - began, len(ids)


async def submit(client: httpx.AsyncClient, jobs: Sequence[Job], began: float) -> list[str]:
    """Each at its moment; those of one moment in one request."""
    ids: list[str] = []
    for at, together in groupby(jobs, key=lambda job: job.at):
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        body = {"runs": [{"spec": spec(job)} for job in together]}
        answer = await client.post("/api/v1/runs", json=body)
        answer.raise_for_status()
        ids += [run["id"] for run in answer.json()["runs"]]
    return ids


def waits(found: dict[str, list[float]]) -> str:
    return "mean time to admission " + ", ".join(
        f"{name} {fmean(times):.1f} s (Kueue {ADMITTED.get(name, 0):.1f})"
        for name, times in sorted(found.items())
    )


def body(result: Result) -> None:
    generator = quotas.read(FILE)
    if result.quick:
        [cohort] = generator.cohorts
        one = cohort.model_copy(update={"count": 1})
        generator = generator.model_copy(update={"cohorts": [one]})
    outcomes = simulated(generator)
    first: dict[str, list[float]] = defaultdict(list)
    for each in outcomes:
        first[each.job.owner].append(each.began - each.job.at)
    virtual = max(each.ended for each in outcomes)
    result.add(
        Figure("simulated: all have ended after", round(virtual, 3), "s", round(1.15 * FORCED, 1),
               note=f"{len(outcomes):,} workloads; {waits(first)}"),
        Figure("weights 1, 2, 3: furthest from its part", 100 * shares(), "%", 5),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        wall, admitted, failed = asyncio.run(live(generator, Path(folder)))
    result.add(
        Figure("live: all have ended after", wall, "s", WALL,
               note=f"{failed} did not succeed; {waits(admitted)}"),
    )  # fmt: skip
    few = smaller(generator)
    forced = max(each.ended for each in simulated(few))
    wall, count = processes(few)
    result.add(
        Figure(f"{count:,} as processes of this machine: all have ended after", wall, "s",
               note=f"all have succeeded; simulated {forced:.0f} s"),
    )  # fmt: skip
    result.peer(Figure("Kueue, published", KUEUE, "s", note="an API server in its path"))


if __name__ == "__main__":
    if not FILE.is_file():
        print(f"queues: skipped, {FILE} is not there; TRADEWIND_TRACES names the traces' folder")
        sys.exit(0)
    bench("queues", __doc__, body)
