"""All about one run, as `describe` shows it: its tries, its time, its price, what hangs on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tradewind.compiler import catalogue, price
from tradewind.compiler.facts import Machine
from tradewind.control import late
from tradewind.inside import profiling
from tradewind.records import codec
from tradewind.records.placements import Attempt, Placement
from tradewind.records.runs import Run
from tradewind.records.tasks import Resources
from tradewind.store.base import Store
from tradewind.store.rows import Phase, RunLine

Why = Callable[[Sequence[RunLine]], dict[str, str]]


def of(store: Store, machines: Sequence[Machine], run: Run, why: Why) -> dict[str, Any]:
    """A run with everything that hangs on it, for people and machines. `why` says what each of
    several runs waits for."""
    told = store.reports.all_attempts(run.id)
    placements = store.placements.of([run.id])[run.id]
    phases = [
        each for each in store.reports.phases(run.id) if not each.name.startswith(profiling.MARK)
    ]
    before = _before_work(run, placements, [each for each, _ in told], phases)
    last = store.reports.last_metrics([run.id])[run.id]
    children = store.runs.children([run.id])[run.id]
    waits, prices = why(children), _prices(store, children)
    return {
        **codec.to_json(run),
        "attempts": list(_attempts(told)),
        "placements": [
            {key: value for key, value in codec.to_json(each).items() if key != "task"}
            for each in placements
        ],
        "phases": [*before, *map(codec.to_json, phases)],
        "progress": [codec.to_json(each) for each in store.reports.progress(run.id)],
        "logged": {
            "params": store.reports.params(run.id),
            "metrics": {
                name: value if math.isfinite(value) else str(value) for name, value in last.items()
            },
        },
        "children": [
            {
                **codec.to_json(each),
                "waiting": late.beside(each.waiting, waits.get(each.id, "")),
                "price": prices[each.id],
            }
            for each in children
        ],
        "price": store.ledger.bill_of_tree(run.id).nanodollars or _prices(store, [run])[run.id],
        "promise": _promise(store, run),
        "price_elsewhere": _elsewhere(store, machines, run),
        "not_given": _not_given(store, children),
        "notes": list(run.memory.get("notes", ())),
        "changed": list(run.memory.get("changed", ())),
        "explain": list(run.memory.get("explain", ())),
    }


def _promise(store: Store, run: Run) -> dict[str, Any]:
    """What was promised, and what came of it; empty where nothing was."""
    made = store.ledger.promise(run.id)
    if made is None:
        return {}
    return {"seconds": made.seconds, "price": made.price, "outcome": made.outcome}


def _prices(store: Store, runs: Sequence[Run | RunLine]) -> dict[str, int]:
    """Of each and of everything below it: its imports, its steps."""
    prices = {each.id: each.price for each in runs}
    top = {each: each for each in prices}
    while top:
        level: dict[str, str] = {}
        for parent, lines in store.runs.children(list(top)).items():
            prices[top[parent]] += sum(line.price for line in lines)
            level |= {line.id: top[parent] for line in lines}
        top = level
    return prices


def _not_given(store: Store, children: Sequence[RunLine], above: str = "") -> list[str]:
    """What the pools cannot give of what a run with steps promises: by step, at any depth."""
    found = []
    plans = {
        run.id: run.plan for run in store.runs.get_many([each.id for each in children]).values()
    }
    for line in children:
        key = f"{above}{line.key}"
        if lacking := plans[line.id].get("not_given"):
            found.append(f"{key}: {lacking}")
        if line.kind == "pipeline":
            found += _not_given(store, store.runs.children([line.id])[line.id], f"{key}/")
    return found


def _attempts(told: Iterable[tuple[Attempt, bool]]) -> Iterator[dict[str, Any]]:
    """Each with `try`, its number over the run's life: an engine counts anew in each placement.
    `stale` is one that another placement has taken the place of."""
    before: dict[tuple[str, str, int], int] = {}
    newest: dict[tuple[str, str, int], tuple[str, int]] = {}
    for each, stale in told:  # placement by placement, within each in the order of their numbers
        unit = (each.task, each.role, each.index)
        placement, highest = newest.get(unit, (each.placement, 0))
        if placement != each.placement:
            before[unit] = before.get(unit, 0) + highest
        newest[unit] = each.placement, each.number
        number = before.get(unit, 0) + each.number
        yield {**codec.to_json(each), "try": number, "stale": stale}


def _before_work(
    run: Run, placements: Sequence[Placement], attempts: Sequence[Attempt], told: Sequence[Phase]
) -> list[dict[str, Any]]:
    """The time before the work began, as phases: in the line, and from the place to the start.
    What the place itself `told` of that is not in it, so that the phases fit into the whole."""
    if not placements or not placements[0].placed:
        return []
    first, placed = placements[0].id, placements[0].placed
    begun = [each for each in attempts if each.placement == first and each.started]
    phases = [{"name": "wait", "seconds": max(0.0, placed - run.created)}]
    if begun:
        work = min(begun, key=lambda each: each.started)
        unit = (first, work.role, work.index, work.number)
        inside = sum(
            each.seconds
            for each in told
            if (each.placement, each.role) == (first, "")
            or (each.name == "start"
                and (each.placement, each.role, each.index, each.attempt) == unit)
        )  # fmt: skip
        phases.append({"name": "start", "seconds": max(0.0, work.started - placed - inside)})
    return phases


def _elsewhere(store: Store, machines: Sequence[Machine], run: Run) -> list[dict[str, Any]]:
    """What the same seconds of it and of all below it would have cost on two machines of the
    catalogue: estimates."""
    held = [
        (each.seconds, codec.from_json(Resources, each.detail["demand"]))
        for run_id in _tree(store, run.id)
        for each in store.ledger.usage(run_id)
        if "demand" in each.detail
    ]
    return [
        {
            "machine": machine.name,
            "price": sum(
                price.cost(
                    seconds,
                    machine.price,
                    price.share(demand, Resources(cpu=machine.cpu, memory=machine.memory)),
                )
                for seconds, demand in held
            ),
            "estimate": f"never run there; list price of {machine.as_of}",
        }
        for machine in catalogue.compared(machines)
        if held
    ]


def _tree(store: Store, root: str) -> list[str]:
    """A run and everything below it that worked itself, not what it took from the cache."""
    found, level = [root], [root]
    while level:
        children = store.runs.children(level)
        level = [each.id for below in children.values() for each in below]
        found += level
    return found
