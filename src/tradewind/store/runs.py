"""Runs: accepted, claimed, changed. The queries are in `listing.py`.

A run is due when `due` is not null and reached. A claim does not touch `due`: if it expires, the
run is due still. Only the change that gives the claim back sets it: to `wake`, or to null, and not
at all if `pokes` rose since the claim: then something happened that the claimer did not see.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    case,
    func,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from tradewind.base import errors
from tradewind.base.clock import Clock
from tradewind.base.ids import Entropy, new_id
from tradewind.records.events import Event
from tradewind.records.placements import Placement
from tradewind.records.runs import Run
from tradewind.records.states import ENDED, RunState, check_walk
from tradewind.store import events, ledger, placements, registry, rows, tables, wake
from tradewind.store.connect import AnyRow, Database, upsert
from tradewind.store.listing import COLUMNS, FIELDS, RunQueries, record

_RUNS = tables.runs
_CONSTANT = frozenset(("id", "project", "kind", "name", "spec", "parent", "key", "root", "created"))
_MAY_CHANGE = tuple(name for name in FIELDS if name not in _CONSTANT)
assert set(FIELDS) == {f.name for f in fields(Run)}


_C = _RUNS.c
# Built once: to build them takes longer than to carry them out, and the loop asks all the time.
# The sum changes nothing, but keeps SQLite from the index of states, in which idle runs are, too.
_IN_STATES = (_C.state + "").in_(bindparam("states", expanding=True))
_POOLS: BindParameter[list[str]] = bindparam("pools", expanding=True)
_NEXT_DUE = select(
    func.min(case((_C.claimed_until > _C.due, _C.claimed_until), else_=_C.due))
).where(tables.IS_DUE, _IN_STATES)
_NEXT_DUE_OF = _NEXT_DUE.where(_C.pool.in_(_POOLS))


@lru_cache(maxsize=64)
def _claim(pools: int) -> ReturningUpdate[Any]:
    """The claim among so many pools (0: among all). Each is read off its own part of the index and
    the heads are merged, so that what is due for other servers is never looked at."""
    if not pools:
        free = _free("free")
    else:
        heads = [_free(f"free{i}", _C.pool == bindparam(f"pool{i}")) for i in range(pools)]
        merged = union_all(*(select(head.c.seq, head.c.due) for head in heads)).subquery()
        first = select(merged.c.seq).order_by(merged.c.due, merged.c.seq)
        free = first.limit(bindparam("most")).cte("free")
    return (
        update(_RUNS)
        .where(_C.seq.in_(select(free.c.seq)))
        .values(
            token=bindparam("new_token"),
            worker=bindparam("new_worker"),
            claimed_until=bindparam("until"),
        )
        .returning(*COLUMNS, _C.due, _C.seq, _C.pokes, _C.stop_at, _C.stop_by)
    )


def _free(name: str, *more: ColumnElement[bool]) -> CTE:
    at: BindParameter[float] = bindparam("at")
    return (
        select(_C.seq, _C.due)
        .where(_C.due <= at, _C.claimed_until <= at, _IN_STATES, *more)
        .order_by(_C.due, _C.seq)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte(name)
    )


class SqlRuns(RunQueries):
    """`base.Runs`."""

    def __init__(
        self, database: Database, clock: Clock, entropy: Entropy = secrets.token_bytes
    ) -> None:
        super().__init__(database)
        self._clock = clock
        self._entropy = entropy

    def accept(self, runs: Sequence[Run], events: Sequence[Event] = ()) -> list[Run]:
        if not runs:
            return []
        rooted = [run if run.root else replace(run, root=run.id) for run in runs]
        if all(run.key for run in rooted):
            # What is stored was flushed when it was: who only sends again waits for no disk.
            with self._database.read() as connection:
                known = _known(connection, rooted)
            if {run.id for run in known}.isdisjoint(run.id for run in rooted):
                return known
        return self._database.write(lambda c: _accept(c, rooted, events), durable=True)

    def claim(
        self,
        worker: str,
        states: Collection[RunState],
        limit: int,
        now: float,
        lease_seconds: float,
        pools: Collection[str] | None = None,
    ) -> list[rows.Claim]:
        token, until = new_id("c", self._entropy), now + lease_seconds
        mine = [] if pools is None else sorted({*pools, ""})
        given = {
            **{f"pool{i}": pool for i, pool in enumerate(mine)},
            "at": now,
            "states": sorted(states),
            "most": limit,
            "new_token": token,
            "new_worker": worker,
            "until": until,
        }
        claim = _claim(len(mine))
        found = self._database.write(lambda connection: connection.execute(claim, given).all())
        return [
            rows.Claim(
                run=record(row),
                token=token,
                until=until,
                pokes=row.pokes,
                stop_at=row.stop_at,
                stop_by=row.stop_by,
            )
            for row in sorted(found, key=lambda row: (row.due, row.seq))
        ]

    def apply(self, changes: Sequence[rows.Change]) -> set[str]:
        if not changes:
            return set()
        if len({change.run.id for change in changes}) < len(changes):
            raise errors.Bug("a run has two changes in one batch")
        for change in changes:
            if change.run.id != change.claim.run.id:
                raise errors.Bug(f"the claim of {change.claim.run.id} cannot change another run")
        now = self._clock.now()
        return self._database.write(lambda connection: _apply(connection, changes, now))

    def renew(self, claims: Sequence[rows.Claim], until: float) -> set[str]:
        return self._set_claims(claims, {"claimed_until": until})

    def release(self, claims: Sequence[rows.Claim]) -> None:
        self._set_claims(claims, {"claimed_until": 0.0, "token": ""})

    def _set_claims(self, claims: Sequence[rows.Claim], values: dict[str, Any]) -> set[str]:
        by_token = defaultdict(list)
        for claim in claims:
            by_token[claim.token].append(claim.run.id)
        c = _RUNS.c

        def work(connection: Connection) -> set[str]:
            wake.lock(connection, [claim.run.id for claim in claims])
            kept: set[str] = set()
            for token, ids in by_token.items():
                held = (c.token == token, c.id.in_(sorted(ids)))
                kept.update(connection.scalars(select(c.id).where(*held)))
                connection.execute(update(_RUNS).where(*held).values(values))
            return {claim.run.id for claim in claims} - kept

        return self._database.write(work) if claims else set()

    def forget(self, workers: str) -> int:
        c = _RUNS.c
        held = (
            tables.IS_DUE,
            c.claimed_until > 0,
            c.worker.startswith(workers, autoescape=True),
        )
        taken = update(_RUNS).where(*held).values(token="", worker="", claimed_until=0.0)
        return self._database.write(lambda connection: connection.execute(taken).rowcount)

    def poke(self, run_ids: Iterable[str], at: float | None = None) -> None:
        ids, when = set(run_ids), self._clock.now() if at is None else at

        def work(connection: Connection) -> None:
            wake.lock(connection, ids)
            wake.poke(connection, ids, when)

        if ids:
            self._database.write(work)

    def ask_stop(self, run_ids: Iterable[str], by: str) -> list[str]:
        ids, now = list(dict.fromkeys(run_ids)), self._clock.now()

        def work(connection: Connection) -> list[str]:
            wake.lock(connection, ids)
            query = select(_RUNS.c.id).where(
                _RUNS.c.id.in_(sorted(ids)), _RUNS.c.state.not_in(wake.ENDED_STATES)
            )
            live = set(connection.scalars(query))
            _ask_stop(connection, live, by, now)
            return [run for run in ids if run in live]

        return self._database.write(work) if ids else []

    def next_due(
        self, states: Collection[RunState], now: float, pools: Collection[str] | None = None
    ) -> float | None:
        given: dict[str, list[str]] = {"states": sorted(states)}
        query = _NEXT_DUE
        if pools is not None:
            query, given["pools"] = _NEXT_DUE_OF, sorted({*pools, ""})
        with self._database.read() as connection:
            found: float | None = connection.scalar(query, given)
        return found


def _ask_stop(connection: Connection, ids: Collection[str], by: str, now: float) -> None:
    if not ids:
        return
    c = _RUNS.c
    first = c.stop_at == 0
    wake.poke(
        connection,
        ids,
        now,
        stop_by=case((first, by), else_=c.stop_by),
        stop_at=case((first, now), else_=c.stop_at),
    )


def _accept(connection: Connection, runs: Sequence[Run], told: Sequence[Event]) -> list[Run]:
    insert_runs(connection, runs)
    answer = _known(connection, runs)
    dropped = {run.id for run in runs} - {run.id for run in answer}
    events.append(connection, [event for event in told if event.run not in dropped])
    return answer


def _known(connection: Connection, runs: Sequence[Run]) -> list[Run]:
    """These runs; where a key is stored, the run that has it."""
    keyed = [run for run in runs if run.key]
    if not keyed:
        return list(runs)
    query = select(*COLUMNS).where(
        or_(
            *(
                (_RUNS.c.project == project) & (_RUNS.c.parent == parent) & _RUNS.c.key.in_(keys)
                for (project, parent), keys in _keys(keyed).items()
            )
        ),
        tables.HAS_KEY,
    )
    found = (record(row) for row in connection.execute(query))
    first = {(run.project, run.parent, run.key): run for run in found}
    return [first.get((r.project, r.parent, r.key), r) if r.key else r for r in runs]


def _keys(runs: Sequence[Run]) -> dict[tuple[str, str], list[str]]:
    found = defaultdict(list)
    for run in runs:
        found[run.project, run.parent].append(run.key)
    return found


def insert_runs(connection: Connection, runs: Sequence[Run]) -> None:
    """Insert new runs, due at once (or at `wake`), but for those whose key is there already."""
    upsert(connection, _RUNS, [_row(run) for run in runs], [], update=False)


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(run, name) for name in FIELDS}
    row["state"] = str(run.state)
    row["due"] = None if run.state in ENDED else run.wake or run.created
    row["pool"] = _pool(run)
    return row | _UNCLAIMED


def _pool(run: Run) -> str:
    return str(run.plan.get("pool") or run.spec.get("pool") or "")


_UNCLAIMED = {
    "pokes": 0,
    "token": "",
    "worker": "",
    "claimed_until": 0.0,
    "stop_at": 0.0,
    "stop_by": "",
}


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a batch of changes meets in the database, under locks."""

    stored: dict[str, AnyRow]
    placements: placements.Stored
    good: list[rows.Change]
    stale: set[str]


