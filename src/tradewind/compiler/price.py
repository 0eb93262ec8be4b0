"""Seconds on a share of a pool, in money."""

from __future__ import annotations

from tradewind.records.tasks import Resources

HOUR = 3600.0


def share(demand: Resources, capacity: Resources) -> float:
    """Which part of a pool a demand holds, 0..1: its dominant resource (Ghodsi et al. 2011)."""
    parts = [demand.cpu / capacity.cpu if capacity.cpu else 1.0]
    if capacity.memory and demand.memory:
        parts.append(demand.memory / capacity.memory)
    for name, count in demand.accelerators.items():
        parts.append(count / capacity.accelerators.get(name, count))
    return min(1.0, max(parts))


def cost(seconds: float, pool_price: int, part: float) -> int:
    """Nanodollars for holding `part` of a pool with this hourly price for `seconds`."""
    return round(pool_price * part * seconds / HOUR)
