"""An attempt at a gang tells how wide it works.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add `attempts.width`; 0 where nothing was told."""
    op.add_column("attempts", sa.Column("width", BIG, nullable=False, server_default="0"))
