"""Placement → the request that the node gets. Pure: paths come in with the context."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.engines import desk
from tradewind.engines.base import Request
from tradewind.records.placements import Placement
from tradewind.records.tasks import starting_width


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
    devices = _devices(placement)
    shown = {"devices": devices} if devices else {}
    return {**asked, **shown, "blobs": context.blobs, "tables": context.tables}


def _devices(placement: Placement) -> dict[str, list[list[int]]]:
    """The numbers of the devices that are held, by role and process; of roles that hold any."""
    found, at = {}, 0
    for role in placement.task.roles:
        width = starting_width(role.shape)
        mine, at = placement.seats[at : at + width], at + width
        if any(seat.devices for seat in mine):
            found[role.name] = [list(seat.devices) for seat in mine]
    return found
