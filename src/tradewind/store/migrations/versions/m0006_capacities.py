"""What pools have had from when on: bills show what nobody held.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add `capacities`; of the time before nothing is known."""
    op.create_table(
        "capacities",
        sa.Column("seq", BIG, primary_key=True, autoincrement=True),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("capacity", sa.Text(), nullable=False),
        sa.Column("price", BIG, nullable=False),
        sqlite_autoincrement=True,
    )
