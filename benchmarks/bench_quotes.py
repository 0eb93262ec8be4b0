"""How right quotes are: CPU seconds said against those of the runs, for some dozens of functions.

    .venv/bin/python benchmarks/bench_quotes.py [--quick] [--rows N]

Claims, for functions whose runs take three CPU seconds and more, truth being the median of three
runs, predictions from real probes through a real server: streaming and fan-out from a hundredth of
the rows within 8 % (median) and 20 % (90th percentile); the whole mix from a hundredth within 10
and 30, from a thirtieth within 8 and 20; a function that ran before within 8 and 20. Of the
outcomes 85 to 95 % lie in the intervals of nine in ten, whose half width is 30 % in the middle. A
quote that needs no measuring takes at most 200 ms.

Every function is quoted first, while the server knows of no run (`first`); for as many rows as the
whole table has from a quarter of it (`hundredth`); before its second and third run (`seen`). What
the other functions' runs teach is worked out afterwards from the same probes, each function left
out in turn (`taught`). There is no peer: none of those we know predicts a function.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import suite
from harness import RESULTS, Figure, Json, Platform, Result, bench, median, percentile
from suite import Case

from tradewind.compiler import learning
from tradewind.compiler.facts import Facts, Outcome
from tradewind.compiler.model import Model
from tradewind.control import probing
from tradewind.records import codec
from tradewind.records.plans import Plan

RUNS = 3
LONG = 3.0  # CPU seconds from which on a function counts for the claims
DAY = 86_400.0


@dataclass
class Said:
    """A prediction of CPU seconds, with its interval, and how often the largest sample goes into
    the rows."""

    middle: float
    low: float
    high: float
    times: float = 0.0


@dataclass
class Found:
    """What was said of one function and what came."""

    name: str
    mix: str
    plan: Json
    probes: Json
    probe_cpu: float
    probe_price: float
    first: Said
    hundredth: Said | None = None
    far_probes: Json = field(default_factory=dict)
    seen: list[Said] = field(default_factory=list)
    taught: Said | None = None
    taught_far: Said | None = None
    runs: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    prices: list[float] = field(default_factory=list)

    @property
    def truth(self) -> float:
        """CPU seconds of a run."""
        return statistics.median(self.runs)

    @property
    def streams(self) -> bool:
        """Whether what it takes for a row does not depend on the others."""
        return str(self.plan["grounds"]["family"]) == "stream"


def body(result: Result) -> None:
    """Quote all, run all three times, compare."""
    waits: list[float] = []
    with Platform() as platform:
        suite.load(platform, result.rows)
        bundle = suite.bundle(platform)
        cases = suite.cases(result.quick)
        found = [made for case in cases if (made := _first(result, platform, case, bundle))]
        for number in range(RUNS):
            for each in list(found):
                if not _run(result, platform, each, bundle, number, waits):
                    found.remove(each)
            _keep(result, found)
    _teach(found)
    report(result, found, waits)


def _keep(result: Result, found: list[Found]) -> None:
    """What was found so far, to be looked at closely."""
    RESULTS.mkdir(exist_ok=True)
    raw = RESULTS / f"quotes-raw{'-quick' if result.quick else ''}.json"
    raw.write_text(json.dumps([asdict(each) for each in found], indent=1))


# --- quotes --------------------------------------------------------------------------------------


def _first(result: Result, platform: Platform, case: Case, bundle: str) -> Found | None:
    """The quote of what nobody has run."""
    try:
        plans, probe = _asked(platform, case.spec(bundle))
        probes = probe["memory"]["probes"]
        took = probes.get("start", 0.0) + sum(call["cpu"] for call in probes["calls"])
        said = _said(plans[0], probes)
        made = Found(case.name, case.mix, plans[0], probes, took, probe["price"], said)
        if case.data == ("flights",):
            spec = case.spec(bundle, input={"flights": "part"}, name=f"far-{case.name}")
            spec["name"] = spec["name"].replace("_", "-")
            plans, probe = _asked(platform, spec, rows=result.rows)
            same = [each for each in plans if _size(each) == _size(made.plan)] or plans
            made.far_probes = probe["memory"]["probes"]
            made.hundredth = _said(same[0], made.far_probes, result.rows)
    except (RuntimeError, KeyError) as error:
        result.note(f"{case.name} has no quote: {str(error)[:300]}")
        return None
    said = made.first
    print(f"  {case.name}: {said.middle:.1f} CPU s, {said.times:.0f} x the sample, load "
          f"{os.getloadavg()[0]:.0f}", file=sys.stderr)  # fmt: skip
    return made


def _asked(platform: Platform, spec: Json, rows: int = 0) -> tuple[list[Json], Json]:
    """The plans, and the run that measured for them."""
    body: Json = {"spec": spec, "deadlines": [DAY], **({"rows": rows} if rows else {})}
    answer = platform.api.call("POST", "/quotes", body)
    probe = platform.api.wait(answer["run"])
    quote = platform.api.call("GET", f"/quotes/{probe['result']['quote']['id']}")
    plans: list[Json] = [plan for plan in quote["plans"] if plan["cpu"]]
    if not plans:
        raise RuntimeError(str(probe["memory"]["probes"]["problems"]))
    return plans, probe


def _said(plan: Json, probes: Json, rows: int = 0) -> Said:
    cpu = codec.from_json(Plan, plan).cpu
    assert cpu is not None
    return Said(cpu.p50, cpu.low, cpu.p90, _times(probes, rows))


def _times(probes: Json, rows: int = 0) -> float:
    largest = max(call["rows"] for call in probes["calls"])
    return float((rows or probes["input"]["rows"]) / max(1, largest))


def _size(plan: Json) -> tuple[Any, ...]:
    option = plan["option"]
    return option["backend"], option["width"], option["parts"], option["resources"]["cpu"]


def _cpu(run: Json) -> float:
    return float(run["memory"].get("usage", {}).get("cpu", 0.0))


# --- runs ----------------------------------------------------------------------------------------


def _run(
    result: Result, platform: Platform, each: Found, bundle: str, number: int, waits: list[float]
) -> bool:
    """One run by the plan of the first quote; before it the quote that there is by now."""
    case = next(case for case in suite.CASES if case.name == each.name)
    spec = case.spec(bundle)
    begin = time.perf_counter()
    quote = platform.api.call("POST", "/quotes", {"spec": spec, "deadlines": [DAY]})
    waits.append(1e3 * (time.perf_counter() - begin))
    # Not every size is shown each time; the CPU seconds of one backend hardly depend on it.
    fits: list[Callable[[Json], bool]] = [
        lambda plan: _size(plan) == _size(each.plan),
        lambda plan: (
            plan["option"]["parts"] == each.plan["option"]["parts"]
            and plan["option"]["backend"] == each.plan["option"]["backend"]
        ),
        lambda plan: plan["option"]["backend"] == each.plan["option"]["backend"],
    ]
    chosen = next(
        (i for fit in fits for i, plan in enumerate(quote["plans"]) if fit(plan)), None
    )  # fmt: skip
    if chosen is None:
        result.note(f"{each.name}: its backend is not among the plans any more")
        return False
    if number:
        each.seen.append(_said(quote["plans"][chosen], each.probes))
    order = {"spec": spec, "quote": quote["id"], "plan": chosen}
    try:
        run = platform.api.call("POST", "/runs", {"runs": [order]})["runs"][0]
        ended = platform.api.wait(run["id"])
    except RuntimeError as error:
        result.note(f"{each.name} failed: {str(error)[:300]}")
        return False
    each.runs.append(_cpu(ended))
    each.walls.append(ended["ended"] - ended["created"])
    each.prices.append(ended["price"])
    print(f"  {each.name}: {each.runs[-1]:.1f} CPU s, {each.walls[-1]:.1f} s, first said "
          f"{each.first.middle:.1f}, now {quote['plans'][chosen]['cpu']['p50']:.1f}, load "
          f"{os.getloadavg()[0]:.0f}", file=sys.stderr)  # fmt: skip
    return True


# --- what others teach ---------------------------------------------------------------------------


def _teach(found: list[Found], rows: int = 0) -> None:
    """For each function what the same probes say once all others have run."""
    outcomes = [made for each in found for made in _outcomes(each)]
    for each in found:
        others = tuple(made for made in outcomes if made.function != each.name)
        each.taught = _again(each, each.probes, others, 0)
        if each.hundredth is not None:
            rows = round(each.hundredth.times * max(c["rows"] for c in each.far_probes["calls"]))
            each.taught_far = _again(each, each.far_probes, others, rows)


def _outcomes(each: Found) -> list[Outcome]:
    plan = codec.from_json(Plan, each.plan)
    made = [learning.outcome(plan, cpu, each.name) for cpu in each.runs]
    return [outcome for outcome in made if outcome is not None]


def _again(each: Found, probes: Json, outcomes: tuple[Outcome, ...], rows: int) -> Said:
    facts = Facts(pools=(), probed=probing.facts(probes), outcomes=outcomes)
    option = each.plan["option"]
    processes = option["parts"] or 1
    room = option["resources"]["memory"] or math.inf
    work = Model(facts, rows).work(option["backend"], processes, room)
    assert work is not None
    return Said(work.cpu.p50, work.cpu.low, work.cpu.p90, _times(probes, rows))


# --- figures -------------------------------------------------------------------------------------


_Pairs = list[tuple[Said, Found]]


def report(result: Result, found: Sequence[Found], waits: Sequence[float]) -> None:
    """All figures."""
    if not found:
        raise RuntimeError("no function has both a quote and three runs")
    long = [each for each in found if each.truth >= LONG] or list(found)
    short = len(found) - len(long)
    result.note(f"{len(found)} functions, {short} of them under {LONG:g} CPU seconds, which count "
                f"for intervals only; {result.rows:,} rows")  # fmt: skip
    repeats = [abs(run / each.truth - 1) * 100 for each in long for run in each.runs]
    result.add(
        median("a run against the median of three", repeats, "%",
               note=f"90th percentile {percentile(repeats, 0.9):.0f} %: the machine's own")
    )  # fmt: skip
    far = _pairs(long, lambda each: each.hundredth)
    taught_far = _pairs(long, lambda each: each.taught_far)
    # Fewer rows than ROWS have no row group that is a hundredth: then it says what it was.
    part = f"1/{statistics.median([said.times for said, _ in far] or [0]):.0f}"
    _errors(result, f"streaming and fan-out, from {part}", _streaming(far))
    _errors(result, "… once others have run", _streaming(taught_far), 8, 20)
    _errors(result, f"whole mix, from {part}", far)
    _errors(result, "… once others have run", taught_far, 10, 30)
    first, taught = (_pairs(long, lambda each: each.first), _pairs(long, lambda each: each.taught))
    _errors(result, "whole mix, from a thirtieth or what time allows", first)
    _errors(result, "… once others have run", taught, 8, 20)
    for name in dict.fromkeys(each.mix for each in long):
        _errors(result, f"… {name}", [pair for pair in taught if pair[1].mix == name])
    once = [(each.seen[0], each) for each in long if each.seen]
    _errors(result, "seen once before", once, 8, 20, truth=lambda each: each.runs[1:])
    twice = [(each.seen[1], each) for each in long if len(each.seen) > 1]
    _errors(result, "seen twice before", twice, 8, 20, truth=lambda each: each.runs[2:])
    _intervals(result, found)
    _costs(result, long, waits)


def _pairs(found: Iterable[Found], said: Callable[[Found], Said | None]) -> _Pairs:
    return [(made, each) for each in found if (made := said(each)) is not None]


def _streaming(pairs: _Pairs) -> _Pairs:
    return [pair for pair in pairs if pair[1].streams]


def _errors(
    result: Result, name: str, pairs: _Pairs, middle: float = 0, upper: float = 0,
    truth: Callable[[Found], list[float]] = lambda each: each.runs,
) -> None:  # fmt: skip
    """Two figures: the median and the 90th percentile of the errors of these predictions."""
    if not pairs:
        return
    off = {each.name: 100 * (said.middle / statistics.median(truth(each)) - 1)
           for said, each in pairs}  # fmt: skip
    worst = sorted(off, key=lambda one: -abs(off[one]))[:3]
    times = [said.times for said, _ in pairs]
    note = f"{len(pairs)} functions; " + (
        f"{min(times):.0f} to {max(times):.0f} times the sample, "
        f"{statistics.median(times):.0f} in the middle; "
    )
    values = [abs(value) for value in off.values()]
    result.add(
        Figure(f"{name}: median", statistics.median(values), "%", middle, note=note
               + "worst " + ", ".join(f"{one} {off[one]:+.0f}" for one in worst)),
        Figure(f"{name}: 90th percentile", percentile(values, 0.9), "%", upper),
    )  # fmt: skip


def _intervals(result: Result, found: Sequence[Found]) -> None:
    groups = {
        "first quotes": [(each.first, run) for each in found for run in each.runs],
        "… once others have run": [
            (each.taught, run) for each in found if each.taught for run in each.runs
        ],
        "from a hundredth, once others have run": [
            (each.taught_far, run) for each in found if each.taught_far for run in each.runs
        ],
        "seen before": [
            (said, run)
            for each in found
            for said, run in zip(each.seen, each.runs[1:], strict=True)
        ],
    }  # fmt: skip
    for name, pairs in groups.items():
        inside = [said.low <= run <= said.high for said, run in pairs]
        widths = [100 * (said.high / said.middle - 1) for said, _ in pairs]
        share = 100 * sum(inside) / max(1, len(inside))
        right = "85 to 95 %" + ("" if 85 <= share <= 95 else ": **missed**")
        result.add(
            Figure(f"outcomes in the interval, {name}", share, "%",
                   note=f"of {len(inside)}; wanted: {right}"),
            Figure(f"… half its width, {name}", statistics.median(widths), "%", 30.0),
        )  # fmt: skip


def _costs(result: Result, found: Sequence[Found], waits: Sequence[float]) -> None:
    shares = [100 * each.probe_cpu / each.truth for each in found]
    bills = [100 * each.probe_price / statistics.median(each.prices) for each in found]
    dear = [each.name for each in found if each.probe_cpu > max(3.0, each.truth / 20)]
    note = f"90th percentile {percentile(shares, 0.9):.0f} %; with the start of their process "
    note += f"{statistics.median(each.probe_cpu for each in found):.1f} CPU seconds in the middle"
    note += f"; over both 5 % and 3 s: {', '.join(dear)}" if dear else "; none over 5 % and 3 s"
    result.add(
        median("probes, in CPU seconds of a run", shares, "%", note=note),
        median("probes, in the price of a run", bills, "%",
               note=f"90th percentile {percentile(bills, 0.9):.0f} %"),
        median("a quote that measures nothing", waits, "ms", 200.0,
               note=f"95th percentile {percentile(waits, 0.95):.0f} ms"),
    )  # fmt: skip
    walls = [math.log(wall / each.truth) for each in found for wall in each.walls]
    result.note(f"wall time was {math.exp(statistics.median(walls)):.2f} of CPU seconds in the "
                f"middle; load {os.getloadavg()[0]:.0f} at the end")  # fmt: skip


if __name__ == "__main__":
    bench("quotes", __doc__, body, rows=suite.ROWS)
