"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table, those that others refer to first."""
    _runs()
    _reports()
    _events()
    _registry()
    _ledger()
    _tenants()


def _seq() -> sa.Column[Any]:
    return sa.Column("seq", _BIG, primary_key=True, autoincrement=True)


def _columns(kind: Any, names: tuple[str, ...], nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable, autoincrement=False) for name in names]


def _text(*names: str) -> list[sa.Column[Any]]:
    return _columns(sa.Text(), names)


def _time(*names: str) -> list[sa.Column[Any]]:
    return _columns(sa.Double(), names)


def _maybe_time(*names: str) -> list[sa.Column[Any]]:
    return _columns(sa.Double(), names, nullable=True)


def _count(*names: str) -> list[sa.Column[Any]]:
    return _columns(_BIG, names)


def _maybe_count(*names: str) -> list[sa.Column[Any]]:
    return _columns(_BIG, names, nullable=True)


def _flag(*names: str) -> list[sa.Column[Any]]:
    return _columns(sa.Boolean(), names)


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_run"
    return sa.ForeignKeyConstraint(["run"], ["runs.id"], name=name, ondelete="CASCADE")


def _index(
    name: str, table: str, columns: list[str], *, unique: bool = False, where: str = ""
) -> None:
    partial = sa.text(where) if where else None
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=partial, postgresql_where=partial
    )


