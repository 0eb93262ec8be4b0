"""Options in, priced plans out: the quote, or the probes that it wants.

Options of which something is known are priced at every size on every pool (`model`, `sizes`,
`timing`); of these the frontier of time and price is shown, the plan that the objective means first
(`frontier`). A training whose steps were timed is priced at every width (`stepped`). An option that
nobody may resize is priced by counting earlier runs (`counted`). What cannot be met is refused with
the nearest that can (`refusals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tradewind.base.errors import Refused
from tradewind.base.units import format_bytes, format_duration, format_money
from tradewind.compiler import (
    catalogue,
    counted,
    crowd,
    devices,
    price,
    refusals,
    sizes,
    stepped,
    timing,
)
from tradewind.compiler.elsewhere import estimates
from tradewind.compiler.facts import Facts, PoolFacts
from tradewind.compiler.frontier import EVEN, Objective, curve, frontier, judged, likely, ranked
from tradewind.compiler.learning import TELLING
from tradewind.compiler.model import SPILLS, Model
from tradewind.records.plans import Option, Plan, ProbesWanted, Quote
from tradewind.records.tasks import Resources, room

__all__ = ["QUOTE_SECONDS", "Objective", "curve", "fits", "quote"]

QUOTE_SECONDS = 15 * 60.0
# Probes: so long in all, on at most so much of the input. From a thirtieth the whole mix of
# functions is predicted to 11 % in the middle, from a hundredth to 21.
PROBE_SECONDS = 3.0
PROBE_SHARE = 1 / 30


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
    objective: Objective | None = None,
    rows: int = 0,
    probe: bool = False,
) -> Quote | ProbesWanted:
    """The plans for `rows` rows (0: as many as there are), on every pool that can hold them or on
    the one named `pool`; the first is the one that the objective means. Without an objective the
    pool `first` goes before the others, and these the cheapest first.

    `probe` asks for probes where they would tell something, objective or not. Raises Refused when
    no pool can ever hold it, or when all that is known breaks the objective; `needs` of the error
    are objectives that something keeps to. Where neighbours on a machine are why, it says what
    would be without them.
    """
    objective = objective or Objective(budget=budget or None)
    pools = _pools(options, facts, pool)
    model = Model(facts, rows)
    if (objective.said or probe) and _unmeasured(options, model):
        return ProbesWanted(seconds=PROBE_SECONDS, share=PROBE_SHARE)
    asked = bool(objective.said or probe or rows)
    if asked:
        refusals.check_probe(facts)
    try:
        plans, beside = _plans(
            options, pools, model, objective, pool=pool, first=first, asked=asked
        )
    except Refused as error:
        if not any(crowd.busy(each.load) for each in pools):
            raise
        raise _while_busy(error, options, pools, model, objective) from error
    return Quote(
        id=quote_id,
        pinned=pinned,
        plans=tuple(plans),
        made=now,
        expires=now + QUOTE_SECONDS,
        elsewhere=beside,
    )


def _plans(
    options: Sequence[Option],
    pools: Sequence[PoolFacts],
    model: Model,
    objective: Objective,
    *,
    pool: str,
    first: str,
    asked: bool,
) -> tuple[list[Plan], tuple[Plan, ...]]:
    """What can be chosen from, the best first, and estimates for machines that are not there."""
    facts = model.facts
    paced = [
        plan
        for option in options
        for place in pools
        for plan in stepped.plans(option, place, facts.paced, pools, model.rows)
    ]
    if paced:
        plans = _best(paced, objective, first)
        left = [each for each in paced if not any(_same(each, plan) for plan in plans)]
        return plans + left, _compared(plans[0], facts)
    predicted = [
        plan
        for option in options
        if option.elastic or model.line is not None
        for place in pools
        for plan in _predicted(option, place, model)
    ]
    # What nobody asks about and what is over at once keeps its small first share of a core, so that
    # many of it run together.
    if predicted and (asked or not _short(predicted)):
        rest = [each for each in options if not any(_is(each, plan) for plan in predicted)]
        plans = _best(predicted + _counted(rest, pools, facts), objective, first)
        elastic = [each for each in options if each not in rest]
        names = [each.name for each in pools]
        beside = estimates(elastic, facts.elsewhere, model, names, plans)
    elif asked and facts.probed is not None and model.line is None and not facts.history:
        plans = _unpriced(options, pools, model, objective, first)
        beside = ()
    else:
        _may_fit(options, pools, model, objective)
        plans = _counted(options, pools, facts)
        hourly = {each.name: each for each in pools}
        plans.sort(key=lambda plan: (plan.pool != first, _dear(plan, hourly[plan.pool])))
        plans = _chosen(_within(plans, objective), first, objective, named=bool(pool))
        beside = _compared(plans[0], facts)
    return plans, beside


def _compared(best: Plan, facts: Facts) -> tuple[Plan, ...]:
    """What is only counted, at the prices of two machines."""
    found = (counted.estimate(best, each) for each in catalogue.compared(facts.elsewhere))
    return tuple(each for each in found if each is not None)


def _while_busy(
    error: Refused,
    options: Sequence[Option],
    pools: Sequence[PoolFacts],
    model: Model,
    objective: Objective,
) -> Refused:
    """A refusal beside neighbours, with what would be had they gone."""
    alone = [crowd.alone(each) for each in pools]
    try:
        plans, _ = _plans(options, alone, model, objective, pool="", first="", asked=True)
    except Refused as quiet:
        return refusals.busy(error, pools, nearest=quiet)
    return refusals.busy(error, pools, plan=plans[0])


# --- where it can be ---------------------------------------------------------------------------


def _pools(options: Sequence[Option], facts: Facts, pool: str) -> list[PoolFacts]:
    pools = [each for each in facts.pools if not pool or each.name == pool]
    if not pools:
        known = ", ".join(each.name for each in facts.pools) or "none"
        raise Refused(f"there is no pool named {pool!r}", hint=f"pools: {known}")
    if not any(_holds(option, place) for option in options for place in pools):
        devices.check(options[0].resources, pools, facts.pools)
        raise _too_large(options[0], pools)
    return pools


def _holds(option: Option, pool: PoolFacts) -> bool:
    """An elastic one asks for the least that it can do with."""
    return fits(option.resources, 1 if option.elastic else option.width, pool)


def fits(each: Resources, width: int, pool: PoolFacts) -> bool:
    """Whether a pool with nothing else on it could hold `width` of these, each on one machine."""
    if pool.sizes and room(each, pool.sizes) < width:
        return False
    if devices.unshared(each, pool) or not devices.enough(each, width, pool):
        return False
    return each.within(pool.largest) and price.times(each, width).within(pool.capacity)


def _too_large(option: Option, pools: Sequence[PoolFacts]) -> Refused:
    together = price.times(option.resources, option.width)
    roomy = [each for each in pools if together.within(each.capacity)]
    if roomy:
        pool = max(roomy, key=lambda each: (each.largest.cpu, each.largest.memory))
        if option.resources.within(pool.largest):
            held = sizes.holds(option.resources, pool)
            return Refused(
                f"the machines of pool {pool.name!r} hold {held} processes of this at the same "
                f"time, not {option.width}: each needs {option.resources}, all on one machine",
                hint="ask for fewer or smaller processes, or name another pool",
            )
        return Refused(
            f"no machine of pool {pool.name!r} can hold one process of this: it needs "
            f"{option.resources}, the largest machine has {pool.largest}",
            hint="ask for less in `resources`, or name another pool",
        )
    held, largest = max(
        ((sizes.holds(option.resources, each), each) for each in pools),
        key=lambda pair: (pair[0], pair[1].capacity.cpu),
    )
    most = f" and holds at most {held} processes of this" if option.width > 1 else ""
    if len(pools) == 1:
        return Refused(
            f"pool {largest.name!r} cannot hold this: it needs {together} at the same time",
            hint=f"it has {largest.capacity}{most}; ask for less in `resources`, or name "
            "another pool",
        )
    return Refused(
        f"no pool can hold this: it needs {together} at the same time",
        hint=f"the largest for this is {largest.name!r}: it has {largest.capacity}{most}; "
        "ask for less in `resources`",
    )


# --- what is predicted -------------------------------------------------------------------------


def _unmeasured(options: Sequence[Option], model: Model) -> bool:
    """Whether something can be measured of which nothing is known."""
    return model.unknown and any(option.measurable for option in options)


def _short(plans: Sequence[Plan]) -> bool:
    return all(plan.cpu is not None and plan.cpu.p50 < TELLING for plan in plans)


def _predicted(option: Option, pool: PoolFacts, model: Model) -> list[Plan]:
    """Every size of an option on a pool, but those that need more memory than there is."""
    found = []
    for sized in sizes.sizes(option, pool, model):
        if not fits(sized.resources, sized.width, pool):
            continue
        plan = timing.plan(model, sized, pool)
        if plan is not None and _has_memory(plan, pool):
            found.append(plan)
    return found


def _has_memory(plan: Plan, pool: PoolFacts) -> bool:
    if not pool.largest.memory or plan.option.backend in SPILLS:
        return True
    memory = int(plan.grounds["memory"])
    return fits(Resources(cpu=0.0, memory=memory), plan.option.width, pool)


def _may_fit(
    options: Sequence[Option], pools: Sequence[PoolFacts], model: Model, objective: Objective
) -> None:
    """Raise Refused for a promise about what no machine seems to have the memory for. Without one
    it may try: memory is the less certain of the two figures."""
    works = [work for each in options if (work := model.work(each.backend, max(1, each.parts)))]
    if model.line is None or not objective.said or not works:
        return
    least = format_bytes(round(min(work.memory for work in works)))
    most = format_bytes(max(each.largest.memory for each in pools))
    raise Refused(
        f"one process of this is expected to need {least} of memory, and the largest machine "
        f"has {most}",
        hint="write it in a style that works on parts of its input (batch, row or group), or give "
        "it less to do",
    )


def _is(option: Option, plan: Plan) -> bool:
    return option.backend == plan.option.backend


def _best(plans: Sequence[Plan], objective: Objective, first: str) -> list[Plan]:
    """The one that the objective means, the one after it, and what else nobody would pass over,
    the fastest first; last what nothing is known of. Raises Refused."""
    order = ranked(plans, objective, first) or likely(plans, objective)
    blank = [plan for plan in plans if judged(plan)[0] is None]
    if not order:
        if not blank:
            raise refusals.unmet(plans, objective)
        order = blank
    chosen = order[0]
    others = order[1:] if order is not blank else []
    second = next((each for each in others if _differs(each, chosen)), None)
    chosen = replace(chosen, chosen_because=_because(chosen, second, objective, len(plans)))
    shown = [second] if second is not None else []
    rest = [each for each in frontier(plans) if each != order[0] and each not in shown]
    return [chosen, *shown, *rest, *(each for each in blank if each != order[0])]


def _same(one: Plan, other: Plan) -> bool:
    return (one.pool, one.option) == (other.pool, other.option)


def _differs(one: Plan, other: Plan) -> bool:
    """In more than how finely its array is cut."""
    return (one.pool, replace(one.option, parts=0)) != (other.pool, replace(other.option, parts=0))


def _because(chosen: Plan, second: Plan | None, objective: Objective, count: int) -> str:
    """One sentence: the rule, the runner-up, and what it lacks."""
    if judged(chosen)[0] is None:
        return "nothing else is known to keep to it, and nothing is known of this"
    if not objective.met(chosen):
        return _unsure(chosen, objective)
    rule = _rule(objective)
    if second is None:
        return f"{rule}; nothing else keeps to it" if objective.said else f"{rule} of {count}"
    seconds, money = judged(second)
    mine, paid = judged(chosen)
    assert seconds is not None and money is not None and mine is not None and paid is not None
    other = f"{format_duration(seconds)} for {format_money(round(money))}"
    own = f"{format_duration(mine)} for {format_money(round(paid))}"
    if other == own:
        return f"{rule}; the runner-up, {described(second)}, takes about as long for as much: {own}"
    return f"{rule}; the runner-up, {described(second)}, takes {other} against {own}"


def _rule(objective: Objective) -> str:
    within = [format_duration(objective.asked)] if objective.seconds is not None else []
    if objective.budget is not None:
        within.append(format_money(objective.most))
    if objective.seconds is not None:
        return f"the cheapest within {' and '.join(within)}"
    if objective.budget is not None:
        return f"the fastest for at most {within[0]}"
    return f"the fastest of what costs at most {EVEN - 1:.0%} more than the cheapest"


def described(plan: Plan) -> str:
    """A plan in a few words."""
    option = plan.option
    cores = f"{option.resources.cpu:g} core{'s' if option.resources.cpu != 1 else ''}"
    size = f"{option.width} x {cores}" if option.width > 1 else cores
    return f"{option.backend} with {size} on {plan.pool!r}"


# --- what is only counted ----------------------------------------------------------------------


def _counted(options: Sequence[Option], pools: Sequence[PoolFacts], facts: Facts) -> list[Plan]:
    return [
        counted.plan(option, place, facts.history, _failed(facts))
        for option in options
        for place in pools
        if fits(option.resources, option.width, place)
    ]


def _unpriced(
    options: Sequence[Option],
    pools: Sequence[PoolFacts],
    model: Model,
    objective: Objective,
    first: str,
) -> list[Plan]:
    """What was to be measured and could not be: of a sensible size, and with no word for its
    deadline. To be in time the widest goes first."""
    wide = objective.seconds is not None
    plans = [
        counted.plan(sizes.unmeasured(option, place, model, wide=wide), place, (), why)
        for why in [_failed(model.facts)]
        for option in options
        for place in pools
        if _holds(option, place)
    ]
    if wide:
        plans.sort(key=lambda each: (each.pool != first, -each.option.width * _cpu(each)))
        plans = [replace(each, not_given=_not_given(each, objective)) for each in plans]
        rule = "what does most at the same time"
    else:
        plans.sort(key=lambda each: each.pool != first)
        rule = "the plainest, with a whole core"
    because = f"nothing is known of its time: {rule}"
    return [replace(plans[0], chosen_because=because), *plans[1:]]


def _cpu(plan: Plan) -> float:
    return plan.option.resources.cpu


def _not_given(plan: Plan, objective: Objective) -> str:
    return f"performance: {format_duration(objective.asked)}, since its time is {plan.basis}"


def _failed(facts: Facts) -> str:
    """Why the probes told nothing."""
    if facts.probed is None or not facts.probed.problems:
        return ""
    problem = facts.probed.problems[0]
    said = problem.get("message") or problem.get("kind")
    return f"unknown: the probe failed: {said}"


def _dear(plan: Plan, pool: PoolFacts) -> float:
    """What plans are compared by: their price, or that of an hour where the time is unknown."""
    if plan.price is not None:
        return plan.price.p50
    part = price.share(price.times(plan.option.resources, plan.option.width), pool.capacity)
    return pool.price * part


def _unsure(plan: Plan, objective: Objective) -> str:
    """Why one is taken of which nobody is sure."""
    assert plan.seconds is not None
    half, most = format_duration(plan.seconds.p50), format_duration(plan.seconds.p90)
    within = format_duration(objective.asked)
    return f"likely within {within}, not sure: about {half}, at most {most}; nothing is surer"


def _within(plans: list[Plan], objective: Objective) -> list[Plan]:
    """Without those that are known to break it; of such the one that likely does not. Raises
    Refused when none is left."""
    kept = [each for each in plans if objective.met(each)] or likely(plans, objective)
    if not kept:
        raise refusals.unmet(plans, objective)
    return kept


def _chosen(plans: list[Plan], first: str, objective: Objective, *, named: bool) -> list[Plan]:
    """The first one says why it is the first."""
    best = plans[0]
    if not objective.met(best):
        why = _unsure(best, objective)
    elif named:
        why = "this pool was named"
    elif len(plans) == 1:
        why = "the only way known so far"
    elif best.pool == first:
        why = f"no pool was named, and {first!r} goes before the others"
    else:
        why = "the cheapest pool that can hold it"
    return [replace(best, chosen_because=why), *plans[1:]]
