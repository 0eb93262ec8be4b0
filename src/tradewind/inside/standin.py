"""Stands in for the package `tradewind` in environments without it (packed by `inside.pack`).

Declarations leave what they decorate untouched, so that the same file can be declared with
Tradewind and run without it. Tracking works. Anything else says what is missing.
"""

from __future__ import annotations

from typing import Any

from tradewind_inside.tracking import (  # type: ignore[import-not-found]
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
    "log_param",
    "log_params",
    "output_dir",
    "params",
    "progress",
    "run_info",
    "stop_requested",
]

_DECLARATIONS = frozenset(
    [
        "component",
        "dataset",
        "deploy",
        "foreach",
        "function",
        "optional",
        "sql",
        "until",
        "when",
        "training",
        "pipeline",
        "model",
        "service",
        "step",
        "tuning",
        "notebook",
        "federation",
        "edge",
    ]
)


class _Undeclared:
    """What a declaration without a function gives: any use of it is carried on, to no effect."""

    def __call__(self, *args: Any, **_fields: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def __getattr__(name: str) -> Any:
    if name in _DECLARATIONS:
        return _Undeclared()
    raise AttributeError(
        f"this environment has only a stand-in for Tradewind, without {name!r};"
        " add 'tradewind' to the dependencies to use it inside a run"
    )
