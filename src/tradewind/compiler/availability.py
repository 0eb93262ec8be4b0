"""Whose loss a run survives, and which pools can give that: a table, and nothing else knows it.

| level | survives the loss of | a pool gives it with |
| process | any of its processes | any machine: what dies is begun again |
| node | its machine, for as long as that is away | any machine: it is begun again there |
| zone | any one machine | two machines |
| region | all machines of any one zone | machines in two zones |

What a pool cannot give is refused where the pool is production. Elsewhere the run goes on, and its
plan says that the level is not given. So does a plan without parts that could appear one by one
where `consistency: soft` asks for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tradewind.base.errors import Refused
from tradewind.compiler.facts import PoolFacts
from tradewind.records.plans import Plan, Quote


@dataclass(frozen=True, slots=True)
class Level:
    """What a level needs: machines, zones, how many processes of a service at least, and `apart`
    the level over which these are spread."""

    machines: int
    zones: int
    replicas: int
    survives: str
    apart: str = ""


LEVELS = {
    "process": Level(1, 1, 1, "the death of any of its processes"),
    "node": Level(1, 1, 1, "a restart of its machine"),
    "zone": Level(2, 1, 2, "the loss of any one machine", "node"),
    "region": Level(2, 2, 2, "the loss of any one zone", "zone"),
}


def lacks(level: str, pool: PoolFacts) -> str:
    """Why a pool cannot give a level, in words; empty when it can."""
    wanted = LEVELS[level]
    if pool.machines < wanted.machines:
        return f"pool {pool.name!r} has {_count(pool.machines, 'machine')}"
    if pool.zones < wanted.zones:
        return f"the machines of pool {pool.name!r} are in {_count(pool.zones, 'zone')}"
    return ""


def _count(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number or 'no'} {what}s"


def allowed(level: str, pools: Sequence[PoolFacts]) -> list[PoolFacts]:
    """Without the production pools that cannot give it. Raises Refused when none is left."""
    kept = [each for each in pools if not (each.production and lacks(level, each))]
    if pools and not kept:
        raise Refused(
            f"availability: {level} means to survive {LEVELS[level].survives}, and "
            f"{lacks(level, pools[0])}",
            hint="the pool is marked production, which promises no more than it gives: name "
            "another pool, or ask for less availability",
        )
    return kept


def told(quote: Quote, level: str, pools: Sequence[PoolFacts]) -> Quote:
    """The quote, whose plans say what of the level they do not give."""
    why = {each.name: lacks(level, each) for each in pools}
    return replace(
        quote,
        plans=tuple(
            replace(plan, not_given=_also(plan, f"availability: {level}, since {why[plan.pool]}"))
            if why.get(plan.pool)
            else plan
            for plan in quote.plans
        ),
    )


def softly(quote: Quote) -> Quote:
    """The quote of what may publish parts as they finish, whose plans say where there are none."""
    why = "consistency: soft, since one process writes the whole result, which appears at once"
    return replace(
        quote,
        plans=tuple(
            plan
            if plan.option.backend == "partitions" and plan.option.parts > 1
            else replace(plan, not_given=_also(plan, why))
            for plan in quote.plans
        ),
    )


def _also(plan: Plan, lacking: str) -> str:
    return f"{plan.not_given}; {lacking}" if plan.not_given else lacking