def _apply(connection: Connection, changes: Sequence[rows.Change], now: float) -> set[str]:
    batch = _meet(connection, changes)
    good = batch.good
    if not good:
        return batch.stale
    published = [registry.publish_all(connection, change, now) for change in good]
    _write_runs(connection, good, [p.result for p in published], batch.stored, now)
    insert_runs(connection, [_rooted(run, c.run) for c in good for run in c.children])
    placements.write(connection, _of(good, "placements"), batch.placements)
    ledger.write(connection, good)
    registry.write_edges(connection, [edge for change in good for edge in change.edges])
    wake.poke(connection, _parents_of_ended(good).union(*(c.pokes for c in good)), now)
    for change in good:
        _ask_stop(connection, change.stops, change.stop_by, now)
    told = [
        e for change, p in zip(good, published, strict=True) for e in (*change.events, *p.events)
    ]
    events.append(connection, told)
    return batch.stale


def _meet(connection: Connection, changes: Sequence[rows.Change]) -> _Batch:
    """Lock what the changes touch, in one order, and find out which are stale."""
    ids = [change.run.id for change in changes]
    others = {run for change in changes for run in (*change.pokes, *change.stops)}
    others |= _parents_of_ended(changes)
    wake.lock(connection, others.union(ids))
    c = _RUNS.c
    query = select(c.id, c.state, c.token, c.pokes, c.due, c.claimed_until).where(c.id.in_(ids))
    stored = {row.id: row for row in connection.execute(query)}
    mine: list[Placement] = _of(changes, "placements")
    there = placements.stored(connection, {p.id for p in mine})
    fenced = placements.fenced(connection, [p for p in mine if p.id not in there])
    good, stale = [], set()
    for change in changes:
        row = stored.get(change.run.id)
        if (
            row is None
            or row.token != change.claim.token
            or any(placement.id in fenced for placement in change.placements)
        ):
            stale.add(change.run.id)
            continue
        if row.state != change.run.state:
            check_walk(RunState(row.state), change.run.state)
        good.append(change)
    return _Batch(stored, there, good, stale)


