"""Tasks as processes of this machine, through the node that outlives the server."""

from tradewind.engines.base import Place
from tradewind.engines.local.engine import LocalEngine

__all__ = ["LocalEngine", "make"]


def make(place: Place) -> LocalEngine:
    """The engine of the server's own machine."""
    return LocalEngine(place.data, place.python, blobs=place.desk.blobs)
