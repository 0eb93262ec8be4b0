"""Devices in a quote: who has them, in which parts, at which price."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.compiler.test_quote import ask
from tradewind.base.errors import Refused
from tradewind.compiler.facts import PoolFacts
from tradewind.records.plans import Option
from tradewind.records.tasks import Resources

BOX = Resources(cpu=32.0, accelerators={"a100": 2, "l4": 1})
POOL = PoolFacts(name="box", engine="local", capacity=BOX, largest=BOX, price=3_600_000_000)
FAR = replace(POOL, name="far", engine="kubernetes", parts={"l4": 4})


def option(name: str, count: float, width: int = 1, cpu: float = 0.1) -> Option:
    wanted = Resources(cpu=cpu, accelerators={name: count})
    return Option(backend="python", width=width, resources=wanted)


def price(made: Option, pool: PoolFacts = POOL) -> float:
    [plan] = ask(made, (1000.0,), pool).plans
    assert plan.price is not None
    return plan.price.p50


def test_half_a_device_costs_half() -> None:
    whole = price(option("a100", 1))
    assert whole == 0.5e9 * 1000 / 1000
    assert price(option("a100", 0.5)) == whole / 2
    assert price(option("a100", 0.5, width=2)) == whole
    assert price(option("l4", 0.25), FAR) == 0.25e9


def test_no_part_is_of_two_devices() -> None:
    assert ask(option("a100", 0.6, width=2), (), POOL).plans
    with pytest.raises(Refused, match=r"2 processes of this at the same time, not 3"):
        ask(option("a100", 0.6, width=3), (), POOL)
    assert ask(option("a100", 0.001, width=2000, cpu=0.001), (), POOL).plans


def test_a_class_that_nobody_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(Refused, match="no pool has devices of class 'tpu'") as error:
        ask(option("tpu", 1), (), POOL, FAR)
    assert "2 a100 on 'box'" in error.value.hint and "1 l4 on 'far'" in error.value.hint
    assert error.value.where is not None
    assert error.value.where.field == "resources.accelerators.tpu"
    bare = replace(POOL, capacity=Resources(cpu=4.0), largest=Resources(cpu=4.0))
    with pytest.raises(Refused, match="pool 'box' does not have devices of class 'a100'"):
        ask(option("a100", 1), (), bare)
    with pytest.raises(Refused, match="3 a100 at the same time"):
        ask(option("a100", 3), (), POOL)


@pytest.mark.parametrize(
    ("name", "count", "said", "hint"),
    [("a100", 0.5, "away whole, not 0.5 of one", "`parts`"),
     ("l4", 0.5, "class 'l4' away in 4 parts, one to a process, not 0.5 of one", "ask for 0.25"),
     ("l4", 1, "class 'l4' away in 4 parts, one to a process, not 1 of one", "ask for 0.25")],
)  # fmt: skip
def test_a_part_that_no_pool_gives_is_refused_and_says_who_can_change_that(
    name: str, count: float, said: str, hint: str
) -> None:
    with pytest.raises(Refused, match=said) as error:
        ask(option(name, count), (), FAR)
    assert hint in error.value.hint
    [plan] = ask(option(name, count), (), FAR, POOL).plans
    assert plan.pool == "box", "who can give it is taken"
