"""The classes of devices that are known: those that come along, and those that were applied.

Nothing is kept here: what is in the store holds, for all servers of a database.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Any

from tradewind.base.errors import Conflict, Location, Refused
from tradewind.base.units import format_bytes, parse_bytes
from tradewind.records.devices import Device
from tradewind.scheduler.nodes import WHOLE
from tradewind.specs import DeviceSpec, Spec, from_document, parse_yaml
from tradewind.store.base import Store

log = logging.getLogger("tradewind.control")

# A driver that answers later than this is in trouble.
PATIENCE = 20.0
_ASKED = ("nvidia-smi", "--query-gpu=uuid,memory.total,name", "--format=csv,noheader,nounits")
_LINE = re.compile(r"\s*(\S+)\s*,\s*(\d+|\[[^,]*\])\s*,\s*(.*\S)\s*")
Classes = dict[str, DeviceSpec]


@lru_cache(maxsize=1)
def shipped() -> Classes:
    """The classes that come along."""
    text = resources.files("tradewind.control").joinpath("devices.yaml").read_text("utf-8")
    return _named(parse_yaml(text, "devices.yaml"))


def known(store: Store, more: Iterable[Spec] = (), gone: str = "") -> Classes:
    """These, and over them those that were applied, but for one that is `gone`; with `more` that
    are to be. Blocks on the store."""
    applied = (from_document(each.document) for each in store.revisions.newest(kind="device"))
    stays = {name: spec for name, spec in _named(applied).items() if name != gone}
    return {**shipped(), **stays, **_named(more)}


def check(specs: Iterable[Spec], store: Store) -> None:
    """Raise Conflict for a class that another project has applied: they hold for all of them."""
    wanted = {spec.name: spec.project for spec in specs if isinstance(spec, DeviceSpec)}
    for each in store.revisions.newest(kind="device") if wanted else ():
        if wanted.get(each.name, each.project) != each.project:
            raise Conflict(
                f"there is a class of devices {each.name!r} in project {each.project!r}",
                hint="classes of all projects stand beside each other: choose another name",
            )


def _named(specs: Iterable[Spec]) -> Classes:
    return {spec.name: spec for spec in specs if isinstance(spec, DeviceSpec)}


# --- what a spec asks for ------------------------------------------------------------------------


def shared(spec: dict[str, Any], store: Store) -> dict[str, Any]:
    """A workload's document with memory of a device as the part of it that has at least so much,
    in whole thousandths. Raises Refused where the class, or its memory, is not known or too
    little."""
    asked = (spec.get("resources") or {}).get("accelerators") or {}
    sizes = {name: count for name, count in asked.items() if isinstance(count, str)}
    if not sizes:
        return spec
    classes = known(store)
    parts = {name: _part(name, parse_bytes(size), classes) for name, size in sizes.items()}
    return {**spec, "resources": {**spec["resources"], "accelerators": {**asked, **parts}}}


def _part(name: str, size: int, classes: Classes) -> int | float:
    where = Location(field=f"resources.accelerators.{name}")
    told = {each.name: each.memory for each in classes.values() if each.memory}
    if name not in told:
        listed = ", ".join(f"{each} ({format_bytes(of)})" for each, of in told.items())
        raise Refused(
            f"nothing says how much memory a device of class {name!r} has",
            hint=f"ask for a part such as 0.5, or let an operator apply a `kind: device` that says "
            f"its memory; classes with theirs: {listed}",
            where=where,
        )
    if size > told[name]:
        raise Refused(
            f"a device of class {name!r} has {format_bytes(told[name])} of memory, "
            f"not {format_bytes(size)}",
            hint="ask for less, for several whole ones, or for another class",
            where=where,
        )
    share = math.ceil(size * WHOLE / told[name])
    return share / WHOLE if share < WHOLE else 1


# --- what a machine has --------------------------------------------------------------------------


def found(classes: Classes) -> tuple[Device, ...]:
    """The devices of this machine, in the order of their classes: what its driver tells. Of a name
    that no class has, the class is that name. Blocks on the driver."""
    if shutil.which(_ASKED[0]) is None:
        return ()
    try:
        told = subprocess.run(_ASKED, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        log.warning("%s fails, no devices are used: %s", _ASKED[0], said[0] if said else error)
        return ()
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s fails, no devices are used: %s", _ASKED[0], error)
        return ()
    lines = filter(None, map(_LINE.fullmatch, told.stdout.splitlines()))
    devices = [_device(each[1], each[2], each[3], classes) for each in lines]
    return tuple(sorted(devices, key=lambda each: each.of))


def _device(uid: str, mebibytes: str, name: str, classes: Classes) -> Device:
    """Applied classes go before those that come along, as the newer."""
    memory = int(mebibytes) << 20 if mebibytes.isdigit() else 0
    for each in reversed(classes.values()):
        if any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in each.found):
            return Device(uid, each.name, each.shown_by, each.memory or memory, True)
    of = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return Device(uid, of, memory=memory, found=True)


def counted(devices: Iterable[Device]) -> dict[str, int | float]:
    """How many of each class."""
    return dict(Counter(each.of for each in devices))


def laid(
    capacity: Mapping[str, int | float], devices: Iterable[Device], classes: Classes
) -> tuple[Device, ...]:
    """What a machine that has so many of each class shows of them, as the scheduler numbers them.
    Where more are said than were found, all of that class go by number."""
    there: dict[str, list[Device]] = {}
    for each in devices:
        there.setdefault(each.of, []).append(each)
    numbers = Counter[str]()
    made: list[Device] = []
    for name, count in sorted(capacity.items()):
        if len(there.get(name, ())) >= count:
            made += there[name][: int(count)]
            continue
        spec = classes.get(name) or DeviceSpec(name="unknown")
        for _ in range(int(count)):
            number = str(numbers[spec.shown_by])
            made.append(Device(number, name, spec.shown_by, spec.memory or 0))
            numbers[spec.shown_by] += 1
    return tuple(made)
