"""Gather what the pure rooms may know: facts for the compiler, views for steering.

Everything for one batch of runs is read in a few queries, before any decision is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tradewind.compiler.facts import Facts, Machine, Pace, PastRun
from tradewind.records import codec
from tradewind.records.load import Load
from tradewind.records.runs import Run
from tradewind.records.states import PlacementState, RunState
from tradewind.records.steering import Child, View
from tradewind.store.base import Store
from tradewind.store.rows import Claim, RunLine

HISTORY = 10


@dataclass(slots=True)
class Batch:
    """What was read for one batch of claims."""

    views: dict[str, View]
    _store: Store
    _machines: tuple[Machine, ...]
    _history: dict[tuple[str, str, str], list[Run]] = field(default_factory=dict)
    _facts: dict[tuple[str, str, str], Facts] = field(default_factory=dict)
    # Of the runs that were planned in this pass, and are not stored as such yet: nanodollars that
    # they are expected to cost.
    begun: dict[str, int] = field(default_factory=dict)

    def history(self, run: Run) -> list[Run]:
        """Earlier ended runs of the same name, newest first; read once a batch for each name."""
        key = (run.project, run.kind, run.name)
        if key not in self._history:
            self._history[key] = self._store.runs.history(*key, limit=HISTORY)
        return self._history[key]

    def facts(self, run: Run) -> Facts:
        """What the compiler may know about this run, but for the pools: they differ from run to
        run. Read once a batch for each name."""
        key = (run.project, run.kind, run.name)
        if key not in self._facts:
            past = tuple(
                PastRun(
                    seconds=float(usage["seconds"]),
                    cpu=float(usage["cpu"]),
                    memory=int(usage["memory"]),
                    rows=int(usage.get("rows", 0)),
                    backend=str(usage.get("backend", "")),
                    width=int(usage.get("width", 1)),
                    parts=int(usage.get("parts", 0)),
                    given=str(usage.get("given", "")),
                    load=codec.from_json(Load, usage["load"]) if "load" in usage else None,
                    pace=codec.from_json(Pace, usage["pace"]) if "pace" in usage else None,
                )
                for memory in self._store.runs.memories(*key, limit=HISTORY)
                if (usage := memory.get("usage"))
            )
            self._facts[key] = Facts(pools=(), history=past, elsewhere=self._machines)
        return self._facts[key]


def batch(
    store: Store,
    claims: Sequence[Claim],
    machines: Sequence[Machine],
) -> Batch:
    """Views of all claimed runs. Only what can matter in a run's state is read."""
    moving = [
        claim.run.id
        for claim in claims
        if claim.run.number or claim.run.state in {RunState.RUNNING, RunState.STOPPING}
    ]
    # A run with placements of its own has no child that still matters; one that is accepted has
    # children only while it waits for them.
    parents = [
        claim.run.id
        for claim in claims
        if (claim.run.state in {RunState.RUNNING, RunState.STOPPING} and not claim.run.number)
        or (claim.run.state is RunState.ACCEPTED and claim.run.waiting)
    ]
    placements = store.placements.of(moving) if moving else {}
    attempts = store.reports.attempts(moving) if moving else {}
    children = store.runs.children(parents) if parents else {}
    done = [
        run
        for run, each in placements.items()
        if any(one.state is PlacementState.SUCCEEDED for one in each)
    ]
    metrics = store.reports.last_metrics(done) if done else {}
    views = {
        claim.run.id: View(
            run=claim.run,
            placements=tuple(placements.get(claim.run.id, ())),
            attempts=tuple(attempts.get(claim.run.id, ())),
            metrics=metrics.get(claim.run.id, {}),
            children=tuple(_child(line) for line in children.get(claim.run.id, ())),
        )
        for claim in claims
    }
    return Batch(views, store, tuple(machines))


def _child(line: RunLine) -> Child:
    return Child(
        id=line.id,
        key=line.key,
        kind=line.kind,
        name=line.name,
        state=line.state,
        result=line.result,
        error=line.error,
        cached_from=line.cached_from,
        ended=line.ended,
        ready=bool(line.result),
        waiting=line.waiting,
    )
