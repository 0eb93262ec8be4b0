"""Neighbours: what work takes beside others that want the same cores, and what it took had they
not been there.

A fair scheduler gives everybody who wants a core an equal share of all: with `w` threads of ours
and `b` of others on `n` cores each gets about min(1, n / (w + b)) of one. Where it is fair to
sessions, each process of ours is one, and gets as much as all threads of another one together.
CPU seconds stay what they are; what sleeps is not slowed.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tradewind.base.units import format_duration
from tradewind.compiler.facts import PastRun, PoolFacts
from tradewind.records.load import Load

# Fewer are the machine's own: its kernel, its daemons.
QUIET = 0.25
# Who has this much of a share has all of it.
FULL = 0.9


def busy(load: Load | None) -> bool:
    """Whether others want its cores; False where nothing is known."""
    return load is not None and load.others >= QUIET


def slower(load: Load | None, threads: float, processes: float = 1.0) -> float:
    """How many times as long so many processes of ours compute, each with so many threads, beside
    these neighbours; 1.0 where there are none, or nothing is known."""
    if load is None or not busy(load):
        return 1.0
    threads, processes, groups = max(1.0, threads), max(1.0, processes), load.groups
    if groups is None:  # each thread is for itself
        threads, processes, groups = 1.0, threads * processes, load.others
    alone = min(threads, load.cores / processes)
    return max(1.0, alone / min(threads, _share(load, processes, groups)))


def _share(load: Load, processes: float, groups: float) -> float:
    """The cores that one of so many processes may have: an equal part, or what others leave."""
    return max(load.cores / (processes + groups), (load.cores - load.others) / processes)


def most(load: Load | None) -> Load | None:
    """The neighbours that a promise counts on: they come and go, and their number varies about as
    that of independent arrivals does, by its root."""
    if load is None or not busy(load):
        return load
    groups = None if load.groups is None else load.groups + math.sqrt(load.groups)
    return replace(load, others=load.others + math.sqrt(load.others), groups=groups)


def quiet(past: PastRun) -> float:
    """The seconds that an earlier run would have taken alone: without those that its threads, as
    many as its CPU seconds tell of, waited for a core."""
    load = past.load
    if load is None or not busy(load) or past.seconds <= 0 or past.cpu <= 0:
        return past.seconds
    alone = past.cpu / load.cores
    had = past.cpu / past.seconds
    many = max(float(past.width), wanted(had, load, past.width))
    waited = past.cpu / min(many, load.cores) * (slower(load, many / past.width, past.width) - 1)
    return min(past.seconds, max(alone, past.seconds - waited))


def wanted(had: float, load: Load | None, processes: int = 1) -> float:
    """How many cores it would have kept busy alone, if beside these neighbours it had so many. Who
    has all that is fair to sessions would have had more: a core each, or where each has more than
    one already, all."""
    if load is None or not busy(load) or had + load.others <= load.cores:
        return had
    if had >= load.cores:
        return load.cores
    if load.groups is not None:
        share = _share(load, processes, load.groups)
        if had < FULL * share * processes:
            return had
        return max(had, load.cores if share > 1 else min(load.cores, processes))
    return max(had, min(load.cores, had * load.others / (load.cores - had)))


def said(load: Load, alone: float) -> str:
    """In words: how busy it is, and the seconds that it would take otherwise."""
    return f"{words(load)}; quiet it would take {format_duration(alone)}"


def words(load: Load) -> str:
    """How busy a machine is."""
    others = f"{load.others:.0f}" if load.others >= 1 else f"{load.others:.1g}"
    one = others == "1"
    return (
        f"this machine is busy: about {others} other{'' if one else 's'} want"
        f"{'s' if one else ''} its {load.cores:g} core{'' if load.cores == 1 else 's'}"
    )


def alone(pool: PoolFacts) -> PoolFacts:
    """The same pool without the neighbours that it has now."""
    return pool if pool.load is None else replace(pool, load=replace(pool.load, others=0.0))
