"""From a trained model to a folder, through the models room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradewind.base.errors import UserError


def save(model: Any, folder: Path, inputs: Any, more: dict[str, Any]) -> Any:
    """Write a model as the models room writes it."""
    from tradewind import models

    package: Any = getattr(models, "package", None)
    if package is None:
        from importlib import import_module

        package = import_module("tradewind.models.package")
    if isinstance(model, package.ModelArtifact):
        return package.save(model, folder)
    if not hasattr(model, "predict"):
        raise UserError(
            f"a {type(model).__name__} is no model that can be kept",
            hint="log a fitted scikit-learn estimator, or a ModelArtifact",
        )
    if inputs is None:
        raise UserError(
            "log_model needs to know the model's columns",
            hint="give it the frame it was fitted on: log_model(model, inputs=X)",
        )
    return package.save(package.sklearn(model, _columns(inputs), **more), folder)


def _columns(inputs: Any) -> Any:
    from importlib import import_module

    if isinstance(inputs, tuple | list):
        column: Any = import_module("tradewind.models.manifest").Column
        # A name alone is a number's column, as scikit-learn has them.
        made = [column(name=one, type="float64") if isinstance(one, str) else one for one in inputs]
        if not all(isinstance(one, column) for one in made):
            raise UserError(
                "the columns of a model are names or Columns",
                hint="give the frame it was fitted on: log_model(model, inputs=X)",
            )
        return tuple(made)
    table = inputs
    arrow: Any = import_module("pyarrow")
    if not isinstance(inputs, arrow.Table):
        table = (
            inputs.to_arrow() if hasattr(inputs, "to_arrow") else arrow.Table.from_pandas(inputs)
        )
    columns: Any = import_module("tradewind.models.columns")
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    return columns.infer(table, names)
