"""What the machines of a cluster hold for tasks: what they can allocate, less what a pod of ours
needs beside its task. That is taken off once for each machine, so that the largest task that fits
is the largest that is accepted; for more tasks on one machine the cluster itself counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from tradewind.engines.base import Capacity
from tradewind.engines.kubernetes.states import Object
from tradewind.engines.kubernetes.template import LEVELS, OURS_BYTES, ZONE
from tradewind.records.tasks import Lot, Resources
from tradewind.specs import DeviceSpec

Where = tuple[tuple[str, str], ...]

_UNITS: dict[str, Decimal | int] = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": 10**3, "M": 10**6,
    "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
    "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


def quantity(text: str) -> Decimal:
    """The number that a quantity such as `3800m` or `16Gi` is."""
    for length in (2, 1):
        if text[-length:] in _UNITS:
            return Decimal(text[:-length]) * _UNITS[text[-length:]]
    return Decimal(text)


def clustered(classes: Iterable[DeviceSpec]) -> tuple[DeviceSpec, ...]:
    """Those of which clusters have any, who says more of its machines before who says less."""
    here = [each for each in classes if each.resource]
    return tuple(sorted(here, key=lambda each: (-len(each.nodes), each.name)))


def capacity(nodes: list[Object], classes: Sequence[DeviceSpec] = (), rack: str = "") -> Capacity:
    """Of all machines that are up and take work; devices of no class go by the cluster's name.
    `rack` is the label that tells the rack of a machine. Those that tell no zone are taken to be in
    one, as far as it is counted how many there are."""
    usable = [node for node in nodes if _usable(node)]
    machines = [_allocatable(node, classes) for node in usable]
    accelerators: dict[str, int | float] = {}
    for each in machines:
        for name, count in each.accelerators.items():
            accelerators[name] = accelerators.get(name, 0) + count
    total = Resources(
        cpu=sum(each.cpu for each in machines),
        memory=sum(each.memory for each in machines),
        accelerators=accelerators,
    )
    labels = [node["metadata"].get("labels") or {} for node in usable]
    zones = {each.get(ZONE, "") for each in labels}
    levels = {**LEVELS, **({"rack": rack} if rack else {})}
    places = [
        tuple((level, str(told[key])) for level, key in levels.items() if told.get(key))
        for told in labels
    ]
    return Capacity(
        total=total,
        largest=_largest(machines),
        machines=len(machines),
        zones=len(zones),
        sizes=_sizes(zip(machines, places, strict=True)),
        parts={each.name: each.parts for each in classes if each.parts > 1},
    )


def _sizes(machines: Iterable[tuple[Resources, Where]]) -> tuple[Lot, ...]:
    """Largest first; alike ones are told together, by where they are."""
    lots: dict[tuple[str, Where], Lot] = {}
    for each, where in machines:
        known = lots.get((repr(each), where))
        lots[repr(each), where] = Lot(each=each, count=known.count + 1 if known else 1, where=where)
    return tuple(sorted(lots.values(), key=_rank))


def _rank(lot: Lot) -> tuple[Any, ...]:
    each = lot.each
    return -each.cpu, -each.memory, sorted(each.accelerators.items()), lot.where


def _largest(machines: list[Resources]) -> Resources:
    """The most of each that one machine has: what passes this may still fit none, and then waits
    with the cluster's own reason."""
    names = {name for each in machines for name in each.accelerators}
    return Resources(
        cpu=max((each.cpu for each in machines), default=0.0),
        memory=max((each.memory for each in machines), default=0),
        accelerators={n: max(each.accelerators.get(n, 0) for each in machines) for n in names},
    )


def _usable(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    spec = node.get("spec") or {}
    closed = any(
        taint["effect"] in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or ()
    )
    return ready and not spec.get("unschedulable") and not closed


def _allocatable(node: Object, classes: Sequence[DeviceSpec]) -> Resources:
    found = node["status"].get("allocatable") or {}
    return Resources(
        cpu=float(quantity(found.get("cpu", "0"))),
        # A pod of ours needs this beside its task.
        memory=max(0, int(quantity(found.get("memory", "0"))) - OURS_BYTES),
        accelerators=_devices(found, node["metadata"].get("labels") or {}, classes),
    )


def _devices(
    found: Object, labels: Object, classes: Sequence[DeviceSpec]
) -> dict[str, int | float]:
    """Whole ones, by class. Devices have a vendor's domain in their name (`nvidia.com/gpu`)."""
    counts: dict[str, int | float] = {}
    for name, value in found.items():
        if "/" in name:
            of = [c for c in classes if c.resource == name and c.nodes.items() <= labels.items()]
            called, parts = (of[0].name, of[0].parts) if of else (name, 1)
            counts[called] = counts.get(called, 0) + int(quantity(value)) // parts
    return {name: count for name, count in counts.items() if count}
