"""Quotes, promises and the bill; leases of pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from tradewind.base import errors
from tradewind.records import codec
from tradewind.records.plans import Quote
from tradewind.records.tasks import Resources
from tradewind.store import rows, tables
from tradewind.store.connect import AnyRow, Database, upsert

_PROMISE = tuple(rows.Promise.__dataclass_fields__)
_USAGE = tuple(rows.Usage.__dataclass_fields__)
_LEASE = tuple(rows.Lease.__dataclass_fields__)


def write(connection: Connection, changes: Sequence[rows.Change]) -> None:
    """What changes say about money."""
    _put_quotes(connection, [(c.run.project, quote) for c in changes for quote in c.quotes])
    _put_promises(connection, [promise for change in changes for promise in change.promises])
    _put_usage(connection, [line for change in changes for line in change.usage])


def _put_quotes(connection: Connection, quotes: Sequence[tuple[str, Quote]]) -> None:
    values = [
        {
            "id": quote.id,
            "project": project,
            "pinned": quote.pinned,
            "made": quote.made,
            "expires": quote.expires,
            "document": codec.dumps(quote),
        }
        for project, quote in quotes
    ]
    upsert(connection, tables.quotes, values, ["id"])


def _put_promises(connection: Connection, promises: Sequence[rows.Promise]) -> None:
    values = [{name: getattr(promise, name) for name in _PROMISE} for promise in promises]
    upsert(connection, tables.promises, values, ["run"])


def _put_usage(connection: Connection, usage: Sequence[rows.Usage]) -> None:
    if not usage:
        return
    # The bill outlives its runs, so it remembers the tree by itself.
    c = tables.runs.c
    query = select(c.id, c.root).where(c.id.in_(sorted({line.run for line in usage})))
    roots: dict[str, str] = {row.id: row.root for row in connection.execute(query)}
    values = [
        {**{name: getattr(line, name) for name in _USAGE}, "root": roots.get(line.run, line.run)}
        for line in usage
    ]
    upsert(connection, tables.usage, values, ["run", "part"])


class SqlLedger:
    """`base.Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_quote(self, project: str, quote: Quote) -> None:
        self._database.write(lambda connection: _put_quotes(connection, [(project, quote)]))

    def quote(self, quote_id: str) -> Quote:
        query = select(tables.quotes.c.document).where(tables.quotes.c.id == quote_id)
        with self._database.read() as connection:
            text = connection.scalar(query)
        if text is None:
            raise errors.NotFound(f"there is no quote {quote_id}", hint="ask for one: tw quote")
        return codec.loads(Quote, text)

    def put_promise(self, promise: rows.Promise) -> None:
        self._database.write(lambda connection: _put_promises(connection, [promise]))

    def promise(self, run: str) -> rows.Promise | None:
        c = tables.promises.c
        query = select(*(c[name] for name in _PROMISE)).where(c.run == run)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _promise(row)

    def promises(self, project: str = "", limit: int = 100) -> list[rows.Promise]:
        c = tables.promises.c
        query = select(*(c[name] for name in _PROMISE)).order_by(c.made.desc(), c.run).limit(limit)
        if project:
            query = query.where(c.project == project)
        with self._database.read() as connection:
            return [_promise(row) for row in connection.execute(query)]

    def put_usage(self, usage: Sequence[rows.Usage]) -> None:
        self._database.write(lambda connection: _put_usage(connection, usage))

    def usage(self, run: str) -> list[rows.Usage]:
        c = tables.usage.c
        query = select(*(c[name] for name in _USAGE)).where(c.run == run).order_by(c.at, c.part)
        with self._database.read() as connection:
            return _usage(connection, query)

    def since(self, at: float) -> list[rows.Usage]:
        c = tables.usage.c
        query = select(*(c[name] for name in _USAGE)).where(c.at > at)
        with self._database.read() as connection:
            return _usage(connection, query.order_by(c.at, c.run, c.part))

    def put_capacity(self, capacity: rows.Capacity) -> None:
        c, told = tables.capacities.c, codec.dumps(capacity.capacity)

        def work(connection: Connection) -> None:
            last = (select(c.capacity, c.price).where(c.pool == capacity.pool)
                    .order_by(c.seq.desc()).limit(1))  # fmt: skip
            row = connection.execute(last).one_or_none()
            if row is None or (row.capacity, row.price) != (told, capacity.price):
                values = {"pool": capacity.pool, "at": capacity.at, "capacity": told}
                connection.execute(insert(tables.capacities).values(**values, price=capacity.price))

        self._database.write(work)

    def capacities(self) -> list[rows.Capacity]:
        c = tables.capacities.c
        query = select(c.pool, c.at, c.capacity, c.price).order_by(c.seq)
        with self._database.read() as connection:
            return [
                rows.Capacity(
                    pool=row.pool,
                    at=row.at,
                    capacity=codec.loads(Resources, row.capacity),
                    price=row.price,
                )
                for row in connection.execute(query)
            ]

    def bill_of_tree(self, root: str) -> rows.Bill:
        c = tables.usage.c
        query = select(func.max(c.project), *_sums()).where(c.root == root)
        with self._database.read() as connection:
            return _bill(connection.execute(query).one())

    def bills(self, since: float = 0.0, until: float = 0.0) -> list[rows.Bill]:
        c = tables.usage.c
        query = select(c.project, *_sums()).group_by(c.project)
        if since:
            query = query.where(c.at >= since)
        if until:
            query = query.where(c.at < until)
        with self._database.read() as connection:
            found = [_bill(row) for row in connection.execute(query)]
        return sorted(found, key=lambda bill: bill.project)


def _sums() -> list[Any]:
    c = tables.usage.c
    return [func.sum(c.nanodollars), func.sum(c.seconds), func.count(c.run.distinct())]


def _bill(row: AnyRow) -> rows.Bill:
    project, nanodollars, seconds, runs = row
    return rows.Bill(
        project=project or "",
        nanodollars=int(nanodollars or 0),
        seconds=float(seconds or 0.0),
        runs=runs,
    )


def _usage(connection: Connection, query: Select[Any]) -> list[rows.Usage]:
    found = connection.execute(query)
    return [rows.Usage(**dict(zip(_USAGE, row, strict=True))) for row in found]


def _promise(row: AnyRow) -> rows.Promise:
    return rows.Promise(**dict(zip(_PROMISE, row, strict=True)))


class SqlLeases:
    """`base.Leases`. A lease's row stays for ever, because its number must never fall."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, pool: str, holder: str, now: float, seconds: float) -> int | None:
        def work(connection: Connection) -> int | None:
            first = {"pool": pool, "holder": "", "number": 0, "expires": 0.0}
            upsert(connection, tables.leases, [first], ["pool"], update=False)
            old = _lease(connection, pool)
            if old is None or (old.holder != holder and old.holder and old.expires > now):
                return None
            mine = old.holder == holder and old.expires > now
            number = old.number if mine else old.number + 1
            values = {"holder": holder, "number": number, "expires": now + seconds}
            c = tables.leases.c
            connection.execute(update(tables.leases).where(c.pool == pool).values(values))
            return number

        return self._database.write(work)

    def renew(self, pool: str, holder: str, number: int, now: float, seconds: float) -> bool:
        return self._set(pool, holder, number, {"expires": now + seconds})

    def release(self, pool: str, holder: str, number: int) -> None:
        self._set(pool, holder, number, {"expires": 0.0, "holder": ""})

    def _set(self, pool: str, holder: str, number: int, values: dict[str, Any]) -> bool:
        c = tables.leases.c
        statement = (
            update(tables.leases)
            .where(c.pool == pool, c.holder == holder, c.number == number)
            .values(values)
        )
        return self._database.write(lambda connection: connection.execute(statement).rowcount) > 0

    def current(self, pool: str) -> rows.Lease | None:
        with self._database.read() as connection:
            lease = _lease(connection, pool)
        return lease if lease and lease.holder else None


def _lease(connection: Connection, pool: str) -> rows.Lease | None:
    c = tables.leases.c
    query = select(*(c[name] for name in _LEASE)).where(c.pool == pool)
    if connection.in_transaction():
        query = query.with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else rows.Lease(**dict(zip(_LEASE, row, strict=True)))
