"""A placement keeps the places of its processes.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `placements.seats`; of those that are there nothing is known."""
    op.add_column("placements", sa.Column("seats", sa.Text(), nullable=False, server_default="[]"))
