"""How the API answers when the store holds a long history.

    .venv/bin/python benchmarks/bench_api.py [--quick] [--no-peers]

Claims: with 100,000 finished runs each answer comes within 50 ms (95th percentile), `tw get runs`
within 400 ms, and the idle server uses less than 1 % of a core.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import peers
from harness import Figure, Platform, Result, bench, core_seconds, median, percentile, repeat, timed

from tradewind import store
from tradewind.base.clock import SystemClock
from tradewind.base.ids import new_id
from tradewind.records.events import Event
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.store.rows import Change, Claim

KINDS = ("function", "training", "dataset")
NAMES = ("noop", "train", "features", "import", "predict")
DIGEST = "sha256:" + "1" * 64


def history(count: int, portion: int = 1000) -> Callable[[Path], None]:
    """Fills the store of a data folder with runs that ended, as the road would leave them."""

    def fill(folder: Path) -> None:
        db = store.open(folder / "tradewind.db", SystemClock())
        chance = random.Random(7)
        now = time.time() - count
        for first in range(0, count, portion):
            runs = [_run(i, now + i, chance) for i in range(first, min(count, first + portion))]
            db.runs.accept(runs, [_event("accepted", run, run.created) for run in runs])
            claims = db.runs.claim("bench", {RunState.ACCEPTED}, portion, time.time(), 60)
            db.runs.apply([_change(claim) for claim in claims])
        db.close()

    return fill


def _run(number: int, at: float, chance: random.Random) -> Run:
    kind, name = chance.choice(KINDS), chance.choice(NAMES)
    document = {"kind": kind, "name": name, "entry": "job.py:noop", "bundle": DIGEST,
                "labels": {"team": chance.choice(("a", "b", "c"))}}  # fmt: skip
    run_id = new_id("r")
    return Run(
        id=run_id, project="default", kind=kind, name=name, state=RunState.ACCEPTED, spec=document,
        created=at, updated=at, root=run_id, user="owner",
    )  # fmt: skip


def _event(what: str, run: Run, at: float) -> Event:
    return Event(type=f"run.{what}", at=at, project=run.project, subject=run.id, run=run.id)


def _change(claim: Claim) -> Change:
    run = claim.run
    failed = int(run.created) % 10 == 0
    state = RunState.FAILED if failed else RunState.SUCCEEDED
    made = replace(
        run,
        state=state,
        pinned={**run.spec, "inputs": {}},
        pinned_digest=new_id("d"),
        updated=run.created + 2,
        started=run.created + 1,
        ended=run.created + 2,
        price=1234,
        error={"code": "user", "message": "it went wrong", "hint": ""} if failed else {},
        result={} if failed else {"output": {"kind": "json", "value": 1}},
    )
    steps = ("pinned", "planned", "queued", "placed", "running", str(state))
    told = tuple(_event(each, run, run.created + 1) for each in steps)
    return Change(claim=claim, run=made, events=told)


def answers(platform: Platform, paths: Sequence[str], count: int) -> list[float]:
    """Milliseconds of each of these requests, in turn."""

    def call(i: int) -> float:
        return timed(lambda: platform.api.call("GET", paths[i % len(paths)])) * 1e3

    for i in range(10):
        call(i)
    return [call(i) for i in range(count)]


def walk(platform: Platform, pages: int) -> tuple[str, list[str]]:
    """The cursor that many pages down, and some ids on the way."""
    cursor = ""
    ids: list[str] = []
    for _ in range(pages):
        page = platform.api.call("GET", f"/runs?limit=1000&cursor={cursor}")
        ids.append(page["items"][len(ids) % len(page["items"])]["id"])
        cursor = page["cursor"] or cursor
    return cursor, ids


def _command(words: Sequence[str], environment: dict[str, str]) -> float:
    """Milliseconds of one, from start to end."""
    run = partial(subprocess.run, words, check=True, capture_output=True, env=environment)
    return timed(run) * 1e3


def body(result: Result) -> None:
    amount, count = (10_000, 60) if result.quick else (100_000, 300)
    begin = time.perf_counter()
    with Platform(history(amount)) as platform:
        print(f"  {amount} runs stored in {time.perf_counter() - begin:.0f} s")
        held = platform.api.call("GET", "/status")["counts"]
        assert sum(held.values()) == amount, held
        cursor, ids = walk(platform, amount // 1000 - 1)
        questions = {
            "GET /runs": ["/runs"],
            "… of one state": ["/runs?state=failed", "/runs?state=succeeded"],
            "… of one kind and name": ["/runs?kind=training&name=train"],
            "… with nothing to find": ["/runs?state=running", "/runs?name=nobody"],
            f"… {amount - 1000} runs down": [f"/runs?cursor={cursor}"],
            "GET /runs/{id}": [f"/runs/{run}" for run in ids],
            "GET /runs/{beginning of an id}": [f"/runs/{run[:9]}" for run in ids],
        }
        for name, paths in questions.items():
            values = answers(platform, paths, count)
            middle = statistics.median(values)
            result.add(
                Figure(name + ", 95th percentile", percentile(values, 0.95), "ms", 50,
                       note=f"median {middle:.1f} ms")
            )  # fmt: skip
        command, environment = platform.command()
        for title, words in (
            ("`tw get runs`", ["get", "runs"]),
            ("`tw get runs -o json`", ["get", "runs", "-o", "json"]),
        ):
            call = partial(_command, [*command, *words], environment)
            values = repeat(call, 5 if result.quick else 20, 2)
            result.add(median(title, values, "ms", 400))
        time.sleep(2)
        pause = 10 if result.quick else 30
        before = core_seconds([platform.server])
        time.sleep(pause)
        idle = (core_seconds([platform.server]) - before) / pause * 100
        result.add(Figure("the idle server", idle, "% of a core", 1))
    if result.quick:
        result.note(f"with {amount} runs, not 100,000")
    _prefect(result)


def _prefect(result: Result) -> None:
    amount = 100 if result.quick else 1000
    found = peers.ask(result, "prefect", "listing", amount, 30 if result.quick else 100)
    if found is None:
        return
    for key, name in (("page", "page of flow runs"), ("failed", "… of one state"), ("one", "one")):
        values = [1e3 * s for s in found[key]]
        result.peer(
            Figure(f"Prefect: {name}, 95th percentile", percentile(values, 0.95), "ms",
                   note=f"among {amount} only; median {statistics.median(values):.1f} ms")
        )  # fmt: skip
    result.peer(median("Prefect: `flow-run ls`", [1e3 * s for s in found["command"]], "ms"))
    result.note("Ray keeps no history of tasks beyond its session, so it has no figure here")


if __name__ == "__main__":
    bench("api", __doc__, body)
