"""Which devices a pool has, and in which parts it gives them away."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.base.errors import Location, Refused
from tradewind.compiler.facts import PoolFacts
from tradewind.records.tasks import Resources, on_devices

# Parts are asked for in thousandths.
STEP = 0.001


def check(each: Resources, pools: Sequence[PoolFacts], known: Sequence[PoolFacts]) -> None:
    """Raise Refused for a class of devices that none of these pools has, or a part of a device that
    none that has it can give; it says which classes there are in those that are `known`."""
    for name, count in each.accelerators.items():
        having = [pool for pool in pools if pool.capacity.accelerators.get(name)]
        where = Location(field=f"resources.accelerators.{name}")
        if not having:
            who = "no pool has" if len(pools) > 1 else f"pool {pools[0].name!r} does not have"
            raise Refused(f"{who} devices of class {name!r}", hint=_classes(known), where=where)
        if all(unshared(each, pool) == name for pool in having):
            raise _unshared(name, count, having[0], where)


def unshared(each: Resources, pool: PoolFacts) -> str:
    """The class of which it asks for a part that the pool does not give; or nothing."""
    if pool.parts is None:
        return ""
    return next((n for n, count in each.accelerators.items() if not _gives(pool, n, count)), "")


def enough(each: Resources, width: int, pool: PoolFacts) -> bool:
    """Whether so many have their devices at the same time, no part of one being of two."""
    have = pool.capacity.accelerators
    return all(
        on_devices(count, have.get(name, 0)) >= width for name, count in each.accelerators.items()
    )


def _gives(pool: PoolFacts, name: str, count: float) -> bool:
    parts = (pool.parts or {}).get(name, 1)
    return count >= 1 if parts == 1 else abs(count - 1 / parts) < STEP


def _unshared(name: str, count: float, pool: PoolFacts, where: Location) -> Refused:
    parts = (pool.parts or {}).get(name, 1)
    if parts == 1:
        return Refused(
            f"pool {pool.name!r} gives devices of class {name!r} away whole, not {count:g} of one",
            hint="ask for a whole one, or name another pool; whoever runs the cluster can share "
            "them by its device plugin and say so in the class (`kind: device`, `parts`)",
            where=where,
        )
    return Refused(
        f"pool {pool.name!r} gives devices of class {name!r} away in {parts} parts, one to a "
        f"process, not {count:g} of one",
        hint=f"ask for {int(1000 / parts) / 1000:g}, or name another pool",
        where=where,
    )


def _classes(pools: Sequence[PoolFacts]) -> str:
    found = [
        f"{count:g} {name} on {pool.name!r}"
        for pool in pools
        for name, count in sorted(pool.capacity.accelerators.items())
    ]
    if not found:
        return "no pool has any devices; ask for none, or apply a pool that has some"
    return f"there are {', '.join(found)}"
