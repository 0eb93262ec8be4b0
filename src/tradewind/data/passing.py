"""Statistics of a table while its rows pass: what needs no second look at a value.

Count, nulls, floats that are no number, least, largest, mean, deviation. They are those of
`profile`; what it knows besides (distinct values, the most frequent, quantiles) needs all values at
once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tradewind.data.profile import LARGEST, ColumnProfile, group, plain
from tradewind.data.types import arrow, kernels, name_of

if TYPE_CHECKING:
    import pyarrow as pa


class Passing:
    """Feed it the batches of a table, then ask for `columns`."""

    def __init__(self, schema: pa.Schema) -> None:
        """`schema` is a stored schema (types.stored_schema)."""
        self._columns = [_Column(field.name, field.type) for field in schema]

    def update(self, batch: pa.RecordBatch) -> None:
        """The next rows; their columns are those of the schema."""
        for column, values in zip(self._columns, batch.columns, strict=True):
            column.update(values)

    def columns(self) -> tuple[ColumnProfile, ...]:
        """What is known by now."""
        return tuple(column.value() for column in self._columns)


class _Column:
    def __init__(self, name: str, kind: pa.DataType) -> None:
        self.name, self.kind, self.sort = name, kind, group(kind)
        self.count = self.nulls = self.nan = 0
        self.least: Any = None
        self.most: Any = None
        # Of the finite numbers: how many, their mean, the sum of squared distances from it.
        self.numbers, self.mean, self.squares = 0, 0.0, 0.0

    def update(self, values: pa.Array) -> None:
        compute = kernels()
        self.nulls += values.null_count
        self.count += len(values) - values.null_count
        if self.sort == "float":
            finite = compute.drop_null(compute.filter(values, compute.is_finite(values)))
            self.nan += len(values) - values.null_count - len(finite)
            values = finite
        if self.sort == "other" or len(values) == values.null_count:
            return
        ends = compute.min_max(values)
        self.least = _end(compute.min, self.least, ends["min"])
        self.most = _end(compute.max, self.most, ends["max"])
        if self.sort in ("number", "float", "bool"):
            self._sum(values)

    def _sum(self, values: pa.Array) -> None:
        """Add the moments of a batch to those of all before it (Chan, Golub, LeVeque)."""
        pa, compute = arrow(), kernels()
        if self.sort == "bool":
            values = values.cast(pa.uint8())
        values = values.cast(pa.float64(), safe=False)
        count = len(values) - values.null_count
        mean = compute.mean(values).as_py()
        apart, self.numbers = mean - self.mean, self.numbers + count
        self.mean += apart * count / self.numbers
        self.squares += compute.variance(values).as_py() * count
        self.squares += apart * apart * count * (self.numbers - count) / self.numbers

    def value(self) -> ColumnProfile:
        least, most = self._shown(self.least), self._shown(self.most)
        mean = self.mean if self.numbers and math.isfinite(self.mean) else None
        std = math.sqrt(self.squares / (self.numbers - 1)) if self.numbers > 1 else None
        wide = any(isinstance(end, float) and abs(end) >= LARGEST for end in (least, most))
        return ColumnProfile(
            name=self.name,
            type=name_of(self.kind),
            count=self.count,
            nulls=self.nulls,
            min=least,
            max=most,
            mean=mean,
            std=std if std is not None and not wide and math.isfinite(std) else None,
            nan=self.nan,
        )

    def _shown(self, end: Any) -> Any:
        if end is None or self.sort != "time":
            return None if end is None else plain(end.as_py(), self.kind)
        pa = arrow()
        zone = "Z" if pa.types.is_timestamp(self.kind) and self.kind.tz else ""
        if pa.types.is_timestamp(self.kind):  # its text in UTC needs no zone, and no end in 9999
            end = end.cast(pa.int64()).cast(pa.timestamp("us"))
        text = end.cast(pa.string()).as_py()
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return text.replace(" ", "T") + zone


def _end(choose: Any, old: Any, new: Any) -> Any:
    if old is None:
        return new
    return choose(arrow().array([old, new]))
