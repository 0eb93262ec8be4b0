"""`python -m tests.chaos.cluster [--kills N] [--seed N] [--kubeconfig FILE]`. Not a test.

Without a kubeconfig the cluster is the double; a real one must be without nodes of its own. Exit
status 0 if nothing was lost, doubled, wrong or left behind; 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.cluster.campaign import Campaign
from tests.chaos.cluster.relay import Relay
from tests.chaos.cluster.verdict import Verdict, judge
from tests.chaos.cluster.witness import Witness
from tests.kube.home import Served, site
from tests.kube.runner.rest import access


def main() -> int:
    """Carry it out and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cluster")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=4, help="runs that go on at the same time")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--kubeconfig", type=Path, help="a real cluster instead of the double")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tradewind-chaos-"))
    where = given.kubeconfig or "the double"
    print(f"{given.kills} kills, seed {given.seed}, on {where}, in {folder}", flush=True)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(site(folder, given.kubeconfig, nodes=given.nodes))
        relay = stack.enter_context(Relay(access(place.kubeconfig).server))
        witness = stack.enter_context(Witness(place))
        way = relay.kubeconfig(place.kubeconfig, folder / "relayed")
        served = Served(folder / "data", way, place.namespace)
        stack.callback(served.kill)
        campaign = Campaign(
            place, served, relay, witness, given.kills, given.seed, width=given.width
        )
        campaign.carry_out()
        served.stop()
        verdict = judge(campaign)
    show(campaign, verdict)
    if verdict.violated:
        print(f"everything is kept in {folder}")
    elif not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return int(verdict.violated)


def show(campaign: Campaign, verdict: Verdict) -> None:
    """The table."""
    recoveries = sorted(verdict.recoveries) or [0.0]
    middle, longest = recoveries[len(recoveries) // 2], recoveries[-1]
    broken = campaign.mischief
    facts = {
        "kills of the server": len(campaign.kills),
        "pods killed": broken["pod"],
        "connections cut, answers swallowed": f"{broken['cut']}, {broken['swallow']}",
        "minutes": f"{(time.time() - campaign.began) / 60:.1f}",
        "runs accepted": verdict.runs,
        "placements": f"{verdict.placements}, of which lost and placed again {verdict.again}",
        "jobs that ever were": sum(len(uids) for uids in campaign.witness.jobs.values()),
        "attempts": f"{verdict.attempts}; executions of user code {verdict.executions}",
        "a kill until the server answers": f"longest {max(campaign.restarts, default=0.0):.2f} s",
        "a kill until a run is seen to end": f"median {middle:.2f} s, longest {longest:.2f} s",
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "wrong": len(verdict.wrong),
        "left behind": len(verdict.left),
    }
    print()
    for name, value in facts.items():
        print(f"{name:<36}{value}")
    for name in ("lost", "doubled", "wrong", "left"):
        for text in getattr(verdict, name)[:20]:
            print(f"  {name}: {text}")


if __name__ == "__main__":
    sys.exit(main())
