"""The schema, one for SQLite and PostgreSQL. The sum of `migrations/` equals it; a test says so.

To change it: edit here, add the next migration, raise `HEAD`.

Two columns carry the claim loop (see `runs.py`): `due` is when a run should next be looked at, null
when nothing is to be done, and `pokes` counts what happened to it, so that what happens while it is
claimed is seen afterwards. Rows that lists page through have a `seq`, because ids are random.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

HEAD = "0006"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Document(TypeDecorator[Any]):
    """A JSON value as text, escaped to ASCII: user text may hold NUL and broken surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return json.dumps(value, separators=(",", ":")) if value else _empty(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        if value is None or value == "{}":
            return None if value is None else {}
        return _whole(json.loads(value)) if "\\ud" in value else json.loads(value)


def _whole(value: Any) -> Any:
    """Half characters become U+FFFD: no answer could carry them, nor any list that they are in."""
    said = json.dumps(value, ensure_ascii=False)
    mended = said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value if said == mended else json.loads(mended)


def _empty(value: Any) -> str:
    return "{}" if value == {} else json.dumps(value)


Big = BigInteger().with_variant(Integer, "sqlite")


def _seq() -> Column[Any]:
    return Column("seq", Big, primary_key=True, autoincrement=True)


def _key(name: str) -> Column[Any]:
    return Column(name, Text, primary_key=True)


def _text(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False)


def _time(name: str) -> Column[Any]:
    return Column(name, Double, nullable=False)


def _count(name: str) -> Column[Any]:
    return Column(name, Big, nullable=False)


def _document(name: str) -> Column[Any]:
    return Column(name, Document, nullable=False)


def _run_owned() -> Column[Any]:
    return Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False)


# The conditions of partial indices. Queries must use these very texts: a planner cannot see that a
# bound value meets one.
HAS_KEY = text("key <> ''")
HAS_PARENT = text("parent <> ''")
HAS_ROOT = text("root <> ''")
HAS_ORIGIN = text("origin <> ''")
HAS_SUCCEEDED = text("state = 'succeeded'")
IS_LIVE = text("ended = 0")
IS_DUE = text("due IS NOT NULL")
# The memory of a run that ends at its plan begins with the question, from when it is accepted.
IS_ASKED = text("substr(memory, 1, 6) = '{\"ask\"'")


def _where(clause: TextClause) -> dict[str, Any]:
    return {"sqlite_where": clause, "postgresql_where": clause}


# What lists read stands first: SQLite then never touches a long row's overflow pages.
runs = Table(
    "runs",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    _text("project"),
    _text("kind"),
    _text("name"),
    _text("state"),
    _time("created"),
    _time("updated"),
    _text("parent"),
    _text("key"),
    _text("root"),
    _text("queue"),
    # Worked out from plan and spec whenever they are written; empty: every server may claim it.
    Column("pool", Text, nullable=False, server_default=""),
    _text("user"),
    _text("pinned_digest"),
    _text("quote"),
    _text("waiting"),
    _time("wake"),
    _text("cached_from"),
    _count("price"),
    _time("started"),
    _time("ended"),
    _count("tries"),
    _count("losses"),
    _count("number"),
    Column("due", Double),
    _count("pokes"),
    _text("token"),
    _text("worker"),
    _time("claimed_until"),
    _time("stop_at"),
    _text("stop_by"),
    _document("error"),
    _document("result"),
    _document("memory"),
    _document("plan"),
    _document("pinned"),
    _document("spec"),
    sqlite_autoincrement=True,
)
Index(
    "uq_runs_key",
    runs.c.project,
    runs.c.parent,
    runs.c.key,
    unique=True,
    **_where(HAS_KEY),
)
Index("ix_runs_due", runs.c.due, **_where(IS_DUE))
Index("ix_runs_pool_due", runs.c.pool, runs.c.due, **_where(IS_DUE))
Index(None, runs.c.project, runs.c.seq)
Index(None, runs.c.kind, runs.c.seq)
Index(None, runs.c.name, runs.c.seq)
Index(None, runs.c.project, runs.c.name, runs.c.seq)
Index(None, runs.c.project, runs.c.state, runs.c.seq)
Index(None, runs.c.project, runs.c.kind, runs.c.state, runs.c.seq)
Index(None, runs.c.state, runs.c.seq)
Index("ix_runs_parent_seq", runs.c.parent, runs.c.seq, **_where(HAS_PARENT))
Index(None, runs.c.root, runs.c.seq)
Index(
    "ix_runs_cached",
    runs.c.project,
    runs.c.pinned_digest,
    runs.c.seq,
    **_where(HAS_SUCCEEDED),
)
Index("ix_runs_asked", runs.c.seq, **_where(IS_ASKED))

