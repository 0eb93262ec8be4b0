"""What answers requests: the services in place, their ready replicas, the way to one of them.

A service is the newest of its runs whose replicas have been put into service. Requests come through
the server, under its token; a replica takes only those that carry the service token (`keys.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tradewind.base.errors import NotFound, TryAgain
from tradewind.records.states import LIVE, AttemptState
from tradewind.store.base import Store
from tradewind.store.rows import RunFilter, RunLine


class Services:
    """One per server. Every call but `pick` of a known service blocks on the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns: dict[str, Iterator[int]] = {}

    def all(self, project: str = "") -> list[dict[str, Any]]:
        """Each service that runs: name, run, model, state, addresses of its ready replicas."""
        where = RunFilter(project=project, kind="service", states=LIVE)
        newest: dict[str, RunLine] = {}
        for line in self._store.runs.page(where, 1000).runs:
            # Newest first: one in service goes before one that is still starting.
            known = newest.get(line.name)
            if known is None or (line.result and not known.result):
                newest[line.name] = line
        return [self._described(line) for line in newest.values()]

    def _described(self, line: RunLine) -> dict[str, Any]:
        attempts = self._store.reports.attempts([line.id])[line.id]
        replicas = [
            {"index": each.index, "state": str(each.state), "address": each.address}
            for each in attempts
            if not each.ended
        ]
        return {
            "name": line.name,
            "project": line.project,
            "run": line.id,
            "state": str(line.state),
            "model": line.result.get("output", {}).get("model", ""),
            "created": line.created,
            "replicas": replicas,
        }

    def pick(self, name: str) -> list[str]:
        """Addresses of the ready replicas, the one whose turn it is first.

        Raises NotFound for a service that does not run, TryAgain while none of its replicas is
        ready.
        """
        found = next((each for each in self.all() if each["name"] == name), None)
        if found is None:
            names = ", ".join(sorted(each["name"] for each in self.all())) or "none"
            raise NotFound(f"no service {name!r} runs", hint=f"services: {names}")
        ready = [
            str(each["address"])
            for each in found["replicas"]
            if each["state"] == AttemptState.READY and each["address"]
        ]
        if not ready:
            raise TryAgain(f"no replica of {name!r} is ready yet", after=1.0)
        turn = next(self._turns.setdefault(name, itertools.count())) % len(ready)
        return ready[turn:] + ready[:turn]
