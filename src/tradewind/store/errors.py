"""Database errors to the tree in `base.errors`. Every statement of this room runs inside `mapped`.

Who must act follows from the error's code: SQLite's result name, PostgreSQL's SQLSTATE. Codes that
are not listed are our bug, except that a lost connection has none and counts as unreachable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from tradewind.base import errors

_FULL = "free space on the disk that holds the database, then try again"
_READ_ONLY = "make the database and its folder writable for the user that runs the server"
_CORRUPT = "restore the database from a backup; do not delete it: it may be salvaged"
_CANNOT_OPEN = "check that the folder exists and belongs to the user that runs the server"
_ACCESS = "check the user, the password and the database's name in the URL"

_Mapped = tuple[type[errors.TradewindError], str, str]

# The first prefix that fits decides.
SQLITE: tuple[tuple[str, _Mapped], ...] = (
    ("SQLITE_FULL", (errors.Broken, "the disk of the database is full", _FULL)),
    ("SQLITE_READONLY", (errors.Broken, "the database cannot be written", _READ_ONLY)),
    ("SQLITE_PERM", (errors.Broken, "the database cannot be read", _READ_ONLY)),
    ("SQLITE_AUTH", (errors.Broken, "the database cannot be read", _READ_ONLY)),
    ("SQLITE_CANTOPEN", (errors.Broken, "the database cannot be opened", _CANNOT_OPEN)),
    ("SQLITE_CORRUPT", (errors.Broken, "the database is damaged", _CORRUPT)),
    ("SQLITE_NOTADB", (errors.Broken, "the file is not a database", _CORRUPT)),
    ("SQLITE_BUSY", (errors.TryAgain, "another process holds the database", "")),
    ("SQLITE_LOCKED", (errors.TryAgain, "another process holds the database", "")),
    ("SQLITE_PROTOCOL", (errors.TryAgain, "another process holds the database", "")),
    ("SQLITE_INTERRUPT", (errors.TryAgain, "the query was interrupted", "")),
    ("SQLITE_NOMEM", (errors.TryAgain, "there is not enough memory", "")),
    ("SQLITE_IOERR", (errors.Broken, "the disk of the database fails", _FULL)),
    ("SQLITE_TOOBIG", (errors.InvalidData, "a value is too large to be stored", "")),
)
POSTGRESQL: tuple[tuple[str, _Mapped], ...] = (
    ("53100", (errors.Broken, "the disk of the database is full", _FULL)),
    ("53", (errors.TryAgain, "the database server is out of resources", "")),
    ("25006", (errors.Broken, "the database cannot be written", _READ_ONLY)),
    ("08", (errors.Unreachable, "the database server does not answer", "")),
    ("57", (errors.Unreachable, "the database server is going down or coming up", "")),
    ("40", (errors.TryAgain, "others changed the same rows", "")),
    ("55", (errors.TryAgain, "others hold the same rows", "")),
    ("28", (errors.Broken, "the database server refuses us", _ACCESS)),
    ("3D", (errors.Broken, "there is no such database", _ACCESS)),
    ("42501", (errors.Broken, "the database server refuses us", _ACCESS)),
    ("58", (errors.Broken, "the disk of the database fails", _FULL)),
    ("XX", (errors.Broken, "the database is damaged", _CORRUPT)),
    ("54000", (errors.InvalidData, "a value is too large to be stored", "")),
    ("22", (errors.InvalidData, "a text holds what the database cannot store", "")),
)
_RETRIED_STATES = ("40001", "40P01", "23505")


@contextmanager
def mapped() -> Iterator[None]:
    """Raise the tree's error in the place of the database's, which stays as the cause."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise translate(error) from error


def translate(error: exc.SQLAlchemyError) -> errors.TradewindError:
    """The one decision which branch an error of the database is."""
    if isinstance(error, exc.TimeoutError):
        return errors.TryAgain("all connections to the database are in use", after=1.0)
    if not isinstance(error, exc.DBAPIError):
        return errors.Bug(f"the store built a wrong statement: {error}")
    native = error.orig
    detail = str(native).strip().splitlines()[0] if str(native).strip() else "no detail"
    code, table = _code(native)
    for prefix, (kind, message, hint) in table:
        if code.startswith(prefix):
            after = 1.0 if issubclass(kind, errors.TryAgain) else None
            return kind(f"{message}: {detail}", hint=hint, after=after)
    if not code and isinstance(error, exc.DataError):
        return errors.InvalidData(f"a text holds what the database cannot store: {detail}")
    if not code and isinstance(error, exc.OperationalError | exc.InterfaceError):
        return errors.Unreachable(f"the database does not answer: {detail}", after=1.0)
    return errors.Bug(f"the database refuses a statement of the store: {detail}")


def _code(native: BaseException | None) -> tuple[str, tuple[tuple[str, _Mapped], ...]]:
    """The driver's own code and the table that reads it."""
    name = getattr(native, "sqlite_errorname", None)
    if name:
        return str(name), SQLITE
    return str(getattr(native, "sqlstate", None) or ""), POSTGRESQL


def lost_a_race(error: exc.DBAPIError) -> bool:
    """Whether the same transaction passes when it is simply run again: PostgreSQL broke a deadlock,
    or somebody inserted the same key first."""
    return str(getattr(error.orig, "sqlstate", None) or "") in _RETRIED_STATES
