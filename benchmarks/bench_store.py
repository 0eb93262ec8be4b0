"""How fast the store accepts, claims and changes runs, and lists them among many.

    python benchmarks/bench_store.py [--runs 100000] [--url postgresql://…]

Claim: 250 runs a second end to end, with about eight changes each, leave the store half idle; a
page of 50 among 100,000 finished runs comes within 50 ms (p95).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tradewind import store
from tradewind.base.clock import SystemClock
from tradewind.base.ids import new_id
from tradewind.records.events import Event
from tradewind.records.placements import Placement, placement_id
from tradewind.records.reports import Report
from tradewind.records.runs import Run
from tradewind.records.states import LIVE, RunState
from tradewind.records.tasks import Entry, Environment, Gang, Resources, Role, Task
from tradewind.store.base import Store
from tradewind.store.rows import Change, Claim, RunFilter, Usage

ROAD = (
    RunState.PINNED,
    RunState.PLANNED,
    RunState.QUEUED,
    RunState.PLACED,
    RunState.RUNNING,
    RunState.SUCCEEDED,
)
TASK = Task(
    name="main",
    roles=(Role(name="main", shape=Gang(), entry=Entry(kind="function", target="job.py:noop")),),
    environment=Environment(digest="sha256:" + "0" * 64),
)
SPEC = {"kind": "function", "name": "noop", "entry": "job.py:noop", "notes": "x" * 400}
PINNED = {**SPEC, "bundle": "sha256:" + "1" * 64, "inputs": {"flights": "y" * 400}}


def make(count: int) -> list[Run]:
    """Runs as a client submits them."""
    now = time.time()
    names = ("noop", "train", "features", "import", "predict")
    return [
        Run(
            id=new_id("r"),
            project="default",
            kind=("function", "training", "dataset")[i % 3],
            name=names[i % len(names)],
            state=RunState.ACCEPTED,
            spec=SPEC,
            created=now,
            updated=now,
        )
        for i in range(count)
    ]


def step(claim: Claim) -> Change:
    """What the road would do next with this run."""
    run, now = claim.run, time.time()
    state = ROAD[(ROAD.index(run.state) + 1) if run.state in ROAD else 0]
    fields: dict[str, Any] = {"state": state, "updated": now, "wake": now}
    more: dict[str, Any] = {}
    if state is RunState.PINNED:
        fields |= {"pinned": PINNED, "pinned_digest": new_id("d")}
    elif state is RunState.PLANNED:
        fields |= {"plan": {"pool": "local", "engine": "local", "why": "only one"}}
    elif state is RunState.PLACED:
        more["placements"] = (
            Placement(
                id=placement_id(run.id, "main", 1),
                run=run.id,
                task=TASK,
                number=1,
                pool="local",
                engine="local",
                lease=1,
                demand=Resources(),
                placed=now,
            ),
        )
        fields |= {"number": 1, "started": now}
    elif state is RunState.SUCCEEDED:
        fields |= {"ended": now, "price": 1234, "result": {"result": {"rows": 1}}}
        more["usage"] = (
            Usage(project=run.project, run=run.id, part="x", nanodollars=1, seconds=0.1, at=now),
        )
    event = Event(type=f"run.{state}", at=now, project=run.project, subject=run.id, run=run.id)
    return Change(claim=claim, run=replace(run, **fields), events=(event,), **more)


def road(db: Store, runs: list[Run], batch: int) -> dict[str, float]:
    """Bring all runs to their end; seconds by activity."""
    spent = {"accept": 0.0, "claim": 0.0, "apply": 0.0, "report": 0.0}

    def timed(what: str, call: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        answer = call()
        spent[what] += time.perf_counter() - begin
        return answer

    for start in range(0, len(runs), batch):
        some = runs[start : start + batch]
        told = [
            Event(type="run.accepted", at=r.created, project=r.project, subject=r.id, run=r.id)
            for r in some
        ]
        timed("accept", partial(db.runs.accept, some, told))
    while True:
        claims = timed("claim", lambda: db.runs.claim("bench", LIVE, batch, time.time(), 30))
        if not claims:
            return spent
        changes = [step(claim) for claim in claims]
        refused = timed("apply", partial(db.runs.apply, changes))
        assert not refused
        reports = [
            report
            for change in changes
            if change.run.state is RunState.PLACED
            for report in _reports(change.placements[0])
        ]
        timed("report", partial(db.reports.record, reports))


def _reports(placement: Placement) -> list[Report]:
    now, end = time.time(), {"exit": {"reason": "ok"}, "usage": {"cpu": 0.1}, "outputs": {}}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("attempt", {"state": "preparing"}),
        ("phase", {"name": "environment", "seconds": 0.01}),
        ("attempt", {"state": "running", "pid": 1}),
        ("attempt", {"state": "succeeded", **end}),
        ("placement", {"state": "succeeded"}),
    ]
    return [
        Report(placement=placement.id, seq=i, at=now, kind=kind, role="main", body=body)
        for i, (kind, body) in enumerate(bodies, 1)
    ]


def throughput(where: Callable[[], str], count: int) -> None:
    """A table by batch size, each on a fresh database."""
    print(
        f"{'batch':>6} {'runs/s':>8} {'accept':>8} {'claim':>8} {'apply':>8} {'report':>8}"
        "  (ms per run)"
    )
    for batch in (1, 10, 50, 250):
        db = store.open(where(), SystemClock())
        some = count if batch > 1 else count // 10
        spent = road(db, make(some), batch)
        db.close()
        each = " ".join(f"{spent[k] / some * 1000:8.3f}" for k in spent)
        print(f"{batch:>6} {some / sum(spent.values()):8.0f} {each}")


def listing(db: Store, count: int) -> None:
    """p50 and p95 of the queries behind the lists."""
    runs = make(count)
    for start in range(0, count, 5000):
        ended = [
            replace(
                r, state=RunState.FAILED if i % 500 == 0 else RunState.SUCCEEDED, ended=r.created
            )
            for i, r in enumerate(runs[start : start + 5000])
        ]
        ended = [
            replace(
                run,
                pinned=PINNED,
                pinned_digest=f"d{start + i}",
                project=f"p{i % 10}" if i % 2 else "default",
            )
            for i, run in enumerate(ended)
        ]
        db.runs.accept(ended)
    db.runs.accept(make(20))
    middle = db.runs.page(RunFilter(project="default"), limit=count // 4).cursor
    failed = frozenset({RunState.FAILED})
    asked: dict[str, Callable[[], Any]] = {
        "page": lambda: db.runs.page(RunFilter(project="default")),
        "page, any project": lambda: db.runs.page(RunFilter()),
        "page from the middle": lambda: db.runs.page(RunFilter(project="default"), cursor=middle),
        "page of failed": lambda: db.runs.page(RunFilter(project="default", states=failed)),
        "page of live": lambda: db.runs.page(RunFilter(project="default", states=LIVE)),
        "page of live, any project": lambda: db.runs.page(RunFilter(states=LIVE)),
        "page of a kind, failed": lambda: db.runs.page(
            RunFilter(project="default", kind="training", states=failed)
        ),
        "page of a kind": lambda: db.runs.page(RunFilter(project="default", kind="training")),
        "page by text, found": lambda: db.runs.page(RunFilter(project="default", text="rain")),
        "page by text, nothing": lambda: db.runs.page(RunFilter(project="default", text="zzz")),
        "counts": lambda: db.runs.counts("default"),
        "history": lambda: db.runs.history("default", "training", "train"),
        "cached": lambda: db.runs.cached("default", "d500"),
        "find by prefix": lambda: db.runs.find(runs[count // 2].id[:9]),
        "get": lambda: db.runs.get(runs[count // 2].id),
        "claim, nothing due": lambda: db.runs.claim("b", [RunState.QUEUED], 50, time.time(), 9),
        "next_due": lambda: db.runs.next_due(LIVE, time.time()),
    }
    print(f"\n{'among ' + format(count, ',') + ' ended runs':30} {'p50 ms':>8} {'p95 ms':>8}")
    for name, call in asked.items():
        times = []
        for _ in range(40):
            begin = time.perf_counter()
            call()
            times.append((time.perf_counter() - begin) * 1000)
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"{name:30} {statistics.median(times):8.2f} {p95:8.2f}")
    print(f"size {db.size() / 2**20:.0f} MiB")


def main() -> None:
    """Run both parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="for the lists")
    parser.add_argument("--count", type=int, default=2000, help="for the throughput")
    parser.add_argument("--url", default="", help="a PostgreSQL database, emptied by nobody")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, {'PostgreSQL' if options.url else 'SQLite'}")
    with tempfile.TemporaryDirectory() as folder:

        def fresh() -> str:
            return options.url or str(Path(folder) / f"{new_id('b')}.db")

        throughput(fresh, options.count)
        db = store.open(fresh(), SystemClock())
        listing(db, options.runs)
        db.close()


if __name__ == "__main__":
    main()
