"""The money of a run that works through others: what they have spent of it, and what is left.

A step that begins may spend what is left, and is ended when it has. Steps that work at the same
time share that, so their sum is looked at too, when it reaches the budget at the latest; and before
a step begins, what those that work are expected to cost counts as if it were spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tradewind.base.errors import Refused, from_json
from tradewind.base.units import format_money, parse_money
from tradewind.compiler import price
from tradewind.compiler.facts import PoolFacts
from tradewind.compiler.frontier import judged
from tradewind.control import bill, late
from tradewind.control.draft import Draft
from tradewind.records import codec, pinned
from tradewind.records.pinned import Pinned
from tradewind.records.placements import Placement
from tradewind.records.plans import Plan
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, PLACEMENT_ENDED, RunState
from tradewind.records.steering import View
from tradewind.specs import PipelineSpec, from_document
from tradewind.store.base import Store
from tradewind.store.rows import RunLine

# What a run remembers of the money of those above it: the nanodollars of their budget that were
# left when it was submitted, and that one of them has a value.
ALLOWED, WORTH = "allowed", "worth"

_STEP = "step "

Pools = Mapping[str, PoolFacts]


@dataclass(frozen=True, slots=True)
class Sum:
    """Nanodollars of a run and of everything below it: what is `gone`, what those that work are
    `expected` to cost besides, and how many a second come to it."""

    gone: int
    expected: int = 0
    rate: float = 0.0


def budget(run: Run) -> int | None:
    """The most that it may cost: as it says itself, or what its parent had left."""
    own = [said(run, "budget"), run.memory.get(ALLOWED)]
    return min((each for each in own if each is not None), default=None)


def said(run: Run, name: str) -> int | None:
    """Nanodollars of a field of its spec, where money stands as it was written."""
    text = run.spec.get(name)
    return None if text is None else parse_money(text)


def bequeath(store: Store, pools: Pools, run: Run, now: float) -> dict[str, int]:
    """What a child that begins now remembers of the money. Raises Refused when none is left."""
    most, valued = budget(run), said(run, "value") is not None or WORTH in run.memory
    told = {WORTH: 1} if valued else {}
    if most is None:
        return told
    gone = summed(store, pools, run, now).gone
    if gone >= most:
        raise _over(run, gone, most)
    return {ALLOWED: most - gone, **told}


def watch(draft: Draft, view: View, store: Store, pools: Pools) -> None:
    """Look at what works below it. Where the budget is spent that is ended, and remembered as
    `spent`; the error is raised once it has ended, since until then it is on the bill."""
    most = budget(draft.run)
    if most is None:
        return
    live = [each.id for each in view.children if not each.ended and each.kind != "service"]
    if "spent" not in draft.run.memory:
        total = summed(store, pools, draft.run, draft.now)
        if total.gone < most:
            # When a step begins, and it costs more from then on, nobody tells its pipeline.
            left = most - total.gone
            wait = min(late.LOOK, left / total.rate) if total.rate else late.LOOK
            late.look_at(draft, draft.now + wait)
            return
        spent = _over(draft.run, total.gone, most).to_json()
        draft.set(memory={**draft.run.memory, "spent": spent})
    if not live:
        raise from_json(draft.run.memory["spent"])
    draft.stops += live


def tell_question(draft: Draft, view: View) -> None:
    """A step that waits for its people is what its pipeline waits for."""
    asking = (
        f"{_STEP}{each.key!r}: {each.waiting.removeprefix(_STEP)}"
        for each in view.children
        if not each.ended and "`tw approve " in each.waiting
    )
    question = next(asking, "")
    if question != draft.run.waiting and (question or draft.run.waiting.startswith(_STEP)):
        draft.set(waiting=question)
        draft.pokes += [draft.run.parent] if draft.run.parent else []


def afford(
    store: Store, pools: Pools, run: Run, plan: Plan, now: float, begun: Mapping[str, int]
) -> None:
    """Raise Refused for a step that is known to cost more than a pipeline above it has left. What
    has `begun` in this pass is not stored yet."""
    _seconds, cost = judged(plan)
    if cost is None or ALLOWED not in run.memory or run.kind == "service":
        return
    for above in ancestors(store, run):
        most = said(above, "budget")
        if most is None:
            continue
        total = summed(store, pools, above, now, begun)
        if total.gone + total.expected + cost <= most:
            continue
        beside = f", {format_money(total.expected)} more are expected of what works beside it"
        raise Refused(
            f"it is expected to cost up to {format_money(round(cost))}, and "
            f"{format_money(most - total.gone)} are left of its pipeline's budget: "
            f"{format_money(total.gone)} of {format_money(most)} are spent"
            + (beside if total.expected else ""),
            hint="raise the pipeline's `budget`, or give the step less to do",
        )


def ancestors(store: Store, run: Run) -> Iterator[Run]:
    """The runs above one that has to look at their money, the nearest first."""
    while run.parent and (ALLOWED in run.memory or WORTH in run.memory):
        run = store.runs.get(run.parent)
        yield run


def bills(store: Store, made: Pinned, run: Run, history: Sequence[Run]) -> list[int]:
    """What earlier runs of the same steps cost in whole. None where an equal one has ended, whose
    steps are taken from the cache: what is not taken from there is known step by step."""
    found, steps, given = [], made.spec["steps"], pinned.apart_from_rows(made)
    for each in history:
        if each.state is not RunState.SUCCEEDED or not each.pinned:
            continue
        before = codec.from_json(Pinned, each.pinned)
        if before.spec["steps"] != steps or pinned.apart_from_rows(before) != given:
            continue
        if each.pinned_digest == run.pinned_digest and _all_cached(run):
            return []
        lines = list(below(store, each.id))
        if not any(line.cached_from for line in lines):
            found.append(each.price + sum(line.price for line in lines))
    return found


def _all_cached(run: Run) -> bool:
    spec = from_document(run.spec)
    assert isinstance(spec, PipelineSpec)
    return all(step.cached and step.until is None for step in spec.steps)


def _over(run: Run, gone: int, most: int) -> Refused:
    return Refused(
        f"ended at {format_money(gone)}: its budget of {format_money(most)} is spent, by its steps "
        "together",
        hint=f"raise `budget`, or give it less to do; `tw cost {run.id}` says what took it",
    )


def below(store: Store, run: str) -> Iterator[RunLine]:
    """Everything that works for a run, at any depth."""
    parents = [run]
    while parents:
        lines = [line for each in store.runs.children(parents).values() for line in each]
        yield from lines
        parents = [line.id for line in lines]


def summed(
    store: Store, pools: Pools, run: Run, now: float, begun: Mapping[str, int] | None = None
) -> Sum:
    """The money of it and of everything below it until now. What has `begun` in this pass, and how
    much that is expected to cost, is not stored yet."""
    lines = list(below(store, run.id))
    gone, expected, rate = run.price + sum(line.price for line in lines), 0, 0.0
    live = store.runs.get_many([line.id for line in lines if line.state not in ENDED])
    held = store.placements.of(list(live)) if live else {}
    for child in live.values():
        accrued = 0
        for placement in held[child.id]:
            pool = pools.get(placement.pool)
            if pool is None or not _works(placement):
                continue
            share = price.share(bill.demand(child, placement), pool.capacity)
            accrued += bill.accrued(child, placement, pool, now)
            rate += price.cost(1.0, pool.price, share)
        gone += accrued
        whole = (begun or {}).get(child.id, _quoted(child))
        expected += max(0, whole - accrued - child.price)
    return Sum(gone, expected, rate)


def _works(placement: Placement) -> bool:
    return bool(placement.started) and placement.state not in PLACEMENT_ENDED


def _quoted(run: Run) -> int:
    """The middle of what its plan says that it costs; 0 where nothing is known, and of a service,
    which has no end."""
    quoted = (run.plan.get("price") or {}) if run.kind != "service" else {}
    return round(float(quoted.get("p50", 0)))