def _parents_of_ended(changes: Sequence[rows.Change]) -> set[str]:
    return {c.run.parent for c in changes if c.run.state in ENDED and c.run.parent}


def _of(changes: Sequence[rows.Change], what: str) -> list[Any]:
    return [item for change in changes for item in getattr(change, what)]


def _rooted(child: Run, parent: Run) -> Run:
    """A child always stands in its parent's tree."""
    if child.parent != parent.id or child.project != parent.project:
        raise errors.Bug(f"{child.id} is no child of {parent.id}")
    return child if child.root == parent.root else replace(child, root=parent.root)


def _write_runs(
    connection: Connection,
    changes: Sequence[rows.Change],
    results: Sequence[dict[str, Any]],
    stored: dict[str, AnyRow],
    now: float,
) -> None:
    """One statement for all changes that touch the same columns; big documents seldom do."""
    groups: dict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for change, result in zip(changes, results, strict=True):
        old, new, row = change.claim.run, change.run, stored[change.run.id]
        values = {
            name: getattr(new, name)
            for name in _MAY_CHANGE
            if getattr(new, name) != getattr(old, name)
        }
        if result is not new.result:
            values["result"] = result
        if "plan" in values:
            values["pool"] = _pool(new)
        values["state"] = str(new.state)
        values |= _claim_columns(change, row)
        groups[frozenset(values)].append({"_id": new.id, **values})
    statement = update(_RUNS).where(_RUNS.c.id == bindparam("_id"))
    for values_of_group in groups.values():
        connection.execute(statement, values_of_group)


def _claim_columns(change: rows.Change, row: AnyRow) -> dict[str, Any]:
    ended = change.run.state in ENDED
    if change.hold_until and not ended:
        return {"token": row.token, "claimed_until": change.hold_until, "due": row.due}
    if ended:
        due = None
    elif row.pokes > change.claim.pokes:
        due = row.due
    else:
        due = change.run.wake or None
    return {"token": "", "claimed_until": 0.0, "due": due}
