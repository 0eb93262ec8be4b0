"""Neighbours on a machine: what is quoted beside them, said of them and learned despite them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.compiler.samples import DUCKDB, FARM, HERE, PARTITIONS, ask, call, probed
from tradewind.base import units
from tradewind.base.errors import Refused
from tradewind.base.units import format_duration
from tradewind.compiler import crowd, timing
from tradewind.compiler.facts import Facts, PastRun, PoolFacts
from tradewind.compiler.line import line_of
from tradewind.compiler.model import Model
from tradewind.compiler.quote import Objective, quote
from tradewind.records import codec
from tradewind.records.load import Load
from tradewind.records.plans import Option, Plan, Quote
from tradewind.records.tasks import Resources

LOADS = st.builds(
    Load,
    others=st.floats(0.0, 50.0),
    cores=st.sampled_from([1.0, 2.0, 8.0]),
    groups=st.none() | st.floats(0.0, 50.0),
)
QUIET = Load(others=0.0, cores=2.0)
BUSY = Load(others=4.0, cores=2.0)
TWO = replace(DUCKDB, resources=Resources(cpu=2), elastic=False)


def beside(load: Load | None, pool: PoolFacts = HERE) -> PoolFacts:
    return replace(pool, load=load)


def timed(now: Load | None, option: Option = TWO, style: str = "sql", load: float = 0.0) -> Plan:
    made = Model(Facts(pools=(), probed=probed(1e-5, style=style, load=load)))
    plan = timing.plan(made, option, beside(now))
    assert plan is not None and plan.seconds is not None and plan.price is not None
    return plan


def counted(history: tuple[PastRun, ...], load: Load | None, **more: object) -> Plan:
    asked = Option(backend="python", resources=Resources(cpu=1.0), **more)  # type: ignore[arg-type]
    facts = Facts(pools=(beside(load),), history=history)
    made = quote([asked], facts, quote_id="q", pinned="p", now=1.0)
    assert isinstance(made, Quote)
    return made.plans[0]


# --- the present -------------------------------------------------------------------------------


def test_each_gets_its_share_of_the_cores() -> None:
    """Two of ours beside four on two cores get a third of a core each."""
    assert crowd.slower(BUSY, 2) == pytest.approx(3.0)
    assert crowd.slower(BUSY, 1) == pytest.approx(2.5)
    assert crowd.slower(Load(others=4.0, cores=8.0), 4) == 1.0
    alone, busy = timed(QUIET), timed(BUSY)
    assert alone.seconds is not None and busy.seconds is not None
    assert busy.seconds.p50 == pytest.approx(3 * alone.seconds.p50, rel=0.01)
    assert busy.cpu == alone.cpu


@pytest.mark.parametrize(
    ("threads", "others", "groups", "cores"),
    [(1, 1, 1, 0.99), (1, 2, 1, 0.9), (1, 6, 1, 0.94), (1, 6, 2, 0.63), (1, 6, 6, 0.28),
     (2, 1, 1, 1.12), (2, 2, 1, 1.0), (2, 6, 1, 0.97), (2, 6, 2, 0.67), (2, 6, 6, 0.29)],
)  # fmt: skip
def test_where_the_kernel_is_fair_to_sessions_each_of_them_gets_its_share(
    threads: int, others: int, groups: int, cores: float
) -> None:
    """Measured on two cores under Linux 6.1: `cores` that a process of so many threads had."""
    load = Load(others=others, groups=groups, cores=2.0)
    assert threads / crowd.slower(load, threads) == pytest.approx(cores, abs=0.13)


def test_processes_of_ours_are_sessions_too() -> None:
    load = Load(others=6.0, groups=1.0, cores=2.0)
    assert crowd.slower(load, 1, 2) == pytest.approx(1.5)
    assert crowd.slower(load, 1, 8) == pytest.approx(0.25 / (2 / 9))


def test_who_had_its_share_of_a_core_would_have_had_a_whole_one() -> None:
    load = Load(others=6.0, groups=2.0, cores=2.0)
    assert crowd.wanted(2 / 3, load) == pytest.approx(1.0)
    assert crowd.wanted(0.3, load) == 0.3  # it was asleep
    assert crowd.quiet(PastRun(seconds=15.0, cpu=10.0, memory=0, load=load)) == pytest.approx(10.0)
    wide = Load(others=8.0, groups=1.0, cores=4.0)
    assert crowd.wanted(2.0, wide) == 4.0


def test_the_promise_allows_for_more_neighbours_and_is_wider_than_alone() -> None:
    alone, busy = timed(QUIET), timed(BUSY)
    assert alone.seconds is not None and busy.seconds is not None
    assert busy.seconds.p90 / busy.seconds.p50 > 1.2 * alone.seconds.p90 / alone.seconds.p50
    assert busy.seconds.p90 > 4 * crowd.slower(BUSY, 2) / 4 * alone.seconds.p90


def test_a_short_query_begins_no_later_for_having_more_cores() -> None:
    """To begin and to commit takes one thread, which a light neighbour leaves a core."""
    made = Model(Facts(pools=(), probed=probed(5e-8, style="sql")))
    one, two = (replace(TWO, resources=Resources(cpu=cpu)) for cpu in (1.0, 2.0))
    found = [timing.plan(made, each, beside(Load(others=0.3, cores=2.0))) for each in (one, two)]
    first, second = (each.seconds for each in found if each is not None)
    assert first is not None and second is not None
    assert second.p50 < first.p50 and second.p90 < first.p90


def test_the_bill_is_for_the_time_that_is_held() -> None:
    alone, busy = timed(QUIET), timed(BUSY)
    assert alone.price is not None and busy.price is not None
    assert busy.price.p50 == pytest.approx(3 * alone.price.p50, rel=0.01)


def test_what_sleeps_is_not_slowed() -> None:
    found = replace(probed(1e-7, style="batch"), calls=(
        call(0, 0.1), *[call(500_000, 0.15, wall=5.1)] * 3,
    ))  # fmt: skip
    made = Model(Facts(pools=(), probed=found))
    alone, busy = (timing.plan(made, PARTITIONS, beside(load)) for load in (QUIET, BUSY))
    assert alone is not None and busy is not None and alone.seconds and busy.seconds
    assert busy.seconds.p50 < 1.2 * alone.seconds.p50


def test_the_plan_says_how_busy_it_is_and_what_it_would_take_otherwise() -> None:
    alone, busy = timed(QUIET), timed(BUSY)
    assert alone.seconds is not None
    assert "this machine is busy: about 4 others want its 2 cores" in busy.basis
    assert f"quiet it would take {format_duration(alone.seconds.p50)}" in busy.basis
    assert "busy" not in alone.basis
    assert (busy.grounds["others"], busy.grounds["cores"]) == (4.0, 2.0)


def test_the_present_goes_before_what_the_probes_met() -> None:
    quiet = timed(QUIET)
    assert timed(QUIET, load=2.0) == quiet
    assert timed(None, load=2.0).seconds != quiet.seconds
    assert "2.0 cores busy" in timed(None, load=2.0).basis


@settings(deadline=None)
@given(LOADS, st.floats(0.0, 10.0), st.sampled_from(["sql", "batch", "group"]))
def test_more_neighbours_never_make_it_sooner_or_cheaper(
    load: Load, more: float, style: str
) -> None:
    option = TWO if style == "sql" else replace(PARTITIONS, elastic=False)
    few, many = (
        timed(each, option, style) for each in (load, replace(load, others=load.others + more))
    )
    assert few.seconds and many.seconds and few.price and many.price
    assert few.seconds.p50 <= many.seconds.p50 * (1 + 1e-9)
    assert few.seconds.p90 <= many.seconds.p90 * (1 + 1e-9)
    assert few.price.p90 <= many.price.p90 * (1 + 1e-9) + 1
    assert many.seconds.p50 <= many.seconds.p90


def test_a_pool_that_tells_nothing_and_one_that_is_quiet_are_quoted_alike() -> None:
    told, silent = (ask(probed(), pools=[beside(load)]) for load in (QUIET, None))
    plain = [replace(plan, grounds={}) for plan in told.plans]
    assert plain == [replace(plan, grounds={}) for plan in silent.plans]


def test_a_pool_and_its_load_are_stored() -> None:
    pool = beside(BUSY)
    assert codec.from_json(PoolFacts, codec.to_json(pool)) == pool
    old = codec.to_json(HERE)
    del old["load"]
    assert codec.from_json(PoolFacts, old) == HERE


# --- refusals ----------------------------------------------------------------------------------


def test_a_refusal_because_of_neighbours_says_so_and_what_would_be_without_them() -> None:
    work, soon = probed(2e-6), Objective(seconds=40.0)
    assert ask(work, soon, pools=[beside(QUIET)]).plans
    with pytest.raises(Refused) as told:
        ask(work, soon, pools=[beside(BUSY)])
    assert "this machine is busy: about 4 others want its 2 cores" in told.value.message
    assert "quiet it would take at most" in told.value.message
    assert "wait until it is less busy" in told.value.hint
    nearest = told.value.needs[0]["performance"]
    assert ask(work, Objective(seconds=nearest), pools=[beside(BUSY)]).plans


def test_a_refusal_that_waiting_does_not_help_names_both_times() -> None:
    work, soon = probed(1e-3), Objective(seconds=40.0)
    with pytest.raises(Refused) as told:
        ask(work, soon, pools=[beside(BUSY)])
    assert "quiet the nearest would be" in told.value.message
    assert "wait until" not in told.value.hint
    with pytest.raises(Refused) as quiet:
        ask(work, soon, pools=[beside(QUIET)])
    assert "busy" not in quiet.value.message


def test_what_would_be_without_neighbours_is_told_in_the_plans_own_time() -> None:
    both = Objective(seconds=7200.0, budget=1)
    with pytest.raises(Refused) as told:
        ask(probed(2e-6), both, pools=[beside(BUSY)])
    quiet = told.value.message.partition("quiet the nearest would be ")[2]
    time, money = quiet.split(" for ")
    least = min((each.seconds.p90 for each in ask(probed(2e-6), pools=[beside(QUIET)]).plans
                 if each.seconds), default=0.0)  # fmt: skip
    assert money.startswith("$") and least <= units.parse_duration(time) < 120.0
    assert all(need["performance"] == 7200.0 for need in told.value.needs)


def test_what_would_take_centuries_is_refused_as_well() -> None:
    with pytest.raises(Refused, match=r"the nearest is \d+d"):
        ask(probed(1e6), Objective(seconds=60.0), pools=[HERE])


def test_neighbours_here_send_it_elsewhere() -> None:
    work, soon = probed(1e-5), Objective(seconds=200.0)
    assert ask(work, soon, pools=[beside(QUIET), FARM]).plans[0].pool == "here"
    assert ask(work, soon, pools=[beside(BUSY), FARM]).plans[0].pool == "farm"


# --- what is learned -----------------------------------------------------------------------------


@given(
    st.floats(0.5, 1000.0),
    st.sampled_from([1, 2, 4]),
    st.floats(0.3, 30.0),
    st.sampled_from([2.0, 4.0]),
)
def test_a_run_beside_neighbours_tells_what_it_takes_alone(
    alone: float, threads: int, others: float, cores: float
) -> None:
    """As the fair scheduler would have it: CPU seconds stay, the clock goes on."""
    load = Load(others=others, cores=cores)
    kept = min(threads, cores)
    past = PastRun(
        seconds=alone * crowd.slower(load, threads), cpu=alone * kept, memory=0, load=load
    )
    assert crowd.quiet(past) == pytest.approx(alone, rel=1e-6)


def test_sleep_of_a_run_beside_neighbours_stays_in_what_it_takes() -> None:
    past = PastRun(seconds=35.0, cpu=10.0, memory=0, load=BUSY)  # 10 s computed, 10 s asleep
    assert crowd.quiet(past) == pytest.approx(20.0)


@given(st.floats(0.0, 1e4), st.floats(0.0, 1e4), LOADS, st.integers(1, 8))
def test_nobody_took_longer_alone(seconds: float, cpu: float, load: Load, width: int) -> None:
    past = PastRun(seconds=seconds, cpu=cpu, memory=0, load=load, width=width)
    assert 0.0 <= crowd.quiet(past) <= seconds
    assert math.isfinite(crowd.quiet(past))


def test_a_run_on_a_busy_machine_does_not_slow_a_quiet_quote_nor_the_reverse() -> None:
    alone = PastRun(seconds=20.0, cpu=20.0, memory=0, load=QUIET)
    busy = PastRun(seconds=50.0, cpu=20.0, memory=0, load=BUSY)
    for history in ((alone,), (busy,), (busy, alone, busy)):
        quiet, loaded = counted(history, QUIET), counted(history, BUSY)
        assert quiet.seconds is not None and loaded.seconds is not None
        assert quiet.seconds.p50 == pytest.approx(20.0)
        assert loaded.seconds.p50 == pytest.approx(50.0) and loaded.seconds.p90 > 55.0
        assert "quiet it would take 20s" in loaded.basis


def test_a_run_on_a_busy_machine_does_not_seem_to_keep_fewer_cores_busy() -> None:
    busy = PastRun(seconds=30.0, cpu=20.0, memory=0, load=BUSY)
    assert counted((busy,), QUIET, sized=True).option.resources.cpu == 2.0


def test_probes_beside_neighbours_tell_of_the_cores_that_they_would_have_had() -> None:
    calls = (call(0, 0.1), *[call(500_000, 2.1, wall=3.15)] * 3)
    found = replace(probed(), calls=calls)
    beside_them = line_of(replace(found, beside=BUSY))
    silent = line_of(found)
    assert beside_them is not None and silent is not None
    assert beside_them.cores == pytest.approx(2.0) and silent.cores == 1.0
    assert beside_them.waits == silent.waits == 0.0


def test_waiting_for_a_core_is_no_sleep() -> None:
    calls = (call(0, 0.1), *[call(500_000, 1.1, wall=2.75)] * 3)
    found = line_of(replace(probed(), calls=calls, beside=BUSY))
    assert found is not None and found.waits == 0.0


def test_what_is_named_beside_neighbours_holds_when_there_are_a_few_more() -> None:
    found = probed(5e-5, style="batch")
    busy, busier = (beside(Load(others=others, cores=2.0)) for others in (4.0, 4.3))
    with pytest.raises(Refused) as refused:
        ask(found, Objective(seconds=5.0), pools=[busy])
    [need] = refused.value.needs
    ask(found, Objective(seconds=need["performance"]), pools=[busier])
    with pytest.raises(Refused) as refused:
        ask(found, Objective(budget=1), pools=[busy])
    [need] = refused.value.needs
    ask(found, Objective(budget=need["budget"]), pools=[busier])
