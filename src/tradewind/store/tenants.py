"""Projects, users, tokens; settings. Small tables that are read by key."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, and_, delete, or_, select

from tradewind.store import rows, tables
from tradewind.store.connect import Database, upsert

_Row = TypeVar("_Row", rows.Project, rows.User, rows.Token)


class SqlTenants:
    """`base.Tenants`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_project(self, project: rows.Project) -> None:
        self._put(tables.projects, project, "name")

    def project(self, name: str) -> rows.Project | None:
        return next(iter(self._read(tables.projects, rows.Project, name)), None)

    def projects(self) -> list[rows.Project]:
        return self._read(tables.projects, rows.Project)

    def put_user(self, user: rows.User) -> None:
        self._put(tables.users, user, "name")

    def user(self, name: str) -> rows.User | None:
        return next(iter(self._read(tables.users, rows.User, name)), None)

    def users(self) -> list[rows.User]:
        return self._read(tables.users, rows.User)

    def put_token(self, token: rows.Token) -> None:
        self._put(tables.tokens, token, "digest")

    def token(self, digest: str) -> rows.Token | None:
        return next(iter(self._read(tables.tokens, rows.Token, digest)), None)

    def drop_tokens(self, digests: Collection[str] = (), *, expired_at: float = 0.0) -> int:
        c = tables.tokens.c
        statement = delete(tables.tokens).where(
            or_(c.digest.in_(sorted(digests)), and_(c.expires > 0, c.expires <= expired_at))
        )
        return self._database.write(lambda connection: connection.execute(statement).rowcount)

    def _put(self, table: Table, value: Any, key: str) -> None:
        row = {column.name: getattr(value, column.name) for column in table.c}
        self._database.write(lambda connection: upsert(connection, table, [row], [key]))

    def _read(self, table: Table, kind: type[_Row], key: str | None = None) -> list[_Row]:
        names = tuple(kind.__dataclass_fields__)
        column = table.c[names[0]]
        query = select(*(table.c[name] for name in names))
        if key is not None:
            query = query.where(column == key)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return [kind(**dict(zip(names, row, strict=True))) for row in sorted(found, key=_first)]


def _first(row: Any) -> str:
    return str(row[0])


class SqlSettings:
    """`base.Settings`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str, default: Any = None) -> Any:
        c = tables.settings.c
        with self._database.read() as connection:
            found = connection.execute(select(c.value).where(c.key == key)).first()
        return default if found is None else found.value

    def put(self, key: str, value: Any) -> None:
        row = {"key": key, "value": value}

        def work(connection: Connection) -> None:
            upsert(connection, tables.settings, [row], ["key"])

        self._database.write(work)

    def remove(self, keys: Collection[str]) -> None:
        gone = delete(tables.settings).where(tables.settings.c.key.in_(keys))
        self._database.write(lambda connection: connection.execute(gone).rowcount)

    def all(self, prefix: str = "") -> dict[str, Any]:
        c = tables.settings.c
        query = select(c.key, c.value).where(c.key.startswith(prefix, autoescape=True))
        with self._database.read() as connection:
            found = connection.execute(query).all()
        # SQLite's LIKE does not know case.
        return {r.key: r.value for r in sorted(found, key=_first) if r.key.startswith(prefix)}
