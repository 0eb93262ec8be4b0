"""What a run costs and was promised: the bill of a placement, the promise, how it was kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tradewind.compiler import price
from tradewind.compiler.facts import PoolFacts
from tradewind.control.draft import Draft
from tradewind.control.neighbours import Neighbours
from tradewind.records import codec
from tradewind.records.pinned import Pinned, apart_from_rows
from tradewind.records.placements import Placement
from tradewind.records.plans import Plan, Quote
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.steering import View
from tradewind.records.tasks import Resources, starting_width
from tradewind.specs.common import Spec, Workload
from tradewind.store.rows import Promise, Usage

Held = TypeVar("Held")

# What a run remembers of the work of earlier placements that it need not do again, in seconds.
KEPT = "kept"


def charge(draft: Draft, placement: Placement, pool: PoolFacts | None) -> None:
    """From the first unit's start to the placement's end: to wait for a start costs nothing."""
    if pool is None or not placement.ended:
        return
    began = placement.started or placement.ended
    seconds = max(0.0, placement.ended - began)
    money = accrued(draft.run, placement, pool, placement.ended)
    draft.usage.append(
        Usage(
            project=draft.run.project,
            run=draft.run.id,
            part=placement.id,
            nanodollars=money,
            seconds=seconds,
            at=draft.now,
            detail={
                "pool": pool.name,
                "share": price.share(placement.demand, pool.capacity),
                "price": pool.price,
                "demand": codec.to_json(placement.demand),
                "held": codec.to_json(held(draft.run, placement)) if placement.started else [],
                "ended": placement.ended,
            },
        )
    )
    if placement.id not in draft.run.memory.get("billed", ()):
        billed = [*draft.run.memory.get("billed", ()), placement.id]
        draft.set(price=draft.run.price + money, memory={**draft.run.memory, "billed": billed})


def accrued(run: Run, placement: Placement, pool: PoolFacts, until: float) -> int:
    """Nanodollars of a placement up to a moment, by what it held when."""
    if not placement.started:
        return 0
    return sum(
        price.cost(max(0.0, end - at), pool.price, price.share(demand, pool.capacity))
        for at, end, demand in spans(held(run, placement), until)
    )


def spans(steps: Sequence[tuple[float, Held]], until: float) -> Iterator[tuple[float, float, Held]]:
    """From when to when it has held what, of when it began to and when it ended."""
    ends = [*(at for at, _ in steps[1:]), until]
    return ((at, end, demand) for (at, demand), end in zip(steps, ends, strict=True))


def held(run: Run, placement: Placement) -> list[tuple[float, Resources]]:
    """From when on it has held what, since its work began."""
    wider = [(at, _of(placement, width)) for at, width in _steps(run, placement)]
    return [(placement.started, placement.demand), *wider]


def width(run: Run, placement: Placement) -> int:
    """How many items an array works on at once now, or how many processes make up a gang."""
    steps = _steps(run, placement)
    return int(steps[-1][1]) if steps else starting_width(placement.task.roles[0].shape)


def demand(run: Run, placement: Placement) -> Resources:
    """What a placement holds now."""
    steps = _steps(run, placement)
    return _of(placement, int(steps[-1][1])) if steps else placement.demand


def widen(draft: Draft, placement: Placement, width: int) -> None:
    """From now on it holds so many processes: the bill is by what was held."""
    known = draft.run.memory.get("widths", {})
    steps = [*known.get(placement.id, ()), [draft.now, width]]
    draft.set(memory={**draft.run.memory, "widths": {**known, placement.id: steps}})


def _steps(run: Run, placement: Placement) -> Sequence[Sequence[float]]:
    return list(run.memory.get("widths", {}).get(placement.id, ()))


def _of(placement: Placement, width: float) -> Resources:
    return price.times(placement.task.roles[0].resources, int(width))


def promise(draft: Draft, quote: Quote | None, plan: Plan | None, spec: Spec) -> Promise | None:
    """What is promised: the objective, or the accepted plan's upper figures. A question promises
    nothing."""
    run = draft.run
    if "ask" in run.memory:
        return None
    seconds = spec.performance if isinstance(spec, Workload) else None
    price_limit = spec.budget if isinstance(spec, Workload) else None
    if run.quote and plan is not None:
        if plan.seconds is not None:
            seconds = seconds or plan.seconds.p90
        if plan.price is not None:
            price_limit = price_limit or math.ceil(plan.price.p90)
    if not (seconds or price_limit or run.quote):
        return None
    return Promise(
        run=run.id,
        project=run.project,
        quote=quote.id if quote else "",
        made=draft.now,
        plan=codec.to_json(plan) if plan else {},
        seconds=seconds,
        price=price_limit,
    )


def expected(run: Run) -> float | None:
    """The seconds that it still needs by its plan, without what earlier placements have kept; None
    where nobody knows."""
    seconds = (run.plan.get("seconds") or {}).get("p50")
    return None if seconds is None else max(0.0, seconds - run.memory.get(KEPT, 0.0))


def promised(run: Run) -> bool:
    """Whether a promise of this run may be on record."""
    return bool("plan" in run.memory or run.spec.get("performance") or run.spec.get("budget"))


def settled(promise: Promise, run: Run, spent: int, now: float) -> Promise:
    """The promise with its outcome; `spent` in nanodollars. A time that the plan did not give is
    not judged."""
    seconds = run.ended - run.created
    given = not str(promise.plan.get("not_given") or "").startswith("performance:")
    late = given and promise.seconds is not None and seconds > promise.seconds
    dear = promise.price is not None and spent > promise.price
    outcome = "broken" if late or dear else "kept"
    if not given and promise.price is None:
        outcome = "none"
    if run.state is not RunState.SUCCEEDED:
        # What was ended because its budget was spent was promised for that budget.
        outcome = "broken" if promise.price is not None and spent >= promise.price else "none"
    return replace(
        promise,
        outcome=outcome,
        actual_seconds=seconds,
        actual_price=spent,
        settled=now,
    )


def usage(view: View, neighbours: Neighbours) -> dict[str, Any]:
    """Seconds in tasks (waits between placements left out), core-seconds, peak bytes; and of what:
    the rows of its tables, the backend, how wide, who else wanted the cores. What later quotes of
    the same function know."""
    ended = [each for each in view.attempts if each.ended and each.started]
    if not ended:
        return {}
    spans: dict[str, tuple[float, float]] = {}
    for each in ended:
        first, last = spans.get(each.placement, (each.started, each.ended))
        spans[each.placement] = min(first, each.started), max(last, each.ended)
    option = view.run.plan.get("option", {})
    whole = min(first for first, _ in spans.values()), max(last for _, last in spans.values())
    pool = view.placement.pool if view.placement is not None else ""
    load = neighbours.during(pool, *whole)
    return {
        "seconds": sum(max(0.0, last - first) for first, last in spans.values()),
        "cpu": sum(each.usage.get("cpu", 0.0) for each in ended),
        "memory": max(each.usage.get("memory", 0.0) for each in ended),
        "rows": rows(view.run),
        "backend": option.get("backend", ""),
        "width": option.get("width", 1),
        "parts": option.get("parts", 0),
        "given": apart_from_rows(codec.from_json(Pinned, view.run.pinned)),
        **({"load": codec.to_json(load)} if load is not None else {}),
    }


def rows(run: Run) -> int:
    """How many rows the tables of a pinned run have together, as far as their versions say; of
    tables that have none 1, since 0 is where nobody knows."""
    metas = [each.get("meta", {}) for each in run.pinned.get("inputs", {}).values()]
    known = [int(meta["rows"]) for meta in metas if meta.get("rows") is not None]
    return max(1, sum(known)) if known else 0
