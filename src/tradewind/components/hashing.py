"""A hash of each row that depends on nothing but its content and a seed.

Not on row order, chunks, integer widths or the version of a library: a row keeps its side of a
split for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from tradewind.components.arrow import pa
from tradewind.models.heavy import Array, np


def hash_rows(table: pa.Table, columns: Sequence[str], *, seed: int) -> Array:
    """One uint64 a row over the given columns."""
    total = np.full(table.num_rows, _word(f"seed {seed}"), np.uint64)
    for name in columns:
        with np.errstate(over="ignore"):
            total = _mix(total ^ _column(table[name]))
    return total


def share(hashes: Array) -> Array:
    """Hashes as numbers in [0, 1)."""
    made: Array = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return made


def _column(values: Any) -> Array:
    """The hash of each distinct value once, then by its place."""
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    parts = [np.zeros(0, np.uint64)]
    for chunk in values.chunks:
        words = [_word(_text(one)) for one in chunk.dictionary.to_pylist()]
        found = np.array([*words, _word("null")], np.uint64)
        parts.append(found[chunk.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)])
    return np.concatenate(parts)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{type(value).__name__} {value!r}"


def _word(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(words: Array) -> Array:
    """The finish of splitmix64: every bit of the input moves every bit of the output."""
    words = (words + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = words ^ (words >> np.uint64(31))
    return mixed
