"""What a user's program holds: the client, the decorators, handles on runs, tracking.

Names load on use, so that importing this room costs nothing and needs the standard library only.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name → the module that defines it.
EXPORTS = {
    "Client": "client",
    "RunFailed": "handles",
    "RunHandle": "handles",
    "connect": "local",
    "component": "decorators",
    "dataset": "references",
    "deploy": "decorators",
    "function": "decorators",
    "pipeline": "decorators",
    "service": "decorators",
    "sql": "decorators",
    "training": "decorators",
    "foreach": "tracing",
    "optional": "tracing",
    "until": "tracing",
    "when": "tracing",
    "checkpoint_dir": "tracking",
    "in_run": "tracking",
    "inputs": "tracking",
    "log_artifact": "tracking",
    "log_metric": "tracking",
    "log_metrics": "tracking",
    "log_model": "tracking",
    "log_param": "tracking",
    "log_params": "tracking",
    "output_dir": "tracking",
    "params": "tracking",
    "progress": "tracking",
    "run_info": "tracking",
    "stop_requested": "tracking",
}

__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(EXPORTS)
