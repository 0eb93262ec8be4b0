"""Tradewind: a cloud-native AI platform in one package.

    import tradewind as tw

    @tw.function(performance="60s")
    def clean(flights): ...

What stands here loads on use, from `sdk`: importing the package needs the standard library only.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as in typing, which takes longer to import than all else here

if TYPE_CHECKING:
    from tradewind.sdk.client import Client as Client
    from tradewind.sdk.decorators import component as component
    from tradewind.sdk.decorators import deploy as deploy
    from tradewind.sdk.decorators import function as function
    from tradewind.sdk.decorators import pipeline as pipeline
    from tradewind.sdk.decorators import service as service
    from tradewind.sdk.decorators import sql as sql
    from tradewind.sdk.decorators import training as training
    from tradewind.sdk.handles import RunFailed as RunFailed
    from tradewind.sdk.handles import RunHandle as RunHandle
    from tradewind.sdk.local import connect as connect
    from tradewind.sdk.references import dataset as dataset
    from tradewind.sdk.tracing import foreach as foreach
    from tradewind.sdk.tracing import optional as optional
    from tradewind.sdk.tracing import until as until
    from tradewind.sdk.tracing import when as when
    from tradewind.sdk.tracking import checkpoint_dir as checkpoint_dir
    from tradewind.sdk.tracking import in_run as in_run
    from tradewind.sdk.tracking import inputs as inputs
    from tradewind.sdk.tracking import log_artifact as log_artifact
    from tradewind.sdk.tracking import log_metric as log_metric
    from tradewind.sdk.tracking import log_metrics as log_metrics
    from tradewind.sdk.tracking import log_model as log_model
    from tradewind.sdk.tracking import log_param as log_param
    from tradewind.sdk.tracking import log_params as log_params
    from tradewind.sdk.tracking import output_dir as output_dir
    from tradewind.sdk.tracking import params as params
    from tradewind.sdk.tracking import progress as progress
    from tradewind.sdk.tracking import run_info as run_info
    from tradewind.sdk.tracking import stop_requested as stop_requested
else:

    def __getattr__(name):
        # Not `from tradewind import sdk`, which would ask here for `sdk` first.
        from importlib import import_module

        sdk = import_module("tradewind.sdk")
        if name not in sdk.EXPORTS:
            raise AttributeError(f"module 'tradewind' has no attribute {name!r}")
        value = getattr(sdk, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    import tradewind.sdk as sdk

    return sorted({"__version__", *sdk.EXPORTS})
