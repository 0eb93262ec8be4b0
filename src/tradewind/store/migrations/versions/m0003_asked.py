"""Lists of runs leave out those that only answer a question.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index of the runs that were only asked for a quote."""
    where = sa.text("substr(memory, 1, 6) = '{\"ask\"'")
    op.create_index("ix_runs_asked", "runs", ["seq"], sqlite_where=where, postgresql_where=where)
