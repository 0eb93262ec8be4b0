"""Queries over runs: one, many, a page, counts, history.

A page must be quick among 100,000 finished runs whatever the filter. The indices end in `seq`, so a
page is read off one of them without sorting; a set of states is asked state by state and merged,
because no index serves a set in order.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, TextClause, func, select

from tradewind.base import errors
from tradewind.records.runs import Run
from tradewind.records.states import RunState
from tradewind.store import rows, wake
from tradewind.store.connect import AnyRow, Database
from tradewind.store.tables import HAS_PARENT, HAS_SUCCEEDED, IS_ASKED, IS_DUE, runs

FIELDS = tuple(Run.__dataclass_fields__)
COLUMNS = [runs.c[name] for name in FIELDS]
_WIDTH = len(FIELDS)
# By seq, so that the other conditions can still be read off an index: a memory is in the row.
_IS_WORK = runs.c.seq.not_in(select(runs.c.seq).where(IS_ASKED).correlate(None))
_LINE = tuple(rows.RunLine.__dataclass_fields__)
_LINE_COLUMNS = [runs.c[name] for name in _LINE]
# Appended to a prefix: a bound after every id that begins so, in every collation.
_AFTER_ALL_IDS = "z" * 24
_ID_PREFIX = re.compile(r"[a-z0-9][a-z0-9-]*")


Condition = ColumnElement[bool] | TextClause


class RunQueries:
    """The reading half of `base.Runs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due_pools(self) -> set[str]:
        with self._database.read() as connection:
            return set(connection.scalars(select(runs.c.pool).where(IS_DUE).distinct()))

    def get(self, run_id: str) -> Run:
        found = self.get_many([run_id])
        if not found:
            raise errors.NotFound(f"there is no run {run_id}")
        return found[run_id]

    def get_many(self, run_ids: Collection[str]) -> dict[str, Run]:
        query = select(*COLUMNS).where(runs.c.id.in_(sorted(set(run_ids))))
        with self._database.read() as connection:
            return {row.id: record(row) for row in connection.execute(query)}

    def find(self, prefix: str, project: str = "") -> Run:
        begins = (runs.c.id >= prefix) & (runs.c.id <= prefix + _AFTER_ALL_IDS)
        query = select(*COLUMNS).limit(6).order_by(runs.c.id)
        query = query.where(begins if _ID_PREFIX.fullmatch(prefix) else runs.c.id == prefix)
        if project:
            query = query.where(runs.c.project == project)
        with self._database.read() as connection:
            found = [record(row) for row in connection.execute(query)]
        found = [run for run in found if run.id.startswith(prefix)]
        for run in found:
            if run.id == prefix:
                return run
        if not found:
            raise errors.NotFound(f"there is no run {prefix}")
        if len(found) > 1:
            ids = ", ".join(run.id for run in found[:5]) + (", …" if len(found) > 5 else "")
            raise errors.Conflict(
                f"several runs begin with {prefix!r}: {ids}", hint="give more of the id"
            )
        return found[0]

    def page(self, where: rows.RunFilter, limit: int = 50, cursor: str = "") -> rows.RunPage:
        if cursor and not cursor.isdecimal():
            raise errors.UserError(f"{cursor!r} is no cursor", hint="begin again without one")
        conditions = _conditions(where)
        if cursor:
            conditions.append(runs.c.seq < int(cursor))
        with self._database.read() as connection:
            seqs = _newest(connection, where, conditions, limit + 1)
            query = select(*_LINE_COLUMNS).where(runs.c.seq.in_(seqs[:limit]))
            found = connection.execute(query.order_by(runs.c.seq.desc())).all()
        more = str(seqs[limit - 1]) if len(seqs) > limit else ""
        return rows.RunPage(runs=tuple(_line(row) for row in found), cursor=more)

    def counts(self, project: str = "", root: str = "") -> dict[RunState, int]:
        query = select(runs.c.state, func.count()).group_by(runs.c.state)
        if project:
            query = query.where(runs.c.project == project)
        if root:
            query = query.where(runs.c.root == root)
        with self._database.read() as connection:
            return {RunState(state): count for state, count in connection.execute(query)}

    def children(self, parents: Collection[str]) -> dict[str, list[rows.RunLine]]:
        found: dict[str, list[rows.RunLine]] = {parent: [] for parent in parents}
        query = (
            select(*_LINE_COLUMNS)
            .where(runs.c.parent.in_(sorted(found)), HAS_PARENT)
            .order_by(runs.c.seq)
        )
        with self._database.read() as connection:
            for row in connection.execute(query):
                found[row.parent].append(_line(row))
        return found

    def cached(self, project: str, pinned_digest: str) -> Run | None:
        if not pinned_digest:
            return None
        query = (
            select(*COLUMNS)
            .where(
                runs.c.project == project,
                runs.c.pinned_digest == pinned_digest,
                HAS_SUCCEEDED,
            )
            .order_by(runs.c.seq.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else record(row)

    def memories(self, project: str, kind: str, name: str, limit: int = 10) -> list[dict[str, Any]]:
        c = runs.c
        query = (
            select(c.memory)
            .where(c.project == project, c.name == name, c.kind == kind)
            .where(c.state == RunState.SUCCEEDED)
            .order_by(c.seq.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def history(self, project: str, kind: str, name: str, limit: int = 10) -> list[Run]:
        c = runs.c
        query = (
            select(*COLUMNS)
            .where(c.project == project, c.name == name, c.kind == kind)
            .where(c.state.in_(wake.ENDED_STATES))
            .order_by(c.seq.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [record(row) for row in connection.execute(query)]


def _conditions(where: rows.RunFilter) -> list[Condition]:
    c = runs.c
    exact = ("project", "kind", "name", "parent", "root")
    found: list[Condition] = [
        c[name] == getattr(where, name) for name in exact if getattr(where, name)
    ]
    if where.parent:
        found.append(HAS_PARENT)
    if where.top:
        found.append(c.parent == "")
    if where.pools:
        found.append(c.pool.in_(sorted(where.pools)))
    return found


def _work(where: rows.RunFilter) -> list[Condition]:
    """The last condition: what the others keep is looked up among the runs that were asked."""
    return [_IS_WORK] if where.work else []


def _newest(
    connection: Connection,
    where: rows.RunFilter,
    conditions: list[Condition],
    limit: int,
) -> list[int]:
    """The seq of the first runs that fit, newest first."""
    if where.text:
        return _matching(connection, where, conditions, limit)
    query = select(runs.c.seq).where(*conditions, *_work(where))
    query = query.order_by(runs.c.seq.desc()).limit(limit)
    few = bool(where.name or where.parent or where.root)
    if few or not (where.states or where.kind):
        if where.states:
            query = query.where(runs.c.state.in_(sorted(where.states)))
        return list(connection.scalars(query))
    found: list[int] = []
    for state in sorted(where.states or RunState):
        found.extend(connection.scalars(query.where(runs.c.state == str(state))))
    return sorted(found, reverse=True)[:limit]


def _matching(
    connection: Connection, where: rows.RunFilter, conditions: list[Condition], limit: int
) -> list[int]:
    """Text is looked for in the index that has the names, which is read whole; the sums that change
    nothing keep SQLite from another index, for which it would have to fetch every row."""
    c = runs.c
    if where.states:
        conditions = [*conditions, (c.state + "").in_(sorted(where.states))]
    query = select(c.seq).where(*conditions).order_by((c.seq + 0).desc()).limit(limit)
    pattern = re.sub(r"([%_!])", r"!\1", where.text)
    sqlite = connection.dialect.name == "sqlite"  # its LIKE does not know case
    like = c.name.like if sqlite else c.name.ilike
    found = set(connection.scalars(query.where(like(f"%{pattern}%", escape="!"), *_work(where))))
    begins = where.text.lower()
    if _ID_PREFIX.fullmatch(begins):
        ids = select(c.seq).where(c.id >= begins, c.id <= begins + _AFTER_ALL_IDS).limit(500)
        seqs = connection.scalars(ids).all()
        found.update(
            connection.scalars(query.where(c.seq.in_(seqs), *_work(where))) if seqs else ()
        )
    return sorted(found, reverse=True)[:limit]


def record(row: AnyRow) -> Run:
    """A row that begins with `COLUMNS` as the record."""
    values = dict(zip(FIELDS, row[:_WIDTH], strict=True))
    values["state"] = RunState(values["state"])
    return Run(**values)


def _line(row: AnyRow) -> rows.RunLine:
    values = dict(zip(_LINE, row, strict=True))
    values["state"] = RunState(values["state"])
    return rows.RunLine(**values)