def _runs() -> None:
    op.create_table(
        "runs",
        _seq(),
        *_text("id", "project", "kind", "name", "state"),
        *_time("created", "updated"),
        *_text("parent", "key", "root", "queue", "user", "pinned_digest", "quote", "waiting"),
        *_time("wake"),
        *_text("cached_from"),
        *_count("price"),
        *_time("started", "ended"),
        *_count("tries", "losses", "number"),
        *_maybe_time("due"),
        *_count("pokes"),
        *_text("token", "worker"),
        *_time("claimed_until", "stop_at"),
        *_text("stop_by", "error", "result", "memory", "plan", "pinned", "spec"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sqlite_autoincrement=True,
    )
    _index(
        "ix_runs_cached", "runs", ["project", "pinned_digest", "seq"], where="state = 'succeeded'"
    )
    _index("ix_runs_due", "runs", ["due"], where="due IS NOT NULL")
    _index("ix_runs_kind_seq", "runs", ["kind", "seq"])
    _index("ix_runs_name_seq", "runs", ["name", "seq"])
    _index("ix_runs_parent_seq", "runs", ["parent", "seq"], where="parent <> ''")
    _index("ix_runs_project_kind_state_seq", "runs", ["project", "kind", "state", "seq"])
    _index("ix_runs_project_name_seq", "runs", ["project", "name", "seq"])
    _index("ix_runs_project_seq", "runs", ["project", "seq"])
    _index("ix_runs_project_state_seq", "runs", ["project", "state", "seq"])
    _index("ix_runs_root_seq", "runs", ["root", "seq"])
    _index("ix_runs_state_seq", "runs", ["state", "seq"])
    _index("uq_runs_key", "runs", ["project", "parent", "key"], unique=True, where="key <> ''")


def _reports() -> None:
    op.create_table(
        "placements",
        _seq(),
        *_text("id", "run", "task_name"),
        *_count("number"),
        *_text("pool", "engine"),
        *_count("lease"),
        *_text("state"),
        *_time("placed", "started", "ended"),
        *_count("seen"),
        *_text("demand", "handle", "reason", "done", "task"),
        _of_run("placements"),
        sa.UniqueConstraint("id", name="uq_placements_id"),
        sqlite_autoincrement=True,
    )
    _index("ix_placements_live", "placements", ["pool"], where="ended = 0")
    _index(
        "ix_placements_run_task_name_number",
        "placements",
        ["run", "task_name", "number"],
        unique=True,
    )
    op.create_table(
        "attempts",
        *_text("id", "placement", "run", "task"),
        *_count("placed"),
        *_text("role"),
        *_count("index", "number"),
        *_text("state"),
        *_time("started", "ended"),
        *_text("address"),
        *_flag("stale"),
        *_text("exit", "usage", "outputs"),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        _of_run("attempts"),
    )
    _index("ix_attempts_run", "attempts", ["run"])
    op.create_table(
        "metrics",
        _seq(),
        *_text("run", "name"),
        *_count("step"),
        *_maybe_time("value"),
        *_time("at"),
        _of_run("metrics"),
        sqlite_autoincrement=True,
    )
    _index("ix_metrics_run_name_seq", "metrics", ["run", "name", "seq"])
    op.create_table(
        "params",
        *_text("run", "name", "value"),
        sa.PrimaryKeyConstraint("run", "name", name="pk_params"),
        _of_run("params"),
    )
    op.create_table(
        "phases",
        _seq(),
        *_text("run", "placement", "role"),
        *_count("index", "attempt"),
        *_text("name"),
        *_time("seconds", "at"),
        _of_run("phases"),
    )
    _index("ix_phases_run", "phases", ["run"])
    op.create_table(
        "progress",
        *_text("run", "placement", "role"),
        *_count("index"),
        *_time("done", "total", "at"),
        sa.PrimaryKeyConstraint("run", "placement", "role", "index", name="pk_progress"),
        _of_run("progress"),
    )


def _events() -> None:
    op.create_table(
        "events",
        _seq(),
        *_time("at"),
        *_text("type", "project", "subject", "run", "root", "body"),
        sqlite_autoincrement=True,
    )
    _index("ix_events_project_seq", "events", ["project", "seq"])
    _index("ix_events_root_seq", "events", ["root", "seq"], where="root <> ''")


def _registry() -> None:
    op.create_table(
        "numbers",
        *_text("scope", "project", "name"),
        *_count("last"),
        sa.PrimaryKeyConstraint("scope", "project", "name", name="pk_numbers"),
    )
    op.create_table(
        "revisions",
        *_text("project", "kind", "name"),
        *_count("number"),
        *_text("digest", "bundle", "user"),
        *_time("created", "deleted"),
        *_text("document"),
        sa.PrimaryKeyConstraint("project", "kind", "name", "number", name="pk_revisions"),
    )
    op.create_table(
        "datasets",
        *_text("project", "name"),
        *_count("number"),
        *_text("run", "origin", "slot", "spec_digest"),
        *_time("created"),
        *_count("bytes"),
        *_text("sources", "meta", "digest"),
        *_count("rows"),
        *_text("schema", "stats", "files", "table_uri"),
        *_count("table_version"),
        sa.PrimaryKeyConstraint("project", "name", "number", name="pk_datasets"),
    )
    _index("ix_datasets_run", "datasets", ["run"])
    _index("uq_datasets_origin", "datasets", ["origin", "slot"], unique=True, where="origin <> ''")
    op.create_table(
        "models",
        *_text("project", "name"),
        *_count("number"),
        *_text("run", "origin", "slot", "spec_digest"),
        *_time("created"),
        *_count("bytes"),
        *_text("sources", "meta", "artifact", "format", "environment", "signature", "metrics"),
        sa.PrimaryKeyConstraint("project", "name", "number", name="pk_models"),
    )
    _index("ix_models_run", "models", ["run"])
    _index("uq_models_origin", "models", ["origin", "slot"], unique=True, where="origin <> ''")
    op.create_table(
        "aliases",
        _seq(),
        *_text("project", "model", "alias"),
        *_count("number"),
        *_time("at"),
        *_text("user", "run"),
        sqlite_autoincrement=True,
    )
    _index("ix_aliases_project_model_alias_seq", "aliases", ["project", "model", "alias", "seq"])
    op.create_table(
        "lineage",
        _seq(),
        *_text("project", "source_kind", "source_name"),
        *_count("source_number"),
        *_text("source_digest", "target_kind", "target_name"),
        *_count("target_number"),
        *_text("target_digest", "run"),
        *_time("at"),
        sa.UniqueConstraint(
            "project",
            "target_kind",
            "target_name",
            "target_number",
            "target_digest",
            "source_kind",
            "source_name",
            "source_number",
            "source_digest",
            "run",
            name="uq_lineage_edge",
        ),
    )
    _index("ix_lineage_source", "lineage", ["project", "source_kind", "source_name"])


def _ledger() -> None:
    op.create_table(
        "quotes",
        *_text("id", "project", "pinned"),
        *_time("made", "expires"),
        *_text("document"),
        sa.PrimaryKeyConstraint("id", name="pk_quotes"),
    )
    op.create_table(
        "promises",
        *_text("run", "project", "quote"),
        *_time("made"),
        *_maybe_time("seconds"),
        *_maybe_count("price"),
        *_text("outcome"),
        *_time("actual_seconds"),
        *_count("actual_price"),
        *_time("settled"),
        *_text("plan"),
        sa.PrimaryKeyConstraint("run", name="pk_promises"),
    )
    _index("ix_promises_project_made", "promises", ["project", "made"])
    op.create_table(
        "usage",
        *_text("run", "part", "project", "root"),
        *_count("nanodollars"),
        *_time("seconds", "at"),
        *_text("detail"),
        sa.PrimaryKeyConstraint("run", "part", name="pk_usage"),
    )
    _index("ix_usage_project_at", "usage", ["project", "at"])
    _index("ix_usage_root", "usage", ["root"])
    op.create_table(
        "leases",
        *_text("pool", "holder"),
        *_count("number"),
        *_time("expires"),
        sa.PrimaryKeyConstraint("pool", name="pk_leases"),
    )


def _tenants() -> None:
    op.create_table(
        "projects",
        *_text("name"),
        *_time("created"),
        *_text("document"),
        sa.PrimaryKeyConstraint("name", name="pk_projects"),
    )
    op.create_table(
        "users",
        *_text("name"),
        *_time("created"),
        *_text("document"),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "tokens",
        *_text("digest", "user", "kind"),
        *_time("created", "expires"),
        *_text("scope"),
        sa.PrimaryKeyConstraint("digest", name="pk_tokens"),
    )
    op.create_table(
        "settings",
        *_text("key", "value"),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
    )
