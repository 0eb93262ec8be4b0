"""`python -m tests.chaos.run [--kills N] [--seed N]`: the campaign and its table. Not a test.

Exit status 0 if nothing was lost, doubled, wrong or left behind; 1 otherwise.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.campaign import Campaign
from tests.chaos.verdict import Verdict, judge


def main() -> int:
    """Carry it out and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=4, help="pipelines that run at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tradewind-chaos-"))
    campaign = Campaign(folder, wanted=given.kills, seed=given.seed, width=given.width)
    print(f"{given.kills} kills, seed {given.seed}, in {folder}", flush=True)
    try:
        campaign.carry_out()
        campaign.close()
    finally:
        campaign.sweep()
    verdict = judge(campaign)
    show(campaign, verdict)
    if verdict.violated:
        print(f"everything is kept in {folder}")
    elif not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return int(verdict.violated)


def show(campaign: Campaign, verdict: Verdict) -> None:
    """The table."""
    counts = campaign.by_role()
    print(f"\n{'victim':<12}{'kills':>6}{'median s':>10}{'longest s':>11}")
    for role, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        times = sorted(verdict.recoveries.get(role, []))
        middle = f"{times[len(times) // 2]:.2f}" if times else "-"
        longest = f"{times[-1]:.2f}" if times else "-"
        print(f"{role:<12}{count:>6}{middle:>10}{longest:>11}")
    restarts = max(campaign.restarts, default=0.0)
    facts = {
        "kills": len(campaign.kills),
        "minutes": f"{(time.time() - campaign.began) / 60:.1f}",
        "runs accepted": verdict.runs,
        "steps": verdict.steps,
        "placements": f"{verdict.placements}, of which lost and placed again "
        f"{verdict.lost_placements}",
        "attempts": f"{verdict.attempts}; executions of user code {verdict.executions}",
        "executed again after their end": verdict.repeated,
        "server restarts": f"{len(campaign.restarts)}, longest {restarts:.2f} s",
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "wrong": len(verdict.wrong),
        "two executions at the same time": len(verdict.overlaps),
        "processes left behind": len(verdict.left),
    }
    print()
    for name, value in facts.items():
        print(f"{name:<34}{value}")
    for text in campaign.slow:
        print(f"  slow: {text}")
    for name in ("lost", "doubled", "wrong", "overlaps", "left"):
        for text in getattr(verdict, name)[:20]:
            print(f"  {name}: {text}")


if __name__ == "__main__":
    sys.exit(main())
