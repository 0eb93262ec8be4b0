"""Arrow for this room, and small words about tables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from tradewind.base.errors import InvalidData, Location, missing_extra

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ModuleNotFoundError as error:
    raise missing_extra("pyarrow", "data") from error

__all__ = ["pa", "pc", "refuse_missing"]


def refuse_missing(table: pa.Table, names: Iterable[str], what: str) -> None:
    """InvalidData when the table lacks a column that an option names."""
    known: Sequence[str] = table.column_names
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "its columns: " + ", ".join(known[:20])
            raise InvalidData(
                f"the table has no column {name!r}", hint=hint, where=Location(field=what)
            )
