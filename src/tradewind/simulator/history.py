"""Ended runs of ours as a trace: what they asked for, when they came, how long they worked. From
what the server says of them (`GET /runs/…`) to rows of a table, which anybody may read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidData, Location, UserError
from tradewind.scheduler.nodes import WHOLE, Node
from tradewind.simulator.traces import HISTORY, MIB, WHOSE, Rows

Json = dict[str, Any]
# They stand until they are stopped: when they end says nothing of their work.
STANDING = "service"


def pool_of(runs: Sequence[Json], wanted: str = "") -> str:
    """The pool to replay: where all of them ran, if there is one, else which of them is wanted."""
    pools = sorted({placement["pool"] for run in runs for placement in _held(run)})
    if not pools:
        raise UserError(
            "the history is empty: no run has ended that held a place",
            hint="`tw get runs` lists runs; services and what came from the cache do not count",
        )
    if wanted and wanted not in pools:
        raise UserError(f"no run has ended on pool {wanted!r}", hint=f"pools: {', '.join(pools)}")
    if not wanted and len(pools) > 1:
        raise UserError("which pool? runs were on several: " + ", ".join(pools),
                        hint=f"say one: --pool {pools[0]}")  # fmt: skip
    return wanted or pools[0]


def rows(runs: Iterable[Json], pool: str) -> Rows:
    """A row for each run that held a place of this pool, in the order in which they came."""
    found = [(run, held) for run in runs if (held := _held(run, pool))]
    first = min((float(run["created"]) for run, _ in found), default=0.0)
    ordered = sorted(found, key=lambda each: (each[0]["created"], each[0]["id"]))
    return [
        (Location(file="history", line=number), _row(run, held, first))
        for number, (run, held) in enumerate(ordered, 1)
    ]


def save(path: Path, found: Rows) -> None:
    """Write a table that `traces.history` reads."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HISTORY + WHOSE)
            writer.writeheader()
            writer.writerows(row for _, row in found)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def nodes(pool: Json) -> list[Node]:
    """The machines of a pool, as the server lists it: where it does not tell each, all alike."""
    lots = [(lot["each"], int(lot["count"]), _where(pool, lot)) for lot in pool.get("sizes") or ()]
    machines, whole = int(pool.get("machines") or 0), pool.get("capacity")
    if not lots and machines and whole:
        lots = [(_part(whole, machines), machines, _where(pool, {}))]
    if not lots:
        raise InvalidData(f"nothing is known of the machines of pool {pool.get('name')!r}",
                          hint="say them: --nodes FILE, a table of machines")  # fmt: skip
    return [
        Node(
            name=f"{pool['name']}-{number}-{at}",
            cpu=_milli(each.get("cpu") or 0),
            memory=int(each.get("memory") or 0),
            devices=tuple(
                sorted((name, int(n)) for name, n in (each.get("accelerators") or {}).items())
            ),
            where=where,
        )
        for number, (each, count, where) in enumerate(lots)
        for at in range(count)
    ]


def _where(pool: Json, lot: Json) -> tuple[tuple[str, str], ...]:
    """What its machines tell goes before what the pool tells."""
    told = {**dict(pool.get("where") or ()), **dict(lot.get("where") or ())}
    return tuple((str(level), str(name)) for level, name in told.items())


def _held(run: Json, pool: str = "") -> list[Json]:
    """The placements that a run had."""
    if run.get("kind") == STANDING:
        return []
    return [
        each
        for each in run.get("placements") or ()
        if each.get("ended") and pool in ("", each["pool"])
    ]


def _row(run: Json, held: list[Json], first: float) -> dict[str, str]:
    demand = max(
        (each["demand"] for each in held),
        key=lambda demand: (sum((demand.get("accelerators") or {}).values()), demand["cpu"]),
    )
    count = _processes(run, demand)
    each = _part(demand, count)
    started = [float(one.get("started") or one["ended"]) for one in held]
    worked = sum(float(one["ended"]) - at for one, at in zip(held, started, strict=True))
    restart = [at - float(one["placed"]) for one, at in zip(held, started, strict=True)]
    return {
        "run": str(run["id"]),
        "came": f"{float(run['created']) - first:.3f}",
        "seconds": f"{max(0.0, worked):.3f}",
        "restart": f"{max(0.0, *restart):.3f}",
        "processes": str(count),
        "cpu_milli": str(_milli(each["cpu"])),
        "memory_mib": str(each["memory"] // MIB),
        "devices": "; ".join(f"{n:g} {name}" for name, n in sorted(each["accelerators"].items())),
        "project": str(run["project"]),
        "queue": str(run["queue"]),
        "priority": str((run.get("spec") or {}).get("priority", "")),
    }


def _processes(run: Json, demand: Json) -> int:
    """How many processes the demand is for: the width of the plan, where that divides it into
    whole devices, or into the parts that the plan gives each."""
    option = (run.get("plan") or {}).get("option") or {}
    width = int(option.get("width") or 1)
    part = (option.get("resources") or {}).get("accelerators") or {}
    whole = (demand.get("accelerators") or {}).items()
    divides = all(n % width == 0 or round(part.get(name, 0) * width, 3) == n for name, n in whole)
    return width if width > 1 and divides else 1


def _part(whole: Json, count: int) -> Json:
    return {
        "cpu": float(whole.get("cpu") or 0) / count,
        "memory": int(whole.get("memory") or 0) // count,
        "accelerators": {
            name: round(number / count, 3) if number % count else number // count
            for name, number in (whole.get("accelerators") or {}).items()
            if number
        },
    }


def _milli(cores: float) -> int:
    return round(cores * WHOLE)
