"""How much of a shared cluster of devices can be given away before nothing fits any more.

    .venv/bin/python benchmarks/bench_openb.py [--quick] [--no-peers]

Claim: on the five public traces of Weng et al., "Beware of Fragmentation" (USENIX ATC 2023), in
their experiment and over ten seeds, at 130 % asked for at least 0.7 points more than FGD in the
mean and 0.3 on each, more than first-fit too, and never over 0.2 points less than FGD before that.
The peers are their policies, in the same run; in the notes what was published. The frequencies of
processes are learned from the arrivals so far; FGD knows the whole trace. Traces are those in
`$TRADEWIND_TRACES`, by default `../shared/traces` beside this checkout.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness import Figure, Result, bench

from tradewind.simulator.simulate import PERCENT, PLACERS, simulate

FOLDER = Path(os.environ.get("TRADEWIND_TRACES") or Path(__file__).parents[2] / "shared" / "traces")
SEEDS = range(42, 52)
EARLY, SATURATED = (80, 90, 95), (100, 130)
# Published, at 130 % asked for, in the order of `PLACERS` without ours and first-fit.
PUBLISHED = {
    "default": {"random": 87.47, "best-fit": 93.08, "dot-product": 90.85, "packing": 92.00,
                "clustering": 91.88, "fgd": 95.39},
    "multigpu20": {"random": 88.69, "best-fit": 93.93, "dot-product": 92.06, "packing": 93.71,
                   "clustering": 93.56, "fgd": 95.65},
    "gpushare40": {"random": 86.00, "best-fit": 91.69, "dot-product": 89.56, "packing": 90.03,
                   "clustering": 90.02, "fgd": 94.15},
    "gpuspec10": {"random": 87.43, "best-fit": 93.31, "dot-product": 90.39, "packing": 92.46,
                  "clustering": 92.18, "fgd": 94.95},
    "cpu050": {"random": 91.24, "best-fit": 93.79, "dot-product": 93.27, "packing": 93.72,
               "clustering": 93.79, "fgd": 95.21},
}  # fmt: skip
# Published of FGD at 80, 90, 95, 100 and 130 % asked for.
FGD = {
    "default": (80.02, 89.98, 94.91, 95.23, 95.39),
    "multigpu20": (80.02, 90.01, 94.94, 95.53, 95.65),
    "gpushare40": (80.00, 89.99, 93.92, 93.96, 94.15),
    "gpuspec10": (76.66, 85.83, 90.38, 94.66, 94.95),
    "cpu050": (80.01, 90.01, 94.81, 95.00, 95.21),
}
At = dict[int, float]


def carried(trace: str, policy: str, seeds: range) -> tuple[At, float]:
    """The mean allocation by percent asked for, and the CPU seconds of a seed."""
    began = time.process_time()
    found = simulate(FOLDER / f"openb_pod_list_{trace}.csv", policy, seeds=seeds)
    spent = (time.process_time() - began) / len(seeds)
    return {percent: found["allocation_at"][str(percent)] for percent in PERCENT}, spent


def body(result: Result) -> None:
    seeds = SEEDS[:2] if result.quick else SEEDS
    peers = os.environ.get("TRADEWIND_BENCH_PEERS")
    policies = [name for name in PLACERS if peers or name in ("default", "fgd", "first-fit")]
    gains = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        asked = {
            (trace, policy): pool.submit(carried, trace, policy, seeds)
            for trace in PUBLISHED
            for policy in policies
        }
        for trace in PUBLISHED:
            found = {policy: asked[trace, policy].result() for policy in policies}
            gains.append(found["default"][0][130] - found["fgd"][0][130])
            one(result, trace, {policy: at for policy, (at, _) in found.items()})
            told = ", ".join(f"{name} {spent:.1f} s" for name, (_, spent) in found.items())
            result.note(f"{trace}: CPU of a seed: {told}")
    mean = sum(gains) / len(gains)
    result.add(Figure("less than 0.7 points over FGD, mean of the traces", 0.7 - mean, "points",
                      1e-9, note=f"{mean:+.2f} over it"))  # fmt: skip


def one(result: Result, trace: str, found: dict[str, At]) -> None:
    """The lines of one trace: what is not given away, against FGD and first-fit."""
    ours, fgd, first = found["default"], found["fgd"], found["first-fit"]
    for percent in SATURATED:
        most = max(fgd[percent] + (0.3 if percent == 130 else 0), first[percent])
        told = ", ".join(f"{name} {at[percent]:.2f}" for name, at in found.items())
        note = f"given away: {told}"
        result.add(Figure(f"{trace}: not given away at {percent}", 100 - ours[percent], "%",
                          100 - most, note=note))  # fmt: skip
    worst = max(fgd[percent] - ours[percent] for percent in EARLY)
    result.add(Figure(f"{trace}: less than FGD at 80 to 95, at most", worst, "points", 0.2))
    off = max(
        abs(fgd[percent] - told)
        for percent, told in zip((*EARLY, *SATURATED), FGD[trace], strict=True)
    )
    result.add(Figure(f"{trace}: our FGD from the published one", off, "points", 0.3))
    for policy, at in found.items():
        if policy != "default":
            was = PUBLISHED[trace].get(policy)
            note = f"published {was:.2f} given away" if was else "not published"
            result.peer(Figure(f"{trace}: {policy}, not given away at 130", 100 - at[130], "%",
                               note=note))  # fmt: skip


if __name__ == "__main__":
    if not (FOLDER / "openb_pod_list_default.csv").is_file():
        print(f"openb: skipped, {FOLDER} has no traces; TRADEWIND_TRACES names their folder")
        sys.exit(0)
    bench("openb", __doc__, body)
