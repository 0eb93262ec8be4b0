"""Estimates for machines of the catalogue: which are looked at, and which of them are shown."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.compiler.samples import FARM, GIB, HERE, MACHINES, PARTITIONS, ask, probed
from tradewind.compiler import catalogue
from tradewind.compiler.elsewhere import BOOT, FEW, MOST, STRANGE
from tradewind.compiler.facts import Facts, Machine, PastRun, Probed
from tradewind.compiler.frontier import known
from tradewind.compiler.quote import quote
from tradewind.records.plans import Option, Quote
from tradewind.records.tasks import Resources

OURS = catalogue.parse(
    resources.files("tradewind.compiler").joinpath("prices.csv").read_text("utf-8")
)
FUNCTIONS = st.builds(
    probed, st.floats(1e-8, 1e-3), st.floats(0.0, 3.0), rows=st.integers(1000, 10**8)
)


def machine(name: str, cpu: float, memory: int, price: int) -> Machine:
    return Machine(name=name, cpu=cpu, memory=memory * GIB, price=price, as_of="2026-11-01")


def test_estimates_range_over_the_whole_catalogue() -> None:
    made = ask(probed(1e-3), pools=[HERE], elsewhere=OURS).elsewhere
    names = {each.grounds["machine"] for each in made}
    cores = {each.cpu for each in OURS if each.name in names}
    assert len(cores) >= 3 and max(cores) >= 32, "few large ones, where many small cost the same"
    assert {each.grounds["spot"] for each in made} == {True, False}


def test_what_was_imported_is_rented_where_it_is_cheaper() -> None:
    mine = (machine("x/cheap", 2.0, 8, 10**5), machine("x/big", 64.0, 256, 10**7))
    found = probed(1e-3, groups=512)
    made = ask(found, pools=[HERE], elsewhere=catalogue.merged(OURS, mine)).elsewhere
    assert {each.grounds["machine"] for each in made} == {"x/cheap", "x/big"}


def test_as_few_machines_as_do_the_same_for_the_same() -> None:
    found = probed(1e-3, groups=512)
    for each in ask(found, pools=[HERE]).elsewhere:
        assert each.grounds["count"] == 1 or each.grounds["machine"] == "x/32"


def test_memory_that_the_cheapest_lack_is_rented_with_others() -> None:
    both = (machine("y/scant", 8.0, 1, 10**8), machine("y/roomy", 8.0, 64, 10**9))
    found = probed(1e-5, memory=500.0)
    hungry = ask(found, options=[PARTITIONS], pools=[FARM], elsewhere=both)
    assert {each.grounds["machine"] for each in hungry.elsewhere} == {"y/roomy"}


@settings(deadline=None)
@given(FUNCTIONS, st.sampled_from([OURS, MACHINES]))
def test_of_those_that_ones_own_plans_surpass_a_few_are_shown(
    found: Probed, machines: tuple[Machine, ...]
) -> None:
    made = ask(found, pools=[HERE, FARM], elsewhere=machines, probe=True)
    own = [each[:2] for each in known(made.plans)]
    shown = [each[:2] for each in known(made.elsewhere)]
    surpassed = [each for each in shown if any(a <= each[0] and b <= each[1] for a, b in own)]
    assert len(surpassed) <= FEW and 0 < len(shown) <= MOST + FEW
    assert [price for _, price in shown] == sorted((price for _, price in shown), reverse=True)


@settings(deadline=None, max_examples=5)
@given(st.floats(1.0, 1e5))
def test_of_a_long_list_few_sizes_are_priced(least: float) -> None:
    """Twenty thousand rows that all differ a little cost no more than as many classes of size."""
    many = tuple(machine(f"x/{n}", least + n / 7, 8 + n, 10**7 + n) for n in range(20_000))
    assert ask(probed(1e-3), pools=[HERE], elsewhere=many).elsewhere


def test_what_is_only_counted_is_rented_whole_and_from_the_start_as_well() -> None:
    """A table with two rules in one column compares nothing."""
    run = PastRun(seconds=10.0, cpu=10.0, memory=0)
    for cpu, width, counts in ((1.0, 3, (2, 1)), (3.0, 1, (1,)), (9.0, 1, ())):
        option = Option(backend="python", resources=Resources(cpu=cpu), width=width)
        facts = Facts(
            pools=(replace(FARM, largest=FARM.capacity),),
            history=(run, run, run),
            elsewhere=MACHINES[:2],
        )
        made = quote([option], facts, quote_id="q", pinned="p", now=1.0)
        assert isinstance(made, Quote) and made.plans[0].seconds is not None
        assert len(made.elsewhere) == len(counts)
        able = [each for each in MACHINES[:2] if each.cpu >= cpu]
        for plan, machine, count in zip(made.elsewhere, able, counts, strict=True):
            assert plan.seconds is not None and plan.price is not None
            assert plan.pool == (machine.name if count == 1 else f"{count} x {machine.name}")
            assert plan.seconds.p50 == made.plans[0].seconds.p50 + BOOT.p50
            assert plan.seconds.p90 == made.plans[0].seconds.p90 * STRANGE + BOOT.p90
            hourly = machine.price * count
            assert plan.price.p50 == pytest.approx(hourly * plan.seconds.p50 / 3600, rel=1e-6)
