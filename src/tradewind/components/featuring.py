"""`features`: fit declared features on training rows.

The fitted transformer travels in the table's own schema metadata, which Parquet keeps: features
without the transformer that made them are of no use, so they are one thing with one name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.base.errors import InvalidData, InvalidSpec, Location, NotAllowed
from tradewind.components.arrow import pa, pc, refuse_missing
from tradewind.models import columns as tables
from tradewind.models import transformer as transformers
from tradewind.models.heavy import Array, np
from tradewind.models.manifest import Signature
from tradewind.models.transformer import Transformer

_KEY = b"tradewind.transformer"


def features(
    rows: pa.Table,
    *,
    declared: Sequence[Mapping[str, Any]],
    label: str = "",
    known_after: Sequence[str] = (),
    nullable: Sequence[str] = (),
) -> pa.Table:
    """One float column a feature, the label beside them, and the transformer within.

    Give it training rows only. Rows to be scored stay raw: the model brings the transformer along
    and applies it itself, here as in a service.
    """
    transformers.check(declared)
    names = transformers.needed(declared)
    refuse_leaks(declared, {*known_after, *([label] if label else [])})
    refuse_missing(rows, names, "declared")
    truth = label_of(rows, label) if label else None
    inputs = tables.infer(rows, names, nullable=nullable)
    columns = tables.from_table(Signature(inputs=inputs, outputs=()), rows)
    fitted, made = transformers.fit(declared, inputs, columns, truth)
    arrays: dict[str, Any] = {name: pa.array(values) for name, values in made.items()}
    if truth is not None:
        if label in arrays:
            raise InvalidSpec(f"a feature is named {label!r}, as the label is")
        arrays[label] = pa.array(truth.astype(np.int8))
    metadata = {_KEY: json.dumps(fitted.to_json(), separators=(",", ":")).encode()}
    return pa.table(arrays).replace_schema_metadata(metadata)


def transformer_of(table: pa.Table) -> Transformer:
    """The transformer that made this table of features."""
    found = (table.schema.metadata or {}).get(_KEY)
    if found is None:
        raise InvalidData(
            "this table does not say how its features were made",
            hint="give train the output of features as it is (pandas would lose the transformer)",
        )
    return transformers.from_json(json.loads(found))


def refuse_leaks(declared: Sequence[Mapping[str, Any]], known_after: set[str]) -> None:
    """NotAllowed for a feature made of something that is not known yet when it is asked for."""
    for index, one in enumerate(declared):
        for name in transformers.needed([one]):
            if name in known_after:
                raise NotAllowed(
                    f"the feature {one.get('name') or one['op']!r} reads {name!r}, which is known "
                    "only after the moment of prediction",
                    hint="take it out of the features, or of known_after if it is known before",
                    where=Location(field=f"declared[{index}]"),
                )


def label_of(rows: pa.Table, label: str) -> Array:
    """The truth as 0.0 and 1.0; true and false, or 1 and 0."""
    refuse_missing(rows, [label], "label")
    if rows[label].null_count:
        raise InvalidData(
            f"{rows[label].null_count} rows have no {label!r}",
            hint="filter them out: a model cannot learn from an answer that is not there",
        )
    try:
        truth: Array = pc.cast(rows[label], pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InvalidData(f"the label {label!r} is neither true and false nor 1 and 0") from error
    if not np.isin(truth, (0.0, 1.0)).all():
        odd = truth[~np.isin(truth, (0.0, 1.0))][0]
        raise InvalidData(f"the label {label!r} is {odd:g} in some row; it may be 1 or 0")
    return truth
