"""Placement → the request that the node gets. Pure: paths come in with the context."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.engines import desk
from tradewind.engines.base import Request
from tradewind.records.placements import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where things are on this machine. `python` is the pool's default interpreter."""

    blobs: str
    tables: str
    python: str


def render(placement: Placement, context: Context) -> Request:
    """The native request: JSON, complete, the same for equal placements."""
    asked = desk.request(placement)
    environment = asked["environment"]
    environment["base" if environment.get("lock") else "python"] = context.python
    return {**asked, "blobs": context.blobs, "tables": context.tables}
