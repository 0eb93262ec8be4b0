"""Projects and idle together pay for a pool what it costs, whatever happens."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.compiler import price as prices
from tradewind.control.statement import Held, Statement, statements, told
from tradewind.records import codec
from tradewind.records.placements import Placement
from tradewind.records.tasks import Resources
from tradewind.store.rows import Capacity, Usage

HOUR = 3600.0


def had(cpu: float, at: float = 0.0, price: int = 10**9, pool: str = "p", memory: int = 0,
        gpus: int = 0) -> Capacity:  # fmt: skip
    of = Resources(cpu=cpu, memory=memory, accelerators={"t4": gpus} if gpus else {})
    return Capacity(pool=pool, at=at, capacity=of, price=price)


def held(project: str, cpu: float, since: float, until: float, memory: int = 0, gpus: Any = 0,
         pool: str = "p") -> Held:  # fmt: skip
    of = Resources(cpu=cpu, memory=memory, accelerators={"t4": gpus} if gpus else {})
    return Held(project=project, pool=pool, demand=of, since=since, until=until)


def one(found: list[Statement]) -> Statement:
    [statement] = found
    return statement


def test_a_half_for_an_hour_and_the_rest_is_idle() -> None:
    found = one(statements([had(4)], [held("a", 2, 0, HOUR)], 0, 2 * HOUR))
    assert (found.total, found.projects, found.idle) == (2 * 10**9, {"a": 5 * 10**8}, 15 * 10**8)


def test_only_what_lies_within_the_time_counts() -> None:
    runs = [
        held("a", 4, -HOUR, HOUR),
        held("b", 4, 3 * HOUR, 9 * HOUR),
        held("c", 4, 9 * HOUR, 1e9),
    ]
    found = one(statements([had(4, at=-1e9)], runs, 0, 4 * HOUR))
    assert (found.projects, found.idle) == ({"a": 10**9, "b": 10**9}, 2 * 10**9)


def test_of_cores_and_memory_held_by_two_nobody_pays_twice() -> None:
    runs = [held("a", 3, 0, HOUR), held("b", 0, 0, HOUR, memory=75)]
    found = one(statements([had(4, memory=100)], runs, 0, HOUR))
    assert (found.projects, found.idle) == ({"a": 5 * 10**8, "b": 5 * 10**8}, 0)


def test_a_pool_that_grows_shrinks_and_goes() -> None:
    told = [had(4), had(8, at=HOUR, price=2 * 10**9), had(2, at=2 * HOUR, price=5 * 10**8),
            had(0, at=3 * HOUR, price=0)]  # fmt: skip
    found = one(statements(told, [held("a", 4, 0, 4 * HOUR)], 0, 9 * HOUR))
    assert found.projects == {"a": 10**9 + 10**9 + 5 * 10**8}, "of two cores it holds all"
    assert (found.total, found.idle, found.unpriced) == (35 * 10**8, 10**9, 0.0)


def test_before_anything_is_known_of_a_pool_it_costs_nothing() -> None:
    found = one(statements([had(4, at=HOUR)], [held("a", 4, 0, 2 * HOUR)], 0, 2 * HOUR))
    assert (found.total, found.projects) == (10**9, {"a": 10**9})


def test_a_pool_without_a_price_says_how_long_it_was_in_use() -> None:
    found = one(statements([had(4, price=0)], [held("a", 4, HOUR, 2 * HOUR)], 0, 9 * HOUR))
    assert (found.total, found.projects, found.unpriced) == (0, {"a": 0}, HOUR)


def test_parts_of_a_device_are_billed_as_parts() -> None:
    runs = [held("a", 0, 0, HOUR, gpus=0.1), held("b", 0, 0, HOUR, gpus=0.2)]
    found = one(statements([had(4, gpus=1)], runs, 0, HOUR))
    assert (found.projects, found.idle) == ({"a": 10**8, "b": 2 * 10**8}, 7 * 10**8)


def test_work_that_ends_while_the_bill_is_made_is_on_it_once() -> None:
    """Whatever is asked for first, it has ended when the next is asked for."""
    demand = Resources(cpu=2)
    task: Any = None
    live = [Placement(id="r-1", run="r", task=task, number=1, pool="p", engine="", lease=1,
                      demand=demand, started=10.0)]  # fmt: skip
    of = {"pool": "p", "demand": codec.to_json(demand),
          "held": [[10.0, codec.to_json(demand)]], "ended": HOUR + 10}  # fmt: skip
    paid: list[Usage] = []
    usage = Usage(project="a", run="r", part="r-1", nanodollars=0, seconds=HOUR, at=HOUR + 10,
                  detail=of)  # fmt: skip

    def answer(found: list[Any]) -> list[Any]:
        before = list(found)
        live.clear()
        paid[:] = [usage]
        return before

    run = SimpleNamespace(project="a", memory={})
    store: Any = SimpleNamespace(
        ledger=SimpleNamespace(capacities=lambda: [had(4)], since=lambda at: answer(paid)),
        placements=SimpleNamespace(live=lambda *pools: answer(live)),
        runs=SimpleNamespace(get_many=lambda ids: dict.fromkeys(ids, run)),
    )
    found = one(told(store, 0.0, 2 * HOUR, HOUR + 10))
    assert found.projects == {"a": 5 * 10**8}


MOMENTS = st.integers(0, 50).map(lambda at: at * 977.3)
CAPACITIES = st.builds(had, st.sampled_from([0.5, 3.0, 16.0]), MOMENTS, st.integers(0, 10**13),
                       st.sampled_from("pq"), st.sampled_from([0, 7, 10**12]),
                       st.integers(0, 3))  # fmt: skip
HOLDERS = st.builds(held, st.sampled_from("abc"), st.floats(0, 20), MOMENTS, MOMENTS,
                    st.integers(0, 10), st.sampled_from([0, 0.001, 0.5, 2]),
                    st.sampled_from("pqr"))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(CAPACITIES, max_size=6).map(lambda all_: sorted(all_, key=lambda each: each.at)),
       st.lists(HOLDERS, max_size=12), MOMENTS, MOMENTS)  # fmt: skip
def test_what_is_paid_and_what_is_idle_is_what_the_pools_cost(
    told: list[Capacity], holders: list[Held], since: float, until: float
) -> None:
    found = {each.pool: each for each in statements(told, holders, since, until)}
    for pool, statement in found.items():
        assert all(part >= 0 for part in (statement.idle, *statement.projects.values()))
        assert sum(statement.projects.values()) + statement.idle == statement.total
        mine = [each for each in told if each.pool == pool]
        ends = [*(each.at for each in mine[1:]), float("inf")]
        exact: Any = sum(
            Fraction(each.price) * Fraction(max(0.0, min(end, until) - max(each.at, since))) / 3600
            for each, end in zip(mine, ends, strict=True)
        )
        assert abs(statement.total - exact) <= 1 + exact / 10**12
    if until > since:
        assert {each.pool for each in told if each.at < until} == found.keys()


def exactly(told: list[Capacity], holders: list[Held], since: float, until: float) -> Any:
    """What each project pays for one pool, and "" what is idle: moment by moment, in fractions."""
    moments = {since, until, *(each.at for each in told)}
    moments |= {at for each in holders for at in (each.since, each.until)}
    steps = sorted(at for at in moments if since <= at <= until)
    owed: dict[str, Fraction] = {}
    for at, end in pairwise(steps):
        has = [each for each in told if each.at <= at]
        if not has:
            continue
        money = Fraction(has[-1].price) * (Fraction(end) - Fraction(at)) / 3600
        parts = [
            (each.project, Fraction(prices.share(each.demand, has[-1].capacity)))
            for each in holders
            if each.since <= at < each.until
        ]
        whole = max(Fraction(1), sum((part for _, part in parts), Fraction(0)))
        for project, part in [*parts, ("", whole - sum(part for _, part in parts))]:
            owed[project] = owed.get(project, Fraction(0)) + money * part / whole
    return owed


@settings(max_examples=200, deadline=None)
@given(st.lists(CAPACITIES, max_size=6).map(lambda all_: sorted(all_, key=lambda each: each.at)),
       st.lists(HOLDERS, max_size=12), MOMENTS, MOMENTS)  # fmt: skip
def test_everybody_pays_what_is_owed_to_a_hundredth_of_a_cent(
    told: list[Capacity], holders: list[Held], since: float, until: float
) -> None:
    for found in statements(told, holders, since, until):
        mine = [each for each in told if each.pool == found.pool]
        theirs = [each for each in holders if each.pool == found.pool]
        owed = exactly(mine, theirs, since, until)
        for project, paid in {**found.projects, "": found.idle}.items():
            assert abs(paid - owed.get(project, 0)) <= 10**5
