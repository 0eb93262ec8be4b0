"""`predict`: scores as serving would give them, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidData
from tradewind.components.arrow import pa, refuse_missing
from tradewind.components.featuring import label_of
from tradewind.components.measures import measure
from tradewind.models.package import load


def predict(
    rows: pa.Table,
    model: Path,
    *,
    label: str = "",
    keep: Sequence[str] = (),
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
    bins: int = 10,
) -> dict[str, Any]:
    """The slots scores (kept columns, then the model's outputs) and metrics (JSON, or null).

    The rows are raw, as a request is: the model applies its own transformer. The costs measure;
    the threshold is the one that the model was given when it was trained.
    """
    refuse_missing(rows, keep, "keep")
    loaded = load(model)
    outputs = loaded.predict_table(rows)
    columns = {name: rows[name] for name in keep}
    if label and label not in columns:
        refuse_missing(rows, [label], "label")
        columns[label] = rows[label]
    for name, values in outputs.items():
        if name in columns:
            raise InvalidData(f"the model has an output {name!r}, and so has keep a column")
        columns[name] = pa.array(list(values) if values.ndim > 1 else values)
    metrics = None
    if label:
        if loaded.manifest.answer != "binary":
            raise InvalidData("metrics are there for a model of a yes or no only")
        metrics = measure(
            label_of(rows, label),
            outputs["score"],
            threshold=float(loaded.manifest.params.get("threshold", 0.5)),
            false_positive_cost=false_positive_cost,
            false_negative_cost=false_negative_cost,
            bins=bins,
        )
    return {"scores": pa.table(columns), "metrics": metrics}
