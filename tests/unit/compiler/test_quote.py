"""Quotes and prices: honest about what is unknown, and never paradoxical."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import Refused
from tradewind.compiler import catalogue, price
from tradewind.compiler.facts import Facts, Machine, PastRun, PoolFacts
from tradewind.compiler.quote import QUOTE_SECONDS, Objective, fits, quote
from tradewind.records.plans import Option, Quote
from tradewind.records.tasks import Lot, Resources

GIB = 2**30
WHOLE = Resources(cpu=4.0, memory=16 * GIB)
POOL = PoolFacts(name="here", engine="local", price=3_600_000_000, capacity=WHOLE, largest=WHOLE)
ELSEWHERE = Machine(name="x/large", cpu=8.0, memory=32 * GIB, price=400_000_000, as_of="2026-01")
SECONDS = st.floats(0.001, 1e6)
CPU = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])


def ask(option: Option, history: tuple[float, ...] = (), *pools: PoolFacts, **more: int) -> Quote:
    past = tuple(PastRun(seconds=each, cpu=each, memory=1) for each in history)
    facts = Facts(pools=pools or (POOL,), history=past, elsewhere=(ELSEWHERE,))
    made = quote([option], facts, quote_id="q1", pinned="p", now=100.0, **more)  # type: ignore[arg-type]
    assert isinstance(made, Quote)
    return made


def option(cpu: float = 1.0, width: int = 1, memory: int = 0) -> Option:
    return Option(backend="python", width=width, resources=Resources(cpu=cpu, memory=memory))


def test_a_first_run_has_no_figures_and_says_so() -> None:
    made = ask(option())
    [plan] = made.plans
    assert plan.seconds is plan.price is None and plan.basis == "unknown, first run"
    assert made.expires == 100.0 + QUOTE_SECONDS
    [other] = made.elsewhere
    assert other.estimate_only and other.price is None


@given(st.lists(SECONDS, min_size=1, max_size=10))
def test_the_interval_is_one(history: list[float]) -> None:
    [plan] = ask(option(), tuple(history)).plans
    assert plan.seconds is not None and plan.price is not None
    assert min(history) <= plan.seconds.p50 <= max(history)
    assert plan.seconds.p50 <= plan.seconds.p90 <= 2 * max(history)
    assert plan.price.p50 <= plan.price.p90


@given(SECONDS, SECONDS)
def test_who_takes_longer_pays_no_less(one: float, two: float) -> None:
    short, long = sorted((one, two))
    assert price.cost(short, POOL.price, 0.5) <= price.cost(long, POOL.price, 0.5)


@given(CPU, CPU, st.integers(0, 16), st.integers(0, 16))
def test_who_takes_more_pays_no_less(one: float, two: float, first: int, second: int) -> None:
    small = Resources(cpu=min(one, two), memory=min(first, second) * GIB)
    large = Resources(cpu=max(one, two), memory=max(first, second) * GIB)
    assert price.share(small, POOL.capacity) <= price.share(large, POOL.capacity) <= 1.0


@given(CPU, st.integers(1, 4))
def test_a_plan_costs_what_its_processes_cost_together(cpu: float, width: int) -> None:
    if cpu * width > POOL.capacity.cpu:
        return
    [wide] = ask(option(cpu, width), (10.0,)).plans
    [one] = ask(option(cpu), (10.0,)).plans
    assert wide.price is not None and one.price is not None
    assert wide.price.p50 == pytest.approx(one.price.p50 * width, abs=width)


def test_the_cheapest_pool_is_first_and_a_named_one_is_the_only_one() -> None:
    dear = PoolFacts(name="dear", engine="local", price=10**12, capacity=WHOLE, largest=WHOLE)
    made = ask(option(), (1.0,), dear, POOL)
    assert [plan.pool for plan in made.plans] == ["here", "dear"]
    named = ask(option(), (1.0,), dear, POOL, pool="dear")  # type: ignore[arg-type]
    assert [plan.pool for plan in named.plans] == ["dear"]
    with pytest.raises(Refused, match="no pool named 'mars'"):
        ask(option(), (), POOL, pool="mars")  # type: ignore[arg-type]


def test_only_what_no_pool_can_ever_hold_is_refused() -> None:
    assert ask(option(cpu=4.0)).plans
    with pytest.raises(Refused, match="5 CPU"):
        ask(option(cpu=5.0))
    with pytest.raises(Refused, match="17 GiB"):
        ask(option(memory=17 * GIB))
    with pytest.raises(Refused, match="class 'gpu'"):
        gpu = Resources(cpu=1.0, accelerators={"gpu": 1})
        ask(Option(backend="python", resources=gpu))


def test_a_budget_refuses_only_what_is_known_to_cost_more() -> None:
    assert ask(option(), (), budget=1).plans
    assert ask(option(cpu=4.0), (1.0,), budget=1_000_000).plans
    with pytest.raises(Refused, match=r"over the budget of \$0\.0010"):
        ask(option(cpu=4.0), (2.0,), budget=1_000_000)


def test_accelerators_of_none_divide_by_nothing() -> None:
    demand = Resources(cpu=1.0, accelerators={"gpu": 0})
    assert price.share(demand, Resources(cpu=2.0, accelerators={"gpu": 0})) == 0.5


def test_the_catalogue_is_read_and_compared_with() -> None:
    machines = catalogue.parse(
        resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8")
    )
    assert len(machines) > 10 and all(each.price > 0 for each in machines)
    assert [each.price for each in machines] == sorted(each.price for each in machines)
    assert len(catalogue.compared(machines)) == 2
    twin = catalogue.like(machines, 2.0, 8 * GIB)
    assert twin.cpu >= 2.0 and twin.memory >= 8 * GIB
    huge = catalogue.like(machines, 1e6, 1)
    assert huge.cpu == max(each.cpu for each in machines if not each.accelerators)


def test_a_free_size_grows_to_what_was_kept_busy_and_a_pinned_one_stays() -> None:
    pool = PoolFacts(name="local", engine="local", capacity=WHOLE, largest=WHOLE, price=10**9)
    history = tuple(PastRun(seconds=10.0, cpu=each, memory=0) for each in (14.0, 15.5, 40.0))
    facts = Facts(pools=(pool,), history=history)

    def cpu(option: Option) -> float:
        made = quote([option], facts, quote_id="q", pinned="sha256:0", now=0.0)
        assert isinstance(made, Quote)
        return made.plans[0].option.resources.cpu

    small = Resources(cpu=0.125)
    assert cpu(Option(backend="python", resources=small, sized=True)) == 1.6
    assert cpu(Option(backend="python", resources=small)) == 0.125
    assert cpu(Option(backend="python", resources=Resources(cpu=3.0), sized=True)) == 3.0


FARM = PoolFacts(name="farm", engine="far", price=10**9, machines=4,
                 capacity=Resources(cpu=32.0, memory=128 * GIB),
                 largest=Resources(cpu=8.0, memory=32 * GIB))  # fmt: skip


def test_a_process_fits_one_machine_or_none() -> None:
    assert ask(option(cpu=8.0, width=4), (), FARM).plans
    with pytest.raises(Refused) as told:
        ask(option(cpu=16.0), (), FARM)
    assert told.value.message == (
        "no machine of pool 'farm' can hold one process of this: it needs 16 CPU, the largest "
        "machine has 8 CPU, 32 GiB"
    )
    with pytest.raises(Refused, match="'farm' cannot hold this: it needs 40 CPU"):
        ask(option(cpu=8.0, width=5), (), FARM)


TWO = replace(FARM, machines=2, capacity=Resources(cpu=16.0, memory=64 * GIB),
              sizes=(Lot(each=Resources(cpu=8.0, memory=32 * GIB), count=2),))  # fmt: skip


def test_a_gang_fits_the_machines_one_by_one_or_is_refused() -> None:
    assert ask(option(cpu=5.0, width=2), (), TWO).plans
    with pytest.raises(Refused) as told:
        ask(option(cpu=5.0, width=3), (), TWO)
    assert told.value.message == (
        "the machines of pool 'farm' hold 2 processes of this at the same time, not 3: each needs "
        "5 CPU, all on one machine"
    )
    assert told.value.hint == "ask for fewer or smaller processes, or name another pool"


@given(st.integers(1, 16), st.lists(st.integers(2, 16), min_size=1, max_size=4), st.integers(1, 5))
def test_the_size_that_was_measured_still_fits_the_machines(
    width: int, machines: list[int], busy: int
) -> None:
    lots = tuple(Lot(each=Resources(cpu=float(each), memory=GIB), count=1) for each in machines)
    pool = replace(FARM, capacity=Resources(cpu=float(sum(machines)), memory=4 * GIB), sizes=lots,
                   largest=Resources(cpu=float(max(machines)), memory=GIB))  # fmt: skip
    asked = Option(backend="python", width=width, resources=Resources(cpu=0.125), sized=True)
    history = (PastRun(seconds=10.0, cpu=10.0 * busy * width, memory=0),)
    facts = Facts(pools=(pool,), history=history)
    made = quote([asked], facts, quote_id="q", pinned="sha256:0", now=0.0)
    assert isinstance(made, Quote)
    grown = made.plans[0].option.resources
    assert grown.cpu >= min(busy, 0.125)
    assert sum(math.floor(each / grown.cpu + 1e-9) for each in machines) >= width


@given(CPU, st.integers(1, 40), st.sampled_from([0, 1, 8, 40]))
def test_what_fits_fits_a_machine_and_the_pool(cpu: float, width: int, memory: int) -> None:
    asked = option(cpu * 4, width, memory * GIB)
    each = asked.resources
    fitting = (
        each.cpu <= 8.0
        and each.memory <= 32 * GIB
        and each.cpu * width <= 32.0
        and each.memory * width <= 128 * GIB
    )
    assert fits(each, width, FARM) == fitting


def test_without_a_name_the_first_pool_goes_first_and_says_so() -> None:
    plans = ask(option(), (1.0,), FARM, POOL, first="here").plans  # type: ignore[arg-type]
    assert [plan.pool for plan in plans] == ["here", "farm"]
    assert "'here' goes before" in plans[0].chosen_because and not plans[1].chosen_because
    plans = ask(option(cpu=8.0), (1.0,), FARM, POOL, first="here").plans  # type: ignore[arg-type]
    assert [plan.pool for plan in plans] == ["farm"]
    plans = ask(option(), (), POOL, FARM).plans
    assert [plan.pool for plan in plans] == ["farm", "here"], "an hour of it costs less"
    assert plans[0].chosen_because == "the cheapest pool that can hold it"
    [plan] = ask(option(), (), POOL, FARM, pool="here").plans  # type: ignore[arg-type]
    assert plan.chosen_because == "this pool was named"


def test_a_budget_takes_the_pool_that_keeps_to_it() -> None:
    dear = replace(POOL, name="dear", price=10**14)
    plans = ask(option(), (1.0,), dear, POOL, first="dear", budget=10**9).plans  # type: ignore[arg-type]
    assert [plan.pool for plan in plans] == ["here"]


def test_what_is_over_at_once_keeps_its_small_share_where_nobody_asks() -> None:
    option = Option(
        backend="duckdb", resources=Resources(cpu=0.125), elastic=True, sized=True, measurable=True
    )
    past = PastRun(seconds=0.3, cpu=0.3, memory=1, rows=10, backend="duckdb")
    facts = Facts(pools=(POOL,), history=(past, past))
    plain = quote([option], facts, quote_id="q", pinned="p", now=0.0)
    assert isinstance(plain, Quote)
    assert plain.plans[0].option.resources.cpu == 0.125
    asked = quote(
        [option], facts, quote_id="q", pinned="p", now=0.0, objective=Objective(seconds=60.0)
    )
    assert isinstance(asked, Quote)
    assert asked.plans[0].option.resources.cpu >= 1
