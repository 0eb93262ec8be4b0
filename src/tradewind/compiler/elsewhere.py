"""What machines of the catalogue would take and cost, which are not connected: never run there.

Whole machines are rented, for as long as it takes to start them and to do the work. Their intervals
are wider by `STRANGE`: the same function on another processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tradewind.compiler import price
from tradewind.compiler.facts import Machine, PoolFacts
from tradewind.compiler.frontier import EVEN, frontier, known
from tradewind.compiler.model import Model
from tradewind.compiler.sizes import parts_for
from tradewind.compiler.timing import grounds, most_parts, timed
from tradewind.records.plans import Interval, Option, Plan
from tradewind.records.tasks import Resources

# Seconds until a rented machine works. Clouds bill the first minute whole.
BOOT = Interval(p50=60.0, p90=120.0)
STRANGE = 1.5
# At the upper end a spot machine is taken away once and its share of the work is done again.
TAKEN = 1.5
COUNTS = (1, 2, 4, 8, 16, 32, 64)
# Estimates to show at most; of those that plans of one's own surpass in time and price, which say
# no more than that, this many.
MOST, FEW = 12, 3


def estimates(
    options: Sequence[Option],
    machines: Sequence[Machine],
    model: Model,
    connected: Sequence[str],
    own: Sequence[Plan],
) -> tuple[Plan, ...]:
    """The frontier of time and price over machines, how many of them, and how they are bought;
    the fastest first, thinned to a dozen, and beside better plans of one's `own` to three."""
    found = [
        plan
        for machine, spot in _worth(machines, connected)
        for option in options
        for plan in _counted(option, machine, spot, model)
    ]
    priced = known(found)
    kept = frontier([_fewest(plan, priced) for plan in frontier(found)])
    better = known(own)
    surpassed = [plan for plan in kept if _surpassed(plan, better)]
    shown = _thinned([plan for plan in kept if plan not in surpassed], MOST)
    return tuple(frontier(shown + _thinned(surpassed, FEW)))


def _fewest(plan: Plan, found: Sequence[tuple[float, float, Plan]]) -> Plan:
    """Of what nobody can tell apart from a plan by time and price the one of fewest machines."""
    [(seconds, money, _)] = known([plan])
    even = (each for each in found if each[0] <= seconds * EVEN and each[1] <= money * EVEN)
    return min(even, key=lambda each: (each[2].grounds["count"], each[1], each[0]))[2]


def _surpassed(plan: Plan, better: Sequence[tuple[float, float, Plan]]) -> bool:
    """Whether one of these is as fast and as cheap."""
    [(seconds, money, _)] = known([plan])
    return any(time <= seconds and cost <= money for time, cost, _ in better)


def _thinned(plans: list[Plan], most: int) -> list[Plan]:
    """So many of them, evenly, with the first and the last."""
    if len(plans) <= most:
        return plans
    return [plans[round(place * (len(plans) - 1) / (most - 1))] for place in range(most)]


def _worth(machines: Sequence[Machine], connected: Sequence[str]) -> list[tuple[Machine, bool]]:
    """Of machines of about the same size, to a power of two, those whose cores are cheapest, and
    with more memory for a core the next; on demand and on the spot market. Those with accelerators
    are for work that names them, and that is not predicted from CPU seconds."""
    offers = [
        (machine, spot)
        for machine in machines
        for spot in (False, True)
        if not machine.accelerators and machine.name not in connected
        if machine.cpu >= 1 and (machine.spot or not spot)
    ]
    offers.sort(key=lambda each: _hourly(*each) / each[0].cpu)
    roomiest: dict[tuple[int, bool], float] = {}
    kept = []
    for machine, spot in offers:
        size, each = (math.floor(math.log2(machine.cpu)), spot), machine.memory / machine.cpu
        # Twice as much, or it is the same again.
        if each >= 2 * roomiest.get(size, 0.0):
            roomiest[size] = each
            kept.append((machine, spot))
    return kept


def _hourly(machine: Machine, spot: bool) -> int:
    return machine.spot if spot else machine.price


def _counted(option: Option, machine: Machine, spot: bool, model: Model) -> Iterator[Plan]:
    for count in COUNTS if option.backend == "partitions" else COUNTS[:1]:
        sized = _filling(option, machine, count, model)
        plan = _plan(sized, machine, count, spot, model)
        if plan is not None:
            yield plan
        if option.backend == "partitions" and sized.width >= most_parts(model):
            return


def _filling(option: Option, machine: Machine, count: int, model: Model) -> Option:
    """All cores of so many machines."""
    if not option.elastic:
        return option
    if option.backend == "partitions":
        each = replace(option.resources, cpu=1.0)
        limit = most_parts(model)
        width = min(limit, math.floor(machine.cpu) * count)
        return replace(option, resources=each, width=width, parts=parts_for(width, limit)[0])
    each = replace(option.resources, cpu=machine.cpu)
    return replace(option, resources=each, width=1)


def _plan(option: Option, machine: Machine, count: int, spot: bool, model: Model) -> Plan | None:
    whole = Resources(cpu=machine.cpu, memory=machine.memory)
    processes = option.parts or 1
    per_machine = math.ceil(option.width / count)
    room = machine.memory / per_machine
    work = model.work(option.backend, processes, room)
    if work is None or (work.memory > room and not work.spills):
        return None
    pool = PoolFacts(
        name=machine.name, engine="", price=0, capacity=price.times(whole, count), largest=whole
    )
    seconds, held = timed(model, work, option, pool)
    slower = STRANGE * (TAKEN if spot else 1.0)
    hourly = _hourly(machine, spot) * count
    name = machine.name if count == 1 else f"{count} x {machine.name}"
    return Plan(
        pool=f"{name}, spot" if spot else name,
        engine="",
        option=option,
        seconds=Interval(p50=seconds.p50 + BOOT.p50, p90=seconds.p90 * slower + BOOT.p90),
        price=Interval(
            p50=price.cost(held.p50 + BOOT.p50, hourly, 1.0),
            p90=price.cost(held.p90 * slower + BOOT.p90, hourly, 1.0),
        ),
        cpu=Interval(p50=work.cpu.p50, p90=work.cpu.p90 * STRANGE),
        basis=f"estimate, never run there; {'spot ' if spot else ''}price of {machine.as_of}",
        estimate_only=True,
        grounds={
            **grounds(model, work),
            "machine": machine.name,
            "region": machine.region,
            "count": count,
            "spot": spot,
        },
    )
