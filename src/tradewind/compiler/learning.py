"""What earlier predictions teach: how far a backend strays from the probes' line, and how wide an
interval has to be to hold. Pure, and small enough to be made anew for every quote.

**Factor.** Truth over line, by (backend, family). It starts from what was measured once (`FIRST`)
and moves with the outcomes: a ridge over the effects of backend, of family and of both together
(Hoerl and Kennard 1970), so that a pair that nobody has met leans on its backend and its family,
and all lean on 1. Each function counts once, however often it ran.

**Spread.** Half the width of a 90 % interval, in logs: the ninth decile of the residuals
|log(truth / predicted)|, counted with one more than there are (conformal prediction; Vovk and
others 2005). Each residual comes from a factor that had not seen its function. A family with
too few outcomes borrows those of the others, measured in units of its own first spread (normalised
conformal; Papadopoulos, Gammerman and Vovk 2008); with too few of all, the first spread stays.

The first figures were measured on 39 functions over 13 million rows in DuckDB, polars, pandas and
fan-outs of processes, from probes of 1/100 and 1/30 in whole row groups (docs/rooms/compiler.md).
Spark's were not: they are a guess, with a spread to match, until its first outcomes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from tradewind.compiler.algebra import Matrix, lower, solve
from tradewind.compiler.facts import Outcome
from tradewind.records.plans import Plan

COVER = 0.9
# Outcomes of a family, and of all together, from which on their quantile is taken.
ENOUGH = 20
# Repeated runs from which on their differences say something.
FEW = 5
# How many functions a first figure weighs as much as: of both together, of a backend or family.
PAIR, ALONE = 2.0, 4.0
# Below this many CPU seconds a figure is "under 1 s": nothing is learned from its ratio.
TELLING = 1.0
# What strays from its line by more than this factor was measured wrongly: it is no engine's doing,
# and moves the factor of others as one that strays so far. (One function over groups was off by
# 58, and took the quotes of every other one with it.)
STRAYS = math.log(3.0)
# A run that took less than its starts were thought to take says no more than this.
LEAST = 0.1

# The least of three calls is one in a good moment; a run has them all.
MOMENTS = math.log(1.08)
FIRST = {
    ("duckdb", "stream"): MOMENTS,
    ("partitions", "stream"): MOMENTS,
    ("duckdb", "sort"): math.log(1.15),
    ("python", "hash"): math.log(1.6),
    ("python", "sort"): math.log(1.7),
}
SPARK = math.log(3.0)

SPREAD = {"stream": 0.21, "hash": 0.28, "sort": 0.26, "group": 0.25, "table": 0.55}
WIDEST = 0.6
SEEN = 0.18
SPARK_SPREAD = 0.9

_Pair = tuple[str, str]
# A backend, a family (the other is empty), or both together.
_Effect = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Case:
    """The mean of one function's ratios with one backend and family."""

    pair: _Pair
    function: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of a backend and a family: `effects` in logs, by backend, family and pair."""

    effects: dict[_Effect, float] = field(default_factory=dict)
    spreads: dict[tuple[str, bool], float] = field(default_factory=dict)
    scale: float = 1.0

    def factor(self, backend: str, family: str) -> float:
        """What to multiply the probes' line with."""
        learned = (self.effects.get(each, 0.0) for each in _effects((backend, family)))
        return math.exp(first_factor(backend, family) + sum(learned))

    def spread(self, backend: str, family: str, *, seen: bool) -> float:
        """Half the width of the interval, in logs; `seen`: earlier runs are what is known."""
        own = self.spreads.get((family, seen))
        return first_spread(backend, family, seen=seen) * self.scale if own is None else own


def _effects(pair: _Pair) -> tuple[_Effect, _Effect, _Effect]:
    """What adds up to the shift of a pair."""
    return (pair[0], ""), ("", pair[1]), pair


def first_factor(backend: str, family: str) -> float:
    """The log of the factor before anything is learned."""
    if backend == "spark":
        return SPARK
    return FIRST.get((backend, family), 0.0)


def first_spread(backend: str, family: str, *, seen: bool) -> float:
    """Half the width, in logs, before anything is learned."""
    if seen:
        return SEEN
    return SPARK_SPREAD if backend == "spark" else SPREAD.get(family, WIDEST)


def learn(outcomes: Sequence[Outcome]) -> Learned:
    """Factors and spreads from what came of earlier predictions."""
    telling = [each for each in outcomes if _tells(each)]
    cases = _cases(telling)
    effects, strange = _ridge(cases)
    residuals = _residuals(telling, strange)
    scores = [abs(left) / first for _, first, left in residuals]
    spreads = {}
    for key in {key for key, _, _ in residuals}:
        own = [abs(left) for mine, _, left in residuals if mine == key]
        if len(own) >= ENOUGH:
            spreads[key] = quantile(own)
    scale = quantile(scores) if len(scores) >= ENOUGH else 1.0
    return Learned(effects=effects, spreads=spreads, scale=scale)


def repeat(outcomes: Iterable[Outcome]) -> float:
    """What the work of runs differs by where nothing but the machine is another, as the standard
    deviation of its logarithm: of those that earlier runs of their function foretold, by their
    median distance, which a changed function does not spoil. 0 where these are too few."""
    known = [each for each in outcomes if each.seen and _tells(each)]
    if len(known) < FEW:
        return 0.0
    return 1.48 * median(abs(math.log(each.actual / each.predicted)) for each in known)