placements = Table(
    "placements",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    _run_owned(),
    _text("task_name"),
    _count("number"),
    _text("pool"),
    _text("engine"),
    _count("lease"),
    _text("state"),
    _time("placed"),
    _time("started"),
    _time("ended"),
    _count("seen"),  # the highest seq of a report that is folded in, in stream ""
    _document("demand"),
    _document("handle"),
    _document("reason"),
    _document("done"),
    _text("task"),
    Column("seats", Document, nullable=False, server_default="[]"),
    sqlite_autoincrement=True,
)
Index(None, placements.c.run, placements.c.task_name, placements.c.number, unique=True)
Index("ix_placements_live", placements.c.pool, **_where(IS_LIVE))

# As `placements.seen`, for the streams that have a name.
streams = Table(
    "streams",
    metadata,
    Column("placement", Text, ForeignKey("placements.id", ondelete="CASCADE"), primary_key=True),
    _key("stream"),
    _count("seen"),
)

attempts = Table(
    "attempts",
    metadata,
    _key("id"),  # placement/role/index/number: found again by one key
    _text("placement"),
    _run_owned(),
    _text("task"),
    _count("placed"),  # the placement's number
    _text("role"),
    _count("index"),
    _count("number"),
    _text("state"),
    _time("started"),
    _time("ended"),
    _text("address"),
    Column("stale", Boolean, nullable=False),
    _document("exit"),
    _document("usage"),
    _document("outputs"),
    Column("width", Big, nullable=False, server_default="0"),
)
Index(None, attempts.c.run)

metrics = Table(
    "metrics",
    metadata,
    _seq(),
    _run_owned(),
    _text("name"),
    _count("step"),
    Column("value", Double),  # null: not a number
    _time("at"),
    sqlite_autoincrement=True,
)
Index(None, metrics.c.run, metrics.c.name, metrics.c.seq)

params = Table(
    "params",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    _key("name"),
    _document("value"),
)

phases = Table(
    "phases",
    metadata,
    _seq(),
    _run_owned(),
    _text("placement"),
    _text("role"),
    _count("index"),
    _count("attempt"),
    _text("name"),
    _time("seconds"),
    _time("at"),
)
Index(None, phases.c.run)

progress = Table(
    "progress",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    _key("placement"),
    _key("role"),
    Column("index", Big, primary_key=True, autoincrement=False),
    _time("done"),
    _time("total"),
    _time("at"),
)

events = Table(
    "events",
    metadata,
    _seq(),
    _time("at"),
    _text("type"),
    _text("project"),
    _text("subject"),
    _text("run"),
    _text("root"),
    _document("body"),
    sqlite_autoincrement=True,
)
Index(None, events.c.project, events.c.seq)
Index("ix_events_root_seq", events.c.root, events.c.seq, **_where(HAS_ROOT))

# The last number given in each sequence of versions, so that none is ever given twice.
numbers = Table(
    "numbers",
    metadata,
    _key("scope"),
    _key("project"),
    _key("name"),
    _count("last"),
)

