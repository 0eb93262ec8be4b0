"""Today's compiler: one option, timed by history, priced by the pool.

A time is the middle of the last runs of the same name, or honestly unknown on the first run. The
room's boundary is that of the compiler to come: a Quote, or the probes that it wants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tradewind.base.errors import Refused
from tradewind.base.units import format_money
from tradewind.compiler import price
from tradewind.compiler.facts import Facts, Machine, PastRun, PoolFacts
from tradewind.records.plans import Interval, Option, Plan, ProbesWanted, Quote
from tradewind.records.tasks import Resources

# Seconds after which a run's share of a core is no longer that of its start.
TELLING = 1.0
QUOTE_SECONDS = 15 * 60.0


def quote(
    options: Sequence[Option],
    facts: Facts,
    *,
    quote_id: str,
    pinned: str,
    now: float,
    pool: str = "",
    first: str = "",
    budget: int = 0,
) -> Quote | ProbesWanted:
    """Every option on every pool that can hold it, or on the one named `pool`: the pool `first`
    before the others, these cheapest first.

    Raises Refused when no pool can ever hold it, or when what is known exceeds `budget`
    (nanodollars).
    """
    pools = [each for each in facts.pools if not pool or each.name == pool]
    if not pools:
        known = ", ".join(each.name for each in facts.pools) or "none"
        raise Refused(f"there is no pool named {pool!r}", hint=f"pools: {known}")
    plans = [
        _plan(option, place, facts.history)
        for option in options
        for place in pools
        if fits(option.resources, option.width, place)
    ]
    if not plans:
        raise _too_large(options[0], pools)
    hourly = {each.name: each for each in pools}
    plans.sort(key=lambda plan: (plan.pool != first, _dear(plan, hourly[plan.pool])))
    plans = _chosen(_within(plans, budget), first, named=bool(pool))
    best = plans[0]
    elsewhere = tuple(_estimate(best, each, facts) for each in facts.elsewhere)
    return Quote(
        id=quote_id,
        pinned=pinned,
        plans=tuple(plans),
        made=now,
        expires=now + QUOTE_SECONDS,
        elsewhere=elsewhere,
    )


def fits(each: Resources, width: int, pool: PoolFacts) -> bool:
    """Whether a pool with nothing else on it could hold `width` of these, each on one machine."""
    return each.within(pool.largest) and price.times(each, width).within(pool.capacity)


def _too_large(option: Option, pools: Sequence[PoolFacts]) -> Refused:
    together = price.times(option.resources, option.width)
    roomy = [each for each in pools if together.within(each.capacity)]
    if roomy:
        pool = max(roomy, key=lambda each: (each.largest.cpu, each.largest.memory))
        return Refused(
            f"no machine of pool {pool.name!r} can hold one process of this: it needs "
            f"{option.resources}, the largest machine has {pool.largest}",
            hint="ask for less in `resources`, or name another pool",
        )
    largest = max(pools, key=lambda pool: pool.capacity.cpu)
    if len(pools) == 1:
        return Refused(
            f"pool {largest.name!r} cannot hold this: it needs {together} at the same time",
            hint=f"it has {largest.capacity}; ask for less in `resources`, or name another pool",
        )
    return Refused(
        f"no pool can hold this: it needs {together} at the same time",
        hint=f"the largest is {largest.name!r} with {largest.capacity}; "
        "ask for less in `resources`",
    )


def _dear(plan: Plan, pool: PoolFacts) -> float:
    """What plans are compared by: their price, or that of an hour where the time is unknown."""
    if plan.price is not None:
        return plan.price.p50
    part = price.share(price.times(plan.option.resources, plan.option.width), pool.capacity)
    return pool.price * part


def _within(plans: list[Plan], budget: int) -> list[Plan]:
    """Without those that are known to cost more. Raises Refused when none is left."""
    kept = [each for each in plans if not (budget and each.price and each.price.p50 > budget)]
    if not kept:
        cheapest = min(each.price.p50 for each in plans if each.price)
        raise Refused(
            f"the cheapest plan costs about {format_money(round(cheapest))}, "
            f"over the budget of {format_money(budget)}",
            hint="raise `budget`, or give it less to do",
        )
    return kept


def _chosen(plans: list[Plan], first: str, *, named: bool) -> list[Plan]:
    """The first one says why it is the first."""
    best = plans[0]
    if named:
        why = "this pool was named"
    elif len(plans) == 1:
        why = "the only way known so far"
    elif best.pool == first:
        why = f"no pool was named, and {first!r} goes before the others"
    else:
        why = "the cheapest pool that can hold it"
    return [replace(best, chosen_because=why), *plans[1:]]


def _plan(option: Option, pool: PoolFacts, history: Sequence[PastRun]) -> Plan:
    option = _measured(option, pool, history)
    part = price.share(price.times(option.resources, option.width), pool.capacity)
    seconds = _interval([past.seconds for past in history])
    money = None
    if seconds is not None:
        money = Interval(
            p50=price.cost(seconds.p50, pool.price, part),
            p90=price.cost(seconds.p90, pool.price, part),
        )
    count = len(history)
    basis = f"the last {count} runs" if count > 1 else "the run before" if count else ""
    return Plan(
        pool=pool.name,
        engine=pool.engine,
        option=option,
        seconds=seconds,
        price=money,
        basis=basis or "unknown, first run",
    )


def _measured(option: Option, pool: PoolFacts, history: Sequence[PastRun]) -> Option:
    """The option with as many cores for a process as earlier runs kept busy (their median), never
    fewer than it asks for. Runs too short to tell say nothing."""
    ratios = sorted(
        past.cpu / past.seconds / option.width for past in history if past.seconds >= TELLING
    )
    if not option.sized or not ratios:
        return option
    busy = math.ceil(ratios[len(ratios) // 2] * 10) / 10
    most = min(pool.largest.cpu, pool.capacity.cpu / option.width)
    cpu = min(max(option.resources.cpu, busy), most)
    return replace(option, resources=replace(option.resources, cpu=cpu))


def _estimate(best: Plan, machine: Machine, facts: Facts) -> Plan:
    """The same seconds on a catalogue machine: never run there, so only an estimate."""
    part = price.share(
        price.times(best.option.resources, best.option.width),
        Resources(cpu=machine.cpu, memory=machine.memory),
    )
    money = None
    if best.seconds is not None:
        money = Interval(
            p50=price.cost(best.seconds.p50, machine.price, part),
            p90=price.cost(best.seconds.p90, machine.price, part),
        )
    return Plan(
        pool=machine.name,
        engine="",
        option=best.option,
        seconds=best.seconds,
        price=money,
        basis=f"estimate, never run there; price of {machine.as_of}",
        estimate_only=True,
    )


def _interval(seconds: Sequence[float]) -> Interval | None:
    """Median and 90th percentile (nearest rank); with few runs the spread is widened."""
    if not seconds:
        return None
    ranked = sorted(seconds)
    middle = ranked[(len(ranked) - 1) // 2]
    high = ranked[math.ceil(0.9 * len(ranked)) - 1]
    # One or two runs say little about the tail: on a shared machine a neighbour doubles the time.
    widened = 2.0 * middle if len(ranked) < 3 else high
    return Interval(p50=middle, p90=max(high, widened))
