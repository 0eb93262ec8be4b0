"""Time against price: which plans nobody would pass over, and which one an objective means.

A plan is judged by the upper ends of its intervals, because those are what is promised; where none
is that sure of its deadline, the surest is taken as likely if it keeps to it by its middle. The
price of a plan that only counts earlier runs is judged by their middle: with one or two of them the
upper end is no more than a precaution, and a budget is not passed whatever was quoted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tradewind.records.plans import Plan, Quote

# What differs by less than this no prediction tells apart: time decides.
EVEN = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """How well: seconds from now to a visible result, nanodollars at most from now on; `value` in
    nanodollars is what the result is worth. None: not said. What was asked for is more by what has
    `passed` since the run was accepted and what was `paid`, for samples if it was `measured`."""

    seconds: float | None = None
    budget: int | None = None
    value: int | None = None
    passed: float = 0.0
    paid: int = 0
    measured: bool = False

    @property
    def asked(self) -> float:
        """Seconds from acceptance, as somebody wrote them."""
        assert self.seconds is not None
        return self.seconds + self.passed

    @property
    def most(self) -> int:
        """Nanodollars in all, as somebody wrote them."""
        assert self.budget is not None
        return self.budget + self.paid

    @property
    def said(self) -> bool:
        """Whether there is anything to price it for."""
        return any(each is not None for each in (self.seconds, self.budget, self.value))

    def met(self, plan: Plan) -> bool:
        """Whether a plan keeps to it; of which nothing is known may."""
        seconds, price = judged(plan)
        late = self.seconds is not None and seconds is not None and seconds > self.seconds
        dear = self.budget is not None and price is not None and price > self.budget
        return not late and not dear


def judged(plan: Plan) -> tuple[float | None, float | None]:
    """The seconds and the nanodollars that a plan is compared by."""
    if plan.seconds is None or plan.price is None:
        return None, None
    if plan.cpu is None and not plan.grounds:
        return plan.seconds.p90, plan.price.p50
    return plan.seconds.p90, plan.price.p90


def known(plans: Sequence[Plan]) -> list[tuple[float, float, Plan]]:
    """Seconds, price and plan of those of which both are known."""
    found = []
    for plan in plans:
        seconds, price = judged(plan)
        if seconds is not None and price is not None:
            found.append((seconds, price, plan))
    return found


def frontier(plans: Sequence[Plan]) -> list[Plan]:
    """Those for which no other is as fast and as cheap and better in one, the fastest first: along
    them the price only falls. Of equals the first stays."""
    kept: list[Plan] = []
    least = float("inf")
    for _, price, plan in sorted(known(plans), key=lambda each: each[:2]):
        if price < least:
            kept.append(plan)
            least = price
    return kept


def ranked(plans: Sequence[Plan], objective: Objective, first: str = "") -> list[Plan]:
    """Those that meet it, the best first: with a deadline the cheapest, with a budget alone the
    fastest. With neither the cheapest, on the pool `first` if it can be there; where a twentieth
    more buys time, the fastest of those."""
    met = [each for each in known(plans) if objective.met(each[2])]
    if objective.seconds is not None:
        met.sort(key=lambda each: (each[1], each[0], each[2].pool != first))
    elif objective.budget is not None:
        met.sort(key=lambda each: (each[0], each[1], each[2].pool != first))
    elif met:
        here = any(plan.pool == first for _, _, plan in met)
        least = min(price for _, price, plan in met if not here or plan.pool == first)
        met.sort(key=lambda each: (
            here and each[2].pool != first, each[1] > EVEN * least,
            each[:2] if each[1] <= EVEN * least else (each[1], each[0]),
        ))  # fmt: skip
    return [plan for _, _, plan in met]


def likely(plans: Sequence[Plan], objective: Objective) -> list[Plan]:
    """The one plan that is surest to end in time, of those within the budget, if by its middle it
    does: what can be met is not refused, though nobody is sure of it. Of those that are as sure to
    a twentieth it is the cheapest."""
    allowed = [each for each in known(plans) if replace(objective, seconds=None).met(each[2])]
    if objective.seconds is None or not allowed:
        return []
    soonest = min(seconds for seconds, _, _ in allowed)
    sure = [(price, seconds, plan) for seconds, price, plan in allowed
            if seconds <= EVEN * soonest and plan.seconds is not None
            and plan.seconds.p50 <= objective.seconds]  # fmt: skip
    return [min(sure, key=lambda each: each[:2])[2]] if sure else []


def curve(quote: Quote, deadlines: Sequence[float]) -> list[dict[str, Any]]:
    """For each deadline in seconds the number of the cheapest plan that keeps to it, and that of
    the cheapest estimate among `elsewhere`; None where there is none: then `likely` is the surest
    of all plans, if it may. `nearest` is the fastest of all plans of which the time is known."""
    times = [
        (seconds, price, quote.plans.index(plan)) for seconds, price, plan in known(quote.plans)
    ]
    nearest = min(times)[2] if times else None
    return [
        {
            "deadline": deadline,
            "plan": _cheapest(quote.plans, deadline),
            "likely": _likely(quote.plans, deadline),
            "estimate": _cheapest(quote.elsewhere, deadline),
            "nearest": nearest,
        }
        for deadline in deadlines
    ]


def _likely(plans: Sequence[Plan], deadline: float) -> int | None:
    if _cheapest(plans, deadline) is not None:
        return None
    found = likely(plans, Objective(seconds=deadline))
    return list(plans).index(found[0]) if found else None


def _cheapest(plans: Sequence[Plan], deadline: float) -> int | None:
    meeting = [
        (price, seconds, number)
        for number, plan in enumerate(plans)
        for seconds, price, _ in known([plan])
        if seconds <= deadline
    ]
    return min(meeting)[2] if meeting else None
