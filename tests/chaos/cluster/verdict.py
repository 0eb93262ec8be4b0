"""What must hold when a campaign is over: read from the store, the witness and the cluster."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.cluster import load
from tests.chaos.cluster.campaign import Campaign, Submitted
from tests.chaos.cluster.witness import Line, Unit
from tests.kube.home import Site
from tests.kube.runner.fixtures import processes
from tradewind.base.clock import SystemClock
from tradewind.engines.kubernetes import api
from tradewind.engines.kubernetes.connect import connect
from tradewind.records.runs import Run
from tradewind.records.states import PlacementState, RunState
from tradewind.store import open as open_store
from tradewind.store.base import Store
from tradewind.store.rows import RunFilter

# A cluster takes its time to collect what hangs on a root.
GONE_SECONDS = 90.0
LEFT = (api.ROOTS, api.SECRETS, api.JOBS, api.DEPLOYMENTS, api.SERVICES, api.PODS)


@dataclass(slots=True)
class Verdict:
    """Violations by sort, and figures that are no violations."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    runs: int = 0
    placements: int = 0
    attempts: int = 0
    executions: int = 0
    again: int = 0
    recoveries: list[float] = field(default_factory=list)

    @property
    def violated(self) -> bool:
        """Whether anything was broken that was promised."""
        return bool(self.lost or self.doubled or self.wrong or self.left)


def judge(campaign: Campaign) -> Verdict:
    """Look at everything. The server must have ended."""
    verdict = Verdict(wrong=list(campaign.faults), left=left(campaign))
    store = open_store(campaign.served.data / "tradewind.db", SystemClock())
    try:
        runs = _all_runs(store)
        _tops(campaign, runs, verdict)
        _placements(store, runs, verdict)
        for order in campaign.runs:
            if order.sort == "single" and order.id in runs:
                _told(campaign, store, order, verdict)
    finally:
        store.close()
    _jobs(campaign, verdict)
    _executions(campaign, runs, verdict)
    ends = sorted(order.seen for order in campaign.runs if order.seen)
    for kill in campaign.kills:
        verdict.recoveries += [at - kill for at in ends if at > kill][:1]
    return verdict


def _all_runs(store: Store) -> dict[str, Run]:
    found: dict[str, Run] = {}
    cursor = ""
    while True:
        page = store.runs.page(RunFilter(), limit=1000, cursor=cursor)
        found |= store.runs.get_many([each.id for each in page.runs])
        cursor = page.cursor
        if not cursor:
            return found


# -- runs ----------------------------------------------------------------------------------------


def _tops(campaign: Campaign, runs: dict[str, Run], verdict: Verdict) -> None:
    """Every accepted run ended well, once, with the right value and exactly its steps."""
    children: dict[str, list[Run]] = defaultdict(list)
    for run in runs.values():
        children[run.parent].append(run)
    orders = {order.id: order for order in campaign.runs}
    verdict.doubled += [
        f"{top.id} ({top.name}) was submitted by nobody"
        for top in children[""]
        if top.id not in orders
    ]
    verdict.runs = len(orders)
    for run_id, order in orders.items():
        if run_id not in runs:
            verdict.lost.append(f"{run_id or order.key} was submitted and is not there")
            continue
        run = runs[run_id]
        _ended(run, verdict)
        got, wanted = load.value(run.result), load.expected(order.sort, order.seed)
        if run.state is RunState.SUCCEEDED and got != wanted:
            verdict.wrong.append(f"{run_id} ({run.name}): {got} instead of {wanted}")
        if order.sort == "flow":
            keys = Counter(child.key for child in children[run_id])
            if keys != Counter(load.KEYS):
                verdict.doubled.append(f"{run_id}: its steps are {dict(keys)}")
            for child in children[run_id]:
                _ended(child, verdict)


def _ended(run: Run, verdict: Verdict) -> None:
    if run.state is not RunState.SUCCEEDED:
        why = run.error or run.waiting
        verdict.lost.append(f"{run.id} ({run.name}) is {run.state}: {why}")


