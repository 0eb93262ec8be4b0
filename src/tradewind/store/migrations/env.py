"""Alembic's way in: the connection comes from `schema.upgrade`, which holds its transaction."""

from alembic import context

from tradewind.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=tables.version.name,
    render_as_batch=True,
)
context.run_migrations()
