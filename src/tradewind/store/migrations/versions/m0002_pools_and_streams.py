"""Runs know their pool; reports of a placement may come in several streams.

Revision ID: 0002
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT_ONCE = 1000


def upgrade() -> None:
    """Add `runs.pool`, filled from what each run was planned for or asks for, and `streams`."""
    op.add_column("runs", sa.Column("pool", sa.Text(), nullable=False, server_default=""))
    _fill(op.get_bind())
    where = sa.text("due IS NOT NULL")
    op.create_index(
        "ix_runs_pool_due", "runs", ["pool", "due"], sqlite_where=where, postgresql_where=where
    )
    op.create_table(
        "streams",
        sa.Column("placement", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seen", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("placement", "stream", name="pk_streams"),
        sa.ForeignKeyConstraint(
            ["placement"], ["placements.id"], name="fk_streams_placement", ondelete="CASCADE"
        ),
    )


def _fill(connection: sa.Connection) -> None:
    """In Python: the documents may hold what a database's own JSON refuses (NUL, NaN)."""
    runs = sa.table("runs", *(sa.column(name) for name in ("seq", "plan", "spec", "pool")))
    page = (
        sa.select(runs.c.seq, runs.c.plan, runs.c.spec)
        .where(runs.c.seq > sa.bindparam("after"))
        .order_by(runs.c.seq)
        .limit(_AT_ONCE)
    )
    fill = sa.update(runs).where(runs.c.seq == sa.bindparam("_seq"))
    after = 0
    while found := connection.execute(page, {"after": after}).all():
        after = found[-1].seq
        named = [{"_seq": row.seq, "pool": pool} for row in found if (pool := _pool(row))]
        if named:
            connection.execute(fill, named)


def _pool(row: Any) -> str:
    for document in (row.plan, row.spec):
        pool = json.loads(document).get("pool")
        if pool and isinstance(pool, str):
            return str(pool)
    return ""
