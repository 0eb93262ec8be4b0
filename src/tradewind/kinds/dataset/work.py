"""Beside nothing of the user's: read a dataset's source in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradewind.data import importing
from tradewind.inside.staged import Table, staging


def import_table(spec: dict[str, Any], source: Any = None) -> Table:
    """Read the source, check it, write Parquet. `source` is what was pinned, for the cache only.

    Raises InvalidData, located in the file that is at fault.
    """
    made = importing.import_dataset(spec, staging(), Path("/"))
    return Table(
        [Path(file) for file in made.files],
        rows=made.rows,
        schema=made.schema,
        stats=made.stats,
        digest=made.digest,
    )
