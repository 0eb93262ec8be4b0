"""What a policy makes of a trace, in virtual time; nothing runs, and no server is asked.

tw simulate openb_pod_list_default.csv --policy fgd --seed 42
tw simulate muri_trace1.csv --policy srsf
tw simulate philly_jobs.csv --nodes 64x8
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tradewind.base.errors import UserError
from tradewind.cli.show import Out


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add = parser.add_argument
    add("trace", metavar="TRACE", help="a table of processes or jobs (CSV)")
    add(
        "--policy", default="default", metavar="NAME", help="default, or a peer's (listed if wrong)"
    )
    add("--nodes", default="", metavar="FILE", help="a table of machines, or 64x8: 64 of 8 devices")
    add("--seed", default="42-51", metavar="N", help="one, or several: 42-51")
    add("--unknown", action="store_true", help="jobs do not say how long they take")


def main(args: argparse.Namespace, out: Out) -> None:
    """Simulate it and show the figures."""
    from tradewind.simulator.simulate import simulate

    seeds = _seeds(args.seed)
    found = simulate(Path(args.trace), args.policy, args.nodes, seeds, not args.unknown)
    if not out.text:
        out.value(found)
    elif found["trace"] == "processes":
        _processes(found, out)
    else:
        _jobs(found, out)


def _seeds(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        found = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = range(0)
    if not 0 < len(found) <= 1000:
        raise UserError(f"--seed: not a number, nor a range of at most 1,000: {text!r}",
                        hint="for example 42, or 42-51")  # fmt: skip
    return found


def _processes(found: dict[str, Any], out: Out) -> None:
    percents = list(found["allocation_at"])
    rows = [
        [each["seed"], *map(_percent, each["allocation_at"].values())] for each in found["seeds"]
    ]
    if len(rows) > 1:
        rows.append(["mean", *map(_percent, found["allocation_at"].values())])
    out.line(
        f"devices given away, in percent of all, by how much had been asked for ({found['policy']})"
    )
    out.table(["seed", *(f"at {percent}" for percent in percents)], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _jobs(found: dict[str, Any], out: Out) -> None:
    out.facts(
        [
            ("policy", found["policy"]),
            ("jobs", f"{found['jobs']:,}" + _left_out(found)),
            ("mean time to the end", _hours(found["mean_jct"])),
            ("99th percentile", _hours(found["p99_jct"])),
            ("makespan", _hours(found["makespan"])),
            ("interrupted", f"{found['interrupted']:,} times"),
        ]
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} h"


def _left_out(found: dict[str, Any]) -> str:
    return f"; {found['left_out']:,} fit nowhere" if found["left_out"] else ""
