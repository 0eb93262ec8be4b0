"""What outcomes teach: factors that lean on 1, intervals that hold as often as they say."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.compiler.samples import HERE, probed
from tradewind.compiler import learning, timing
from tradewind.compiler.facts import Facts, Outcome
from tradewind.compiler.learning import ENOUGH, learn, quantile
from tradewind.compiler.model import Model
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Resources


def outcome(ratio: float, name: str, backend: str = "duckdb", family: str = "stream",
            seen: bool = False) -> Outcome:  # fmt: skip
    return Outcome(backend=backend, family=family, predicted=10.0, actual=10.0 * ratio,
                   function=name, line=10.0, seen=seen)  # fmt: skip


def test_nothing_learned_is_the_first_figures() -> None:
    made = learn([])
    assert made.factor("duckdb", "hash") == 1.0 < made.factor("duckdb", "sort")
    assert made.factor("duckdb", "stream") == made.factor("partitions", "stream") > 1.0
    assert made.spread("duckdb", "stream", seen=False) == learning.SPREAD["stream"]
    assert made.spread("spark", "stream", seen=False) == learning.SPARK_SPREAD


def test_a_factor_leans_on_one_and_lets_go_with_more_functions() -> None:
    factors = [
        learn([outcome(2.0, f"f{n}") for n in range(count)]).factor("duckdb", "stream")
        for count in (0, 1, 3, 10, 100)
    ]
    first = learn([]).factor("duckdb", "stream")
    assert factors == sorted(factors) and factors[0] == first
    assert first < factors[1] < 1.5 and factors[-1] == pytest.approx(2.0, rel=0.02)


def test_a_function_counts_once_however_often_it_ran() -> None:
    often = learn([outcome(2.0, "f") for _ in range(50)])
    once = learn([outcome(2.0, "f")])
    assert often.factor("duckdb", "stream") == pytest.approx(once.factor("duckdb", "stream"))


def test_a_pair_that_nobody_met_leans_on_its_backend() -> None:
    made = learn([outcome(2.0, f"f{n}", family="hash") for n in range(20)])
    first = learn([])
    assert 1.1 < made.factor("duckdb", "stream") < made.factor("duckdb", "hash")
    assert made.factor("partitions", "hash") > first.factor("partitions", "hash")
    assert made.factor("partitions", "stream") == first.factor("partitions", "stream")


@given(st.lists(st.tuples(st.floats(0.2, 5.0), st.sampled_from("abc"), st.sampled_from("xy")),
                max_size=30))  # fmt: skip
def test_a_factor_stays_among_what_was_met(met: list[tuple[float, str, str]]) -> None:
    made = learn([outcome(ratio, f"f{n}", b, f) for n, (ratio, b, f) in enumerate(met)])
    ratios = [1.0, *(ratio for ratio, _, _ in met)]
    for backend in "abc":
        for family in "xy":
            factor = made.factor(backend, family)
            # Effects of both add up, so a pair may go beyond the others; never far.
            assert min(ratios) ** 2 / 1.01 <= factor <= max(ratios) ** 2 * 1.01


def test_starts_are_left_out_of_what_is_learned() -> None:
    many = [
        Outcome(backend="duckdb", family="stream", predicted=10.0, actual=14.0, function=f"f{n}",
                line=10.0, fixed=6.0)
        for n in range(100)
    ]  # fmt: skip
    assert learn(many).factor("duckdb", "stream") == pytest.approx(2.0, rel=0.02)


def test_what_is_under_a_second_teaches_nothing() -> None:
    short = [replace(outcome(9.0, f"f{n}"), predicted=0.5, line=0.5) for n in range(50)]
    assert learn(short) == learn([])


def test_few_outcomes_leave_the_spread_and_many_set_it() -> None:
    generator = random.Random(7)

    def some(count: int, sigma: float) -> list[Outcome]:
        return [outcome(math.exp(generator.gauss(0, sigma)), f"f{n}") for n in range(count)]

    first = learning.SPREAD["stream"]
    assert learn(some(ENOUGH - 1, 0.02)).spread("duckdb", "stream", seen=False) == first
    assert learn(some(200, 0.02)).spread("duckdb", "stream", seen=False) < 0.1
    wide = learn(some(200, 1.0))
    assert wide.spread("duckdb", "stream", seen=False) > 1.2
    # A family without outcomes borrows, in proportion to what it was thought to be.
    assert wide.spread("duckdb", "hash", seen=False) > 1.2 * learning.SPREAD["hash"]


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.6])
def test_nine_of_ten_new_outcomes_lie_inside(sigma: float) -> None:
    """Families with factors and noise of their own, 120 outcomes to learn from, 400 to try."""
    generator = random.Random(20261122)
    shift = {"stream": 0.1, "hash": 0.5, "sort": 0.7}

    def drawn(count: int, start: int) -> list[Outcome]:
        found = []
        for number in range(count):
            family = generator.choice(list(shift))
            noise = generator.gauss(0, sigma * (2 if family == "sort" else 1))
            found.append(outcome(math.exp(shift[family] + noise), f"f{start + number}",
                                 family=family))  # fmt: skip
        return found

    inside = tried = 0
    for _ in range(4):
        made = learn(drawn(120, 0))
        for each in drawn(100, 1000):
            said = each.line * made.factor("duckdb", each.family)
            spread = made.spread("duckdb", each.family, seen=False)
            inside += abs(math.log(each.actual / said)) <= spread
            tried += 1
    assert 0.85 <= inside / tried <= 0.95


def test_a_residual_is_of_a_factor_that_had_not_seen_its_function() -> None:
    generator = random.Random(3)
    met = [
        outcome(math.exp(generator.gauss(0.3, 0.4)), f"f{n % 9}", backend, family)
        for n in range(40)
        for backend, family in [generator.choice([("a", "x"), ("a", "y"), ("b", "x")])]
    ]
    cases = learning._cases(met)
    _, shifts = learning._ridge(cases)
    for case in cases:
        others, _ = learning._ridge([each for each in cases if each.function != case.function])
        alone = sum(others.get(each, 0.0) for each in learning._effects(case.pair))
        assert shifts[case.pair, case.function] == pytest.approx(alone, abs=1e-9)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_the_quantile_leaves_at_most_a_tenth_above(values: list[float]) -> None:
    above = sum(value > quantile(values) for value in values)
    assert above <= len(values) * 0.1


def test_a_finished_run_teaches_what_its_plan_said() -> None:
    option = Option(backend="duckdb", resources=Resources(cpu=1))
    plan = timing.plan(Model(Facts(pools=(), probed=probed(family="sort"))), option, HERE)
    assert plan is not None and plan.cpu is not None
    taught = learning.outcome(plan, 33.0, "f")
    assert taught is not None
    assert (taught.family, taught.actual, taught.seen) == ("sort", 33.0, False)
    assert taught.predicted == plan.cpu.p50 > taught.line > taught.fixed > 0
    assert learning.outcome(plan, 0.0, "f") is None
    assert learning.outcome(Plan(pool="p", engine="", option=option), 3.0, "f") is None


def test_one_function_that_was_measured_wrongly_does_not_take_the_others_with_it() -> None:
    right = [outcome(1.0, f"f{n}") for n in range(10)]
    wrong = outcome(1 / 60, "wrong", family="group")
    factor = learn([*right, wrong]).factor("duckdb", "stream")
    assert factor == pytest.approx(learn(right).factor("duckdb", "stream"), rel=0.1)


def test_what_equal_runs_differ_by_is_of_those_that_were_foretold_by_runs() -> None:
    rng = random.Random(3)
    drawn = [outcome(math.exp(rng.gauss(0, 0.1)), f"f{n}", seen=True) for n in range(200)]
    changed = [outcome(4.0, "changed", seen=True) for _ in range(20)]
    first = [outcome(4.0, "new") for _ in range(500)]
    assert learning.repeat([*drawn, *changed, *first]) == pytest.approx(0.1, rel=0.35)
    assert learning.repeat(drawn[: learning.FEW - 1]) == 0.0
