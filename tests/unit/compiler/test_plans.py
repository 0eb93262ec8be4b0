"""Quotes of what can be resized: the frontier, the choice, the refusal, the curve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.compiler.samples import (
    ALL,
    DUCKDB,
    FARM,
    GIB,
    HERE,
    MACHINES,
    PARTITIONS,
    SPARK,
    ask,
    call,
    probed,
)  # fmt: skip
from tradewind.base.errors import Refused, from_json
from tradewind.base.units import format_duration, format_money, parse_duration, parse_money
from tradewind.compiler.facts import Facts, PastRun, PoolFacts, Probed
from tradewind.compiler.frontier import EVEN, frontier, judged, likely
from tradewind.compiler.model import Model
from tradewind.compiler.quote import Objective, curve, quote
from tradewind.compiler.refusals import writable_money, writable_seconds
from tradewind.compiler.sizes import grown, holds, parts_for, powers, sizes
from tradewind.records import codec
from tradewind.records.plans import Interval, Option, Plan, ProbesWanted, Quote
from tradewind.records.tasks import Lot, Resources
from tradewind.scheduler import demand

FUNCTIONS = st.builds(
    probed,
    st.floats(1e-8, 1e-4),
    st.floats(0.0, 3.0),
    rows=st.integers(1000, 10**8),
    groups=st.integers(1, 200),
    family=st.sampled_from(["stream", "hash", "sort", "group", "table"]),
    style=st.sampled_from(["sql", "batch", "row", "group"]),
    load=st.sampled_from([0.0, 0.5, 2.0]),
    memory=st.sampled_from([0.0, 50.0, 400.0]),
)
DEADLINES = st.floats(1.0, 1e6)


def figures(plan: Plan) -> tuple[float, float]:
    seconds, price = judged(plan)
    assert seconds is not None and price is not None
    return seconds, price


# --- sizes -------------------------------------------------------------------------------------


def test_sizes_are_powers_of_two_and_what_the_pool_can_hold() -> None:
    assert powers(12) == [1, 2, 4, 8, 12] and powers(8) == [1, 2, 4, 8] and powers(0) == []
    assert parts_for(4, 100) == [8, 16, 32] and parts_for(4, 20) == [8, 16, 20]
    assert parts_for(4, 5) == [5]
    made = Model(Facts(pools=(), probed=probed(groups=40)))
    found = list(sizes(PARTITIONS, FARM, made))
    assert {each.width for each in found} == {1, 2, 4, 8, 16, 32}
    assert all(each.width <= each.parts <= 40 and each.resources.cpu == 1 for each in found)
    assert [each.resources.cpu for each in sizes(DUCKDB, FARM, made)] == [1, 2, 4, 8]
    unknown = Model(Facts(pools=()))
    fixed = replace(DUCKDB, elastic=False)
    assert list(sizes(fixed, FARM, unknown)) == [fixed]


def test_spark_has_several_processes_on_this_machine_alone() -> None:
    made = Model(Facts(pools=(), probed=probed()))
    assert {each.width for each in sizes(SPARK, HERE, made)} == {1, 2}
    assert {each.width for each in sizes(SPARK, FARM, made)} == {1}
    told = ask(probed(), options=(SPARK,)).elsewhere
    assert told and {each.option.width for each in told} == {1}


@given(st.floats(0.1, 40.0))
def test_what_nobody_may_resize_gets_the_cores_that_its_samples_kept_busy(busy: float) -> None:
    calls = (call(0, 0.1), call(10**6, 4.1, wall=4.1 / busy))
    found = replace(probed(family="table", style="table"), calls=calls)
    whole = Option(backend="python", resources=Resources(cpu=0.125), sized=True, measurable=True)
    [sized] = sizes(whole, FARM, Model(Facts(pools=(), probed=found)))
    assert sized.resources.cpu == pytest.approx(min(8.0, max(1.0, busy)), abs=0.11)
    pinned = replace(whole, sized=False)
    assert list(sizes(pinned, FARM, Model(Facts(pools=(), probed=found)))) == [pinned]


def test_several_processes_share_a_machine_in_the_thousandths_that_are_counted() -> None:
    alone = replace(FARM, capacity=FARM.largest, sizes=(Lot(each=FARM.largest, count=1),))
    for pool in (alone, replace(alone, sizes=())):
        third = grown(replace(PARTITIONS, width=3), 100.0, pool).resources
        assert third.cpu == 2.666
        assert 3 * demand.ask(third).cpu <= 8000


def test_a_pinned_process_keeps_its_size_and_a_group_has_at_most_64_parts() -> None:
    made = Model(Facts(pools=(), probed=probed(groups=4000, style="group", family="group")))
    pinned = replace(PARTITIONS, resources=Resources(cpu=4, memory=8 * GIB), sized=False)
    found = list(sizes(pinned, FARM, made))
    assert all(each.resources == pinned.resources for each in found)
    assert max(each.width for each in found) == 8 and max(each.parts for each in found) == 64
    assert holds(Resources(cpu=16), FARM) == 0
    pinned = replace(DUCKDB, resources=Resources(cpu=3), sized=False)
    assert [each.resources.cpu for each in sizes(pinned, FARM, made)] == [3]


# --- the frontier ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=30))
def test_nobody_passes_over_the_frontier(points: list[tuple[int, int]]) -> None:
    option = Option(backend="duckdb")
    plans = [
        Plan(pool="p", engine="", option=option, seconds=Interval(p50=s, p90=s),
             price=Interval(p50=p, p90=p), cpu=Interval(p50=1, p90=1))
        for s, p in points
    ]  # fmt: skip
    kept = [figures(plan) for plan in frontier(plans)]
    assert kept == sorted(kept) and [price for _, price in kept] == sorted(
        {price for _, price in kept}, reverse=True
    )
    for seconds, price in points:
        assert any(s <= seconds and p <= price for s, p in kept)


@settings(deadline=None)
@given(FUNCTIONS)
def test_along_the_plans_the_price_only_falls(found: Probed) -> None:
    made = ask(found)
    along = sorted(figures(plan) for plan in frontier(made.plans))
    assert [price for _, price in along] == sorted((p for _, p in along), reverse=True)
    for plan in (*made.plans, *made.elsewhere):
        assert plan.seconds is not None and plan.price is not None and plan.cpu is not None
        assert plan.seconds.p50 <= plan.seconds.p90 and plan.price.p50 <= plan.price.p90
        assert plan.cpu.low <= plan.cpu.p50 <= plan.cpu.p90
    assert all(plan.estimate_only for plan in made.elsewhere)
    assert not any(plan.estimate_only for plan in made.plans)


@settings(deadline=None)
@given(FUNCTIONS, st.integers(1, 10**9), st.integers(1, 10**9), DEADLINES)
def test_more_rows_never_cost_less(found: Probed, one: int, two: int, deadline: float) -> None:
    few, many = sorted((one, two))
    cheap = min(figures(plan)[1] for plan in ask(found, rows=few).plans)
    assert cheap <= min(figures(plan)[1] for plan in ask(found, rows=many).plans)
    try:
        [dear] = ask(found, Objective(seconds=deadline), rows=many).plans[:1]
    except Refused:
        return
    if figures(dear)[0] > deadline:  # nobody is sure of it: the surest is taken, whatever it costs
        return
    [small] = ask(found, Objective(seconds=deadline), rows=few).plans[:1]
    assert figures(small)[1] <= figures(dear)[1]


def test_of_plans_that_are_as_sure_of_a_deadline_the_cheapest_is_taken() -> None:
    """Half a millisecond was bought for 37 times the price."""
    dear, cheap, late = (
        plan(seconds=Interval(p50=0.9, p90=at), price=Interval(p50=price, p90=price))
        for at, price in ((2.0, 312_511), (2.0005, 8_337), (2.5, 1))
    )
    assert likely([dear, cheap, late], Objective(seconds=1.0)) == [cheap]
    assert likely([dear, cheap, late], Objective(seconds=0.5)) == []


def plan(**fields: Any) -> Plan:
    option = Option(backend="duckdb", width=1, resources=Resources(cpu=1.0))
    return Plan(pool="local", engine="local", option=option, **fields)


# --- the choice --------------------------------------------------------------------------------


@settings(deadline=None)
@given(FUNCTIONS, DEADLINES, DEADLINES)
def test_a_later_deadline_never_costs_more(found: Probed, one: float, two: float) -> None:
    early, late = sorted((one, two))
    try:
        soon = ask(found, Objective(seconds=early)).plans[0]
    except Refused as told:
        assert told.needs[0]["performance"] > early
        return
    later = ask(found, Objective(seconds=late)).plans[0]
    for plan, deadline in ((soon, early), (later, late)):
        assert plan.seconds is not None
        assert figures(plan)[0] <= deadline or plan.seconds.p50 <= deadline
    assert figures(later)[1] <= figures(soon)[1]


@settings(deadline=None)
@given(FUNCTIONS, st.none() | DEADLINES, st.none() | st.integers(10**4, 10**12))
def test_what_is_chosen_is_never_dominated_and_what_is_refused_can_be_asked_for(
    found: Probed, seconds: float | None, budget: int | None
) -> None:
    asked = Objective(seconds=seconds, budget=budget)
    try:
        made = ask(found, asked)
    except Refused as told:
        assert asked.said and told.needs and "write `" in told.hint
        again = from_json(told.to_json())
        assert again.needs == told.needs
        for need in told.needs:
            both = Objective(seconds=need["performance"], budget=need["budget"])
            assert both.met(ask(found, both).plans[0])
            single = Objective(
                seconds=need["performance"] if seconds is not None else None,
                budget=need["budget"] if budget is not None else None,
            )
            assert single.met(ask(found, single).plans[0])
        return
    best = made.plans[0]
    assert best.chosen_because
    if not asked.met(best):  # likely: nothing is surer, and by its middle it is in time
        assert "likely" in best.chosen_because and replace(asked, seconds=None).met(best)
        assert best.seconds is not None and seconds is not None and best.seconds.p50 <= seconds
        assert not any(asked.met(plan) for plan in made.plans)
    mine = figures(best)
    pools = [each for each in made.plans if asked.said or each.pool == best.pool]
    assert not any(
        other[0] <= mine[0] and other[1] <= mine[1] and other != mine
        for other in map(figures, pools)
    )


def test_what_the_surest_plan_may_keep_to_is_not_refused() -> None:
    found = probed(1e-5)
    surest = min(ask(found).plans, key=figures)
    assert surest.seconds is not None
    between = (surest.seconds.p50 + surest.seconds.p90) / 2
    made = ask(found, Objective(seconds=between))
    assert made.plans[0].option == surest.option and made.plans[0].pool == surest.pool
    assert made.plans[0].chosen_because.startswith("likely within")
    [point] = curve(made, [between])
    assert point["plan"] is None and point["likely"] == 0
    with pytest.raises(Refused):
        ask(found, Objective(seconds=surest.seconds.p50 * 0.99))
    with pytest.raises(Refused):
        ask(found, Objective(seconds=between, budget=1000))


def test_with_a_deadline_the_cheapest_with_a_budget_the_fastest() -> None:
    found = probed(1e-5)
    plans = ask(found).plans
    within = [figures(plan) for plan in plans if figures(plan)[0] <= 60]
    best = ask(found, Objective(seconds=60)).plans[0]
    assert figures(best)[1] == min(price for _, price in within)
    budget = sorted(figures(plan)[1] for plan in plans)[len(plans) // 2]
    fast = ask(found, Objective(budget=round(budget))).plans[0]
    assert figures(fast)[0] == min(s for s, p in map(figures, plans) if p <= budget)
    both = ask(found, Objective(seconds=60, budget=round(figures(best)[1]))).plans[0]
    assert figures(both) == figures(best)


def test_without_an_objective_nearly_the_cheapest_on_the_first_pool() -> None:
    found = probed(1e-5, style="sql", base=0.0)
    best = ask(found, first="here").plans[0]
    cores = best.option.resources.cpu * best.option.width
    assert best.pool == "here" and cores == 2, "twice as fast, and hardly dearer"
    alone = ask(found, pools=[HERE])
    cheapest = min(figures(plan)[1] for plan in alone.plans)
    assert figures(alone.plans[0])[1] <= EVEN * cheapest


def test_the_reason_names_the_runner_up_and_what_it_lacks() -> None:
    made = ask(probed(1e-5), Objective(seconds=60))
    best, second = made.plans[:2]
    told = best.chosen_because
    assert told.startswith("the cheapest within 1m; the runner-up, ")
    assert second.option.backend in told and repr(second.pool) in told
    assert format_duration(figures(second)[0]) in told
    assert format_money(round(figures(best)[1])) in told
    assert not second.chosen_because
    alone = ask(probed(1e-9), Objective(seconds=60), [replace(DUCKDB, elastic=False)], [HERE])
    assert alone.plans[0].chosen_because == "the cheapest within 1m; nothing else keeps to it"


def test_a_refusal_says_what_to_write() -> None:
    with pytest.raises(Refused) as told:
        ask(probed(1e-4), Objective(seconds=2.0))
    [need] = told.value.needs
    text = format_duration(need["performance"])
    assert told.value.message == (
        f"no plan gives the result within 2s: the nearest is {text} for "
        f"{format_money(need['budget'])}"
    )
    assert f"`performance: {text}`" in told.value.hint
    assert ask(probed(1e-4), Objective(seconds=parse_duration(text))).plans
    with pytest.raises(Refused, match=r"over the budget of \$0\.0000010") as told:
        ask(probed(1e-4), Objective(budget=1000))
    assert f"`budget: {format_money(told.value.needs[0]['budget'])}`" in told.value.hint
    fast, cheap = (figures(plan) for plan in (min(ask(probed(1e-4)).plans, key=key) for key in (
        figures, lambda plan: figures(plan)[::-1],
    )))  # fmt: skip
    with pytest.raises(Refused) as told:
        ask(probed(1e-4), Objective(seconds=fast[0], budget=round(cheap[1])))
    assert len(told.value.needs) == 2, "sooner for more, or later for this"


def test_a_refusal_counts_from_acceptance_and_never_names_less_time_than_was_asked() -> None:
    seconds, money = figures(ask(probed(1e-6)).plans[0])
    asked = Objective(seconds=50.0, budget=round(money / 100), passed=4.0, paid=10**6)
    with pytest.raises(Refused) as told:
        ask(probed(1e-6), asked)
    assert seconds < 50.0
    assert {each["performance"] for each in told.value.needs} == {54.0}
    assert all(each["budget"] > 10**6 for each in told.value.needs)
    assert "`performance: 54s`" in told.value.hint
    assert "within 54s for " in told.value.message and "50s are left" in told.value.message


@given(st.floats(0.001, 1e7), st.integers(1, 10**15))
def test_what_is_named_can_be_written_and_is_enough(seconds: float, nanodollars: int) -> None:
    found = writable_seconds(seconds)
    assert seconds <= found <= max(seconds * 1.1, seconds + 0.1)
    assert parse_duration(format_duration(found)) == found
    money = writable_money(nanodollars)
    assert nanodollars <= money <= nanodollars * 1.11 + 10**7 * (nanodollars >= 10**8)
    assert parse_money(format_money(money)) == money


def test_a_runner_up_that_is_as_good_says_no_figure_against_itself() -> None:
    twin = replace(HERE, name="twin")
    told = ask(probed(), Objective(seconds=60), pools=[HERE, twin]).plans[0].chosen_because
    assert "on 'twin', takes about as long for as much: " in told and "against" not in told


# --- probes ------------------------------------------------------------------------------------


def wanted(objective: Objective | None, options: tuple[Option, ...] = ALL, **more: object) -> bool:
    facts = Facts(pools=(HERE,), **{k: more.pop(k) for k in list(more) if k in ("history",)})  # type: ignore[arg-type]
    made = quote(options, facts, quote_id="q", pinned="p", now=0.0, objective=objective, **more)  # type: ignore[arg-type]
    if isinstance(made, ProbesWanted):
        assert 0 < made.share < 1 and made.seconds >= 3
    return isinstance(made, ProbesWanted)


def test_probes_are_wanted_where_a_choice_has_nothing_to_go_by() -> None:
    assert (
        wanted(Objective(seconds=60)) and wanted(Objective(budget=1)) and wanted(None, probe=True)
    )
    assert wanted(Objective(value=10**9))
    assert not wanted(None), "never for a plain run"
    fixed = Option(backend="python")
    assert not wanted(Objective(seconds=60), (fixed,)), "no sample can be taken"
    assert wanted(Objective(seconds=60), (replace(fixed, measurable=True),))
    ran = PastRun(seconds=5.0, cpu=9.0, memory=1)
    assert not wanted(Objective(seconds=60), history=(ran,))
    ran = replace(ran, rows=1_000_000)
    assert not wanted(Objective(seconds=60), history=(ran,), rows=10_000_000)
    assert wanted(Objective(seconds=60), history=(ran,), rows=100_000_000), "of so many it knows no"


def test_a_probe_that_failed_leaves_it_unknown_and_says_why() -> None:
    problem = {"kind": "raised", "message": "division by zero"}
    found = replace(probed(), calls=(), problems=(problem,))
    made = ask(found, Objective(seconds=60))
    assert all(plan.seconds is None for plan in made.plans)
    assert made.plans[0].basis == "unknown: the probe failed: division by zero"


def test_what_can_only_fail_is_refused_with_the_error() -> None:
    problem = {"kind": "raised", "message": "KeyError: 'x' (at row 0 of p)", "sure": True}
    found = replace(probed(), calls=(), problems=(problem,))
    for asked in ({"objective": Objective(seconds=60)}, {"probe": True}):
        with pytest.raises(Refused, match=r"it can only fail.*KeyError: 'x' \(at row 0 of p\)"):
            ask(found, **asked)
    assert ask(found).plans, "who asks nothing may try"


def test_what_no_machine_has_the_memory_for_is_not_promised() -> None:
    found = probed(family="table", style="table", memory=20_000.0)
    table = Option(backend="python", resources=Resources(cpu=0.125), sized=True)
    with pytest.raises(Refused, match=r"expected to need 37\d\.\d GiB of memory"):
        ask(found, Objective(seconds=600), [table])
    assert ask(found, None, [table]).plans[0].seconds is None, "without a promise it may try"


# --- elsewhere ---------------------------------------------------------------------------------


def test_estimates_are_marked_wide_and_of_whole_machines() -> None:
    made = ask(probed(1e-5))
    assert made.elsewhere and any(each.grounds["spot"] for each in made.elsewhere)
    for each in made.elsewhere:
        assert each.seconds is not None and each.price is not None and each.cpu is not None
        assert each.estimate_only and each.basis.startswith("estimate, never run there; ")
        assert each.basis.endswith("price of 2026-01") and each.seconds.p50 > 60
        assert each.cpu.p90 / each.cpu.p50 > 1.5
        machine = next(m for m in MACHINES if m.name == each.grounds["machine"])
        hourly = machine.spot if each.grounds["spot"] else machine.price
        least = hourly * each.grounds["count"] * 60 / 3600
        assert each.price.p50 > least, "rented whole, and while it starts"
    named = [replace(HERE, name="x/2"), FARM]
    assert not any(
        each.grounds["machine"] == "x/2" for each in ask(probed(), pools=named).elsewhere
    )


def test_the_curve_is_of_the_plans_shown_and_never_rises() -> None:
    made = ask(probed(1e-5))
    deadlines = [0.5, 10, 60, 600, 3600, 10**6]
    points = curve(made, deadlines)
    assert [each["deadline"] for each in points] == deadlines
    assert points[0]["plan"] is points[0]["estimate"] is None
    least = min(figures(each)[0] for each in made.plans)
    assert {figures(made.plans[each["nearest"]])[0] for each in points} == {least}
    assert curve(ask(BLIND), [60])[0] == {
        "deadline": 60, "plan": None, "estimate": None, "nearest": None, "likely": None
    }  # fmt: skip
    prices = [
        figures(made.plans[each["plan"]])[1] for each in points[1:] if each["plan"] is not None
    ]
    assert len(prices) >= 4 and prices == sorted(prices, reverse=True)
    beside = [figures(made.elsewhere[each["estimate"]]) for each in points[-2:]]
    assert beside[0][0] <= 3600 and beside[1][1] <= beside[0][1]


BLIND = replace(probed(), calls=(), problems=({"message": "the first rows took too long"},))


def test_what_could_not_be_measured_gets_whole_cores_and_no_word_for_its_deadline() -> None:
    late = "performance: 1m, since its time is unknown: the probe failed: the first rows took too"
    for pools, width in (([HERE], 2), ([FARM], 32)):
        best = ask(BLIND, Objective(seconds=60.0), pools=pools).plans[0]
        assert (best.option.backend, best.option.width) == ("partitions", width)
        assert best.option.resources.cpu == 1.0 and best.option.parts >= width
        assert best.seconds is None and best.not_given.startswith(late)
    plain = ask(BLIND, Objective(budget=10**9), pools=[FARM]).plans[0]
    assert (plain.option.backend, plain.option.width) == ("duckdb", 1)
    assert plain.option.resources.cpu == 1.0 and not plain.not_given
    query = ask(replace(BLIND, style="sql"), Objective(seconds=60.0), [DUCKDB], [FARM]).plans[0]
    assert query.option.resources.cpu == 8.0, "the engine spreads it"
    pinned = replace(DUCKDB, sized=False, resources=Resources(cpu=0.5))
    [kept] = ask(BLIND, Objective(seconds=60.0), [pinned], [HERE]).plans
    assert kept.option == pinned
    tables = replace(DUCKDB, elastic=False)
    [one] = ask(BLIND, Objective(seconds=60.0), [tables], [HERE]).plans
    assert one.option.resources.cpu == 1.0


def test_a_quote_crosses_the_wire_whole() -> None:
    made = ask(probed())
    assert codec.loads(Quote, codec.dumps(made)) == made


def test_a_pool_of_price_zero_costs_nothing() -> None:
    free = replace(HERE, price=0)
    best = ask(probed(1e-5), Objective(budget=0), pools=[free]).plans[0]
    assert best.price == Interval(p50=0, p90=0)
    slow = [figures(plan)[0] for plan in ask(probed(1e-5), pools=[free]).plans]
    assert figures(best)[0] == min(slow)


def test_a_pool_too_small_for_a_core_is_still_quoted() -> None:
    tiny = Resources(cpu=0.5, memory=GIB)
    pool = PoolFacts(name="tiny", engine="far", capacity=tiny, largest=tiny, price=10**7)
    made = ask(probed(), None, [DUCKDB], [pool])
    assert made.plans[0].option.resources.cpu == 0.5


# --- beside services ---------------------------------------------------------------------------


def test_no_size_waits_for_a_service_to_be_stopped() -> None:
    """It never ends by itself, so what does not fit beside it never starts."""
    beside = replace(HERE, standing=Resources(cpu=0.25))
    [found, alone] = [
        ask(probed(1e-5), options=(DUCKDB,), pools=[pool]).plans for pool in (beside, HERE)
    ]
    assert max(map(cores, found)) == 1.0 < max(map(cores, alone))
    prices = [{cores(plan): plan.price for plan in plans} for plans in (found, alone)]
    assert prices[0][1.0] == prices[1][1.0], "a core costs what it costs"


def cores(plan: Plan) -> float:
    return plan.option.width * plan.option.resources.cpu


def test_where_services_leave_no_core_somebody_must_stop_one() -> None:
    full = replace(HERE, standing=Resources(cpu=1.5))
    assert ask(probed(1e-5), pools=[full]).plans == ask(probed(1e-5), pools=[HERE]).plans
    roomy = replace(FARM, standing=Resources(cpu=30.0, memory=GIB))
    sized = [each for each in sizes(PARTITIONS, roomy, Model(Facts(pools=(), probed=probed())))]
    assert max(each.width * each.resources.cpu for each in sized) == 2.0
