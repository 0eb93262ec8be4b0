"""Steps that the parts of the store's exam with placements share."""

from __future__ import annotations

from dataclasses import replace

from tradewind.records.placements import Placement
from tradewind.records.states import RunState
from tradewind.store import rows
from tradewind.store.base import Store
from tradewind.testing.store_makers import StoreExam, a_run


class Placing(StoreExam):
    """Puts tasks somewhere, and ends runs."""

    def place(self, store: Store, *placements: Placement) -> None:
        """Store placements with their runs, which are asleep afterwards."""
        ids = {placement.run for placement in placements}
        store.runs.accept([a_run(id_) for id_ in ids if id_ not in store.runs.get_many(ids)])
        store.runs.poke(ids)
        changes = [
            rows.Change(
                claim=claim,
                run=claim.run,
                placements=tuple(p for p in placements if p.run == claim.run.id),
            )
            for claim in self.claim(store, limit=100)
        ]
        assert store.runs.apply(changes) == set()

    def end(self, store: Store, run: str) -> None:
        """Let a live run fail; the others stay as due as they are."""
        store.runs.poke([run])
        claims = self.claim(store, limit=1000)
        (claim,) = [each for each in claims if each.run.id == run]
        failed = replace(claim.run, state=RunState.FAILED, ended=1001.0)
        assert store.runs.apply([rows.Change(claim=claim, run=failed)]) == set()
        store.runs.release([each for each in claims if each is not claim])
