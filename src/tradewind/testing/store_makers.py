"""What the exam of the store is made of: small records, a clock that stands, shared steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tradewind.records.events import Event
from tradewind.records.placements import Placement, Seat, placement_id
from tradewind.records.reports import Report
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.records.tasks import Entry, Environment, Gang, Resources, Role, Task
from tradewind.store import rows
from tradewind.store.base import Store

S = RunState
LIVE = frozenset(S) - {S.SUCCEEDED, S.FAILED, S.STOPPED}
Opener = Callable[[Any], Store]


class StepClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def a_run(id_: str, **fields: Any) -> Run:
    """A new run of project `p`; any field may be given."""
    values: dict[str, Any] = {
        "project": "p",
        "kind": "function",
        "name": "f",
        "state": S.ACCEPTED,
        "spec": {"kind": "function", "deep": {"list": [1, None, "é\0"]}},
        "created": 1000.0,
        "updated": 1000.0,
    }
    return Run(id=id_, **(values | fields))


def a_placement(run: str, number: int = 1, **fields: Any) -> Placement:
    """Placement `run-main-number` on pool `local`."""
    role = Role(
        name="main",
        shape=Gang(least=1, most=2),
        entry=Entry(kind="command", args=("true",)),
        items=(1, "two"),
    )
    values: dict[str, Any] = {
        "task": Task(name="main", roles=(role,), environment=Environment(digest="e")),
        "pool": "local",
        "engine": "local",
        "lease": 0,
        "demand": Resources(cpu=2, accelerators={"gpu": 1}),
        "placed": 1000.0,
        "seats": (Seat("n0", (0, 1)), Seat("n1")),
    }
    id_ = placement_id(run, "main", number)
    return Placement(id=id_, run=run, number=number, **(values | fields))


def a_report(placement: str, seq: int, kind: str = "attempt", **fields: Any) -> Report:
    """A report of role `main` at 1000 + seq; other fields are its body."""
    place = {name: fields.pop(name) for name in ("index", "attempt") if name in fields}
    return Report(
        placement=placement,
        seq=seq,
        at=1000.0 + seq,
        kind=kind,
        role="main",
        body=fields,
        **place,
    )


def an_event(type_: str, run: str = "", **fields: Any) -> Event:
    """An event of project `p`."""
    return Event(type=type_, at=1.0, project="p", subject=run or "x", run=run, **fields)


def a_dataset(**fields: Any) -> rows.DatasetVersion:
    """A version of dataset `d`."""
    values: dict[str, Any] = {
        "project": "p",
        "name": "d",
        "digest": "sha256:d",
        "rows": 3,
        "schema": {"fields": [{"name": "x", "type": "int64"}]},
        "stats": {"x": {"nulls": 0}},
        "files": ("a.parquet", "b.parquet"),
        "slot": "out",
    }
    return rows.DatasetVersion(**(values | fields))


def a_model(**fields: Any) -> rows.ModelVersion:
    """A version of model `m`."""
    values: dict[str, Any] = {
        "project": "p",
        "name": "m",
        "artifact": "sha256:m",
        "format": "sklearn",
        "signature": {"inputs": []},
        "metrics": {"auc": 0.69},
        "environment": "sha256:e",
        "slot": "model",
    }
    return rows.ModelVersion(**(values | fields))


def a_usage(run: str, part: str = "x", **fields: Any) -> rows.Usage:
    """A line of the bill of project `p`."""
    values: dict[str, Any] = {"project": "p", "nanodollars": 5, "seconds": 0.5, "at": 100.0}
    return rows.Usage(run=run, part=part, **(values | fields))


class StoreExam:
    """Fixtures and steps that the parts of the exam share."""

    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError("a subclass gives this")

    @pytest.fixture
    def clock(self) -> StepClock:
        return StepClock()

    @pytest.fixture
    def store(self, opener: Opener, clock: StepClock) -> Iterator[Store]:
        opened = opener(clock)
        yield opened
        opened.close()

    def claim(self, store: Store, now: float = 1000.0, limit: int = 10, **more: Any) -> Any:
        """Claim live runs for 30 s."""
        states = more.get("states", LIVE)
        return store.runs.claim("w", states, limit, now, more.get("seconds", 30.0))

    def walk(self, store: Store, run: str, *states: RunState) -> Run:
        """Move a run along, one change per state."""
        for state in states:
            store.runs.poke([run])
            (claim,) = [c for c in self.claim(store, limit=1000) if c.run.id == run]
            ended = 1001.0 if state not in LIVE else 0.0
            changed = replace(claim.run, state=state, ended=ended)
            assert store.runs.apply([rows.Change(claim=claim, run=changed)]) == set()
        return store.runs.get(run)
