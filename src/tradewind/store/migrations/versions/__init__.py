"""Alembic's scripts, one per change of the schema, loaded only when a migration is due."""
