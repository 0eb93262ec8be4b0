"""What the automatic choice costs against the best of all plans in hindsight.

    .venv/bin/python benchmarks/bench_choice.py [--quick] [--rows N]

Claim: over a fixed suite the plan that is chosen costs at most 1.1 times the best of all, in price
where price is asked for (no objective, or a deadline), in time where time is (a budget alone), in
the mean over the suite. Every plan of the quotes is run, those of pinned backends and cores too, in
rounds, so that all meet the same neighbours; a plan is as fast and as dear as the median of its
runs. The plan is chosen before any run of its function: by probes, and what others taught.
"""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import dataclass, field

import quoting
import suite
from harness import Figure, Json, Platform, Result, bench, percentile
from suite import Case

NAMES = ("scan_math", "filter_regex", "group_high", "join_large", "sort_number", "e_group",
         "b_arrow", "b_pandas", "b_python", "r_score", "g_pandas", "g_arrow")  # fmt: skip
QUICK = ("filter_regex", "group_high", "b_python", "r_score")
# A budget that pays for anything, and the deadlines: parts of the way from the fastest plan's
# promise to the cheapest one's.
MUCH = "$100"
PINS: tuple[Json, ...] = (
    {"backend": "duckdb", "resources": {"cpu": 1}},
    {"backend": "duckdb", "resources": {"cpu": 2}},
    {"backend": "partitions"},
)


@dataclass
class Way:
    """One plan, where it comes from, and how its runs went."""

    spec: Json
    plan: Json
    quote: str
    number: int
    seconds: list[float] = field(default_factory=list)
    prices: list[float] = field(default_factory=list)

    @property
    def took(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def cost(self) -> float:
        """Nanodollars."""
        return statistics.median(self.prices)


@dataclass
class Choice:
    """What was chosen for an objective: the plan's size and the deadline that it had to keep."""

    case: str
    objective: str
    size: tuple[object, ...]
    deadline: float = 0.0


def body(result: Result) -> None:
    """Choose for every objective, run all plans, compare."""
    rounds = 1 if result.quick else 3
    with Platform() as platform:
        suite.load(platform, result.rows, ("flights", "few", "customers"))
        bundle = suite.bundle(platform)
        wanted = QUICK if result.quick else NAMES
        chosen = [case for case in suite.CASES if case.name in wanted]
        ways: dict[str, dict[tuple[object, ...], Way]] = {}
        choices: list[Choice] = []
        for case in chosen:
            try:
                mine, made = _asked(platform, case, bundle)
            except RuntimeError as error:
                result.note(f"{case.name} has no quote: {str(error)[:300]}")
                continue
            ways[case.name] = mine
            choices += made
            for number in range(rounds):
                for size, way in list(mine.items()):
                    if not _run(result, platform, case, way, number):
                        del mine[size]
    report(result, ways, choices)


def _asked(
    platform: Platform, case: Case, bundle: str
) -> tuple[dict[tuple[object, ...], Way], list[Choice]]:
    """Every plan that any quote shows, and what is chosen."""
    ways: dict[tuple[object, ...], Way] = {}
    plans: list[Json] = []
    for pin in ({}, *PINS):
        spec = case.spec(bundle, **pin)
        try:
            quote, _ = quoting.quoted(platform, spec)
        except RuntimeError:
            continue  # the backend does not carry out the style
        for number, plan in enumerate(quote["plans"]):
            if plan["cpu"]:
                ways.setdefault(quoting.size(plan), Way(spec, plan, quote["id"], number))
                plans += [] if pin else [plan]
    choices = [Choice(case.name, "none", quoting.size(plans[0]))]
    by_budget, _ = quoting.quoted(platform, case.spec(bundle, budget=MUCH))
    choices.append(Choice(case.name, "budget", quoting.size(by_budget["plans"][0])))
    choices += _by_deadline(case, plans)
    for each in choices:
        print(f"  {case.name}, {each.objective}: {each.size}", file=sys.stderr)
    return ways, choices


def _by_deadline(case: Case, plans: list[Json]) -> list[Choice]:
    """The cheapest whose promise keeps to it, for deadlines between the fastest and the slowest."""
    promises = sorted(plan["seconds"]["p90"] for plan in plans)
    found = []
    for part in (0.3, 1.0):
        deadline = promises[0] + part * (promises[-1] - promises[0]) + 1e-3
        kept = [plan for plan in plans if plan["seconds"]["p90"] <= deadline]
        best = min(kept, key=lambda plan: (plan["price"]["p90"], plan["seconds"]["p90"]))
        found.append(Choice(case.name, "deadline", quoting.size(best), deadline))
    return found


def _run(result: Result, platform: Platform, case: Case, way: Way, number: int) -> bool:
    try:
        run = platform.api.wait(quoting.accepted(platform, way.spec, way.quote, way.number))
    except RuntimeError as error:
        result.note(f"{case.name}, {quoting.named(way.plan)}: {str(error)[:300]}")
        return False
    way.seconds.append(quoting.wall(run))
    way.prices.append(run["price"])
    print(f"  {case.name} {quoting.named(way.plan)}: {way.seconds[-1]:.1f} s, "
          f"${way.prices[-1] / 1e9:.6f}, round {number + 1}, load {os.getloadavg()[0]:.0f}",
          file=sys.stderr)  # fmt: skip
    return True


def report(
    result: Result, ways: dict[str, dict[tuple[object, ...], Way]], choices: list[Choice]
) -> None:
    """The ratios by objective."""
    for objective, what in (("none", "price"), ("deadline", "price"), ("budget", "time")):
        ratios: dict[str, float] = {}
        late = 0
        for each in choices:
            known = ways.get(each.case, {})
            if each.objective != objective or each.size not in known:
                continue
            mine = known[each.size]
            able = list(known.values())
            if each.deadline:
                late += mine.took > each.deadline
                able = [way for way in able if way.took <= each.deadline] or able
            best = min(way.cost if what == "price" else way.took for way in able)
            ratio = (mine.cost if what == "price" else mine.took) / best
            ratios[each.case] = max(ratio, ratios.get(each.case, 0.0))
        if not ratios:
            continue
        worst = sorted(ratios, key=lambda one: -ratios[one])[:3]
        note = f"{len(ratios)} functions; worst " + ", ".join(
            f"{one} {ratios[one]:.2f}" for one in worst
        )
        values = list(ratios.values())
        name = {"none": "no objective", "deadline": "a deadline", "budget": "a budget"}[objective]
        note += f"; {late} late" if objective == "deadline" else ""
        result.add(
            Figure(f"{name}: {what} of the best, mean", statistics.fmean(values), "x", 1.1,
                   note=note),
            Figure(f"{name}: 90th percentile", percentile(values, 0.9), "x"),
        )  # fmt: skip
    plans = [len(known) for known in ways.values()]
    spreads = [max(way.took for way in known.values()) / min(way.took for way in known.values())
               for known in ways.values() if known]  # fmt: skip
    result.note(f"{sum(plans)} plans of {len(plans)} functions over {result.rows:,} rows; the "
                f"slowest took {statistics.median(spreads):.1f} times the fastest in the middle; "
                f"load {os.getloadavg()[0]:.0f} at the end")  # fmt: skip


if __name__ == "__main__":
    bench("choice", __doc__, body, rows=2_600_000)
