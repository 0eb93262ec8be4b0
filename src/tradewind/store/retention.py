"""What is let go, and how much room is taken."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from sqlalchemy import Connection, delete, func, select, text

from tradewind.store import rows, tables, wake
from tradewind.store.connect import Database

_AT_ONCE = 200  # trees per transaction: others write in between


def prune(database: Database, older_than: float, keep: int) -> rows.Pruned:
    """`base.Store.prune`."""
    removed = rows.Pruned(runs=0, events=0)
    roots = _old_trees(database, older_than, keep)
    for start in range(0, len(roots), _AT_ONCE):
        work = partial(_delete, roots=roots[start : start + _AT_ONCE])
        runs, events = database.write(work)
        removed = rows.Pruned(runs=removed.runs + runs, events=removed.events + events)
    quotes = tables.quotes.c
    promised = select(tables.promises.c.quote)
    stale = delete(tables.quotes).where(quotes.expires < older_than, quotes.id.not_in(promised))
    database.write(lambda connection: connection.execute(stale).rowcount)
    if database.sqlite:
        database.maintain("PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint(TRUNCATE)")
    return removed


def forget(database: Database, run_ids: Collection[str]) -> rows.Pruned:
    """`base.Store.forget`."""
    work = partial(_delete, roots=sorted(run_ids))
    runs, events = database.write(work)
    return rows.Pruned(runs=runs, events=events)


def _old_trees(database: Database, older_than: float, keep: int) -> list[str]:
    c, others = tables.runs.c, tables.runs.alias()
    live = (
        select(others.c.seq)
        .where(others.c.root == c.root, others.c.state.not_in(wake.ENDED_STATES))
        .exists()
    )
    rank = func.row_number().over(partition_by=(c.project, c.kind, c.name), order_by=c.seq.desc())
    top = select(c.id, c.seq, rank.label("rank")).where(c.parent == "").subquery()
    query = (
        select(c.id)
        .join(top, top.c.seq == c.seq)
        .where(c.state.in_(wake.ENDED_STATES), c.ended < older_than, top.c.rank > keep, ~live)
        .order_by(c.seq)
    )
    with database.read() as connection:
        return list(connection.scalars(query))


def _delete(connection: Connection, roots: list[str]) -> tuple[int, int]:
    """The trees, but for those that got a live run meanwhile; placements and reports cascade."""
    runs, events = tables.runs, tables.events
    live = select(runs.c.root).where(runs.c.root.in_(roots), runs.c.state.not_in(wake.ENDED_STATES))
    gone = sorted(set(roots) - set(connection.scalars(live)))
    told = connection.execute(delete(events).where(events.c.root.in_(gone), tables.HAS_ROOT))
    dropped = connection.execute(delete(runs).where(runs.c.root.in_(gone)))
    return dropped.rowcount, told.rowcount


def size(database: Database) -> int:
    """`base.Store.size`."""
    if database.path is not None:
        names = (database.path, *(database.path.with_name(database.path.name + s) for s in _SIDES))
        return sum(path.stat().st_size for path in names if path.exists())
    with database.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


_SIDES = ("-wal", "-shm")
