"""What pools are made of: the engines by name, and a pool's facts from its spec.

This machine is the pool `local`. Any other pool is a spec that was applied; the connections to them
are in `places.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Protocol, cast

import psutil

from tradewind import specs
from tradewind.base.errors import Location, Refused, UserError, missing_extra
from tradewind.compiler import catalogue
from tradewind.compiler.facts import Machine, PoolFacts
from tradewind.control.devices import Classes
from tradewind.engines.base import Capacity, Engine, Place
from tradewind.records import codec
from tradewind.records.tasks import Resources
from tradewind.specs import PoolSpec, digest, from_document, to_document
from tradewind.store import rows
from tradewind.store.base import Store

LOCAL = "local"
ENGINES = {LOCAL: "tradewind.engines.local", "kubernetes": "tradewind.engines.kubernetes"}
# What the machine itself and the server need is not given to tasks.
MEMORY_SHARE = 0.9


class Maker(Protocol):
    """What an engine's module offers.

    Besides, it may offer `check(options)`, which raises UserError for options that it does not
    take, and `where(options)`, which gives equal answers for options that lead to the same place:
    work that goes on there can be taken over by an engine made from the other ones.
    """

    def make(self, place: Place) -> Engine:
        """The engine of one pool. Connects to nothing yet."""


def maker(engine: str, makers: Mapping[str, Maker]) -> Maker:
    """The module of an engine. Raises Refused for one that there is not, and MissingExtra when it
    needs a library that is not installed."""
    if engine in makers:
        return makers[engine]
    try:
        return cast(Maker, import_module(ENGINES[engine]))
    except KeyError:
        known = ", ".join({**ENGINES, **makers})
        raise Refused(f"there is no engine {engine!r}", hint=f"engines here: {known}") from None
    except ModuleNotFoundError as error:
        library = (error.name or engine).partition(".")[0]
        if library == "tradewind":
            raise
        raise missing_extra(library, engine) from error


def check(spec: PoolSpec, makers: Mapping[str, Maker]) -> None:
    """Raise UserError for a pool that no server can have."""
    if spec.engine == LOCAL and spec.name != LOCAL:
        raise Refused(
            f"a second pool on this machine, {spec.name!r}, would give its cores away twice",
            hint=f"this machine is the pool {LOCAL!r}: write name: {LOCAL}",
        )
    if spec.name == LOCAL and spec.engine != LOCAL:
        raise Refused(
            f"the name {LOCAL!r} is that of the server's own machine",
            hint=f"give the pool of engine {spec.engine} another name",
        )
    if spec.shared and spec.engine != LOCAL:
        raise Refused(
            f"engine {spec.engine} keeps projects apart by itself",
            hint=f"leave `shared` out: it is said of the pool {LOCAL!r}",
            where=Location(file=f"pool/{spec.name}", field="shared"),
        )
    checks = getattr(maker(spec.engine, makers), "check", None)
    if checks is not None:
        checks(spec.options)


def same_place(old: PoolSpec, new: PoolSpec, makers: Mapping[str, Maker]) -> bool:
    """Whether an engine made from the new spec finds what one made from the old has begun."""
    if old.engine != new.engine:
        return False
    where = getattr(maker(new.engine, makers), "where", None)
    if where is None:
        return old.options == new.options
    try:
        return bool(where(old.options) == where(new.options))
    except UserError:  # what the old ones named may be gone
        return False


def applied(store: Store) -> dict[str, PoolSpec]:
    """The pool specs that were applied, by name."""
    found = (from_document(each.document) for each in store.revisions.newest(kind="pool"))
    return {spec.name: spec for spec in found if isinstance(spec, PoolSpec)}


def store(here: Store, spec: PoolSpec) -> None:
    """Keep a spec as `apply` does."""
    document = to_document(spec)
    here.revisions.apply(
        spec.project, spec.kind, spec.name, document=document, digest=digest(spec), bundle="",
        user="start",
    )  # fmt: skip


def this_machine(devices: Mapping[str, int | float]) -> Capacity:
    """What tasks may use of the machine that the server runs on, which has so many devices."""
    whole = Resources(
        cpu=float(os.cpu_count() or 1),
        memory=int(psutil.virtual_memory().total * MEMORY_SHARE),
        accelerators=dict(devices),
    )
    return Capacity(total=whole, largest=whole, machines=1)


def facts(
    spec: PoolSpec, found: Capacity, machines: Sequence[Machine], classes: Classes
) -> PoolFacts:
    """A pool as its spec says it is; what that leaves out is what was found. Without a price, each
    of its machines costs what the catalogue's machine most like the largest costs."""
    largest = found.largest
    said = whole(spec.capacity) if spec.capacity is not None and spec.engine == LOCAL else {}
    has = (said or largest.accelerators).items()
    sold = {classes[n].sold_as: count for n, count in has if n in classes and classes[n].sold_as}
    twin = catalogue.like(machines, largest.cpu, largest.memory, sold)
    pool = PoolFacts(
        name=spec.name,
        engine=spec.engine,
        capacity=found.total,
        largest=largest,
        machines=found.machines,
        zones=found.zones,
        sizes=found.sizes,
        where=tuple(spec.where.items()),
        parts=found.parts,
        production=spec.production,
        shared=spec.shared,
        price=twin.price * found.machines,
        as_of=f"{_count(found.machines)}like {twin.name}, {twin.as_of}",
    )
    if spec.price is not None:
        pool = replace(pool, price=spec.price, as_of="set by its pool spec")
    pool = pool if spec.capacity is None else _limited(pool, spec)
    mine = pool.capacity.accelerators
    # Elsewhere others choose which devices of a machine it is.
    numbered = mine if spec.engine == LOCAL else {}
    joined = {name: classes[name].linked for name in numbered if name in classes}
    return replace(
        pool,
        prices=catalogue.each(machines, mine) if mine else {},
        linked={name: count for name, count in joined.items() if count > 1},
    )


