"""The pools of a server: this machine, as it is or as its `pool` spec says it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import psutil

from tradewind.base.errors import Refused
from tradewind.compiler import catalogue
from tradewind.compiler.facts import Machine, PoolFacts
from tradewind.records.tasks import Resources
from tradewind.specs import PoolSpec, from_document
from tradewind.store.base import Store

LOCAL = "local"
ENGINES = {LOCAL: "tradewind.engines.local.engine:LocalEngine"}
# What the machine itself and the server need is not given to tasks.
MEMORY_SHARE = 0.9


def check(spec: PoolSpec) -> None:
    """Raise Refused for a pool that this server cannot have."""
    if spec.engine not in ENGINES:
        raise Refused(
            f"there is no engine {spec.engine!r} for pool {spec.name!r}",
            hint=f"engines here: {', '.join(ENGINES)}",
        )
    if spec.name != LOCAL:
        raise Refused(
            f"a second pool on this machine, {spec.name!r}, would give its cores away twice",
            hint=f"this machine is the pool {LOCAL!r}: write name: {LOCAL}",
        )


def applied(store: Store) -> list[PoolSpec]:
    """The pool specs that were applied."""
    return [
        cast(PoolSpec, from_document(revision.document))
        for revision in store.revisions.newest(kind="pool")
    ]


def facts(machines: Sequence[Machine], specs: Iterable[PoolSpec]) -> dict[str, PoolFacts]:
    """The pools by name. Without a spec, this machine costs what the catalogue's machine most like
    it costs; of several specs the last one holds."""
    cpu = float(os.cpu_count() or 1)
    memory = int(psutil.virtual_memory().total * MEMORY_SHARE)
    twin = catalogue.like(machines, cpu, memory)
    made = PoolFacts(
        name=LOCAL,
        engine=LOCAL,
        capacity=Resources(cpu=cpu, memory=memory),
        price=twin.price,
        as_of=f"like {twin.name}, {twin.as_of}",
    )
    for spec in specs:
        made = _as_said(made, spec)
    return {made.name: made}


def _as_said(pool: PoolFacts, spec: PoolSpec) -> PoolFacts:
    if spec.price is not None:
        pool = replace(pool, price=spec.price, as_of="set by its pool spec")
    if spec.capacity is None:
        return pool
    capacity = Resources(
        cpu=spec.capacity.cpu or pool.capacity.cpu,
        memory=spec.capacity.memory or pool.capacity.memory,
        accelerators=dict(spec.capacity.accelerators),
    )
    return replace(pool, capacity=capacity)
