"""How much of what: resources by name, in whole numbers ("cpu" in thousandths of a core, "memory"
in bytes, a device class in thousandths of devices).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from tradewind.base.units import format_bytes
from tradewind.scheduler.nodes import WHOLE, Ask, Ints, Nodes, Spot

Amounts = Mapping[str, int]
# So many of one ask, all at the same time.
Parts = tuple[tuple[Ask, int], ...]

CPU, MEMORY = "cpu", "memory"


def whole(nodes: Nodes) -> dict[str, int]:
    """All that these nodes have."""
    found = {CPU: sum(node.cpu for node in nodes.nodes),
             MEMORY: sum(node.memory for node in nodes.nodes)}  # fmt: skip
    for node in nodes.nodes:
        for model, count in node.devices:
            found[model] = found.get(model, 0) + count * WHOLE
    return found


def free(nodes: Nodes) -> dict[str, int]:
    """What nobody holds; of a node that is held beyond what it has, nothing."""
    there = (np.maximum(each, 0) for each in (nodes.cpu, nodes.memory, nodes.devices))
    return _sums(nodes, *there)


def taken(nodes: Nodes) -> dict[str, int]:
    """What is held or reserved."""
    left = _sums(nodes, nodes.cpu, nodes.memory, nodes.devices)
    return {name: amount - left[name] for name, amount in whole(nodes).items()}


def _sums(nodes: Nodes, cpu: Ints, memory: Ints, devices: Ints) -> dict[str, int]:
    found = {CPU: int(cpu.sum()), MEMORY: int(memory.sum())}
    for number, model in enumerate(nodes.kinds):
        found[model] = int(devices[nodes.kind == number].sum())
    return found


@lru_cache(maxsize=4096)
def asked(parts: Parts, kinds: tuple[str, ...]) -> tuple[Amounts, int]:
    """What is asked for where there are devices of these models; apart, the thousandths of devices
    that may be of more than one of them."""
    found: dict[str, int] = {}
    open_ = 0
    for ask, count in parts:
        _add(found, CPU, ask.cpu * count)
        _add(found, MEMORY, ask.memory * count)
        for model, more in ask.others:
            _add(found, model, more * WHOLE * count)
        models = able(ask, kinds)
        if ask.devices and len(models) == 1:
            _add(found, models[0], ask.devices * ask.share * count)
        elif ask.devices:
            open_ += ask.devices * ask.share * count
    return found, open_


def able(ask: Ask, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The models of these that do for its devices; one that is not here is named all the same."""
    found = tuple(kind for kind in kinds if not ask.models or kind in ask.models)
    return found or tuple(sorted(ask.models))[:1]


def narrowed(parts: Parts, models: frozenset[str]) -> Parts:
    """The same, where any of several models would do, with those of these that do."""
    return tuple(
        (replace(ask, models=(ask.models & models) if ask.models else models), count)
        if ask.devices and len(ask.models) != 1 and (not ask.models or ask.models & models)
        else (ask, count)
        for ask, count in parts
    )


def held(parts: Parts, spots: Iterable[Spot], nodes: Nodes) -> Amounts:
    """What is held on these spots, by the models of the very devices."""
    found, open_ = asked(parts, nodes.kinds)
    if not open_:
        return found
    exact = dict(found)
    for spot, ask in zip(spots, each(parts), strict=False):
        if ask.devices and len(able(ask, nodes.kinds)) != 1:
            for device in spot.devices[: ask.devices]:
                _add(exact, nodes.kinds[nodes.kind[spot.node, device]], ask.share)
    return exact


def each(parts: Parts) -> Iterable[Ask]:
    """One process after the other."""
    for ask, count in parts:
        for _ in range(count):
            yield ask


def words(name: str, amount: int) -> str:
    """For people: 1.5 CPU, 4.0 GiB of memory, 0.5 a100."""
    unit = {CPU: "CPU", MEMORY: "of memory"}.get(name, name)
    return f"{figure(name, amount)} {unit}"


def figure(name: str, amount: int) -> str:
    """The same without the name: 1.5, 4.0 GiB, 0.5."""
    return format_bytes(amount) if name == MEMORY else f"{amount / WHOLE:.12g}"


def _add(found: dict[str, int], name: str, amount: int) -> None:
    if amount:
        found[name] = found.get(name, 0) + amount
