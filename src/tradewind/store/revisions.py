"""Named specs with numbered revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from tradewind.base import errors
from tradewind.base.clock import Clock
from tradewind.store import rows, tables
from tradewind.store.connect import AnyRow, Database
from tradewind.store.registry import next_number

_TABLE = tables.revisions
_NAMES = tuple(rows.Revision.__dataclass_fields__)
_SELECT: Select[Any] = select(*(_TABLE.c[name] for name in _NAMES))


class SqlRevisions:
    """`base.Revisions`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def apply(
        self,
        project: str,
        kind: str,
        name: str,
        *,
        document: Mapping[str, Any],
        digest: str,
        bundle: str,
        user: str,
    ) -> tuple[rows.Revision, bool]:
        now = self._clock.now()

        def work(connection: Connection) -> tuple[rows.Revision, bool]:
            # Taking a number first makes two who apply the same name wait for each other.
            number = next_number(connection, f"revision:{kind}", project, name)
            newest = _newest(connection, project, kind, name)
            if newest and not newest.deleted and (newest.digest, newest.bundle) == (digest, bundle):
                next_number(connection, f"revision:{kind}", project, name, -1)
                return newest, False
            values: dict[str, Any] = {
                **{"project": project, "kind": kind, "name": name, "number": number},
                **{"document": dict(document), "digest": digest, "bundle": bundle},
                **{"user": user, "created": now, "deleted": 0.0},
            }
            connection.execute(insert(_TABLE).values(values))
            return rows.Revision(**values), True

        return self._database.write(work)

    def get(self, project: str, kind: str, name: str, number: int = 0) -> rows.Revision:
        c = _TABLE.c
        with self._database.read() as connection:
            if number:
                query = _SELECT.where(c.project == project, c.kind == kind, c.name == name)
                row = connection.execute(query.where(c.number == number)).one_or_none()
                found = None if row is None else _revision(row)
            else:
                found = _newest(connection, project, kind, name)
        if found is None or (found.deleted and not number):
            which = f"revision {number} of " if number else ""
            raise errors.NotFound(f"there is no {which}{kind} {name} in project {project}")
        return found

    def newest(self, project: str = "", kind: str = "") -> list[rows.Revision]:
        c, others = _TABLE.c, _TABLE.alias()
        top = (
            select(func.max(others.c.number))
            .where(*(others.c[name] == c[name] for name in ("project", "kind", "name")))
            .scalar_subquery()
        )
        query = _SELECT.where(c.number == top, c.deleted == 0)
        if project:
            query = query.where(c.project == project)
        if kind:
            query = query.where(c.kind == kind)
        with self._database.read() as connection:
            found = [_revision(row) for row in connection.execute(query)]
        return sorted(found, key=lambda r: (r.project, r.kind, r.name))

    def history(self, project: str, kind: str, name: str) -> list[rows.Revision]:
        c = _TABLE.c
        query = _SELECT.where(c.project == project, c.kind == kind, c.name == name)
        with self._database.read() as connection:
            return [_revision(r) for r in connection.execute(query.order_by(c.number.desc()))]

    def delete(self, project: str, kind: str, name: str) -> rows.Revision:
        c, now = _TABLE.c, self._clock.now()

        def work(connection: Connection) -> rows.Revision:
            newest = _newest(connection, project, kind, name, lock=True)
            if newest is None or newest.deleted:
                raise errors.NotFound(f"there is no {kind} {name} in project {project}")
            connection.execute(
                update(_TABLE)
                .where(c.project == project, c.kind == kind, c.name == name, c.deleted == 0)
                .values(deleted=now)
            )
            return newest

        return self._database.write(work)


def _newest(
    connection: Connection, project: str, kind: str, name: str, *, lock: bool = False
) -> rows.Revision | None:
    c = _TABLE.c
    query = _SELECT.where(c.project == project, c.kind == kind, c.name == name)
    query = query.order_by(c.number.desc()).limit(1)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _revision(row)


def _revision(row: AnyRow) -> rows.Revision:
    return rows.Revision(**dict(zip(_NAMES, row, strict=True)))
