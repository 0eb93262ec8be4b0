"""Which tables are read a second time when they are committed."""

from __future__ import annotations

import pytest

from tradewind.supervisor import tables

COLUMNS = [{"name": f"c{i}", "type": "double"} for i in range(25)]


@pytest.mark.parametrize(
    ("size", "rows", "large"),
    [
        (1 << 20, 20_000, False),
        (9 << 20, 20_000, True),
        (1 << 20, 20_001, True),  # it repeats itself: small on disk, and as much to read
        (9 << 20, None, True),
        (0, None, False),
    ],
)
def test_large_is_what_has_many_bytes_or_many_values(
    size: int, rows: int | None, large: bool
) -> None:
    stored = {"files": [{"size": size}], "rows": rows, "schema": COLUMNS}
    assert tables.large(stored) is large
