"""The schema's version, looked at once when a store is opened.

A new database is made from `tables.py` and stamped, without Alembic, which is loaded only when
there is something to migrate: opening is part of the server's start.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, func, insert, inspect, select

from tradewind.base import errors
from tradewind.store import tables
from tradewind.store.connect import SCHEMA_LOCK, Database

MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(database: Database) -> None:
    """Make the database what this program expects, or say why that cannot be."""
    with database.read() as connection:
        if _version(connection) == tables.HEAD:
            return
    database.write(_prepare, durable=True)


def _prepare(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))
    found = _version(connection)
    if found == tables.HEAD:
        return
    if found is None:
        _create(connection)
    elif found.isdecimal() and found > tables.HEAD:
        raise errors.Broken(
            f"the database was written by a newer Tradewind: its schema is {found}, this program "
            f"knows {tables.HEAD}",
            hint="install that version again: pip install --upgrade tradewind",
        )
    elif found.isdecimal():
        upgrade(connection)
    else:
        raise _foreign()


def _version(connection: Connection) -> str | None:
    """The stamped version; None for an empty database."""
    names = set(inspect(connection).get_table_names())
    if tables.version.name in names:
        found: str | None = connection.scalar(select(tables.version.c.version_num))
        return found or "unknown"
    if names:
        raise _foreign()
    return None


def _foreign() -> errors.Broken:
    return errors.Broken(
        "the database belongs to something else: it has tables, but not those of Tradewind",
        hint="give Tradewind a database or a file of its own",
    )


def _create(connection: Connection) -> None:
    tables.metadata.create_all(connection, checkfirst=False)
    tables.version.create(connection)
    connection.execute(insert(tables.version).values(version_num=tables.HEAD))


def upgrade(connection: Connection, target: str = "head") -> None:
    """Carry out the migrations that are missing, inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
