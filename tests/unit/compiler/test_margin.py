"""A bill in the margin: every nanodollar is somewhere, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.units import apportion, format_parts
from tradewind.compiler.margin import BUCKETS, Cost, Place, Try, bucket, margin, together

MONEY = st.integers(0, 10**15)
SECONDS = st.floats(0.0, 1e6)
PLACES = st.one_of(
    st.sampled_from([bucket(name) for name in BUCKETS]),
    st.builds(Place, st.sampled_from(["a.py", "b/c.py"]), st.integers(1, 50), st.just("")),
)
TRIES = st.lists(
    st.builds(
        Try,
        seconds=SECONDS,
        phases=st.dictionaries(
            st.sampled_from(["start", "import", "inputs", "call", "outputs", "store", "mine"]),
            SECONDS,
        ),
        seen=st.dictionaries(PLACES, SECONDS, max_size=5),
    ),
    max_size=4,
)


@given(MONEY, SECONDS, TRIES)
def test_the_parts_are_the_bill(price: int, held: float, tries: list[Try]) -> None:
    costs = margin(price, held, tries)
    assert sum(each.price for each in costs) == price
    assert all(each.price >= 0 and each.seconds >= 0 for each in costs)
    assert {each.place for each in costs} == {each.place for each in together([costs])}
    assert sum(each.price for each in together([costs, costs])) == 2 * price


@given(MONEY, st.lists(st.integers(0, 10**12), min_size=1).filter(any))
def test_apportioned_parts_are_within_one_of_their_share(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    assert all(
        abs(part * whole - total * each) < whole for part, each in zip(parts, weights, strict=True)
    )


@given(st.lists(MONEY, min_size=1, max_size=30))
def test_what_is_shown_adds_up_as_it_is_shown(amounts: list[int]) -> None:
    parts, total = format_parts(amounts)
    digits = len(total.partition(".")[2])
    cents = [int(part.strip("$").replace(".", "")) for part in parts]
    assert sum(cents) == int(total.strip("$").replace(".", ""))
    unit = 10 ** (9 - digits)
    assert abs(int(total.strip("$").replace(".", "")) * unit - sum(amounts)) <= unit
    assert all(
        abs(cent * unit - each) <= 2 * unit for cent, each in zip(cents, amounts, strict=True)
    )


def priced(costs: list[Cost]) -> dict[str, int]:
    return {
        f"{each.place.file}:{each.place.line}" if each.place.file else each.place.what: each.price
        for each in costs
    }


def test_lines_share_the_call_and_phases_have_their_own() -> None:
    seen = {Place("f.py", 3, ""): 3.0, Place("f.py", 4, "lib.g"): 1.0}
    phases = {"start": 9.0, "import": 1.0, "inputs": 2.0, "call": 4.0, "outputs": 1.0, "store": 1.0}
    found = priced(margin(1000, 10.0, [Try(seconds=10.0, phases=phases, seen=seen)]))
    assert found == {
        "imports": 100, "inputs": 200, "f.py:3": 300, "f.py:4": 100, "outputs": 200, "around": 100,
    }  # fmt: skip


def test_a_call_that_was_not_looked_at_is_told_as_such() -> None:
    found = priced(margin(100, 1.0, [Try(seconds=1.0, phases={"import": 0.5, "call": 0.5})]))
    assert found == {"imports": 50, "short": 50}


@pytest.mark.parametrize("phases", [{}, {"import": 1.0}])
def test_who_was_killed_has_told_no_call_but_was_seen(phases: dict[str, float]) -> None:
    seen = {Place("f.py", 3, ""): 0.5}
    found = priced(margin(100, 5.0, [Try(seconds=5.0, phases=phases, seen=seen)]))
    assert found["f.py:3"] == (80 if phases else 100)


def test_a_call_of_what_is_no_user_code_is_outside_it() -> None:
    call = Try(seconds=1.0, phases={"import": 0.5, "call": 0.5}, unseen="outside")
    assert priced(margin(100, 1.0, [call])) == {"imports": 50, "outside": 50}


def test_what_no_try_had_is_around_them() -> None:
    assert priced(margin(100, 10.0, [])) == {"around": 100}
    found = priced(margin(100, 10.0, [Try(seconds=4.0, phases={"call": 4.0})]))
    assert found == {"short": 40, "around": 60}
