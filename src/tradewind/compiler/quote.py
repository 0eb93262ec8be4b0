"""Today's compiler: one option, timed by history, priced by the pool.

A time is the middle of the last runs of the same name, or honestly unknown on the first run. The
room's boundary is that of the compiler to come: a Quote, or the probes that it wants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tradewind.base.errors import Refused
from tradewind.base.units import format_bytes, format_money
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
    budget: int = 0,
) -> Quote | ProbesWanted:
    """Every option on every pool that can hold it, cheapest first.

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
        if fits(option.resources, option.width, place.capacity)
    ]
    if not plans:
        raise _too_large(options[0], pools)
    plans.sort(key=lambda plan: plan.price.p50 if plan.price else 0.0)
    if budget and plans[0].price and plans[0].price.p50 > budget:
        raise Refused(
            f"the cheapest plan costs about {format_money(round(plans[0].price.p50))}, "
            f"over the budget of {format_money(budget)}",
            hint="raise `budget`, or give it less to do",
        )
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


def fits(each: Resources, width: int, capacity: Resources) -> bool:
    """Whether a pool with nothing else on it could hold `width` of these."""
    return (
        each.cpu * width <= capacity.cpu + 1e-9
        and each.memory * width <= capacity.memory
        and all(
            count * width <= capacity.accelerators.get(name, 0)
            for name, count in each.accelerators.items()
        )
    )


def _too_large(option: Option, pools: Sequence[PoolFacts]) -> Refused:
    need, largest = option.resources, max(pools, key=lambda pool: pool.capacity.cpu)
    parts = [f"{need.cpu * option.width:g} CPU"]
    if need.memory:
        parts.append(format_bytes(need.memory * option.width))
    parts += [f"{count * option.width} {name}" for name, count in need.accelerators.items()]
    has = f"{largest.capacity.cpu:g} CPU, {format_bytes(largest.capacity.memory)}"
    return Refused(
        f"no pool can hold this: it needs {', '.join(parts)} at the same time",
        hint=f"the largest is {largest.name!r} with {has}; ask for less in `resources`",
    )


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
        chosen_because="the only way known so far",
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
    cpu = min(max(option.resources.cpu, busy), pool.capacity.cpu / option.width)
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
