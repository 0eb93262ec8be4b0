"""How well a few measured step times tell all others of a training.

    .venv/bin/python benchmarks/bench_pollux.py [--quick] [--no-peers]

Claim: from five chosen configurations the step times of all others are known to 8 % (median) and
20 % (90th percentile), on every model measured for Pollux (Qiao et al., OSDI 2021) whose traces are
in `$TRADEWIND_TRACES/pollux`, by default `../shared/traces` beside this checkout. All points are
chosen before the first step time is seen. No number of the model comes from these traces.

The peer is what Ernest (NSDI 2016) would do: non-negative least squares of the relative error on
[1, batch, log2 k, several nodes, n-1, k-1], on the same points, and on random ones.
"""

from __future__ import annotations

import csv
import os
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import Figure, Result, bench, percentile, timed

from tradewind.compiler.training import Layout, Point, choose, fit

FOLDER = Path(
    os.environ.get("TRADEWIND_TRACES") or Path(__file__).parents[2] / "shared" / "traces"
) / "pollux"  # fmt: skip
BUDGETS = (3, 5, 8)
TARGETS = {"median": 8.0, "90th percentile": 20.0}
SEEDS = 30
Predict = Callable[[Layout], float]


def scalability(path: Path) -> list[Point]:
    """Six nodes and more."""
    with path.open(newline="") as file:
        return [
            _point(int(row["num_nodes"]), int(row["num_replicas"]), row)
            for row in csv.DictReader(file)
        ]


def placements(path: Path) -> list[Point]:
    """Up to four nodes; a digit is the replicas of a node."""
    with path.open(newline="") as file:
        return [
            _point(len(row["placement"]), sum(map(int, row["placement"])), row)
            for row in csv.DictReader(file)
        ]


def _point(nodes: int, replicas: int, row: dict[str, str]) -> Point:
    return Point(Layout(nodes, replicas, float(row["local_bsz"])), float(row["step_time"]))


def models() -> dict[str, dict[str, list[Point]]]:
    """Model → which configurations → what was measured."""
    found: dict[str, dict[str, list[Point]]] = {}
    for path in sorted(FOLDER.glob("*_scalability.csv")):
        name = path.name.removesuffix("_scalability.csv")
        wide = scalability(path)
        other = path.with_name(f"{name}_placements.csv")
        found[name] = {"from 6 nodes": wide}
        if other.exists():
            found[name] = {"all": wide + placements(other), **found[name]}
    return found


def errors(points: Sequence[Point], seen: Sequence[Point], predict: Predict) -> list[float]:
    """Relative errors, in percent, of all that was not seen."""
    known = {layout: predict(layout) for layout in {each.layout for each in points}}
    taken = {id(each) for each in seen}
    return [
        100 * abs(known[each.layout] / each.seconds - 1) for each in points if id(each) not in taken
    ]


def ours(seen: Sequence[Point]) -> Predict:
    """The compiler's model."""
    model = fit(seen)
    return lambda layout: model.at(layout).seconds


def ernest(seen: Sequence[Point]) -> Predict:
    """A plain non-negative fit."""
    import numpy
    from scipy.optimize import nnls

    def terms(layout: Layout) -> list[float]:
        nodes, replicas = layout.nodes, layout.replicas
        several = float(nodes > 1)
        return [1.0, layout.batch, numpy.log2(replicas), several, nodes - 1.0, replicas - 1.0]

    rows = numpy.array([terms(each.layout) for each in seen])
    times = numpy.array([each.seconds for each in seen])
    weights, _ = nnls(rows / times[:, None], numpy.ones(len(seen)))
    return lambda layout: float(numpy.dot(terms(layout), weights))


def drawn(points: list[Point], budget: int, seeds: int, method: Callable[..., Predict]) -> Figures:
    """Median and 90th percentile with random points: the medians over the seeds."""
    found = []
    for seed in range(seeds):
        seen = random.Random(seed).sample(points, budget)
        found.append(summary(errors(points, seen, method(seen))))
    return {name: statistics.median(each[name] for each in found) for name in TARGETS}


Figures = dict[str, float]


def summary(found: Sequence[float]) -> Figures:
    return {"median": statistics.median(found), "90th percentile": percentile(found, 0.9)}


def one(result: Result, name: str, points: list[Point], budget: int, seeds: int) -> None:
    """One model, one number of points."""
    layouts = [each.layout for each in points]
    chosen = choose(layouts, budget)
    seconds = timed(lambda: choose(layouts, budget))
    first = {each.layout: each for each in reversed(points)}  # of several measurements the first
    seen = [first[layout] for layout in chosen]
    mine = summary(errors(points, seen, ours(seen)))
    model = fit(seen)
    told = {layout: model.at(layout) for layout in first}
    rest = [each for each in points if each not in seen]
    inside = [told[each.layout].low <= each.seconds <= told[each.layout].high for each in rest]
    wide = statistics.median(told[each.layout].high / told[each.layout].seconds for each in rest)
    note = (
        f"{100 * statistics.mean(inside):.0f} % within the interval of 9 in 10, half width "
        f"{100 * (wide - 1):.0f} %; chosen in {seconds:.1f} s"
    )
    for kind, target in TARGETS.items():
        aim = target if budget == 5 else 0.0
        said = note if kind == "median" else ""
        result.add(Figure(f"{name}, {budget} points: {kind}", mine[kind], "%", aim, note=said))
    mixed = drawn(points, budget, seeds, ours)
    told_random = f"90th percentile {mixed['90th percentile']:.0f} %, {seeds} seeds"
    result.add(Figure(f"… random points: {'median'}", mixed["median"], "%", note=told_random))
    if not os.environ.get("TRADEWIND_BENCH_PEERS"):
        return
    same, other = summary(errors(points, seen, ernest(seen))), drawn(points, budget, seeds, ernest)
    for how, figures in (("the same points", same), (f"random, {seeds} seeds", other)):
        tail = f"90th percentile {figures['90th percentile']:.0f} %"
        label = f"non-negative fit: {name}, {budget} points, {how}"
        result.peer(Figure(label, figures["median"], "%", note=tail))


def body(result: Result) -> None:
    for name, sets in models().items():
        for which, points in sets.items():
            result.note(f"{name}, {which}: {len(points)} measurements")
            for budget in (5,) if result.quick else BUDGETS:
                one(result, f"{name} ({which})", points, budget, 3 if result.quick else SEEDS)


if __name__ == "__main__":
    if not list(FOLDER.glob("*_scalability.csv")):
        print(f"pollux: skipped, {FOLDER} has no traces; TRADEWIND_TRACES names their folder")
        sys.exit(0)
    bench("pollux", __doc__, body)