revisions = Table(
    "revisions",
    metadata,
    _key("project"),
    _key("kind"),
    _key("name"),
    Column("number", Big, primary_key=True, autoincrement=False),
    _text("digest"),
    _text("bundle"),
    _text("user"),
    _time("created"),
    _time("deleted"),
    _document("document"),
)


def _versions(name: str, *columns: Column[Any]) -> Table:
    table = Table(
        name,
        metadata,
        _key("project"),
        _key("name"),
        Column("number", Big, primary_key=True, autoincrement=False),
        _text("run"),
        _text("origin"),
        _text("slot"),
        _text("spec_digest"),
        _time("created"),
        _count("bytes"),
        _document("sources"),
        _document("meta"),
        *columns,
    )
    Index(f"uq_{name}_origin", table.c.origin, table.c.slot, unique=True, **_where(HAS_ORIGIN))
    Index(f"ix_{name}_run", table.c.run)
    return table


datasets = _versions(
    "datasets",
    _text("digest"),
    _count("rows"),
    _document("schema"),
    _document("stats"),
    _document("files"),
    _text("table_uri"),
    _count("table_version"),
)

models = _versions(
    "models",
    _text("artifact"),
    _text("format"),
    _text("environment"),
    _document("signature"),
    _document("metrics"),
)

aliases = Table(
    "aliases",
    metadata,
    _seq(),
    _text("project"),
    _text("model"),
    _text("alias"),
    _count("number"),
    _time("at"),
    _text("user"),
    _text("run"),
    sqlite_autoincrement=True,
)
Index(None, aliases.c.project, aliases.c.model, aliases.c.alias, aliases.c.seq)

lineage = Table(
    "lineage",
    metadata,
    _seq(),
    _text("project"),
    _text("source_kind"),
    _text("source_name"),
    _count("source_number"),
    _text("source_digest"),
    _text("target_kind"),
    _text("target_name"),
    _count("target_number"),
    _text("target_digest"),
    _text("run"),
    _time("at"),
    UniqueConstraint(
        *("project", "target_kind", "target_name", "target_number", "target_digest"),
        *("source_kind", "source_name", "source_number", "source_digest", "run"),
        name="uq_lineage_edge",
    ),
)
Index("ix_lineage_source", *(lineage.c[n] for n in ("project", "source_kind", "source_name")))

quotes = Table(
    "quotes",
    metadata,
    _key("id"),
    _text("project"),
    _text("pinned"),
    _time("made"),
    _time("expires"),
    _text("document"),
)

promises = Table(
    "promises",
    metadata,
    _key("run"),
    _text("project"),
    _text("quote"),
    _time("made"),
    Column("seconds", Double),
    Column("price", Big),
    _text("outcome"),
    _time("actual_seconds"),
    _count("actual_price"),
    _time("settled"),
    _document("plan"),
)
Index(None, promises.c.project, promises.c.made)

usage = Table(
    "usage",
    metadata,
    _key("run"),
    _key("part"),
    _text("project"),
    _text("root"),
    _count("nanodollars"),
    _time("seconds"),
    _time("at"),
    _document("detail"),
)
Index(None, usage.c.root)
Index(None, usage.c.project, usage.c.at)

capacities = Table(
    "capacities",
    metadata,
    _seq(),
    _text("pool"),
    _time("at"),
    _text("capacity"),
    _count("price"),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    metadata,
    _key("pool"),
    _text("holder"),
    _count("number"),
    _time("expires"),
)

projects = Table("projects", metadata, _key("name"), _time("created"), _document("document"))
users = Table("users", metadata, _key("name"), _time("created"), _document("document"))
tokens = Table(
    "tokens",
    metadata,
    _key("digest"),
    _text("user"),
    _text("kind"),
    _time("created"),
    _time("expires"),
    _document("scope"),
)
settings = Table("settings", metadata, _key("key"), _document("value"))

# Alembic's own table, declared so that a fresh database is made without importing Alembic.
version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
