"""From what tasks, pools and quotas are told in, cores and bytes by name, to what the scheduler
counts in: whole numbers, process by process, machine by machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tradewind.records.tasks import Lot, Resources
from tradewind.scheduler.amounts import CPU, MEMORY, Amounts, Parts
from tradewind.scheduler.nodes import WHOLE, Ask, Node
from tradewind.scheduler.queues import Queue

if TYPE_CHECKING:
    from tradewind.specs import ProjectSpec, QueueSpec
    from tradewind.specs.queue import Quota

# A third of three cores is a core: what floats leave over is no thousandth more.
TINY = 1e-6


def parts(lots: Iterable[Lot]) -> Parts:
    """What these processes want, all at the same time."""
    return tuple((ask(lot.each), lot.count) for lot in lots if lot.count)


def ask(each: Resources) -> Ask:
    """What one process wants: of cores and of a device no less than it says."""
    cpu = math.ceil(each.cpu * WHOLE - TINY)
    wanted = sorted((name, count) for name, count in each.accelerators.items() if count)
    shared = [(name, count) for name, count in wanted if count < 1]
    whole = [(name, int(count)) for name, count in wanted if count >= 1]
    first = shared or (whole if len(whole) == 1 else [])
    if not first:
        return Ask(cpu=cpu, memory=each.memory, others=tuple(whole))
    ((name, count),) = first
    return Ask(
        cpu=cpu,
        memory=each.memory,
        devices=max(1, int(count)),
        share=min(WHOLE, math.ceil(count * WHOLE - TINY)),
        models=frozenset({name}),
        others=tuple(whole) if shared else (),
    )


def nodes(
    sizes: Iterable[Lot],
    where: tuple[tuple[str, str], ...] = (),
    linked: Mapping[str, int] | None = None,
) -> tuple[Node, ...]:
    """Machines one by one, at `where` as far as they do not tell it themselves. Alike ones are
    numbered, so that the others keep their names when one more comes or the last of them goes. Of a
    class so many neighbours are `linked`."""
    numbers = Counter[str]()
    found = []
    for lot in sizes:
        told = {level for level, _ in lot.where}
        place = (*(each for each in where if each[0] not in told), *lot.where)
        inside = "/".join(name for _, name in lot.where)
        called = f"{lot.each} in {inside}" if inside else str(lot.each)
        for _ in range(lot.count if lot.each.cpu else 0):
            numbers[called] += 1
            node = _node(f"{called} #{numbers[called]}", lot.each, place)
            found.append(replace(node, links=_links(node.devices, linked or {})))
    return tuple(found)


def _node(name: str, each: Resources, where: tuple[tuple[str, str], ...]) -> Node:
    devices = tuple(
        sorted((model, int(count)) for model, count in each.accelerators.items() if count)
    )
    return Node(name=name, cpu=_cores(each), memory=each.memory, devices=devices, where=where)


def _links(
    devices: Iterable[tuple[str, int]], linked: Mapping[str, int]
) -> tuple[tuple[int, ...], ...]:
    """Groups of the devices of a machine, numbered model by model."""
    found, first = list[tuple[int, ...]](), 0
    for model, count in devices:
        size, end = linked.get(model, 1), first + count
        if size > 1:
            found += [tuple(range(at, min(at + size, end))) for at in range(first, end, size)]
        first = end
    return tuple(found)


def _cores(each: Resources) -> int:
    """Of what there is, no more than there is."""
    return math.floor(each.cpu * WHOLE + TINY)


def amounts(whole: Resources) -> Amounts:
    """All of this, by name."""
    devices = {name: round(count * WHOLE) for name, count in whole.accelerators.items()}
    return {CPU: _cores(whole), MEMORY: whole.memory, **devices}


def limit(capacity: Resources, machines: Iterable[Node]) -> tuple[tuple[str, int], ...]:
    """Of what these machines have more than the pool may give out together: how much it may."""
    most, have = amounts(capacity), Counter[str]()
    for node in machines:
        have.update({CPU: node.cpu, MEMORY: node.memory})
        have.update({model: count * WHOLE for model, count in node.devices})
    return tuple(
        (name, most.get(name, 0)) for name in sorted(have) if most.get(name, 0) < have[name]
    )


def resources(found: Amounts) -> Resources:
    """For people, and for those who count in cores and bytes."""
    return Resources(
        cpu=found.get(CPU, 0) / WHOLE,
        memory=found.get(MEMORY, 0),
        accelerators={
            name: amount / WHOLE if amount % WHOLE else amount // WHOLE
            for name, amount in found.items()
            if name not in (CPU, MEMORY)
        },
    )


def queue(spec: QueueSpec) -> Queue:
    """A queue as the scheduler has it."""
    return Queue(
        name=spec.name,
        parent=spec.parent or "",
        weight=spec.weight,
        guarantee=quota(spec.guarantee),
        borrow=quota(spec.borrow),
        lend=quota(spec.lend),
    )


def quota(told: Quota | None) -> tuple[tuple[str, int], ...]:
    """What is named of it, in what the scheduler counts in."""
    found: dict[str, int] = {}
    if told is not None:
        found = {name: round(count * WHOLE) for name, count in told.accelerators.items()}
        found |= {} if told.cpu is None else {CPU: round(told.cpu * WHOLE)}
        found |= {} if told.memory is None else {MEMORY: told.memory}
    return tuple(sorted(found.items()))


def caps(projects: Iterable[ProjectSpec]) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """The most that projects may hold, of those that say it."""
    return tuple((spec.name, quota(spec.quota)) for spec in projects if spec.quota)
