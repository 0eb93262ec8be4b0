"""What is kept of ended runs so that the next quotes are better: what came of predictions, the
newest of each function, and how long the steps of a training took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.base.ids import digest_json
from tradewind.compiler import learning, stepped
from tradewind.compiler.facts import Outcome, Pace, PastRun
from tradewind.records import codec
from tradewind.records.pinned import Pinned, apart_from_rows
from tradewind.records.plans import Plan
from tradewind.records.runs import Run
from tradewind.records.steering import View
from tradewind.store.base import Reports, Settings

KEPT = 5
# Points that are read of a run: its first ones tell how long a step takes, its last one how many.
FIRST, LAST = 2000, 20


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


def paced(reports: Reports, view: View) -> dict[str, Any]:
    """What a training told of its steps, by the metric that it logged at the most of them: for its
    `usage`. Empty where that is too little, and where parts of it were made again."""
    run, placement = view.run, view.placement
    if run.kind != "training" or placement is None or run.tries or run.losses:
        return {}
    told = reports.metrics(run.id, limit=FIRST)
    steps: dict[str, set[int]] = {}
    for each in told:
        steps.setdefault(each.name, set()).add(each.step)
    if not steps:
        return {}
    name = max(steps, key=lambda each: len(steps[each]))
    told = [each for each in told if each.name == name]
    told += reports.metrics(run.id, name, after=told[-1].seq, limit=LAST, newest=True)
    found = stepped.pace([(each.step, each.at) for each in told])
    if found is None:
        return {}
    made, seconds = found
    of = _same(codec.from_json(Pinned, run.pinned))
    return {"pace": codec.to_json(Pace(steps=made, seconds=seconds, pool=placement.pool, of=of))}


def alike(made: Pinned, history: Sequence[PastRun]) -> tuple[PastRun, ...]:
    """Those that were the same training and told of their steps."""
    paced = [(each, each.pace.of) for each in history if each.pace is not None]
    mine = _same(made) if paced else ""
    return tuple(each for each, of in paced if of == mine)


def _same(made: Pinned) -> str:
    """A digest of what makes a training the same, whatever its width and the rows of its tables."""
    told = [made.spec.get(each) for each in ("entry", "args", "resources")]
    return digest_json([*told, apart_from_rows(made)])
