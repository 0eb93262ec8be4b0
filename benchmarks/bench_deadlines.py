"""Deadlines under disturbance: those that can be met are kept, the others refused in advance.

    .venv/bin/python benchmarks/bench_deadlines.py [--quick] [--rows N]

Claims: of functions with a deadline that the best fixed plan meets under the same disturbance at
least 95 % end in time; of those that nothing can meet all are refused, and the least deadline that
can be had is named. The disturbances in turn: a core that another process takes, a disk that
another process writes to all the time, a process of the run that is killed (-9) as it works.

For each function every plan of a first quote is run under the disturbance; the fastest is the best
fixed plan, and the deadline is half as long again. Then the function runs with that deadline, known
by the measurements of its quote alone: no run of its name has been before.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import quoting
import suite
from harness import Figure, Json, Platform, Result, bench, core_seconds, median, tree
from suite import Case

COUNT, FEW = 50, 20
SLACK = 1.5
# The part of the fastest plan's time that nobody can keep to.
HOPELESS = 0.1
NAMES = ("scan_text", "wide_copy", "group_text", "join_large", "sort_text", "window_lag",
         "e_mutate", "b_arrow", "b_polars", "b_pandas", "b_python", "b_model_parts", "r_score",
         "g_pandas", "g_arrow")  # fmt: skip
DISTURBANCES = ("a stolen core", "a slow disk", "a killed worker")
# CPU seconds that a process of a run has used by the time it is killed: it works, and is not done.
AT_WORK = 0.4


@dataclass
class Kept:
    """How one function with a deadline went."""

    name: str
    disturbance: str
    deadline: float
    fixed: float
    took: float = 0.0
    outcome: str = ""
    why: str = ""


def body(result: Result) -> None:
    """Deadlines that can be met, then those that cannot."""
    count = FEW if result.quick else COUNT
    kept: list[Kept] = []
    unmet = 0
    with Platform() as platform:
        suite.load(platform, result.rows, ("flights", "few", "customers"))
        bundle = suite.bundle(platform)
        chosen = [case for case in suite.CASES if case.name in NAMES]
        for number in range(count):
            case = chosen[number % len(chosen)]
            disturbance = DISTURBANCES[number % len(DISTURBANCES)]
            try:
                made, refused = _case(platform, case, bundle, number, disturbance)
            except RuntimeError as error:
                result.note(f"{case.name}, {disturbance}: {str(error)[:300]}")
                continue
            kept.append(made)
            unmet += not refused
            print(f"  {made.name}, {disturbance}: {made.outcome} in {made.took:.1f} s of "
                  f"{made.deadline:.1f}, best fixed {made.fixed:.1f}, load "
                  f"{os.getloadavg()[0]:.0f} {made.why}", file=sys.stderr)  # fmt: skip
    _report(result, kept, unmet)


def _case(
    platform: Platform, case: Case, bundle: str, number: int, disturbance: str
) -> tuple[Kept, bool]:
    spec = case.spec(bundle)
    spec["name"] = f"fixed-{number}"
    quote, _ = quoting.quoted(platform, spec)
    fixed = [
        _disturbed(platform, disturbance, spec, quote["id"], place)[0]
        for place, plan in enumerate(quote["plans"])
        if plan["cpu"]
    ]
    best = min(fixed, default=0.0)
    if not best:
        raise RuntimeError("nothing was predicted")
    spec["name"] = f"promised-{number}"
    quoting.quoted(platform, spec)  # it is measured; nothing of this name has run
    deadline = round(SLACK * best, 1)
    took, run = _disturbed(platform, disturbance, {**spec, "performance": f"{deadline}s"})
    made = Kept(case.name, disturbance, deadline, best, took)
    made.outcome = (
        run["state"] if run["state"] != "succeeded" else "late" if took > deadline else "in time"
    )
    made.why = str((run["error"] or {}).get("message", ""))[:200]
    spec["name"] = f"hopeless-{number}"
    return made, _refused(platform, spec, round(HOPELESS * best, 2))


def _refused(platform: Platform, spec: Json, deadline: float) -> bool:
    """Whether it is refused, with the least deadline that can be had."""
    spec = {**spec, "performance": f"{deadline}s"}
    _, run = _ended(platform, quoting.accepted(platform, spec))
    error = run["error"] or {}
    needs = error.get("needs") or [{}]
    nearest = min((need.get("performance", 0.0) for need in needs), default=0.0)
    good = error.get("code") == "refused" and nearest > deadline
    if not good:
        print(f"  {spec['name']} within {deadline} s: {run['state']} {error}",
              file=sys.stderr)  # fmt: skip
    return good


# --- disturbances --------------------------------------------------------------------------------


def _disturbed(
    platform: Platform, name: str, spec: Json, quote: str = "", plan: int = 0
) -> tuple[float, Json]:
    """Seconds from acceptance to the result, and the run, while something is in its way."""
    with _WAYS[name](platform):
        return _ended(platform, quoting.accepted(platform, spec, quote, plan))


def _ended(platform: Platform, run: str) -> tuple[float, Json]:
    with contextlib.suppress(RuntimeError):
        platform.api.wait(run)
    found: Json = platform.api.call("GET", f"/runs/{run}")
    return quoting.wall(found), found


@contextlib.contextmanager
def _beside(target: Callable[..., None], *args: str) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=target, args=args, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def busy() -> None:
    """Take a core, as long as whoever began it lives."""
    parent = os.getppid()
    while os.getppid() == parent:
        pass


def writing(folder: str) -> None:
    """Keep the disk busy: write, flush, again."""
    data, parent = os.urandom(1 << 24), os.getppid()
    with open(Path(folder, "noise"), "wb", buffering=0) as file:
        while os.getppid() == parent:
            file.seek(0)
            file.write(data)
            os.fsync(file.fileno())


@contextlib.contextmanager
def _killing(platform: Platform) -> Iterator[None]:
    """Kill one process that works, once."""
    done = threading.Event()

    def watch() -> None:
        known = {pid for pid in tree(platform.node)}
        while not done.wait(0.05):
            for pid in tree(platform.node):
                if pid not in known and core_seconds([pid], waited=False) >= AT_WORK:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


_WAYS: dict[str, Callable[[Platform], contextlib.AbstractContextManager[None]]] = {
    "a stolen core": lambda platform: _beside(busy),
    "a slow disk": lambda platform: _beside(writing, str(platform.top)),
    "a killed worker": _killing,
}


# --- figures -------------------------------------------------------------------------------------


def _report(result: Result, kept: list[Kept], unmet: int) -> None:
    in_time = [each for each in kept if each.outcome == "in time"]
    late = [each for each in kept if each.outcome == "late"]
    other = [each for each in kept if each not in in_time and each not in late]
    count = max(1, len(kept))
    note = f"of {len(kept)}: {len(late)} late, {len(other)} refused or failed"
    result.add(
        Figure("deadlines not kept", 100 * (1 - len(in_time) / count), "%", 5.0, note=note),
        Figure("hopeless deadlines not refused", unmet, "", 0.5,
               note=f"of {len(kept)}; refused with the least that can be had"),
    )  # fmt: skip
    for name in DISTURBANCES:
        mine = [each for each in kept if each.disturbance == name]
        ends = [each for each in mine if each.took and each in in_time + late]
        if ends:
            result.add(
                median(f"{name}: time of the best fixed plan", [e.took / e.fixed for e in ends],
                       "x", note=f"{sum(each in in_time for each in mine)} of {len(mine)} in time")
            )  # fmt: skip
    for each in [*late, *other]:
        result.note(f"{each.name}, {each.disturbance}: {each.outcome}, {each.took:.1f} s of "
                    f"{each.deadline:.1f} (best fixed {each.fixed:.1f}) {each.why}")  # fmt: skip


if __name__ == "__main__":
    bench("deadlines", __doc__, body, rows=4_000_000)
