"""The promises of the ledger as the compiler's accounts, with what came of each."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.compiler.accounts import Account, Settled, accounts
from tradewind.compiler.frontier import judged
from tradewind.control import probing
from tradewind.records import codec
from tradewind.records.placements import Placement
from tradewind.records.plans import Plan
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.store.base import Store
from tradewind.store.rows import Promise

MOST = 1000


def kept(store: Store, project: str = "") -> list[Account]:
    """How often the newest thousand promises were kept, and their figures right."""
    promises = store.ledger.promises(project, MOST)
    runs = store.runs.get_many([each.run for each in promises])
    measured = [run.id for run in runs.values() if run.memory.get("probes")]
    placements = store.placements.of(measured) if measured else {}
    return accounts(
        _settled(each, run, *_work(store, run, placements.get(run.id, ())))
        for each in promises
        if (run := runs.get(each.run)) is not None
    )


def _work(store: Store, run: Run, placements: Sequence[Placement]) -> tuple[float, int]:
    """When the work began, and the nanodollars of what was measured before: a quote is of the
    work."""
    probes = {each.id for each in placements if probing.is_probe(each)}
    if not probes:
        return run.started, 0
    began = [each.started for each in placements if each.id not in probes and each.started]
    spent = [each.nanodollars for each in store.ledger.usage(run.id) if each.part in probes]
    return min(began, default=run.started), sum(spent)


def _likely(promise: Promise, run: Run, plan: Plan) -> bool:
    """Whether its deadline was accepted though the plan's upper figure passes it. A plan of an
    accepted quote was compared before anything had passed."""
    seconds, _ = judged(plan)
    passed = 0.0 if "plan" in run.memory else promise.made - run.created
    if promise.seconds is None or seconds is None:
        return False
    return seconds > promise.seconds - passed


def _settled(promise: Promise, run: Run, began: float, probes: int) -> Settled:
    plan = codec.from_json(Plan, promise.plan) if promise.plan else None
    usage = run.memory.get("usage") or {}
    by_cpu = plan is not None and plan.cpu is not None
    # What failed or was stopped took as long as it was let.
    over = bool(promise.settled and usage and run.state is RunState.SUCCEEDED)
    took = run.ended - began if over else 0.0
    spent = promise.actual_price - probes if over else 0
    return Settled(
        function=run.name,
        backend=plan.option.backend if plan is not None else run.kind,
        outcome=promise.outcome or "none",
        likely=plan is not None and _likely(promise, run, plan),
        predicted=None if plan is None else plan.cpu or plan.seconds,
        actual=float(usage.get("cpu" if by_cpu else "seconds", 0.0)) if over else 0.0,
        time=(plan.seconds if plan is not None else None, took),
        price=(plan.price if plan is not None else None, float(spent)),
    )
