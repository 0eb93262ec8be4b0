"""The sizes that an elastic option can have on a pool: cores of one process, processes, parts.

Cores and processes are powers of two and the most that there are: between them lies nothing that a
prediction can tell apart. An array has several parts for each process, so that it can be widened
while it runs; never more than there are row groups, since more would be empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from tradewind.compiler.facts import PoolFacts
from tradewind.compiler.line import ENGINE
from tradewind.compiler.model import Model
from tradewind.compiler.timing import most_parts
from tradewind.records.plans import Option
from tradewind.records.tasks import Resources, on_devices, room

WAVES = (2, 4, 8)


def sizes(option: Option, pool: PoolFacts, model: Model) -> Iterator[Option]:
    """Every size worth pricing. What nobody may change stays."""
    pool = left(pool)
    if not option.elastic:
        yield option if model.line is None else grown(option, model.line.cores, pool)
        return
    if option.backend == "partitions":
        yield from _arrays(option, pool, model)
        return
    for cpu in _cores(option, pool):
        sized = replace(option, resources=replace(option.resources, cpu=cpu))
        if option.backend == "spark":
            most = holds(sized.resources, pool)
            if pool.engine != "local":  # its processes read and write the same files
                most = min(1, most)
            yield from (replace(sized, width=width) for width in powers(most))
        else:
            yield sized


def left(pool: PoolFacts) -> PoolFacts:
    """The pool without what its services hold: that is not waited for. The whole of it where they
    leave no core: then somebody has to stop one."""
    held, whole = pool.standing, pool.capacity
    cpu = whole.cpu - held.cpu
    if cpu < min(1.0, whole.cpu) or not (held.cpu or held.memory or held.accelerators):
        return pool
    names = whole.accelerators
    free = Resources(
        cpu=cpu,
        memory=max(0, whole.memory - held.memory),
        accelerators={n: max(0, round(names[n] - held.accelerators.get(n, 0), 3)) for n in names},
    )
    return replace(pool, capacity=free)


def _arrays(option: Option, pool: PoolFacts, model: Model) -> Iterator[Option]:
    """Of one core each: a process more does as much as a core more, and imports nothing twice."""
    each = option.resources
    if option.sized:
        each = replace(each, cpu=max(1.0, each.cpu))
    limit = most_parts(model)
    for width in powers(min(holds(each, pool), limit)):
        for parts in parts_for(width, limit):
            yield replace(option, resources=each, width=width, parts=parts)


def unmeasured(option: Option, pool: PoolFacts, model: Model, *, wide: bool) -> Option:
    """What could be measured and was not: a whole core for each process, or where it is to be in
    time as wide as the pool and what it is written in allow. What somebody pinned stays."""
    if not (option.elastic or option.measurable):
        return option
    pool = left(pool)
    if option.sized:
        cpu = max(option.resources.cpu, min(1.0, _cores_each(pool, option.width)))
        option = replace(option, resources=replace(option.resources, cpu=cpu))
    if not (wide and option.elastic):
        return option
    if option.backend == "duckdb" and model.style not in ENGINE:
        return option
    *_, widest = [option, *sizes(option, pool, model)]
    return widest


def grown(option: Option, busy: float, pool: PoolFacts) -> Option:
    """With so many cores for a process, to a tenth more, as far as the machines have them beside
    their services; never fewer than it asks for. What somebody pinned stays."""
    pool = left(pool)
    if not option.sized:
        return option
    cpu = min(math.ceil(busy * 10) / 10, _cores_each(pool, option.width))
    return replace(option, resources=replace(option.resources, cpu=max(option.resources.cpu, cpu)))


def _cores_each(pool: PoolFacts, width: int) -> float:
    """The cores that each of so many processes can have at the same time, in whole thousandths:
    the scheduler counts in those."""
    shared = pool.capacity.cpu / width
    if not pool.sizes:
        return _thousandths(min(pool.largest.cpu, shared))
    whole = {lot.each.cpu / count for lot in pool.sizes for count in range(1, width + 1)}
    able = [cpu for cpu in whole if room(Resources(cpu=cpu), pool.sizes) >= width]
    return _thousandths(min(shared, max(able, default=0.0)))


def _thousandths(cpu: float) -> float:
    return math.floor(cpu * 1000 + 1e-6) / 1000


def parts_for(width: int, limit: int) -> list[int]:
    """How many parts for so many processes."""
    found = [width * waves for waves in WAVES if width * waves <= limit]
    return found if len(found) == len(WAVES) else [*found, limit]


def _cores(option: Option, pool: PoolFacts) -> list[float]:
    if not option.sized:
        return [option.resources.cpu]
    most = min(pool.largest.cpu, pool.capacity.cpu)
    whole = [float(cpu) for cpu in powers(math.floor(most))]
    return whole if most >= 1 else [most]


def powers(most: int) -> list[int]:
    """1, 2, 4, … and the most itself."""
    found = [1 << step for step in range(max(0, most).bit_length())]
    return found if not found or found[-1] == most else [*found, most]


def holds(each: Resources, pool: PoolFacts) -> int:
    """How many of these the pool can hold together, each on one machine."""
    if not each.within(pool.largest):
        return 0
    counts = [pool.capacity.cpu / each.cpu if each.cpu else math.inf]
    if each.memory:
        counts.append(pool.capacity.memory / each.memory)
    counts += [
        on_devices(count, pool.capacity.accelerators.get(name, 0))
        for name, count in each.accelerators.items()
        if count
    ]
    if pool.sizes:
        counts.append(room(each, pool.sizes))
    least = min(counts)
    return math.floor(least + 1e-9) if math.isfinite(least) else 0
