"""The promises of the ledger as the compiler's accounts, with what came of each."""

from __future__ import annotations

from tradewind.compiler.accounts import Account, Settled, accounts
from tradewind.records import codec
from tradewind.records.plans import Plan
from tradewind.records.runs import Run
from tradewind.store.base import Store
from tradewind.store.rows import Promise

MOST = 1000


def kept(store: Store, project: str = "") -> list[Account]:
    """How often the newest thousand promises were kept, and their figures right."""
    promises = store.ledger.promises(project, MOST)
    runs = store.runs.get_many([each.run for each in promises])
    return accounts(_settled(each, runs[each.run]) for each in promises if each.run in runs)


def _settled(promise: Promise, run: Run) -> Settled:
    plan = codec.from_json(Plan, promise.plan) if promise.plan else None
    usage = run.memory.get("usage") or {}
    by_cpu = plan is not None and plan.cpu is not None
    return Settled(
        function=run.name,
        backend=plan.option.backend if plan is not None else run.kind,
        outcome=promise.outcome or "none",
        predicted=None if plan is None else plan.cpu or plan.seconds,
        actual=float(usage.get("cpu" if by_cpu else "seconds", 0.0)) if promise.settled else 0.0,
    )