def _count(machines: int) -> str:
    return "" if machines == 1 else f"{machines} machines "


def whole(capacity: specs.Resources) -> dict[str, int | float]:
    """Its devices: a pool's are whole ones."""
    return {n: count for n, count in capacity.accelerators.items() if isinstance(count, int)}


def limited(found: Resources, said: specs.Resources) -> Resources:
    """A capacity as a spec says it is; what that leaves out is what was found."""
    return Resources(
        cpu=said.cpu or found.cpu,
        memory=said.memory or found.memory,
        accelerators=whole(said) or found.accelerators,
    )


def _limited(pool: PoolFacts, spec: PoolSpec) -> PoolFacts:
    assert spec.capacity is not None
    capacity = limited(pool.capacity, spec.capacity)
    # One machine holds what the spec says it holds; of several, or of none yet, what was found.
    alone = pool.engine == LOCAL or not pool.machines
    return replace(pool, capacity=capacity, largest=capacity if alone else pool.largest)


def counts(store: Store, pool: PoolFacts, now: float) -> None:
    """Bills reckon with what it has from now on."""
    has = rows.Capacity(pool=pool.name, at=now, capacity=pool.capacity, price=pool.price)
    store.ledger.put_capacity(has)


def remember(store: Store, pool: PoolFacts, environment: str, server: str) -> None:
    """Keep what is known of a pool, for a start without it and for the other servers of this
    database. `environment` is the digest of its default interpreter, `server` the address of the
    one that places there."""
    told = {"facts": codec.to_json(pool), "environment": environment, "server": server}
    if store.settings.get(f"pool:{pool.name}") != told:
        store.settings.put(f"pool:{pool.name}", told)


def server(store: Store, pool: str) -> str:
    """The address of the server that placed on a pool last, or nothing."""
    return str((store.settings.get(f"pool:{pool}") or {}).get("server", ""))


def remembered(store: Store) -> dict[str, tuple[PoolFacts, str]]:
    """What was last known of each pool, and the digest of its default environment."""
    return {
        key.removeprefix("pool:"): (
            codec.from_json(PoolFacts, told["facts"]),
            str(told["environment"]),
        )
        for key, told in store.settings.all("pool:").items()
    }
