"""Samples of a table's keys, with all rows that these have in several of its row groups.

A row group of a table that lies in no order has a few rows of each key, and what a function takes
for so few says little of a key with all of them. So some keys are chosen, by their hash, and their
rows taken from one row group after the other; never much more are held than one row group has.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any, Sequence

from . import groups, keys, tables
from .groups import Group

MOST_SHARES = 1024
# A share of the keys stands for all if it has this part of the rows that are asked for, no more
# than so many times as many, and of several row groups so many keys.
LEAST_TYPICAL, MOST_TYPICAL = 0.5, 2.0
LEAST_KEYS = 8
# The part of the time for reading in which the columns of the keys are to be read.
COUNTING = 0.3


class Keys:
    """The rows of some keys, about as many as a row group has."""

    def __init__(
        self, some: Sequence[Group], by: Sequence[str], folder: str, seconds: float
    ) -> None:
        """Of these row groups; of as many of them as can be read in this time, and one at least."""
        began = time.monotonic()
        rows = max(group.rows for group in some)
        of = -(-sum(group.rows for group in some) // rows)
        # However many there is time for, they are spread over the table.
        mixed = random.Random(0).sample(list(some), len(some))
        part, counted = _part(keys.Shuffle(by, folder), mixed, of, began + seconds * COUNTING)
        # Whether all rows are here that the keys have in these row groups.
        self.whole = part is not None
        self._shuffle = keys.Shuffle(by, folder, part=part or 0, of=of if self.whole else 1)
        most = 0 if self.whole else max(1, rows // counted)
        self._none = keys.merged(groups.schema_of([mixed[0].file]).empty_table())
        found: dict[int, Any] = {}
        for group in mixed[:counted]:
            found[group.first] = self._taken(group, most)
            if time.monotonic() > began + seconds and any(map(len, found.values())):
                break
        self._table = tables.use("pyarrow").concat_tables([found[n] for n in sorted(found)])
        self.rows: int = self._table.num_rows
        found.clear()
        tables.use("pyarrow").default_memory_pool().release_unused()  # the calls' peak is measured

    def some(self, rows: int, folder: str) -> tuple[list[str], int]:
        """A file with about so many rows, for some keys all that are here; and how many it has.
        Where nearly all rows are of few keys, so many of theirs."""
        count = min(MOST_SHARES, round(self.rows / max(1, rows)))
        if count < 2:
            return _written(self._table, folder)
        shares = dict(self._shuffle.places(self._table, count))
        sizes = {share: len(places) for share, places in shares.items()}
        share, typical = _middle(sizes, rows)
        if not typical and sizes[share] < rows:
            share = max(sizes, key=lambda each: sizes[each])
        table = self._table.take(shares[share])
        return _written(table if typical else self._firsts(table, rows), folder)

    def many(self, rows: int, folder: str) -> tuple[list[str], int]:
        """A file with so many rows of as many keys as can be; and how many it has."""
        return _written(self._firsts(self._table, rows), folder)

    def _firsts(self, table: Any, rows: int) -> Any:
        """So many rows of as many keys as can be: large keys are cut, and no small one."""
        return table.take(self._shuffle.firsts(table, rows))

    def _taken(self, group: Group, most: int) -> Any:
        """What is to be had of a row group; `most`: so many rows of as many keys as can be."""
        pyarrow = tables.use("pyarrow")
        parts = [self._none]
        for piece in groups.batches([group]):
            for _, places in self._shuffle.places(piece.data, 1):
                parts.append(pyarrow.table(keys.merged(piece.data.take(places))))
        table = pyarrow.concat_tables(parts)
        return self._firsts(table, most) if most else table


def _part(
    shuffle: keys.Shuffle, some: Sequence[Group], of: int, until: float
) -> tuple[int | None, int]:
    """Which of so many shares of the keys is like the others, None if none is; and how many of the
    row groups could be looked at in time. The columns of the keys tell."""
    if of == 1:
        return 0, len(some)
    sizes, done = [0] * of, 0
    seen: list[set[int]] = [set() for _ in sizes]
    for group in some:
        data = groups.opened(group.file).read_row_group(group.place, columns=shuffle.by)
        for share, size, some_keys in shuffle.sizes(data, of, LEAST_KEYS):
            sizes[share] += size
            seen[share].update(some_keys)
        done += 1
        if time.monotonic() > until:
            break
    share, typical = _middle(dict(enumerate(sizes)), sum(sizes) // of)
    return (share if typical and len(seen[share]) >= LEAST_KEYS else None), done


def _middle(sizes: dict[int, int], rows: int) -> tuple[int, bool]:
    """The share of middle size: where one key has half of the rows, it is in none that is like the
    others. And whether that has about so many rows."""
    ordered = sorted((size, share) for share, size in sizes.items())
    size, share = ordered[len(ordered) // 2]
    return share, LEAST_TYPICAL * rows <= size <= MOST_TYPICAL * rows


def _written(table: Any, folder: str) -> tuple[list[str], int]:
    path = os.path.join(folder, "keys.parquet")
    tables.use("pyarrow.parquet").write_table(table, path)
    return [path], table.num_rows
