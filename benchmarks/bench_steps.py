"""What a pipeline costs beside the work of its steps, and where that goes.

    .venv/bin/python benchmarks/bench_steps.py [--quick] [--no-peers]

Claim: ten fib(33) steps one after the other, each a child run in a process of its own, nothing
cached, take at most 0.3 s more than the pure computation in the same Python. Also 40 x fib(10).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import peers
from harness import Json, Platform, Result, bench, median

FIB = """
import time

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def step(n, before=None):
    began, ticks = time.time(), time.perf_counter()
    value = fib(n)
    return {"value": value, "began": began, "seconds": time.perf_counter() - ticks}
"""


def pure(n: int, count: int) -> float:
    """Seconds of the same calls in a plain interpreter of the same environment."""
    code = f"{FIB}\nt = time.perf_counter()\nfor _ in range({count}): fib({n})\n"
    code += "print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def chain(code: str, n: int, count: int) -> Json:
    """A pipeline in which each step takes what the one before gave."""
    steps: list[Json] = []
    for i in range(count):
        uses = {"kind": "function", "name": f"s{i}", "entry": "work.py:step", "bundle": code}
        step: Json = {"name": f"s{i}", "uses": uses, "params": {"n": n}, "cache": False}
        if i:
            step["input"] = {"before": f"$s{i - 1}.output.value"}
        steps.append(step)
    return {"kind": "pipeline", "name": "chain", "cache": False, "steps": steps}


def carry_out(platform: Platform, spec: Json) -> tuple[str, float, float]:
    """The run, seconds until the client knew its end, and when it was sent."""
    sent = time.time()
    begin = time.perf_counter()
    run = platform.api.run(spec)
    return run["id"], time.perf_counter() - begin, sent


def look(platform: Platform, run: str, total: float, sent: float) -> tuple[float, dict[str, float]]:
    """Seconds inside the calls, and milliseconds by phase, both summed over the steps."""
    tree = platform.api.call("GET", f"/runs/{run}")
    steps = [platform.api.call("GET", f"/runs/{child['id']}") for child in tree["children"]]
    steps.sort(key=lambda each: each["created"])
    assert steps and all(each["number"] == 1 for each in steps)
    return _phases(sent, sent + total, tree, steps)


def _phases(
    sent: float, known: float, tree: Json, steps: list[Json]
) -> tuple[float, dict[str, float]]:
    """Milliseconds by phase, summed over the steps. The wall clock of one machine joins them."""
    spent: dict[str, float] = {}

    def add(name: str, begin: float, end: float) -> None:
        spent[name] = spent.get(name, 0.0) + (end - begin) * 1e3

    before, calls = sent, 0.0
    for each in steps:
        value = each["result"]["output"]["value"]
        placed, attempt = each["placements"][-1]["placed"], each["attempts"][-1]
        called = value["began"] + value["seconds"]
        calls += value["seconds"]
        add("accept" if before == sent else "steer (next step)", before, each["created"])
        add("pin, plan, place", each["created"], placed)
        add("launch, start process", placed, attempt["started"])
        add("import, inputs", attempt["started"], value["began"])
        add("outputs, exit", called, attempt["ended"])
        add("report, finish", attempt["ended"], each["ended"])
        before = each["ended"]
    add("finish pipeline", before, tree["ended"])
    add("tell the client", tree["ended"], known)
    return calls, spent


def compare(
    result: Result, platform: Platform, code: str, n: int, count: int, repeats: int, target: float
) -> None:
    """One size: the pipeline between two pure computations, several times."""
    name = f"{count} x fib({n})"
    spec = chain(code, n, count)
    totals, outside, inside, plain = [], [], [], []
    phases: list[dict[str, float]] = []
    cores: list[dict[str, float]] = []
    for _ in range(repeats):
        before = pure(n, count)
        started = platform.used()
        run, total, sent = carry_out(platform, spec)
        ended = platform.used()
        calls, spent = look(platform, run, total, sent)
        floor = (before + pure(n, count)) / 2
        totals.append(total)
        plain.append(floor)
        outside.append(total - floor)
        inside.append(total - calls)
        phases.append(spent)
        cores.append({key: (ended[key] - started[key]) / count * 1e3 for key in ended})
    result.add(
        median(f"{name}: in all", totals, "s"),
        median(f"{name}: pure, plain Python", plain, "s"),
        median(f"{name}: more than plain Python", outside, "s", target),
        median(
            f"{name}: outside the steps' calls", inside, "s", target,
            "free of the computation's own repeat error",
        ),
    )  # fmt: skip
    result.parts[f"{name}: ms outside the calls, per step"] = {
        key: statistics.median(each[key] for each in phases) / count for key in phases[0]
    }
    result.parts[f"{name}: core ms per step"] = {
        key: statistics.median(each[key] for each in cores) for key in cores[0]
    }


def body(result: Result) -> None:
    repeats = 2 if result.quick else 5
    with Platform() as platform:
        code = platform.code(work=FIB)
        for _ in range(2):
            platform.api.run(chain(code, 10, 5))
        compare(result, platform, code, 10, 40, repeats, 1.2)
        compare(result, platform, code, 33, 10, repeats, 0.3)
    result.figures[2].note = result.figures[3].note = "30 ms a step, as for ten"
    _peers(result, 1 if result.quick else 2)


def _peers(result: Result, repeats: int) -> None:
    def more(found: Json, key: str, name: str, note: str = "") -> None:
        values = found[key] if isinstance(found[key], list) else [found[key]]

        def floor(i: int) -> float:
            return float(found["pure"][min(i, len(found["pure"]) - 1)])

        small = key.startswith("small")
        extra = [s - (0.0 if small else floor(i)) for i, s in enumerate(values)]
        result.peer(median(name, extra, "s", note=note))

    found = peers.ask(result, "ray", "steps", repeats)
    if found is not None:
        more(found, "plain", "Ray: 10 x fib(33), more than pure", "reused workers")
        more(found, "fresh", "Ray: 10 x fib(33), more than pure", "a process each (max_calls=1)")
        more(found, "small_plain", "Ray: 40 x fib(10), in all", "reused workers")
        more(found, "small_fresh", "Ray: 40 x fib(10), in all", "a process each (max_calls=1)")
    found = peers.ask(result, "prefect", "steps", repeats)
    if found is not None:
        more(found, "tasks", "Prefect: 10 x fib(33), more than pure", "tasks in the flow's process")
        more(
            found,
            "processes",
            "Prefect: 10 x fib(33), more than pure",
            "a flow run in a process each",
        )
        more(found, "small_tasks", "Prefect: 40 x fib(10), in all", "tasks in the flow's process")


if __name__ == "__main__":
    bench("steps", __doc__, body)
