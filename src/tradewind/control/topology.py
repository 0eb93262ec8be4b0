"""How the processes of a run stand to each other: as its spec says, or its availability needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tradewind.compiler.availability import LEVELS
from tradewind.compiler.facts import PoolFacts
from tradewind.records.tasks import NODE, Layout, Lot, Task


def laid(spec: Mapping[str, Any], task: Task) -> Task:
    """The task as its `topology` says. The replicas of a service that is to survive the loss of a
    machine, or of a zone, are spread over these as far as there is room; other work is begun
    again."""
    said = spec.get("topology")
    if said:
        layout = Layout(
            together=said.get("together") or "",
            spread=said.get("spread") or "",
            strictly=bool(said.get("required")),
        )
        return replace(task, layout=layout)
    apart = LEVELS[spec.get("availability") or "process"].apart
    return replace(task, layout=Layout(spread=apart)) if apart and task.stands() else task


def within(spec: Mapping[str, Any], pool: PoolFacts) -> PoolFacts:
    """The pool as far as one run can have it: of machines that must be in one domain, those of the
    one with most cores. What no machine tells limits nothing here: the scheduler says so."""
    said = spec.get("topology") or {}
    level = said.get("together") if said.get("required") else None
    if not level or not pool.sizes:
        return pool
    if level == NODE:
        found = [[replace(lot, count=1)] for lot in pool.sizes]
    else:
        domains: dict[tuple[str, ...], list[Lot]] = {}
        for lot in pool.sizes:
            if level in {name for name, _ in (*pool.where, *lot.where)}:
                domains.setdefault(_path(lot, level), []).append(lot)
        found = [*domains.values()]
    return replace(pool, sizes=tuple(max(found, key=_cores))) if found else pool


def _path(lot: Lot, level: str) -> tuple[str, ...]:
    names = [name for name, _ in lot.where]
    told = lot.where[: names.index(level) + 1] if level in names else ()
    return tuple(value for _, value in told)


def _cores(lots: Iterable[Lot]) -> float:
    return sum(lot.each.cpu * lot.count for lot in lots)
