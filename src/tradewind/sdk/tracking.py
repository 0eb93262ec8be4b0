"""What user code says while it runs. Inside a run it travels to the supervisor (`inside.tracking`);
outside nothing is recorded, and that is said once."""

from __future__ import annotations

from typing import Any

from tradewind.inside.tracking import (
    checkpoint_dir,
    in_run,
    inputs,
    log_artifact,
    log_metric,
    log_metrics,
    log_param,
    log_params,
    output_dir,
    params,
    progress,
    run_info,
    stop_requested,
)

__all__ = [
    "checkpoint_dir",
    "in_run",
    "inputs",
    "log_artifact",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "output_dir",
    "params",
    "progress",
    "run_info",
    "stop_requested",
]


def log_model(model: Any, *, name: str = "model", inputs: Any = None, **more: Any) -> Any:
    """Keep a trained model as the output `name`: a `ModelArtifact`, or a fitted scikit-learn
    estimator with the columns it takes (`inputs`: a frame like the one it was fitted on, or
    columns). Gives back its manifest."""
    from tradewind.sdk import modeling

    return modeling.save(model, output_dir(name), inputs, more)
