"""How soon training jobs end on 64 devices, against the published figures for the same jobs.

    .venv/bin/python benchmarks/bench_muri.py [--no-peers]

Claim: on traces 1 and 3 of Zhao et al., "Multi-Resource Interleaving for Deep Learning Training"
(SIGCOMM 2022), the mean time from a job's coming to its end is at most SRSF's published one where
durations are known; where they are not, at most 1.95 times that, and below Tiresias and Themis.
The peers are the orders in their simulation, in the same run. Beside each stands the worst job's
ratio to its fair share (finish-time fairness of Themis, as `simulator/figures.py` states it): the
time that it took, by what it would take alone on one N-th of the devices, with N jobs there on
average while it was. Traces as in `bench_openb.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from harness import Figure, Result, bench

from tradewind.simulator.simulate import ORDERS, OURS, simulate

FOLDER = Path(os.environ.get("TRADEWIND_TRACES") or Path(__file__).parents[2] / "shared" / "traces")
# Published means in hours; Muri's own and AntMan's share devices between jobs.
PUBLISHED = {
    "1": {"srsf": 272.26, "srtf": 380.72, "tiresias": 925.10, "themis": 506.44},
    "3": {"srsf": 51.39, "srtf": 53.63, "tiresias": 96.45, "themis": 110.29},
}
BLIND = 1.95


def hours(trace: str, policy: str, known: bool = True) -> dict[str, Any]:
    """Mean, 99th percentile and makespan in hours."""
    found = simulate(FOLDER / f"muri_trace{trace}.csv", policy, known=known)
    times = {name: found[name] / 3600 for name in ("mean_jct", "p99_jct", "makespan", "lost")}
    return {**found, **times}


def figure(name: str, found: dict[str, Any], target: float = 0.0, more: str = "") -> Figure:
    note = f"99th percentile {found['p99_jct']:.0f} h, makespan {found['makespan']:.0f} h, "
    share = found["fair_share"]
    note += f"{found['interrupted']:,} times interrupted; worst job {share['worst']:,.2f} x its "
    note += f"fair share, {share['above_1']:.0%} of the jobs above it{more}"
    return Figure(name, found["mean_jct"], "h", target, note=note)


def body(result: Result) -> None:
    for trace, told in PUBLISHED.items():
        result.add(figure(f"trace {trace}, known: mean time to the end", hours(trace, OURS),
                          round(told["srsf"], 1)))  # fmt: skip
        least = min(BLIND * told["srsf"], told["tiresias"], told["themis"])
        result.add(
            figure(f"trace {trace}, unknown: the same", hours(trace, OURS, known=False), least)
        )
        for policy in ORDERS if os.environ.get("TRADEWIND_BENCH_PEERS") else ():
            if policy != OURS:
                more = f"; published {told[policy]:.2f} h" if policy in told else ""
                result.peer(figure(f"trace {trace}: {policy}", hours(trace, policy), more=more))


if __name__ == "__main__":
    if not (FOLDER / "muri_trace1.csv").is_file():
        print(f"muri: skipped, {FOLDER} has no traces; TRADEWIND_TRACES names their folder")
        sys.exit(0)
    bench("muri", __doc__, body)
