"""Reports: folded (`fold.py`) under locks in the order runs, placements, events, and read back."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, literal, select, update

from tradewind.base.clock import Clock
from tradewind.records.placements import Attempt
from tradewind.records.reports import Report
from tradewind.records.states import ATTEMPT_ENDED, AttemptState, PlacementState
from tradewind.store import events, fold, rows, tables, wake
from tradewind.store.connect import Database, upsert

_ATTEMPTS = tables.attempts
_NAMES = (
    *("placement", "run", "task", "role", "index", "number", "state", "started", "ended"),
    *("exit", "usage", "outputs", "address", "width"),
)
_COLUMNS = [_ATTEMPTS.c[name] for name in _NAMES]
_ORDER = [_ATTEMPTS.c[name] for name in ("task", "placed", "role", "index", "number")]
_ENDED = sorted(ATTEMPT_ENDED)


class SqlReports:
    """`base.Reports`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(self, reports: Sequence[Report]) -> rows.Recorded:
        if not reports:
            return rows.Recorded(fresh=(), stale=frozenset(), unknown=frozenset(), runs=frozenset())
        now = self._clock.now()
        return self._database.write(lambda connection: _record(connection, reports, now))

    def attempts(self, run_ids: Collection[str]) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {run: [] for run in run_ids}
        query = (
            select(*_COLUMNS)
            .where(_ATTEMPTS.c.run.in_(sorted(found)), _ATTEMPTS.c.stale.is_(False))
            .order_by(*_ORDER)
        )
        with self._database.read() as connection:
            for row in connection.execute(query):
                found[row.run].append(_attempt(row))
        return found

    def all_attempts(self, run_id: str) -> list[tuple[Attempt, bool]]:
        query = (
            select(*_COLUMNS, _ATTEMPTS.c.stale).where(_ATTEMPTS.c.run == run_id).order_by(*_ORDER)
        )
        with self._database.read() as connection:
            return [(_attempt(row), row.stale) for row in connection.execute(query)]

    def waits(self, run_ids: Collection[str]) -> dict[str, str]:
        c = _ATTEMPTS.c
        told = c.exit != literal({}, tables.Document)
        query = (
            select(c.run, func.min(c.exit))
            .where(c.run.in_(sorted(set(run_ids))), c.state.not_in(_ENDED), told)
            .where(c.stale.is_(False))
            .group_by(c.run)
        )
        with self._database.read() as connection:
            return {run: str(exit_["message"]) for run, exit_ in connection.execute(query)}

    def metrics(
        self,
        run_id: str,
        name: str = "",
        after: int = 0,
        limit: int = 10_000,
        *,
        newest: bool = False,
    ) -> list[rows.Metric]:
        c = tables.metrics.c
        query = (
            select(c.run, c.name, c.step, c.value, c.at, c.seq)
            .where(c.run == run_id, c.seq > after)
            .order_by(c.seq.desc() if newest else c.seq)
            .limit(limit)
        )
        if name:
            query = query.where(c.name == name)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return [
            rows.Metric(run=run, name=key, step=step, value=_value(value), at=at, seq=seq)
            for run, key, step, value, at, seq in (reversed(found) if newest else found)
        ]

    def last_metrics(self, run_ids: Collection[str]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {run: {} for run in run_ids}
        c = tables.metrics.c
        newest = select(func.max(c.seq)).where(c.run.in_(sorted(found))).group_by(c.run, c.name)
        query = select(c.run, c.name, c.value).where(c.seq.in_(newest)).order_by(c.seq)
        with self._database.read() as connection:
            for run, name, value in connection.execute(query):
                found[run][name] = _value(value)
        return found

    def params(self, run_id: str) -> dict[str, Any]:
        c = tables.params.c
        query = select(c.name, c.value).where(c.run == run_id)
        with self._database.read() as connection:
            return {r.name: r.value for r in connection.execute(query.order_by(c.name))}

    def phases(self, run_id: str) -> list[rows.Phase]:
        c = tables.phases.c
        names = ("run", "placement", "role", "index", "attempt", "name", "seconds", "at")
        query = select(*(c[name] for name in names)).where(c.run == run_id).order_by(c.seq)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return [rows.Phase(**dict(zip(names, row, strict=True))) for row in found]

    def progress(self, run_id: str) -> list[rows.Progress]:
        c = tables.progress.c
        names = ("run", "placement", "role", "index", "done", "total", "at")
        query = (
            select(*(c[name] for name in names))
            .where(c.run == run_id)
            .order_by(c.placement, c.role, c.index)
        )
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return [rows.Progress(**dict(zip(names, row, strict=True))) for row in found]


def _record(connection: Connection, reports: Sequence[Report], now: float) -> rows.Recorded:
    asked = sorted({report.placement for report in reports})
    c = tables.placements.c
    wake.lock(connection, connection.scalars(select(c.run).where(c.id.in_(asked))).all())
    facts = _facts(connection, asked)
    keys = sorted({fold.attempt_key(r) for r in reports if r.kind == "attempt"})
    known: dict[str, Attempt] = {}
    if keys:
        query = select(_ATTEMPTS.c.id, *_COLUMNS).where(_ATTEMPTS.c.id.in_(keys))
        known = {row[0]: _attempt(row[1:]) for row in connection.execute(query)}
    folded = fold.fold(reports, facts, known, _streams(connection, reports))
    _write(connection, folded)
    wake.poke(connection, folded.poked, now)
    events.append(connection, folded.events)
    return rows.Recorded(
        fresh=tuple(folded.fresh),
        stale=frozenset(fact.id for fact in folded.placements.values() if fact.stale),
        unknown=frozenset(asked) - facts.keys(),
        runs=frozenset(folded.poked),
    )


def _streams(connection: Connection, reports: Sequence[Report]) -> dict[tuple[str, str], int]:
    """The highest seq of each named stream; their placements are locked."""
    named = {(report.placement, report.stream) for report in reports if report.stream}
    if not named:
        return {}
    c = tables.streams.c
    query = select(c.placement, c.stream, c.seen).where(
        c.placement.in_(sorted({placement for placement, _ in named})),
        c.stream.in_(sorted({stream for _, stream in named})),
    )
    return {(row.placement, row.stream): row.seen for row in connection.execute(query)}


def _facts(connection: Connection, ids: Sequence[str]) -> dict[str, fold.Facts]:
    placements, runs = tables.placements, tables.runs
    others = placements.alias()
    newest = (
        select(func.max(others.c.number))
        .where(others.c.run == placements.c.run, others.c.task_name == placements.c.task_name)
        .scalar_subquery()
    )
    names = ("id", "run", "number", "seen", "state", "started", "ended", "reason")
    query = (
        select(
            *(placements.c[name] for name in names),
            placements.c.task_name.label("task"),
            runs.c.project,
            newest.label("newest"),
        )
        .join(runs, runs.c.id == placements.c.run)
        .where(placements.c.id.in_(ids))
        .order_by(placements.c.id)
        .with_for_update(of=placements)
    )
    found = {}
    for row in connection.execute(query).mappings():
        values: dict[str, Any] = dict(row)
        values["stale"] = values["number"] < values.pop("newest")
        values["state"] = PlacementState(values["state"])
        found[row["id"]] = fold.Facts(**values)
    return found


def _write(connection: Connection, folded: fold.Folded) -> None:
    _write_placements(connection, folded)
    upsert(
        connection,
        _ATTEMPTS,
        [
            {
                "id": key,
                "placed": folded.placements[attempt.placement].number,
                "stale": folded.placements[attempt.placement].stale,
                **{name: getattr(attempt, name) for name in _NAMES},
                "state": str(attempt.state),
            }
            for key, attempt in folded.attempts.items()
        ],
        ["id"],
    )
    if folded.metrics:
        connection.execute(
            insert(tables.metrics),
            [
                {
                    "run": metric.run,
                    "name": metric.name,
                    "step": metric.step,
                    "value": None if math.isnan(metric.value) else metric.value,
                    "at": metric.at,
                }
                for metric in folded.metrics
            ],
        )
    if folded.phases:
        names = rows.Phase.__dataclass_fields__
        connection.execute(
            insert(tables.phases),
            [{name: getattr(p, name) for name in names} for p in folded.phases],
        )
    params = [{"run": r, "name": n, "value": v} for (r, n), v in folded.params.items()]
    upsert(connection, tables.params, params, ["run", "name"])
    names = rows.Progress.__dataclass_fields__
    progress = [{name: getattr(p, name) for name in names} for p in folded.progress.values()]
    upsert(connection, tables.progress, progress, ["run", "placement", "role", "index"])


def _write_placements(connection: Connection, folded: fold.Folded) -> None:
    c = tables.placements.c
    if folded.placements:
        connection.execute(
            update(tables.placements).where(c.id == bindparam("_id")),
            [
                {
                    "_id": fact.id,
                    "seen": folded.seen.get((fact.id, ""), fact.seen),
                    "state": str(fact.state),
                    "started": fact.started,
                    "ended": fact.ended,
                    "reason": fact.reason,
                }
                for fact in folded.placements.values()
            ],
        )
    upsert(
        connection,
        tables.streams,
        [
            {"placement": placement, "stream": stream, "seen": seq}
            for (placement, stream), seq in folded.seen.items()
            if stream
        ],
        ["placement", "stream"],
    )
    for placement, at in folded.lost.items():
        connection.execute(
            update(_ATTEMPTS)
            .where(
                and_(
                    _ATTEMPTS.c.run == folded.placements[placement].run,
                    _ATTEMPTS.c.placement == placement,
                    _ATTEMPTS.c.state.not_in(_ENDED),
                )
            )
            .values(
                state=str(AttemptState.LOST),
                ended=at,
                exit=literal({}, tables.Document),
            )
        )


def _attempt(row: Sequence[Any]) -> Attempt:
    values = dict(zip(_NAMES, row, strict=False))
    values["state"] = AttemptState(values["state"])
    return Attempt(**values)


def _value(stored: float | None) -> float:
    return math.nan if stored is None else stored
