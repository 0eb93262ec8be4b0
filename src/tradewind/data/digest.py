"""The content hash of a table.

It depends on the schema (names, stored types, order), the rows and their order, and on nothing
else: not on files, row groups, batches, compression or encodings, so a table that is written
anew hashes as before.

Method. Each column feeds streams of bytes, each into a SHA-256 of its own: one byte per row that
says whether there is a value; the values, little-endian, zero where there is none; for texts and
bytes the lengths and, apart from them, the contents; for lists the lengths, then the streams of the
elements; for structs the streams of the fields. Cutting the rows into other batches cuts the same
streams in other places. The digest is the SHA-256 of the canonical JSON of schema, row count and
the streams' digests. All NaN are one value; 0.0 and -0.0 are two.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tradewind.base.ids import digest_json
from tradewind.data.types import arrow, kernels, schema_json, stored_schema

if TYPE_CHECKING:
    import pyarrow as pa

METHOD = "columns-sha256-1"


class TableDigest:
    """Feed it the batches of a table in order, then ask for `value`."""

    def __init__(self, schema: pa.Schema) -> None:
        """`schema` is a stored schema (types.stored_schema)."""
        self.schema = stored_schema(schema)
        self.rows = 0
        self._columns = [_Column(field.type) for field in self.schema]

    def update(self, batch: pa.RecordBatch) -> None:
        """The next rows; their columns are those of the schema."""
        self.rows += batch.num_rows
        for column, values in zip(self._columns, batch.columns, strict=True):
            column.update(values)

    def value(self) -> str:
        """`sha256:` and 64 hex digits."""
        streams = [column.digests() for column in self._columns]
        schema = schema_json(self.schema)
        return digest_json(
            {"method": METHOD, "schema": schema, "rows": self.rows, "columns": streams}
        )


class _Column:
    def __init__(self, kind: pa.DataType) -> None:
        is_ = arrow().types
        self.present = hashlib.sha256()
        self.content = hashlib.sha256()
        self.lengths = hashlib.sha256()
        self.children: list[_Column] = []
        if is_.is_map(kind):
            self.children = [_Column(kind.key_type), _Column(kind.item_type)]
        elif is_.is_list(kind):
            self.children = [_Column(kind.value_type)]
        elif is_.is_struct(kind):
            self.children = [_Column(field.type) for field in kind]

    def digests(self) -> list[Any]:
        own = [stream.hexdigest() for stream in (self.present, self.lengths, self.content)]
        return [*own, *(child.digests() for child in self.children)]

    def update(self, values: pa.Array) -> None:
        pa = arrow()
        is_, compute = pa.types, kernels()
        if not len(values):
            return
        _feed(self.present, values.is_valid().cast(pa.uint8()))
        if is_.is_map(values.type) or is_.is_list(values.type):
            self._update_list(values)
        elif is_.is_struct(values.type):
            for child, part in zip(self.children, values.flatten(), strict=True):
                child.update(part)
        elif is_.is_string(values.type) or is_.is_binary(values.type):
            _feed(self.lengths, compute.binary_length(values).fill_null(0).cast(pa.int64()))
            _feed_bytes(self.content, values)
        else:
            _feed(self.content, _fixed(values))

    def _update_list(self, values: pa.Array) -> None:
        pa = arrow()
        if pa.types.is_map(values.type):
            entries = values.cast(pa.list_(pa.struct([("k", values.type.key_type),
                                                      ("v", values.type.item_type)])))  # fmt: skip
        else:
            entries = values
        lengths = kernels().list_value_length(entries).fill_null(0).cast(pa.int64())
        _feed(self.lengths, lengths)
        inner = entries.flatten()
        parts = inner.flatten() if len(self.children) == 2 else [inner]
        for child, part in zip(self.children, parts, strict=True):
            child.update(part)


def _fixed(values: pa.Array) -> pa.Array:
    """Fixed-width values with zero where there is none and one NaN."""
    pa = arrow()
    is_, compute = pa.types, kernels()
    if is_.is_boolean(values.type):
        return values.fill_null(False).cast(pa.uint8())
    if is_.is_floating(values.type):
        nan = pa.scalar(float("nan"), values.type)
        values = values.fill_null(0)
        return compute.if_else(compute.is_nan(values), nan, values)
    if is_.is_timestamp(values.type):
        return values.cast(pa.int64()).fill_null(0)
    if is_.is_date32(values.type):
        return values.cast(pa.int32()).fill_null(0)
    if is_.is_decimal(values.type):
        return values.fill_null(pa.scalar(Decimal(0), values.type))
    return values.fill_null(0)


def _feed(stream: Any, values: pa.Array) -> None:
    width = values.type.bit_width // 8
    data = values.buffers()[1]
    view = memoryview(data)[values.offset * width : (values.offset + len(values)) * width]
    stream.update(view)


def _feed_bytes(stream: Any, values: pa.Array) -> None:
    if values.null_count:  # the bytes below a null may be anything
        values = values.drop_null()
        if not len(values):
            return
    _, offsets, data = values.buffers()
    if data is None:
        return
    ends = memoryview(offsets).cast("B").cast("i")
    stream.update(memoryview(data)[ends[values.offset] : ends[values.offset + len(values)]])
