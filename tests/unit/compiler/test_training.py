"""Step times by width: never absurd whatever was measured, right where the formula holds."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.base.errors import Refused
from tradewind.compiler import training
from tradewind.compiler.algebra import dot, lower, solve
from tradewind.compiler.training import Layout, Point, choose, fit

GRID = [
    Layout(nodes, nodes * each, float(batch))
    for nodes in (1, 2, 4, 8)
    for each in (1, 2, 4)
    for batch in (8, 16, 32, 64, 128)
]
LAYOUTS = st.builds(
    lambda nodes, more, batch: Layout(nodes, nodes + more, batch),
    st.integers(1, 64),
    st.integers(0, 512),
    st.floats(0.5, 1e6),
)
POINTS = st.lists(st.builds(Point, LAYOUTS, st.floats(1e-6, 1e6)), max_size=7)


def truth(layout: Layout, *, sync: float = 0.3, g: float = 2.0) -> float:
    """A training whose step takes this long."""
    compute = 0.05 + 0.004 * layout.batch
    if layout.replicas == 1:
        return compute
    if layout.nodes == 1:
        waits = sync * (0.2 + 0.05 * (layout.replicas - 2))
    else:
        waits = sync * (1.0 + 0.15 * math.log2(layout.replicas))
    return float((compute**g + waits**g) ** (1 / g))


def errors(points: list[Point], noise: float = 0.0, **more: float) -> list[float]:
    model = fit(points)
    seen = {each.layout for each in points}
    return [
        abs(model.at(each).seconds / truth(each, **more) - 1) for each in GRID if each not in seen
    ]


@settings(max_examples=60, deadline=None)
@given(POINTS, LAYOUTS)
def test_a_forecast_is_one_whatever_was_measured(points: list[Point], asked: Layout) -> None:
    told = fit(points).at(asked)
    assert 0 < told.low < told.seconds < told.high < math.inf
    assert told.seconds < told.interval.p90 < told.high


@pytest.mark.parametrize("sync", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("g", [1.2, 2.0, 5.0])
def test_where_the_formula_holds_eight_chosen_points_tell_all(sync: float, g: float) -> None:
    points = [Point(each, truth(each, sync=sync, g=g)) for each in choose(GRID, 8)]
    found = sorted(errors(points, sync=sync, g=g))
    assert statistics.median(found) < 0.04
    assert found[round(0.9 * len(found))] < 0.15


def test_five_chosen_points_are_better_than_five_at_random() -> None:
    chosen = statistics.median(errors([Point(each, truth(each)) for each in choose(GRID)]))
    drawn = [
        statistics.median(
            errors([Point(each, truth(each)) for each in random.Random(seed).sample(GRID, 5)])
        )
        for seed in range(20)
    ]
    assert chosen < statistics.median(drawn)


def test_nine_of_ten_lie_within() -> None:
    chance = random.Random(7)
    inside, count = 0, 0
    for seed in range(12):
        sync, g = 0.05 * 1.6**seed, 1.2 + chance.random() * 2
        measured = {
            each: truth(each, sync=sync, g=g) * math.exp(chance.gauss(0, 0.06)) for each in GRID
        }
        points = [Point(each, measured[each]) for each in choose(GRID)]
        model = fit(points)
        told = {each: model.at(each) for each in GRID}
        inside += sum(told[each].low <= measured[each] <= told[each].high for each in GRID)
        count += len(GRID)
    assert inside / count >= 0.85


def test_what_was_measured_is_surer_than_what_was_not() -> None:
    before, there = fit([]), GRID[27]
    after = fit([Point(there, truth(there))])
    assert after.at(there).deviation < before.at(there).deviation / 3
    assert after.at(there).seconds == pytest.approx(truth(there), rel=0.05)
    far = Layout(8, 32, 8.0)
    assert after.at(there).deviation < after.at(far).deviation < before.at(far).deviation


def test_an_outlier_is_doubted() -> None:
    layouts = choose(GRID, 8)
    good = [Point(each, truth(each)) for each in layouts]
    bad = [*good, Point(Layout(1, 1, 32.0), 6 * truth(Layout(1, 1, 32.0)))]
    assert fit(bad).at(Layout(1, 1, 32.0)).seconds < 2 * truth(Layout(1, 1, 32.0))


@settings(max_examples=20, deadline=None)
@given(st.lists(LAYOUTS, max_size=12), st.integers(0, 6), st.randoms())
def test_the_choice_does_not_depend_on_the_order(
    candidates: list[Layout], budget: int, chance: random.Random
) -> None:
    chosen = choose(candidates, budget)
    assert len(chosen) == len(set(chosen)) == min(budget, len(set(candidates)))
    assert set(chosen) <= set(candidates)
    shuffled = [*candidates, *candidates[:2]]
    chance.shuffle(shuffled)
    assert choose(shuffled, budget) == chosen


def test_the_next_one_is_chosen_by_what_was_measured() -> None:
    measured: list[Point] = []
    for _ in range(5):
        [following] = choose(GRID, 1, measured)
        assert following not in {each.layout for each in measured}
        measured.append(Point(following, truth(following)))
    assert statistics.median(errors(measured)) < 0.08


def test_many_candidates_are_stood_for_by_some() -> None:
    many = [Layout(n, n * m, float(b)) for n in range(1, 17) for m in (1, 2) for b in range(8, 24)]
    assert len(many) > training.REFERENCES and len(set(choose(many, 3))) == 3


def test_what_cannot_be_is_refused() -> None:
    good = Layout(1, 1, 8.0)
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(Refused, match="was not measured"):
            fit([Point(good, seconds)])
    for layout in (Layout(0, 1, 8.0), Layout(2, 1, 8.0), Layout(1, 1, 0.0), Layout(1, 1, math.nan)):
        with pytest.raises(Refused, match="no configuration"):
            choose([layout])
        with pytest.raises(Refused, match="no configuration"):
            fit([Point(layout, 1.0)])


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_an_equation_is_solved(size: int, seed: int) -> None:
    chance = random.Random(seed)
    rows = [[chance.gauss(0, 1) for _ in range(size)] for _ in range(size)]
    matrix = [[dot(a, b) + (i == j) for j, b in enumerate(rows)] for i, a in enumerate(rows)]
    wanted = [chance.gauss(0, 1) for _ in range(size)]
    values = [dot(row, wanted) for row in matrix]
    assert solve(lower(matrix), values) == pytest.approx(wanted, rel=1e-6, abs=1e-6)
