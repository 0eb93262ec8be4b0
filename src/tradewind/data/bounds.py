"""Which tables are read once more for all their statistics. Standard library only.

By what a table is and not by how long its task took: the same rows shall always have the same
statistics and the same digest, on a busy machine too.
"""

from __future__ import annotations

# A second reading takes about a quarter of a microsecond of CPU for each value, distinct ones most:
# here an eighth of a second. A query makes as many values in a tenth of that.
VALUES = 500_000
# Long texts are few values and no less work.
BYTES = 8 << 20
# Each column is looked at by itself, which takes a few milliseconds however few rows it has.
LEAST = 1_000
# An import is made once and looked at, and to read text takes longer than a query: two seconds.
IMPORTED = 16


def large(rows: int | None, columns: int, size: int, times: int = 1) -> bool:
    """Whether a table of so many rows, columns and bytes on disk has only those statistics that
    cost no second reading. `times`: so much more is still small."""
    return size > times * BYTES or max(rows or 0, LEAST) * columns > times * VALUES
