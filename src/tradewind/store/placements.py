"""Placements: written with the run that they belong to, moved by reports (`reports.py`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from tradewind.base import errors
from tradewind.records import codec
from tradewind.records.placements import Placement, Seat
from tradewind.records.states import PLACEMENT_ENDED, PLACEMENT_TRANSITIONS, PlacementState
from tradewind.records.tasks import Resources, Task
from tradewind.store import tables
from tradewind.store.connect import AnyRow, Database

_TABLE = tables.placements
_NAMES = (
    *("id", "run", "number", "pool", "engine", "lease", "state", "placed", "started", "ended"),
    *("demand", "handle", "reason", "done", "task", "seats"),
)
_COLUMNS = [_TABLE.c[name] for name in _NAMES]
Stored = Mapping[str, AnyRow]


def stored(connection: Connection, ids: Collection[str]) -> Stored:
    """What is there of these placements, locked: id, state, started, ended, reason."""
    if not ids:
        return {}
    c = _TABLE.c
    query = (
        select(c.id, c.state, c.started, c.ended, c.reason)
        .where(c.id.in_(sorted(ids)))
        .order_by(c.id)
        .with_for_update()
    )
    return {row.id: row for row in connection.execute(query)}


def fenced(connection: Connection, fresh: Sequence[Placement]) -> set[str]:
    """Ids of the new placements that were decided under a lease which another took over."""
    pools = {placement.pool for placement in fresh if placement.lease}
    if not pools:
        return set()
    c = tables.leases.c
    query = select(c.pool, c.number).where(c.pool.in_(sorted(pools))).with_for_update(read=True)
    newest = {row.pool: row.number for row in connection.execute(query)}
    return {p.id for p in fresh if p.lease and p.lease < newest.get(p.pool, 0)}


def write(connection: Connection, placements: Sequence[Placement], there: Stored) -> None:
    """Insert the new ones; move the others where the table of states has the step."""
    fresh = [_row(placement) for placement in placements if placement.id not in there]
    if fresh:
        connection.execute(insert(_TABLE), fresh)
    moved = [_merged(p, there[p.id]) for p in placements if p.id in there]
    if moved:
        connection.execute(update(_TABLE).where(_TABLE.c.id == bindparam("_id")), moved)


def _row(placement: Placement) -> dict[str, Any]:
    return {
        "id": placement.id,
        "run": placement.run,
        "task_name": placement.task.name,
        "number": placement.number,
        "pool": placement.pool,
        "engine": placement.engine,
        "lease": placement.lease,
        "state": str(placement.state),
        "placed": placement.placed,
        "started": placement.started,
        "ended": _ended(placement),
        "seen": 0,
        "demand": codec.to_json(placement.demand),
        "handle": placement.handle,
        "reason": placement.reason,
        "done": list(placement.done),
        "task": codec.dumps(placement.task),
        "seats": _seats(placement),
    }


def _seats(placement: Placement) -> list[dict[str, Any]]:
    return [codec.to_json(seat) for seat in placement.seats]


def _ended(placement: Placement) -> float:
    """`ended = 0` is how the index knows the live ones, so an end always has a time."""
    if placement.state not in PLACEMENT_ENDED:
        return 0.0
    return placement.ended or placement.started or placement.placed or 1.0


def _merged(placement: Placement, old: AnyRow) -> dict[str, Any]:
    moves = (PlacementState(old.state), placement.state) in PLACEMENT_TRANSITIONS
    return {
        "_id": placement.id,
        "handle": placement.handle,
        "done": list(placement.done),
        "seats": _seats(placement),
        "state": str(placement.state) if moves else old.state,
        "started": old.started or placement.started,
        "ended": _ended(placement) if moves else old.ended,
        "reason": placement.reason if moves and placement.reason else old.reason,
    }


def record(row: AnyRow) -> Placement:
    """A row of `_COLUMNS` as the record."""
    values = dict(zip(_NAMES, row, strict=True))
    values["state"] = PlacementState(values["state"])
    values["demand"] = codec.from_json(Resources, values["demand"])
    values["task"] = codec.loads(Task, values["task"])
    values["done"] = tuple(values["done"])
    values["seats"] = tuple(codec.from_json(Seat, each) for each in values["seats"])
    return Placement(**values)


class SqlPlacements:
    """`base.Placements`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, placement_id: str) -> Placement:
        with self._database.read() as connection:
            row = connection.execute(
                select(*_COLUMNS).where(_TABLE.c.id == placement_id)
            ).one_or_none()
        if row is None:
            raise errors.NotFound(f"there is no placement {placement_id}")
        return record(row)

    def of(self, run_ids: Collection[str]) -> dict[str, list[Placement]]:
        found: dict[str, list[Placement]] = {run: [] for run in run_ids}
        query = select(*_COLUMNS).where(_TABLE.c.run.in_(sorted(found))).order_by(_TABLE.c.seq)
        with self._database.read() as connection:
            for row in connection.execute(query):
                found[row.run].append(record(row))
        return found

    def live(self, *pools: str) -> list[Placement]:
        query = select(*_COLUMNS).where(tables.IS_LIVE).order_by(_TABLE.c.seq)
        if pools:
            query = query.where(_TABLE.c.pool.in_(sorted(pools)))
        with self._database.read() as connection:
            return [record(row) for row in connection.execute(query)]
