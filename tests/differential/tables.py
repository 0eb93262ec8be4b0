"""Tables with edge values, from a seed."""

from __future__ import annotations

import datetime
import math
import random
from decimal import Decimal
from typing import Any

import pyarrow as pa

TEXTS = (
    "上海",
    "北京 市",
    "",
    " ",
    "a",
    "A",
    "ä",
    "a b",
    "\tx\n",
    "%",
    "a_b",
    "\\",
    "'",
    "𝄞é",
    "v",
    "null",
)
FLOATS = (0.0, -0.0, math.nan, math.inf, -math.inf, 1.5, -2.25, 1e300, 0.5, 2.5, -0.5, 7.75)
FINITE = (0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 3.25, -7.75, 1024.0, 0.125)
WHOLE = (0, 1, -1, 2, 7, -8, 100, 2**31, -(2**40), 2**53 + 1)
_DAY = 86_400_000_000
TYPES = {
    "id": pa.int64(), "i": pa.int64(), "n": pa.int32(), "j": pa.int8(),
    "f": pa.float64(), "h": pa.float64(), "w": pa.float32(), "d": pa.decimal128(12, 3),
    "e": pa.decimal128(5, 1), "s": pa.string(), "k": pa.string(), "b": pa.bool_(),
    "g": pa.date32(), "t": pa.timestamp("us"), "z": pa.timestamp("us", "Asia/Shanghai"),
}  # fmt: skip


def table(rng: random.Random, prefix: str = "") -> pa.Table:
    """Of no row, one row, or some; `id` has each value once, other columns have nulls."""
    rows = rng.choice((0, 1, 2, 5, 12, 25, 40))
    empty = rng.choice((0.0, 0.1, 0.5, 1.0) if rng.random() < 0.2 else (0.0, 0.15))
    columns = {}
    for name, kind in TYPES.items():
        if name == "id":
            values: list[Any] = rng.sample(range(10_000), rows)
        else:
            values = [None if rng.random() < empty else _value(rng, name) for _ in range(rows)]
        columns[prefix + name] = pa.array(values, kind)
    return pa.table(columns)


def _value(rng: random.Random, name: str) -> Any:
    if name == "i":
        return rng.choice(WHOLE) if rng.random() < 0.5 else rng.randint(-1000, 1000)
    if name in "nj":
        return rng.randint(-3, 3)
    if name == "f":
        return rng.choice(FLOATS)
    if name in "hw":
        return rng.choice(FINITE)
    if name == "d":
        return Decimal(rng.randint(-(10**6), 10**6)).scaleb(-3)
    if name == "e":
        return Decimal(rng.randint(-55, 55)).scaleb(-1)
    if name == "s":
        return rng.choice(TEXTS) + rng.choice(TEXTS)
    if name == "k":
        return rng.choice(TEXTS[:6])
    if name == "b":
        return rng.random() < 0.5
    days = rng.randint(-30_000, 40_000)
    if name == "g":
        return datetime.date(1970, 1, 1) + datetime.timedelta(days)
    return days * _DAY + rng.choice((0, 1, rng.randrange(_DAY), _DAY - 1))
