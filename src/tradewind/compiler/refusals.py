"""What is said when nothing that is known keeps to an objective: the nearest that something does.

Every `needs` of such a refusal is a pair of `performance` (seconds) and `budget` (nanodollars)
which, written into the spec, is met: rounded up to what people write, with time left to plan and
what has passed and was paid until now, so that it holds from acceptance; never less time than was
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from tradewind.base.errors import Refused
from tradewind.base.units import LONGEST, NANODOLLARS, format_duration, format_money, parse_duration
from tradewind.compiler import crowd
from tradewind.compiler.facts import Facts, PoolFacts
from tradewind.compiler.frontier import Objective, judged, known, likely
from tradewind.records.plans import Plan, Quote

# A deadline counts from acceptance: so much may pass until the plan is made.
PASSES = 0.5
# Neighbours come and go: what is named beside them still holds when there are a few more.
DRIFT = 1.1


_Point = tuple[float, float, Plan]
_Need = dict[str, float | int]


class Unmet(Refused):
    """Nothing keeps to it: `nearest` is what plans would take, with no regard to what was asked."""

    nearest: Sequence[_Need] = ()


def unmet(plans: Sequence[Plan], objective: Objective) -> Unmet:
    """None of these plans meets it, and of all of them time and price are known."""
    points = known(plans)
    fastest, cheapest = _fastest(points, objective), _cheapest(points, objective)
    near = []
    if objective.seconds is None or (objective.budget is not None and cheapest is not None):
        assert cheapest is not None
        near.append(cheapest)
    if objective.budget is None or (objective.seconds is not None and fastest is not None):
        assert fastest is not None
        near.append(fastest)
    if not near:  # neither alone helps: the cheapest of all
        near.append(min(points, key=lambda each: (each[1], each[0])))
    nearest = [_need(each, objective) for each in near]
    least = objective.asked if objective.seconds is not None else 0.0
    needs = [{**need, "performance": max(least, need["performance"])} for need in nearest]
    hint = _hint(objective, needs)
    error = Unmet(_message(points, objective, nearest), hint=hint, needs=needs)
    error.nearest = nearest
    return error


def check_probe(facts: Facts) -> None:
    """Raise Refused where a sample was enough to see that a run can only fail."""
    sure = [each for each in facts.probed.problems if each.get("sure")] if facts.probed else []
    if not sure:
        return
    skip = "; `on_error: skip` leaves out rows that raise" if sure[0]["kind"] == "raised" else ""
    raise Refused(
        f"it can only fail, as its probe did on a sample of the input: {sure[0]['message']}",
        hint=f"nothing but the probe was paid for{skip}",
    )


def check_held(quote: Quote, number: int, objective: Objective) -> None:
    """Raise Refused for a plan of an accepted quote that is not quoted to keep to it, not even
    likely."""
    plan = quote.plans[number]
    if objective.met(plan) or likely([plan], objective):
        return
    seconds, price = judged(plan)
    assert seconds is not None and price is not None
    others = [n for n, each in enumerate(quote.plans) if known([each]) and objective.met(each)]
    other = f"take `--plan {others[0]}`, which keeps to it, or " if others else ""
    error = unmet([plan], objective)
    raise Refused(
        f"plan {number} of quote {quote.id} takes {format_duration(seconds)} for "
        f"{format_money(round(price))}, and {_asked(objective)} asked for",
        hint=other + error.hint.removesuffix(", or give it less to do"),
        needs=error.needs,
    )


def _asked(objective: Objective) -> str:
    said = [] if objective.seconds is None else [format_duration(objective.asked)]
    if objective.budget is not None:
        said.append(f"at most {format_money(objective.most)}")
    return f"{' for '.join(said)} {'is' if len(said) == 1 else 'are'}"


def busy(
    error: Refused,
    pools: Sequence[PoolFacts],
    *,
    plan: Plan | None = None,
    nearest: Refused | None = None,
) -> Refused:
    """The same refusal, with the neighbours that are its reason, and what would be without them: a
    plan that keeps to it, or the nearest that could be had. As it was where they change nothing."""
    loads = [each.load for each in pools if each.load is not None and crowd.busy(each.load)]
    who = crowd.words(max(loads, key=lambda each: each.others / each.cores))
    if plan is not None:
        seconds, price = judged(plan)
        if seconds is None or price is None:
            return error
        time, money = format_duration(seconds), format_money(round(price))
        text = f"{who}; quiet it would take at most {time} for {money}"
        hint = f"wait until it is less busy, or {error.hint}"
        return Refused(f"{error.message}; {text}", hint=hint, needs=error.needs)
    if nearest is None or nearest.needs == error.needs or not nearest.needs:
        return error
    plans = nearest.nearest if isinstance(nearest, Unmet) else nearest.needs
    could = " or ".join(_said(need) for need in plans)
    return Refused(
        f"{error.message}; {who}; quiet the nearest would be {could}",
        hint=error.hint,
        needs=error.needs,
    )


def _fastest(points: Sequence[_Point], objective: Objective) -> _Point | None:
    """The nearest deadline at a price that is still allowed."""
    allowed = [each for each in points if objective.budget is None or each[1] <= objective.budget]
    return min(allowed, key=lambda each: each[:2], default=None)


def _cheapest(points: Sequence[_Point], objective: Objective) -> _Point | None:
    """The least price in a time that is still allowed."""
    allowed = [each for each in points if objective.seconds is None or each[0] <= objective.seconds]
    return min(allowed, key=lambda each: (each[1], each[0]), default=None)


def _need(point: _Point, objective: Objective) -> _Need:
    seconds, price, plan = point
    drift = DRIFT if float(plan.grounds.get("others", 0.0)) >= crowd.QUIET else 1.0
    return {
        "performance": writable_seconds(objective.passed + drift * seconds + PASSES),
        "budget": writable_money(objective.paid + drift * price),
    }


def _message(points: Sequence[_Point], objective: Objective, needs: Sequence[_Need]) -> str:
    if objective.seconds is None and objective.budget is not None:
        cheapest = format_money(round(min(price for _, price, _ in points)))
        paid = f" beside {format_money(objective.paid)} for measuring" if objective.paid else ""
        return (
            f"the cheapest plan costs about {cheapest}{paid}, "
            f"over the budget of {format_money(objective.most)}"
        )
    asked = f"within {format_duration(objective.asked)}"
    asked += f" for {format_money(objective.most)}" if objective.budget is not None else ""
    nearest = " or ".join(_said(need) for need in needs)
    return f"no plan gives the result {asked}: {_left(objective)}the nearest is {nearest}"


def _left(objective: Objective) -> str:
    """What is left of the time, where that is another than what was asked."""
    if objective.seconds is None or objective.passed < PASSES:
        return ""
    left = format_duration(round(max(0.0, objective.seconds), 1))
    return f"{left} are left{' after measuring' if objective.measured else ''}, and "


def _said(need: _Need) -> str:
    return f"{format_duration(need['performance'])} for {format_money(int(need['budget']))}"


def _hint(objective: Objective, needs: Sequence[_Need]) -> str:
    ways = []
    for need in needs:
        parts = []
        if objective.seconds is not None:
            parts.append(f"performance: {format_duration(need['performance'])}")
        if objective.budget is not None:
            parts.append(f"budget: {format_money(int(need['budget']))}")
        ways.append(" and ".join(f"`{part}`" for part in parts))
    return f"write {' or '.join(dict.fromkeys(ways))}, or give it less to do"


def writable_seconds(seconds: float) -> float:
    """The least duration that people write and that is no shorter; as it is where nobody may write
    it, since it is longer than any, or would be once rounded."""
    if seconds > 0.9 * LONGEST:
        return seconds
    steps = ((0.9, 0.001), (59.9, 0.1), (3540.0, 1.0), (82800.0, 60.0))
    step = next((step for limit, step in steps if seconds <= limit), 3600.0)
    count = math.ceil(seconds / step)
    while (found := parse_duration(format_duration(count * step))) < seconds:
        count += 1
    return found


def writable_money(nanodollars: float) -> int:
    """The least amount that people write and that is no less."""
    exact = Decimal(math.ceil(nanodollars)) / NANODOLLARS
    digits = 2 if exact >= Decimal("0.1") or not exact else 1 - exact.adjusted()
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING)
    return math.ceil(rounded * NANODOLLARS)
