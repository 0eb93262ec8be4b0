"""Beside nothing of the user's: read a dataset's source in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradewind.data import importing
from tradewind.inside.staged import Table, staging


def import_table(spec: dict[str, Any], source: Path | None = None) -> Table:
    """Read the source, check it, write Parquet. `source` holds the files where they were brought
    here; else they lie where the spec says.

    Raises InvalidData, located in the file that is at fault.
    """
    if source is not None:
        spec = {**spec, "source": _brought(spec["source"], source)}
    made = importing.import_dataset(spec, staging(), Path("/"))
    return Table(
        [Path(file) for file in made.files],
        rows=made.rows,
        schema=made.schema,
        stats=made.stats,
        digest=made.digest,
    )


def _brought(source: Any, folder: Path) -> dict[str, Any]:
    """The source as the spec says it is to be read, from the files of a folder."""
    options = dict(source) if isinstance(source, Mapping) else {}
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    return {**options, "path": files}
