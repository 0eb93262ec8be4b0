"""Seconds on a share of a pool, in money."""

from __future__ import annotations

from tradewind.records.tasks import Resources, of_devices

HOUR = 3600.0


def share(demand: Resources, capacity: Resources) -> float:
    """Which part of a pool a demand holds, 0..1: its dominant resource (Ghodsi et al. 2011)."""
    parts = [demand.cpu / capacity.cpu if capacity.cpu else 1.0]
    if capacity.memory and demand.memory:
        parts.append(demand.memory / capacity.memory)
    for name, count in demand.accelerators.items():
        parts.append(count / (capacity.accelerators.get(name) or count or 1))
    return min(1.0, max(parts))


def times(one: Resources, width: int) -> Resources:
    """The demand of `width` equal processes."""
    return Resources(
        cpu=one.cpu * width,
        memory=one.memory * width,
        accelerators={name: of_devices(n, width) for name, n in one.accelerators.items()},
    )


def cost(seconds: float, pool_price: int, part: float) -> int:
    """Nanodollars for holding `part` of a pool with this hourly price for `seconds`."""
    return round(pool_price * part * seconds / HOUR)
