"""Tasks as processes of this machine, through the node that outlives the server."""

from tradewind.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
