"""From CPU seconds to seconds and money: what processes of this number and size take on a pool.

Seconds are CPU seconds over the cores that are really held, after the start. A fan-out runs in
whole waves: each wave lasts as long as its largest part, and a part is whole row groups.
"""

from __future__ import annotations

import math

from tradewind.compiler import crowd, price
from tradewind.compiler.facts import PoolFacts
from tradewind.compiler.line import ENGINE
from tradewind.compiler.model import JITTER, MOST_GROUP_PARTS, START_CPU, Model, Work
from tradewind.records.load import Load
from tradewind.records.plans import Interval, Option, Plan

# Seconds from acceptance to a process and from its end to a visible result, beside the task: a
# no-op takes 0.02 in all, a commit of a table up to some tenths (benchmarks/README.md). The upper
# figure allows for a busy server.
BESIDE = Interval(p50=0.3, p90=1.0)
# A session of Spark takes about eight seconds until its first task (JVM, context, first stage).
SPARK_START = 8.0
# The share of a query that one core does alone (Amdahl 1967): with two idle cores, wall was 0.50
# to 0.53 of CPU seconds in 22 of 26 runs.
ALONE = 0.03
# Keys are not spread evenly: the largest of a group array's parts against the mean.
SKEW = 1.3
# A start that meets a cold cache takes so much longer.
COLD = 1.5
# A neighbour leaves at least this share of a core.
LEAST_SHARE = 0.5


def timed(model: Model, work: Work, option: Option, pool: PoolFacts) -> tuple[Interval, Interval]:
    """Seconds from acceptance to result, and the seconds of them for which the place is held."""
    loads = (pool.load, crowd.most(pool.load))
    middle, upper = (_held(model, work, option, load) for load in loads)
    # To begin and to commit takes one thread, however many compute between.
    slow, slowest = (crowd.slower(load, 1.0) for load in loads)
    start = min(upper, _start(option) * slowest)
    late = (upper - start) * math.exp(work.spread) * _slowed(model, option, pool)
    held = Interval(p50=middle, p90=start * COLD + late + JITTER)
    return Interval(p50=middle + BESIDE.p50 * slow, p90=held.p90 + BESIDE.p90 * slowest), held


def plan(model: Model, option: Option, pool: PoolFacts) -> Plan | None:
    """An option of this size on this pool; None where nothing is known of it."""
    processes = option.parts or (option.width if option.backend == "partitions" else 1)
    # A pin is what the kernel holds it to, however much the machine has.
    room = option.resources.memory or pool.largest.memory or math.inf
    work = model.work(option.backend, processes, room)
    if work is None:
        return None
    seconds, held = timed(model, work, option, pool)
    part = price.share(price.times(option.resources, option.width), pool.capacity)
    return Plan(
        pool=pool.name,
        engine=pool.engine,
        option=option,
        seconds=seconds,
        price=Interval(
            p50=price.cost(held.p50, pool.price, part), p90=price.cost(held.p90, pool.price, part)
        ),
        cpu=work.cpu,
        basis=work.basis + _beside(model, work, option, pool),
        grounds=grounds(model, work) | _load(pool.load),
    )


def _beside(model: Model, work: Work, option: Option, pool: PoolFacts) -> str:
    """Who else wants the cores, as a plan says it: now, or else when the probes were made."""
    if pool.load is None:
        return f", with {model.load:.1f} cores busy by others" if model.load >= crowd.QUIET else ""
    if not crowd.busy(pool.load):
        return ""
    alone, _ = timed(model, work, option, crowd.alone(pool))
    return f"; {crowd.said(pool.load, alone.p50)}"


def _load(load: Load | None) -> dict[str, float | str | bool | int]:
    if load is None:
        return {}
    groups = {} if load.groups is None else {"groups": load.groups}
    return {"others": load.others, "cores": load.cores, **groups}


def grounds(model: Model, work: Work) -> dict[str, float | str | bool | int]:
    """What a plan says about where its figures come from."""
    return {
        "family": model.family,
        "line": work.line,
        "fixed": work.start,
        "seen": work.seen,
        "memory": round(work.memory),
        "rows": model.rows,
        "spills": work.spills,
    }


def most_parts(model: Model) -> int:
    """More parts than this are empty."""
    return MOST_GROUP_PARTS if model.style == "group" or not model.groups else model.groups


def _start(option: Option) -> float:
    return SPARK_START if option.backend == "spark" else START_CPU


def _held(model: Model, work: Work, option: Option, load: Load | None) -> float:
    """Seconds until the last process ends, beside these neighbours."""
    starting = crowd.slower(load, 1.0, option.width)
    slow = crowd.slower(load, _threads(model, option), option.width)
    fixed, varying = (
        work.fixed * starting + work.asleep,
        work.varying / _cores(model, option) * slow,
    )
    if option.backend == "spark":
        return SPARK_START * starting + work.asleep + varying
    if option.backend != "partitions":
        return fixed + varying + work.waits
    parts = max(1, option.parts or option.width)
    waves = math.ceil(parts / option.width)
    share = _largest(model, parts)
    return waves * (fixed + share * (varying + work.waits))


def _largest(model: Model, parts: int) -> float:
    """The share of all rows in the largest part."""
    if model.style == "group":
        return min(1.0, SKEW / parts)
    if not model.groups or not model.rows:
        return 1.0 / parts
    return min(1.0, math.ceil(model.groups / parts) * model.group_rows / model.rows)


def _cores(model: Model, option: Option) -> float:
    """How many cores' work one process does; of Spark, all together."""
    held = max(1.0, option.resources.cpu)
    if option.backend == "spark":
        return amdahl(held * option.width)
    if _spreads(model, option):
        return amdahl(min(held, model.groups or held))
    # A loop of which only earlier runs are known may keep one core busy, and is promised no more.
    own = model.line.cores if model.line is not None else 1.0
    return max(1.0, min(held, own))


def _spreads(model: Model, option: Option) -> bool:
    return option.backend == "duckdb" and model.style in ENGINE | {""}


def _threads(model: Model, option: Option) -> float:
    """How many of one process want a core at the same time."""
    if _spreads(model, option) or option.backend == "spark":
        return max(1.0, option.resources.cpu)
    return _cores(model, option)


def amdahl(cores: float) -> float:
    """What so many cores do as a multiple of what one does."""
    return cores / (1 + ALONE * (cores - 1))


def _slowed(model: Model, option: Option, pool: PoolFacts) -> float:
    """How much longer it takes if the neighbours that the probes met stay: they share this machine,
    and not that of another pool. What the pool tells of now goes before what they met."""
    if pool.engine != "local" or pool.load is not None or not model.load:
        return 1.0
    held = max(1.0, option.resources.cpu) * option.width
    left = max(LEAST_SHARE * held, pool.capacity.cpu - model.load)
    return max(1.0, held / left)
