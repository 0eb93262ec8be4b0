"""What answers requests: the services in place, their ready replicas, the way to one of them.

A service is the newest of its runs whose replicas have been put into service. Requests come through
the server, under its token; a replica takes only those that carry the service token (`keys.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.base.errors import NotFound, TryAgain
from tradewind.records.placements import Attempt
from tradewind.records.states import ATTEMPT_ENDED, LIVE, AttemptState
from tradewind.records.tasks import starting_width
from tradewind.store.base import Store
from tradewind.store.rows import RunFilter, RunLine


@dataclass(frozen=True, slots=True)
class Readiness:
    """How many of a service's replicas answer, of how many; why the first other one does not."""

    ready: int
    width: int
    why: str = ""

    @property
    def text(self) -> str:
        """In words; empty while nothing is wrong."""
        if self.ready >= self.width:
            return ""
        told = f"{self.ready} of {self.width} ready"
        return f"{told}: {self.why}" if self.why else told


def readiness(store: Store, runs: Collection[str]) -> dict[str, Readiness]:
    """Of each of these runs of services that has a placement."""
    placements, attempts = store.placements.of(runs), store.reports.attempts(runs)
    return {
        run: _readiness(
            starting_width(placed[-1].task.roles[0].shape),
            [each for each in attempts[run] if each.placement == placed[-1].id],
        )
        for run, placed in placements.items()
        if placed
    }


def _readiness(width: int, attempts: Sequence[Attempt]) -> Readiness:
    replicas: dict[int, list[Attempt]] = {index: [] for index in range(width)}
    for each in attempts:  # a replica's tries in the order of their numbers
        replicas.get(each.index, []).append(each)
    missing = [
        tries
        for tries in replicas.values()
        if not tries or tries[-1].state is not AttemptState.READY
    ]
    told = (_words(tries) for tries in missing)
    return Readiness(width - len(missing), width, next((each for each in told if each), ""))


def _words(tries: Sequence[Attempt]) -> str:
    """What a replica waits for, or else how its last try ended."""
    for each in reversed(tries):
        if each.state in ATTEMPT_ENDED or each.exit:
            words = str(each.exit.get("message") or each.exit.get("reason") or each.state)
            return words.strip().partition("\n")[0]
    return ""


class Services:
    """One per server. Every call but `pick` of a known service blocks on the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns: dict[str, Iterator[int]] = {}

    def all(self, project: str = "") -> list[dict[str, Any]]:
        """Each service that runs: name, run, model, state, addresses of its ready replicas, how
        many there are to be and `why` there are not, and what of its objective is `not_given`."""
        found = self._running(project)
        plans = [self._store.runs.get(each["run"]).plan for each in found]
        return [
            {**each, "not_given": str(plan.get("not_given") or "")}
            for each, plan in zip(found, plans, strict=True)
        ]

    def _running(self, project: str = "") -> list[dict[str, Any]]:
        """The same without what only people ask."""
        where = RunFilter(project=project, kind="service", states=LIVE)
        newest: dict[str, RunLine] = {}
        for line in self._store.runs.page(where, 1000).runs:
            # Newest first: one in service goes before one that is still starting.
            known = newest.get(line.name)
            if known is None or (line.result and not known.result):
                newest[line.name] = line
        found = readiness(self._store, [line.id for line in newest.values()])
        return [self._described(line, found.get(line.id)) for line in newest.values()]

    def _described(self, line: RunLine, readiness: Readiness | None) -> dict[str, Any]:
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
            "width": readiness.width if readiness else 0,
            "why": readiness.why if readiness and readiness.text else line.waiting,
        }

    def pick(self, name: str) -> list[str]:
        """Addresses of the ready replicas, the one whose turn it is first.

        Raises NotFound for a service that does not run, TryAgain while none of its replicas is
        ready.
        """
        found = next((each for each in self._running() if each["name"] == name), None)
        if found is None:
            names = ", ".join(sorted(each["name"] for each in self._running())) or "none"
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
