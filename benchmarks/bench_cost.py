"""Whether `tw cost` names the line that costs, adds up, costs nothing itself, and tells a change.

    .venv/bin/python benchmarks/bench_cost.py [--quick]

Claims: of 20 programs with one hot line each the line is named in at least 19, and what the lines
cost is the bill; looking takes at most 1 % of the core time (a third of a second with it and
without, in turn in one process: whole runs differ by far more than what is measured); a change that
makes the hot line do a quarter more (at least a tenth of the whole) is flagged by `tw quote
--against` in at least 95 % of cases, and one that does no more work in at most 5 %.

There is no peer: none of those we know puts a price on a line.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import programs
from harness import Figure, Json, Platform, Result, bench

from tradewind.inside import profiling

QUARTER = 1.25


def main() -> None:
    """One child of ours, or the benchmark."""
    if sys.argv[1:2] == ["--pairs"]:
        _pairs(sys.argv[2], int(sys.argv[3]))
    else:
        bench("cost", __doc__, body)


def body(result: Result) -> None:
    """All claims."""
    names = programs.names()[:: 4 if result.quick else 1]
    _named(result, names)
    _overhead(result, 20 if result.quick else 80)
    scaled = [name for name in programs.names(scaled=True) if name in names]
    _changes(result, scaled, 1 if result.quick else 2)


# --- through the platform ------------------------------------------------------------------------


def _named(result: Result, names: list[str]) -> None:
    missed, wrong = [], 0
    with Platform() as platform:
        for name in names:
            code = platform.code(prog=programs.text(name))
            spec = {"kind": "function", "name": "f", "entry": "prog.py:f", "bundle": code}
            run = platform.api.run(spec)
            found = platform.api.call("GET", f"/runs/{run['id']}/cost")
            lines = {line["line"]: line["price"] for each in found["files"]
                     for line in each["lines"]}  # fmt: skip
            parts = [*lines.values(), *(each["price"] for each in found["buckets"])]
            bill = platform.api.call("GET", f"/runs/{run['id']}")["price"]
            wrong += not sum(parts) == found["price"] == bill
            top = max(lines, key=lambda n: lines[n], default=0)
            if top != programs.hot(name):
                missed.append(name)
            print(f"  {name}: line {top} of {programs.hot(name)}", file=sys.stderr)
    note = f"not: {', '.join(missed)}" if missed else "the line with the most is the seeded one"
    count = len(names)
    result.add(
        Figure(f"hot lines not named, of {count} programs", len(missed), "", count / 20 or 1,
               note=note),
        Figure("bills whose lines do not add up", wrong, "", note="none may be"),
    )  # fmt: skip


# --- beside user code ----------------------------------------------------------------------------


def _python() -> None:
    x = 1
    for i in range(8000):
        x = (x * 31 + i * i) % 1000003


def _calls() -> None:
    for i in range(6):
        json.loads(json.dumps({"a": list(range(300)), "b": str(i) * 50}))


def _gives_way() -> None:
    for _ in range(300):
        os.stat("/")
        sum(range(50))


# User code of the kinds that are looked at in different ways.
KINDS: dict[str, Callable[[], None]] = {
    "plain Python": _python,
    "calls of C": _calls,
    "a system call every few microseconds": _gives_way,
}
LONG = 0.3


def _pairs(kind: str, count: int) -> None:
    """The same work with looks and without, in turn; core seconds of the whole process."""
    work = KINDS[kind]
    sampler = profiling.Sampler(os.path.dirname(__file__), lambda told: None)
    sampler.start()
    until = time.perf_counter() + 3 * profiling.FIRST
    while time.perf_counter() < until:
        work()
    begun, rounds = time.process_time(), 0
    while time.process_time() - begun < LONG:
        work()
        rounds += 1
    looks, found = sampler._looks, []
    for number in range(count):
        spent = {}
        for looked in (number % 2 == 0, number % 2 == 1):
            if looked:
                sampler._resume()
            else:
                sampler._halt()
            begun = time.process_time()
            for _ in range(rounds):
                work()
            spent[looked] = time.process_time() - begun
        found.append(100 * (spent[True] / spent[False] - 1))
    looks = sampler._looks - looks
    sampler.stop()
    print(json.dumps([found, looks / count / LONG]))


def _overhead(result: Result, count: int) -> None:
    every: list[float] = []
    for kind in KINDS:
        command = [sys.executable, __file__, "--pairs", kind, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found, pace = json.loads(done.stdout)
        every += found
        note = f"{count} pairs; {pace:.0f} looks a core second; standard error {_error(found):.2f}"
        result.add(Figure(f"… {kind}", statistics.median(found), "%", note=note))
    note = f"standard error {_error(every):.2f}"
    name = "core time more with looks than without"
    result.add(Figure(name, statistics.median(every), "%", 1.0, note=note))


def _error(found: list[float]) -> float:
    """Of their median, from the distance of the quartiles: a neighbour makes wild pairs."""
    low, _middle, high = statistics.quantiles(found, n=4)
    return 1.25 * (high - low) / 1.35 / math.sqrt(len(found))


# --- changes -------------------------------------------------------------------------------------

# Does nothing, in a line that is reached: without it the code would be known to be the same.
HARMLESS = "def f():\n    again = 1\n    del again\n"


def _changes(result: Result, names: list[str], rounds: int) -> None:
    """As people ask: `tw quote --against` the version before."""
    flagged = named = alarms = unclear = cases = 0
    with Platform() as platform:
        for name in names * rounds:
            text = programs.text(name)
            found = _told(platform, text, programs.text(name, QUARTER))
            same = _told(platform, text, text.replace("def f():\n", HARMLESS))
            cases += 1
            flagged += found["verdict"] == "dearer"
            named += [each["line"] for each in found["lines"][:1]] == [programs.hot(name)]
            alarms += same["verdict"] in ("dearer", "cheaper")
            unclear += sum(each["verdict"] == "unclear" for each in (found, same))
            print(
                f"  {name}: {found['verdict']} {found['change']:+.1%} "
                f"(noise {found['noise']:.1%}), again {same['verdict']} {same['change']:+.1%}",
                file=sys.stderr,
            )
    result.add(
        Figure("changes not flagged", 100 * (1 - flagged / cases), "%", 5.0,
               note=f"of {cases}; {unclear} of all answers said unclear; line named in {named}"),
        Figure("the same code flagged", 100 * alarms / cases, "%", 5.0, note=f"of {cases}"),
    )  # fmt: skip


def _told(platform: Platform, before: str, now: str) -> Json:
    """What is said of `now` against `before`."""
    old, new = (
        {"kind": "function", "name": "f", "entry": "prog.py:f", "bundle": platform.code(prog=text)}
        for text in (before, now)
    )
    body = {"spec": new, "against": {"spec": old, "name": "before"}}
    run = platform.api.wait(platform.api.call("POST", "/quotes", body)["run"])
    found: Json = platform.api.call("GET", f"/quotes/{run['result']['quote']['id']}")["against"]
    return found


if __name__ == "__main__":
    main()
