"""Probes, pools and options to quote with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.compiler.facts import Call, Facts, Machine, PoolFacts, Probed
from tradewind.compiler.quote import Objective, quote
from tradewind.records.plans import Option, Quote
from tradewind.records.tasks import Resources

GIB = 2**30
SMALL = Resources(cpu=2.0, memory=8 * GIB)
HERE = PoolFacts(name="here", engine="local", capacity=SMALL, largest=SMALL, price=10**8)
FARM = PoolFacts(name="farm", engine="far", price=4 * 10**9, machines=4,
                 capacity=Resources(cpu=32.0, memory=128 * GIB),
                 largest=Resources(cpu=8.0, memory=32 * GIB))  # fmt: skip
MACHINES = tuple(
    Machine(name=f"x/{cpu}", cpu=float(cpu), memory=cpu * 4 * GIB, price=cpu * 50_000_000,
            as_of="2026-01", spot=cpu * 15_000_000)
    for cpu in (2, 4, 8, 32)
)  # fmt: skip
ONE = Resources(cpu=0.125)
DUCKDB = Option(backend="duckdb", resources=ONE, sized=True, elastic=True, measurable=True)
PARTITIONS = Option(
    backend="partitions", resources=ONE, width=2, parts=8, sized=True, elastic=True, measurable=True
)
SPARK = Option(backend="spark", resources=ONE, sized=True, elastic=True, measurable=True)
ALL = (DUCKDB, PARTITIONS, SPARK)


def call(rows: int, cpu: float, memory: int = 200 << 20, wall: float | None = None) -> Call:
    wall = cpu if wall is None else wall
    return Call(rows=rows, bytes=rows * 50, groups=0, wall=wall, cpu=cpu, memory=memory)


def probed(
    each: float = 1e-6, base: float = 0.1, *, rows: int = 20_000_000, groups: int = 40,
    family: str = "stream", style: str = "batch", load: float = 0.0, memory: float = 0.0,
) -> Probed:  # fmt: skip
    """What a function of a straight line shows: `each` CPU seconds and `memory` bytes a row."""
    some = rows // groups if groups else 0
    calls = [call(0, base)] * 2
    if some:
        calls += [call(some, base + each * some, round((200 << 20) + memory * some))] * 3
    return Probed(rows=rows, groups=groups, bytes=rows * 50, style=style, backend="duckdb",
                  family=family, calls=tuple(calls), load=load)  # fmt: skip


def ask(
    found: Probed | None,
    objective: Objective | None = None,
    options: Sequence[Option] = ALL,
    pools: Sequence[PoolFacts] = (HERE, FARM),
    **more: Any,
) -> Quote:
    names = ("history", "outcomes", "elsewhere")
    known = {"elsewhere": MACHINES} | {name: more.pop(name) for name in names if name in more}
    facts = Facts(pools=tuple(pools), probed=found, **known)
    made = quote(options, facts, quote_id="q1", pinned="p", now=100.0, objective=objective, **more)
    assert isinstance(made, Quote)
    return made
