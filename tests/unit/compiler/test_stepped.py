"""Plans of a training by its width, from the step times of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.compiler.samples import FARM, HERE
from tradewind.base.errors import Refused
from tradewind.compiler import stepped
from tradewind.compiler.facts import Facts, Pace, PastRun, PoolFacts
from tradewind.compiler.quote import Objective, quote
from tradewind.records.load import Load
from tradewind.records.plans import Interval, Option, Plan, Quote
from tradewind.records.tasks import Resources

STEPS, START = 1000, 20.0
ELASTIC = Option(backend="python", width=1, widest=8, resources=Resources(cpu=1.0))


def ran(width: int, step: float, *, steps: int = STEPS, pool: str = "farm", **more: Any) -> PastRun:
    seconds = START + steps * step
    known = {"seconds": seconds, "cpu": seconds * width, "memory": 0, "width": width, **more}
    return PastRun(pace=Pace(steps=steps, seconds=step, pool=pool), **known)


# One second alone; with each worker more, less of it is left to share.
TWO = (ran(1, 1.0), ran(2, 0.55))
FOUR = (*TWO, ran(4, 0.32), ran(8, 0.2))


def asked(
    past: Sequence[PastRun],
    option: Option = ELASTIC,
    pools: Sequence[PoolFacts] = (FARM,),
    rows: int = 0,
    **objective: Any,
) -> tuple[Plan, ...]:
    facts = Facts(pools=tuple(pools), history=tuple(past), paced=tuple(past), rows=rows)
    made = quote(
        [option], facts, quote_id="q", pinned="p", now=0.0, objective=Objective(**objective)
    )
    assert isinstance(made, Quote)
    return made.plans


def by_width(plans: Sequence[Plan]) -> dict[int, Plan]:
    return {each.option.width: each for each in plans}


def seconds(plan: Plan) -> Interval:
    assert plan.seconds is not None
    return plan.seconds


def price(plan: Plan) -> Interval:
    assert plan.price is not None
    return plan.price


def test_steps_are_told_apart_from_what_is_beside_them() -> None:
    told = [(step, 10.0 + 0.5 * step + (3.0 if step > 0 else 0.0)) for step in range(100)]
    assert stepped.pace(told) == (100, 0.5)
    # Each tenth step is logged, by two workers; then a worker tells an old one again.
    tenth = [(step, 5.0 * step) for step in range(10, 1001, 10) for _ in range(2)]
    assert stepped.pace([*tenth, (10, 9e9)]) == (1000, 5.0)
    assert stepped.pace([(0, 1.0)] * 50) is None and stepped.pace([]) is None
    assert stepped.pace([(step, 7.0) for step in range(100)]) is None


@given(st.lists(st.tuples(st.integers(-5, 50), st.floats(-1e9, 1e9)), max_size=60))
def test_whatever_was_told_gives_steps_of_some_length_or_none(
    told: list[tuple[int, float]],
) -> None:
    found = stepped.pace(told)
    assert found is None or (found[0] > 0 and found[1] > 0)


def test_a_width_that_ran_takes_what_it_took() -> None:
    plans = by_width(asked(FOUR))
    assert sorted(plans) == [1, 2, 4, 8]
    for past in FOUR:
        found = seconds(plans[past.width])
        assert found.p50 == pytest.approx(past.seconds, rel=0.08)
        assert 1.2 * found.p50 < found.p90 < 1.6 * found.p50
    assert plans[1].basis == "step times of 4 earlier runs at widths 1, 2, 4, 8"


def test_what_is_far_from_all_that_ran_is_less_sure_and_says_so() -> None:
    plans = by_width(asked(TWO))
    wide = [seconds(plans[width]).p90 / seconds(plans[width]).p50 for width in (2, 4, 8)]
    assert wide == sorted(wide) and wide[0] < wide[1] < wide[2]
    middle = [seconds(plans[width]).p50 for width in (1, 2, 4)]
    assert middle == sorted(middle, reverse=True), "as many steps at any width share their samples"
    assert plans[8].basis == "step times of 2 earlier runs at widths 1, 2; never run at 8"


def test_one_run_quotes_its_width_well_and_the_others_widely() -> None:
    plans = by_width(asked(TWO[:1]))
    assert plans[1].basis == "step times of 1 earlier run at width 1"
    ratios = {width: seconds(each).p90 / seconds(each).p50 for width, each in plans.items()}
    assert ratios[1] < 1.3 < 1.45 < ratios[2] < ratios[4] < ratios[8]


def test_a_training_of_one_width_learns_from_its_other_widths() -> None:
    fixed = replace(ELASTIC, width=4, widest=0)
    [plan] = asked(TWO, fixed)
    assert plan.option.width == 4 and plan.basis.endswith("never run at 4")


def test_fewer_steps_by_more_workers_are_fewer_steps_of_the_same_samples() -> None:
    """Each worker goes on with the batch that it had: nothing is shared, and steps are fewer."""
    weak = (ran(1, 1.0), ran(2, 1.02, steps=STEPS // 2))
    plans = by_width(asked(weak))
    assert plans[4].grounds["steps"] == STEPS // 4
    assert plans[4].grounds["step"] == pytest.approx(1.05, rel=0.15)


def test_more_rows_than_ever_may_be_more_steps() -> None:
    past = [replace(each, rows=1000) for each in TWO]
    same, more = by_width(asked(past, rows=1000)), by_width(asked(past, rows=3000))
    assert seconds(more[1]).p50 == seconds(same[1]).p50
    assert seconds(more[1]).p90 > 2.5 * seconds(same[1]).p90


def test_objectives_choose_a_width() -> None:
    slow, fast = (seconds(by_width(asked(FOUR))[width]).p90 for width in (1, 8))
    [chosen, *_] = asked(FOUR, seconds=slow + 1)
    assert chosen.option.width == 1 and chosen.chosen_because.startswith("the cheapest within")
    [chosen, *_] = asked(FOUR, seconds=fast + 1)
    assert chosen.option.width == 8
    [chosen, *_] = asked(FOUR, budget=10**12)
    assert chosen.option.width == 8 and chosen.chosen_because.startswith("the fastest for")
    assert asked(FOUR)[0].option.width == 1, "nothing was asked for: the cheapest"


def test_what_no_width_keeps_to_is_refused_with_the_nearest_that_one_does() -> None:
    for objective in ({"seconds": 60.0}, {"budget": 1}):
        with pytest.raises(Refused, match=r"nearest is|cheapest plan costs") as refused:
            asked(FOUR, **objective)
        [need] = refused.value.needs
        found = asked(FOUR, seconds=need["performance"], budget=need["budget"])
        assert seconds(found[0]).p90 <= need["performance"]
        assert price(found[0]).p90 <= need["budget"]


def test_only_widths_that_a_pool_holds_are_quoted() -> None:
    assert sorted(by_width(asked(TWO, pools=[HERE]))) == [1, 2]
    pinned = replace(ELASTIC, resources=Resources(cpu=8.0), widest=16)
    assert sorted(by_width(asked(TWO, pinned))) == [1, 2, 4]


def test_workers_that_share_the_cores_of_one_are_no_faster() -> None:
    one = ran(1, 1.0, pool="here")
    plain = by_width(asked([one], pools=[HERE]))
    threads = by_width(asked([replace(one, cpu=2 * one.cpu)], pools=[HERE]))
    assert seconds(plain[2]).p50 < 0.75 * seconds(plain[1]).p50
    assert seconds(threads[1]).p50 == pytest.approx(seconds(plain[1]).p50)
    assert seconds(threads[2]).p50 > seconds(threads[1]).p50
    both = [replace(one, cpu=2 * one.cpu), ran(2, 1.1, pool="here")]
    assert seconds(by_width(asked(both, pools=[HERE]))[2]).p50 == pytest.approx(1120, rel=0.08)


def test_the_runs_of_another_pool_say_less() -> None:
    here = by_width(asked([replace(each, pace=None) for each in TWO] + list(FOUR[:1])))
    other = by_width(asked([ran(1, 1.0, pool="gone")]))
    assert seconds(other[1]).p90 > 1.4 * seconds(here[1]).p90
    assert "on other pools" in other[1].basis


def test_without_steps_all_is_as_it_was() -> None:
    silent = [replace(each, pace=None) for each in TWO]
    facts = Facts(pools=(FARM,), history=tuple(silent))
    made = quote([ELASTIC], facts, quote_id="q", pinned="p", now=0.0)
    assert isinstance(made, Quote)
    [plan] = made.plans
    assert plan.option.width == 1 and plan.basis == "the last 2 runs" and not plan.grounds
    [plan] = asked(())
    assert plan.seconds is None and plan.basis == "unknown, first run"


def test_nodes_are_as_few_as_hold_it() -> None:
    assert [stepped.nodes(ELASTIC, width, FARM) for width in (1, 8, 9, 32)] == [1, 1, 2, 4]
    assert stepped.nodes(ELASTIC, 9, None) == stepped.nodes(ELASTIC, 9, HERE) == 1


def test_neighbours_slow_it_and_what_they_cost_before_is_not_learned() -> None:
    busy = replace(HERE, load=Load(others=2.0, cores=2.0))
    plain = by_width(asked([ran(1, 1.0, pool="here")], pools=[HERE]))
    beside = by_width(asked([ran(1, 1.0, pool="here")], pools=[busy]))
    assert seconds(beside[2]).p50 > 1.3 * seconds(plain[2]).p50
    assert "this machine is busy" in beside[1].basis
    crowded = replace(ran(1, 2.0, pool="here"), cpu=1020.0, load=Load(others=3.0, cores=2.0))
    assert seconds(by_width(asked([crowded], pools=[HERE]))[1]).p50 < 0.7 * crowded.seconds


@given(
    st.lists(
        st.builds(ran, st.integers(1, 8), st.floats(1e-3, 1e3), steps=st.integers(1, 10**6)),
        min_size=1,
        max_size=4,
    )
)
def test_a_quote_is_one_whatever_was_measured(past: list[PastRun]) -> None:
    plans = asked(past)
    assert plans
    for plan in plans:
        assert 0 < seconds(plan).p50 < seconds(plan).p90
        assert 0 <= price(plan).p50 <= price(plan).p90
