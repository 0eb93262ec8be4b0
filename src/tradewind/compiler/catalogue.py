"""The price list: text in, machines out. Pure; `control/assemble.py` reads the file.

`prices.csv` holds list prices in dollars per hour, on demand, with the month each was taken in.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from tradewind.base.units import NANODOLLARS
from tradewind.compiler.facts import Machine

GIB = 2**30

# One large and one small machine from two providers, to compare a run's price with.
COMPARE = ("aws/m7i.large", "gcp/n2-standard-2")


def parse(text: str) -> tuple[Machine, ...]:
    """The machines of a price list, cheapest first. Those with accelerators are left out: nothing
    compares a CPU run with them."""
    machines = [
        Machine(
            name=f"{row['provider']}/{row['instance']}",
            cpu=float(row["vcpus"]),
            memory=round(float(row["memory_gib"]) * GIB),
            price=round(float(row["usd_per_hour"]) * NANODOLLARS),
            as_of=row["as_of"] or "unknown date",
        )
        for row in csv.DictReader(text.splitlines())
        if not row["accelerator"] and row["vcpus"] and row["memory_gib"] and row["usd_per_hour"]
    ]
    return tuple(sorted(machines, key=lambda each: each.price))


def like(machines: Sequence[Machine], cpu: float, memory: int) -> Machine:
    """The cheapest machine that has as much as this one, or the largest there is."""
    enough = [each for each in machines if each.cpu >= cpu and each.memory >= memory]
    return enough[0] if enough else max(machines, key=lambda each: (each.cpu, each.memory))


def compared(machines: Sequence[Machine]) -> tuple[Machine, ...]:
    """The two machines that every quote is compared with."""
    named = [each for each in machines if each.name in COMPARE]
    return tuple(named or machines[:2])
