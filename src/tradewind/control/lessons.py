"""What came of predictions, kept so that the next ones are better: the newest of each function."""

from __future__ import annotations

from tradewind.compiler import learning
from tradewind.compiler.facts import Outcome
from tradewind.records import codec
from tradewind.records.plans import Plan
from tradewind.records.runs import Run
from tradewind.store.base import Settings

KEPT = 5


def learn(settings: Settings, run: Run) -> None:
    """Remember what a run that succeeded took, if its plan had been predicted."""
    cpu = float((run.memory.get("usage") or {}).get("cpu", 0.0))
    if not run.plan.get("cpu") or cpu <= 0:
        return
    function = f"{run.project}/{run.name}"
    made = learning.outcome(codec.from_json(Plan, run.plan), cpu, function)
    if made is None:
        return
    key = f"outcome:{made.backend}:{function}"
    settings.put(key, [codec.to_json(made), *settings.get(key, [])][:KEPT])


def learned(settings: Settings) -> tuple[Outcome, ...]:
    """All that is remembered, of every function."""
    found = settings.all("outcome:").values()
    return tuple(codec.from_json(Outcome, each) for kept in found for each in kept)
