"""Plans of options that nobody may resize: their figures are counts of earlier runs.

A time is the middle of the last runs of the same name, or honestly unknown on the first run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tradewind.compiler import crowd, price
from tradewind.compiler.elsewhere import BOOT, STRANGE
from tradewind.compiler.facts import Machine, PastRun, PoolFacts
from tradewind.compiler.sizes import grown
from tradewind.records.load import Load
from tradewind.records.plans import Interval, Option, Plan
from tradewind.records.tasks import Resources

# Seconds after which a run's share of a core is no longer that of its start.
TELLING = 1.0


def plan(option: Option, pool: PoolFacts, history: Sequence[PastRun], why: str = "") -> Plan:
    """The option on this pool; `why` says what is not known, if nothing is."""
    option = measured(option, pool, history)
    alone = interval([crowd.quiet(past) for past in history])
    part = price.share(price.times(option.resources, option.width), pool.capacity)
    seconds = _beside(option, pool, history)
    count = len(history)
    basis = f"the last {count} runs" if count > 1 else "the run before" if count else why
    if pool.load is not None and crowd.busy(pool.load):
        told = crowd.words(pool.load) if alone is None else crowd.said(pool.load, alone.p50)
        basis = f"{basis or 'unknown, first run'}; {told}"
    return Plan(
        pool=pool.name,
        engine=pool.engine,
        option=option,
        seconds=seconds,
        price=_money(seconds, pool.price, part),
        basis=basis or "unknown, first run",
    )


def measured(option: Option, pool: PoolFacts, history: Sequence[PastRun]) -> Option:
    """The option with as many cores for a process as earlier runs kept busy (their median), never
    fewer than it asks for. Runs too short to tell say nothing."""
    ratios = sorted(
        past.cpu / crowd.quiet(past) / option.width for past in history if past.seconds >= TELLING
    )
    return grown(option, ratios[len(ratios) // 2], pool) if ratios else option


def estimate(best: Plan, machine: Machine) -> Plan | None:
    """The same seconds on as many of a catalogue machine as it needs, rented whole and from their
    start on: never run there, so only an estimate. None where it cannot hold one process."""
    whole = Resources(
        cpu=machine.cpu, memory=machine.memory, accelerators=dict(machine.accelerators)
    )
    held = best.option.resources.fits(whole)
    if not held:
        return None
    count = math.ceil(best.option.width / held)
    seconds = best.seconds and Interval(
        p50=best.seconds.p50 + BOOT.p50, p90=best.seconds.p90 * STRANGE + BOOT.p90
    )
    return Plan(
        pool=machine.name if count == 1 else f"{count} x {machine.name}",
        engine="",
        option=best.option,
        seconds=seconds,
        price=_money(seconds, machine.price * count, 1.0),
        basis=f"estimate, never run there; price of {machine.as_of}",
        estimate_only=True,
    )


def _beside(option: Option, pool: PoolFacts, history: Sequence[PastRun]) -> Interval | None:
    """Seconds beside the neighbours that the pool has now, from what earlier runs took alone."""
    middle, upper = (
        interval([_slowed(option, past, load) for past in history])
        for load in (pool.load, crowd.most(pool.load))
    )
    if middle is None or upper is None:
        return None
    return Interval(p50=middle.p50, p90=upper.p90)


def _slowed(option: Option, past: PastRun, load: Load | None) -> float:
    alone = crowd.quiet(past)
    if load is None or not crowd.busy(load) or alone <= 0:
        return alone
    many = max(float(option.width), past.cpu / alone)
    return alone + past.cpu / min(many, load.cores) * (
        crowd.slower(load, many / option.width, option.width) - 1
    )


def _money(seconds: Interval | None, hourly: int, part: float) -> Interval | None:
    if seconds is None:
        return None
    return Interval(
        p50=price.cost(seconds.p50, hourly, part), p90=price.cost(seconds.p90, hourly, part)
    )


def interval(seconds: Sequence[float]) -> Interval | None:
    """Median and 90th percentile (nearest rank); with few runs the spread is widened."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    middle = ordered[(len(ordered) - 1) // 2]
    high = ordered[math.ceil(0.9 * len(ordered)) - 1]
    # One or two runs say little about the tail: on a shared machine a neighbour doubles the time.
    widened = 2.0 * middle if len(ordered) < 3 else high
    return Interval(p50=middle, p90=max(high, widened))