def _placements(store: Store, runs: dict[str, Run], verdict: Verdict) -> None:
    placements = store.placements.of(list(runs))
    for run in runs.values():
        each = placements[run.id]
        verdict.placements += len(each)
        verdict.again += sum(one.state is PlacementState.LOST for one in each)
        told = store.reports.all_attempts(run.id)
        verdict.attempts += len(told)
        good = Counter(
            (one.role, one.index) for one, stale in told if one.state == "succeeded" and not stale
        )
        name = f"{run.id} ({run.name})"
        verdict.doubled += [f"{name}: {n} good attempts of {unit}" for unit, n in good.items()
                            if n > 1]  # fmt: skip
        units = load.ITEMS if run.name == "square" else 1
        if run.state is RunState.SUCCEEDED and run.kind != "pipeline" and len(good) != units:
            verdict.lost.append(f"{name}: {len(good)} of {units} units ended well")
    if open_ones := store.placements.live():
        verdict.wrong.append(f"{len(open_ones)} placements are open: {open_ones[0].id}")


def _told(campaign: Campaign, store: Store, order: Submitted, verdict: Verdict) -> None:
    """Its metrics and its log are what it said, once."""
    killed = campaign.pods[order.id]
    points = store.reports.metrics(order.id, "loss")
    same = Counter((point.step, point.at) for point in points)
    values = {point.step: point.value for point in points}
    if max(same.values(), default=0) > 1 or len(points) > load.POINTS * (1 + killed):
        verdict.doubled.append(f"{order.id}: {len(points)} points")
    if values != {step: order.seed + step for step in range(load.POINTS)}:
        verdict.wrong.append(f"{order.id}: its points are {values}")
    if not killed and order.log != b"".join(b"line %d\n" % n for n in range(load.POINTS)):
        verdict.wrong.append(f"{order.id}: its log is {order.log[:200]!r}")


# -- the cluster ---------------------------------------------------------------------------------


def _jobs(campaign: Campaign, verdict: Verdict) -> None:
    """No placement ever had a second Job in its place."""
    verdict.doubled += [
        f"{placement} {role}: {len(uids)} jobs of epoch {epoch}"
        for (placement, role, epoch), uids in campaign.witness.jobs.items()
        if len(uids) > 1
    ]


def _executions(campaign: Campaign, runs: dict[str, Run], verdict: Verdict) -> None:
    """User code ran again only where its pod was killed or it failed, and never beside itself."""
    units: dict[Unit, list[Line]] = defaultdict(list)
    for line in campaign.witness.lines:
        units[line.unit].append(line)
    for unit, lines in units.items():
        run = runs.get(unit[0])
        starts = [line for line in lines if line.event == "start"]
        ends = [line for line in lines if line.event == "end"]
        allowed = 1 + campaign.pods[unit[0]] + (run is not None and run.name == "flaky")
        verdict.executions += len(starts)
        told = f"{unit}: {len(starts)} executions, {len(ends)} to their end"
        if run is None or len(starts) > allowed or len(ends) > 1 + campaign.pods[unit[0]]:
            verdict.doubled.append(told)
        if not ends:
            verdict.lost.append(told)
        last = {line.execution: line.at for line in lines}
        for before, after in pairwise(starts):
            if last[before.execution] > after.at:
                verdict.doubled.append(f"{unit}: two executions at the same time")


def left(campaign: Campaign) -> list[str]:
    """Objects and processes that are there after a while."""
    words = (campaign.served.url, campaign.witness.ledger, str(campaign.served.data))
    objects = _after(lambda: asyncio.run(_objects(campaign.site)), GONE_SECONDS)
    there = _after(lambda: [str(pid) for word in words for pid in processes(word)], 15.0)
    return [*objects, *(f"process {pid}" for pid in there)]


def _after(look: Callable[[], list[str]], seconds: float) -> list[str]:
    until = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < until:
        time.sleep(0.5)
    return found


async def _objects(site: Site) -> list[str]:
    cluster = connect({"kubeconfig": str(site.kubeconfig), "namespace": site.namespace})
    found: list[str] = []
    try:
        for kind in LEFT:
            items: list[Any] = (await cluster.items(kind))[0]
            found += [f"{kind.plural}/{each['metadata']['name']}" for each in items]
    finally:
        await cluster.close()
    return [name for name in found if name != "configmaps/kube-root-ca.crt"]