def quantile(values: Iterable[float], cover: float = COVER) -> float:
    """The value that a new one stays below with the chance `cover`, if it is like these."""
    ranked = sorted(values)
    return ranked[min(len(ranked), math.ceil(cover * (len(ranked) + 1))) - 1]


def _tells(outcome: Outcome) -> bool:
    """Long enough, and not all of it starts."""
    varying = (outcome.line or outcome.predicted) - outcome.fixed
    return outcome.predicted >= TELLING and outcome.actual > 0 and (outcome.seen or varying > 0)


def _ratio(outcome: Outcome) -> float:
    """Truth over line, in logs, the starts left out of both."""
    varying = (outcome.line or outcome.predicted) - outcome.fixed
    return math.log(max(outcome.actual - outcome.fixed, LEAST * varying) / varying)


def _cases(outcomes: Sequence[Outcome]) -> list[_Case]:
    """One for each function, backend and family; a function without a name is one of its own."""
    found: defaultdict[tuple[_Pair, str], list[float]] = defaultdict(list)
    for number, each in enumerate(outcomes):
        if not each.seen:
            pair = each.backend, each.family
            found[pair, _name(each, number)].append(_ratio(each) - first_factor(*pair))
    return [
        _Case(pair, name, min(STRAYS, max(-STRAYS, fmean(ratios))))
        for (pair, name), ratios in found.items()
    ]


def _name(outcome: Outcome, number: int) -> str:
    return outcome.function or f"\0{number}"


def _ridge(cases: Sequence[_Case]) -> tuple[dict[_Effect, float], dict[tuple[_Pair, str], float]]:
    """Least squares with a penalty on every effect. With it, for every pair and function, the shift
    that all other functions teach: what is left of its cases, over what of it is its own doing."""
    pairs = list(dict.fromkeys(case.pair for case in cases))
    columns = {each: number for number, each in enumerate(
        dict.fromkeys(effect for pair in pairs for effect in _effects(pair))
    )}  # fmt: skip
    if not columns:
        return {}, {}
    places = {pair: [columns[each] for each in _effects(pair)] for pair in pairs}
    normal = [[0.0] * len(columns) for _ in columns]
    sums = [0.0] * len(columns)
    for (backend, family), column in columns.items():
        normal[column][column] = PAIR if backend and family else ALONE
    for case in cases:
        for one in places[case.pair]:
            sums[one] += case.ratio
            for other in places[case.pair]:
                normal[one][other] += 1.0
    triangle = lower(normal)
    effects = dict(zip(columns, solve(triangle, sums), strict=True))
    leverage = _leverage(triangle, places)
    return effects, _strange(cases, effects, leverage)


def _leverage(triangle: Matrix, places: dict[_Pair, list[int]]) -> dict[tuple[_Pair, _Pair], float]:
    """How much a case of one pair moves the shift of another."""
    found = {}
    for pair, mine in places.items():
        moved = solve(triangle, [float(column in mine) for column in range(len(triangle))])
        for other, theirs in places.items():
            found[pair, other] = sum(moved[column] for column in theirs)
    return found


def _strange(
    cases: Sequence[_Case],
    effects: dict[_Effect, float],
    leverage: dict[tuple[_Pair, _Pair], float],
) -> dict[tuple[_Pair, str], float]:
    by_function: defaultdict[str, list[_Case]] = defaultdict(list)
    for case in cases:
        by_function[case.function].append(case)
    found = {}
    for name, mine in by_function.items():
        left = [case.ratio - sum(effects[each] for each in _effects(case.pair)) for case in mine]
        own = [
            [float(one is other) - leverage[one.pair, other.pair] for other in mine] for one in mine
        ]
        for case, residual in zip(mine, solve(lower(own), left), strict=True):
            found[case.pair, name] = case.ratio - residual
    return found


def _residuals(
    outcomes: Sequence[Outcome], strange: dict[tuple[_Pair, str], float]
) -> list[tuple[tuple[str, bool], float, float]]:
    """(family, seen), its first spread, log(truth / predicted): predicted by what the other
    functions teach. What was predicted from earlier runs is taken as it was said."""
    found = []
    for number, each in enumerate(outcomes):
        said = each.predicted
        if not each.seen:
            pair = each.backend, each.family
            shift = first_factor(*pair) + strange[pair, _name(each, number)]
            said = each.fixed + ((each.line or each.predicted) - each.fixed) * math.exp(shift)
        first = first_spread(each.backend, each.family, seen=each.seen)
        found.append(((each.family, each.seen), first, math.log(each.actual / said)))
    return found


def outcome(plan: Plan, cpu: float, function: str) -> Outcome | None:
    """What a finished run teaches, given the plan that it was quoted; None where nothing was
    predicted."""
    if plan.cpu is None or cpu <= 0:
        return None
    return Outcome(
        backend=plan.option.backend,
        family=str(plan.grounds.get("family", "")),
        predicted=plan.cpu.p50,
        actual=cpu,
        function=function,
        line=float(plan.grounds.get("line", 0.0)),
        fixed=float(plan.grounds.get("fixed", 0.0)),
        seen=bool(plan.grounds.get("seen")),
    )
