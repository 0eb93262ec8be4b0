"""The budget of a run that works through others: what they have spent of it, and what is left.

A step that begins may spend what is left, and is ended when it has. Steps that work at the same
time share that, so their sum is looked at too, when it reaches the budget at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tradewind.base.errors import Refused, from_json
from tradewind.base.units import format_money
from tradewind.compiler import price
from tradewind.compiler.facts import PoolFacts
from tradewind.compiler.frontier import judged
from tradewind.control import bill, late
from tradewind.control.draft import Draft
from tradewind.records.plans import Plan
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, PLACEMENT_ENDED
from tradewind.records.steering import View
from tradewind.specs import from_document
from tradewind.store.base import Store

# What a run remembers of its parent's budget and value when it was submitted, in nanodollars.
ALLOWED, WORTH = "allowed", "worth"


def budget(run: Run) -> int | None:
    """The most that it may cost: as it says itself, or what its parent had left."""
    said = [_said(run, "budget"), run.memory.get(ALLOWED)]
    return min((each for each in said if each is not None), default=None)


def _said(run: Run, name: str) -> int | None:
    """Nanodollars of a field of its spec, where money stands as it was written."""
    if run.spec.get(name) is None:
        return None
    return cast("int | None", getattr(from_document(run.spec), name, None))


def bequeath(store: Store, pools: Mapping[str, PoolFacts], run: Run, now: float) -> dict[str, int]:
    """What a child that begins now remembers of the money. Raises Refused when none is left."""
    most, value = budget(run), _said(run, "value")
    value = run.memory.get(WORTH) if value is None else value
    if most is None and value is None:
        return {}
    gone, _rate = _spent(store, pools, run, now)
    if most is not None and gone >= most:
        raise _over(run, gone, most)
    left = {} if most is None else {ALLOWED: most - gone}
    return left if value is None else {**left, WORTH: value - gone}


def watch(draft: Draft, view: View, store: Store, pools: Mapping[str, PoolFacts]) -> None:
    """Look at what works below it. Where the budget is spent that is ended, and remembered as
    `spent`; the error is raised once it has ended, since until then it is on the bill."""
    most = budget(draft.run)
    if most is None:
        return
    live = [each.id for each in view.children if not each.ended and each.kind != "service"]
    if "spent" not in draft.run.memory:
        gone, rate = _spent(store, pools, draft.run, draft.now)
        if gone < most:
            # When a step begins, and it costs more from then on, nobody tells its pipeline.
            wait = min(late.LOOK, (most - gone) / rate) if rate else late.LOOK
            late.look_at(draft, draft.now + wait)
            return
        spent = _over(draft.run, gone, most).to_json()
        draft.set(memory={**draft.run.memory, "spent": spent})
    if not live:
        raise from_json(draft.run.memory["spent"])
    draft.stops += live


def afford(run: Run, plan: Plan) -> None:
    """Raise Refused for a step that is known to cost more than its pipeline has left."""
    left, (_seconds, cost) = run.memory.get(ALLOWED), judged(plan)
    if left is not None and cost is not None and cost > left:
        raise Refused(
            f"it is expected to cost up to {format_money(round(cost))}, and {format_money(left)} "
            "are left of its pipeline's budget",
            hint="raise the pipeline's `budget`, or give the step less to do",
        )


def _over(run: Run, gone: int, most: int) -> Refused:
    return Refused(
        f"ended at {format_money(gone)}: its budget of {format_money(most)} is spent, by its steps "
        "together",
        hint=f"raise `budget`, or give it less to do; `tw cost {run.id}` says what took it",
    )


def _spent(store: Store, pools: Mapping[str, PoolFacts], run: Run, now: float) -> tuple[int, float]:
    """Nanodollars of it and of everything below it until now, and how many a second come to
    that."""
    whole, rate, parents = run.price, 0.0, [run.id]
    while parents:
        lines = [line for below in store.runs.children(parents).values() for line in below]
        whole += sum(line.price for line in lines)
        live = [line.id for line in lines if line.state not in ENDED]
        for child, placements in store.placements.of(live).items() if live else ():
            for placement in placements:
                pool = pools.get(placement.pool)
                if pool is None or not placement.started or placement.state in PLACEMENT_ENDED:
                    continue
                holder = store.runs.get(child)
                held = price.share(bill.demand(holder, placement), pool.capacity)
                whole += bill.accrued(holder, placement, pool, now)
                rate += price.cost(1.0, pool.price, held)
        parents = [line.id for line in lines]
    return whole, rate
