"""A trace, a policy, a cluster: what comes of them. What `tw simulate` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from tradewind.base.errors import InvalidData, UserError
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged
from tradewind.scheduler.nodes import Ask, Node, Nodes
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.pool import Make
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value
from tradewind.simulator import afresh, filling, placers, traces
from tradewind.simulator.replay import Job, Outcome, Replay

OURS = "default"
PERCENT = (80, 90, 95, 100, 110, 120, 130)
# The seeds of the published experiment, and the cluster of Muri's.
SEEDS = range(42, 52)
MURI_CLUSTER = "8x8"
BESIDE = "openb_node_list_gpu_node.csv"

Json = dict[str, Any]
# From the trace and a seed, whoever chooses among nodes.
PLACERS: dict[str, Callable[[Sequence[Ask], int], Make]] = {
    OURS: lambda pods, seed: Value,
    "random": lambda pods, seed: lambda nodes: placers.Anywhere(nodes, Random(seed)),
    "first-fit": lambda pods, seed: FirstFit,
    "best-fit": lambda pods, seed: lambda nodes: placers.Scored(nodes, placers.best_fit),
    "dot-product": lambda pods, seed: lambda nodes: placers.Scored(nodes, placers.dot_product),
    "packing": lambda pods, seed: lambda nodes: placers.Scored(nodes, placers.packing),
    "clustering": lambda pods, seed: placers.Clustering,
    "fgd": lambda pods, seed: lambda nodes: placers.Gradient(nodes, placers.typical(pods)),
}
ORDERS = (OURS, *afresh.ORDERS)


def simulate(
    trace: Path, policy: str, cluster: str = "", seeds: Sequence[int] = SEEDS, known: bool = True
) -> Json:
    """Carry a trace out. `cluster` is a table of machines or `8x4`; left out, the trace's own.
    `known`: jobs say how long they take. Raises InvalidData for a table that is none of the known
    ones (located), UserError for a policy that does not fit the trace."""
    kind, rows = traces.table(trace, (traces.PODS, traces.MURI, traces.PHILLY))
    if kind == 0:
        _check(policy, PLACERS, "processes that stay")
        return _filled(traces.nodes(_cluster(trace, cluster)), traces.pods(rows), policy, seeds)
    _check(policy, ORDERS, "jobs that end")
    if not cluster and kind == 2:
        raise UserError("this trace tells no cluster", hint="say one: --nodes 64x8, or a table")
    nodes = traces.nodes(cluster or MURI_CLUSTER)
    size = min(sum(count for _, count in node.devices) for node in nodes)
    if not size:
        raise InvalidData("a machine without devices can take no job of this trace")
    jobs = (traces.muri if kind == 1 else traces.philly)(rows, size)
    return _replayed(nodes, jobs, policy, known)


def _check(policy: str, able: Any, what: str) -> None:
    if policy not in able:
        raise UserError(
            f"there is no policy {policy!r} for {what}", hint=f"policies: {', '.join(able)}"
        )


def _cluster(trace: Path, cluster: str) -> str:
    beside = trace.parent / BESIDE
    if not cluster and not beside.is_file():
        raise UserError("which cluster? there is no " + BESIDE + " beside the trace",
                        hint="say one: --nodes FILE, or --nodes 64x8")  # fmt: skip
    return cluster or str(beside)


def _filled(nodes: list[Node], pods: list[Ask], policy: str, seeds: Sequence[int]) -> Json:
    capacity = int(Nodes(nodes).has.sum()) * 1000
    if not capacity:
        raise InvalidData("this cluster has no device")
    each = []
    for seed in seeds:
        asks = filling.arrivals(pods, capacity, seed)
        found = filling.fill(nodes, PLACERS[policy](pods, seed), asks, seed)
        at = {str(percent): found.at(percent) for percent in PERCENT}
        each.append({"seed": seed, "processes": len(asks), "allocation_at": at})
    mean = {
        str(percent): fmean(known) if (known := _told(each, str(percent))) else None
        for percent in PERCENT
    }
    return {"trace": "processes", "policy": policy, "allocation_at": mean, "seeds": each}


def _told(each: list[Json], percent: str) -> list[float]:
    return [one["allocation_at"][percent] for one in each
            if one["allocation_at"][percent] is not None]  # fmt: skip


def _replayed(nodes: list[Node], jobs: list[Job], policy: str, known: bool) -> Json:
    events = None
    if policy == OURS:
        cluster = Cluster(FirstFit, Shortest())
        cluster.feed([PoolChanged(pool=filling.POOL, nodes=tuple(nodes))])
        replay = Replay(cluster, filling.POOL, jobs, known)
        outcomes, events = replay.run(), replay.events
    else:
        outcomes = afresh.replay(nodes, jobs, afresh.ORDERS[policy])
    if not outcomes:
        raise InvalidData("no job of this trace fits this cluster")
    return {"trace": "jobs", "policy": policy, "known": known, **summary(outcomes),
            "left_out": len(jobs) - len(outcomes), "events": events}  # fmt: skip


def summary(outcomes: Sequence[Outcome]) -> Json:
    """Times in seconds, from a job's coming to its end; the makespan from the first coming."""
    took = sorted(each.ended - each.job.at for each in outcomes)
    return {
        "jobs": len(took),
        "mean_jct": fmean(took),
        "p99_jct": took[int(0.99 * len(took))],
        "makespan": max(each.ended for each in outcomes) - min(each.job.at for each in outcomes),
        "interrupted": sum(each.interrupted for each in outcomes),
        "lost": sum(each.lost for each in outcomes),
    }
