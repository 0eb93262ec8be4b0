"""A trace, a policy, a cluster: what comes of them. What `tw simulate` calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from tradewind.base.errors import InvalidData, UserError
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import PoolChanged, QueuesChanged
from tradewind.scheduler.nodes import WHOLE, Ask, Node, Nodes
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.pool import Make
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value
from tradewind.simulator import afresh, figures, filling, history, placers, quotas, traces, tree
from tradewind.simulator.replay import Job, Replay
from tradewind.simulator.watching import Account, Watch, over_time, unit_of

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
# Within quotas: ours, and of equal priority whoever came first.
QUEUED = (OURS, "fifo")


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster, and what comes to it: processes that stay (`pods`), or jobs that end, under
    `quotas` if there are any."""

    nodes: list[Node]
    pods: list[Ask] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    quotas: QueuesChanged | None = None

    @property
    def unit(self) -> str:
        """What the cluster is counted in."""
        return unit_of(self.nodes)

    def check(self, policy: str) -> None:
        """Raises UserError for a policy that is none for this."""
        able: Iterable[str] = PLACERS if self.pods else QUEUED if self.quotas else ORDERS
        what = "processes that stay" if self.pods else "jobs that end"
        what += " under quotas" if self.quotas else ""
        if policy not in able:
            raise UserError(
                f"there is no policy {policy!r} for {what}", hint=f"policies: {', '.join(able)}"
            )


def simulate(
    trace: Path, policy: str, cluster: str = "", seeds: Sequence[int] = SEEDS, known: bool = True
) -> Json:
    """Carry a trace out under one policy."""
    return carry_out(scene(trace, cluster), policy, seeds, known)


def scene(trace: Path, cluster: str = "", queues: str = "") -> Scene:
    """Read a trace. `cluster` is a table of machines or `8x4`; left out, the trace's own; `queues`
    a file of quotas for the jobs of a table. Raises InvalidData for a file that is none of the
    known ones (located)."""
    if trace.suffix in (".yaml", ".yml"):
        if queues:
            raise UserError("this trace tells its own quotas", hint="leave --queues out")
        generator = quotas.read(trace)
        nodes = traces.nodes(cluster) if cluster else generator.nodes()
        told = QueuesChanged(queues=tuple(generator.queues()))
        return Scene(nodes, jobs=generator.jobs(), quotas=told)
    kinds = (traces.PODS, traces.MURI, traces.PHILLY, traces.HISTORY)
    kind, rows = traces.table(trace, kinds)
    if kind == 0:
        if queues:
            raise UserError("processes that stay have no queues", hint="leave --queues out")
        return Scene(traces.nodes(_cluster(trace, cluster)), pods=traces.pods(rows))
    if not cluster and kind > 1:
        raise UserError("this trace tells no cluster", hint="say one: --nodes 64x8, or a table")
    nodes = traces.nodes(cluster or MURI_CLUSTER)
    if kind == 3:
        return _shared(nodes, traces.history(rows), queues)
    size = min(sum(count for _, count in node.devices) for node in nodes)
    if not size:
        raise InvalidData("a machine without devices can take no job of this trace")
    jobs = (traces.muri if kind == 1 else traces.philly)(rows, size)
    return _shared(nodes, [replace(job, queue=job.owner or job.queue) for job in jobs] if queues
                   else jobs, queues)  # fmt: skip


def told(runs: Sequence[Json], pool: Json, cluster: str = "", queues: str = "") -> Scene:
    """The same for runs of ours that have ended, as the server describes them; `cluster` in the
    place of the machines of their pool."""
    nodes = traces.nodes(cluster) if cluster else history.nodes(pool)
    return _shared(nodes, traces.history(history.rows(runs, pool["name"])), queues)


def _shared(nodes: list[Node], jobs: list[Job], queues: str) -> Scene:
    """Under the quotas of a file, if there is one."""
    if not queues:
        return Scene(nodes, jobs=jobs)
    found, nodes = tree.read(Path(queues)), tree.named(nodes)
    found.check(nodes)
    return Scene(nodes, jobs=found.of(jobs), quotas=found.told())


def compare(
    there: Scene, policies: Sequence[str], seeds: Sequence[int], known: bool, watch: Watch
) -> Json:
    """One policy after the other over the same: of one what `carry_out` tells, of several a list of
    that under `policies`."""
    for policy in policies:
        there.check(policy)
    found = [carry_out(there, policy, seeds, known, watch) for policy in policies]
    return found[0] if len(found) == 1 else {"trace": found[0]["trace"], "policies": found}


def carry_out(
    there: Scene, policy: str, seeds: Sequence[int], known: bool, watch: Watch | None = None
) -> Json:
    """What comes of it under one policy. `known`: jobs say how long they take. Raises UserError for
    a policy that is none for this."""
    there.check(policy)
    if there.pods:
        return _filled(there, policy, seeds, watch or Watch())
    return _replayed(there, policy, known, watch or Watch())


def _cluster(trace: Path, cluster: str) -> str:
    beside = trace.parent / BESIDE
    if not cluster and not beside.is_file():
        raise UserError("which cluster? there is no " + BESIDE + " beside the trace",
                        hint="say one: --nodes FILE, a table of machines")  # fmt: skip
    return cluster or str(beside)


def _filled(there: Scene, policy: str, seeds: Sequence[int], watch: Watch) -> Json:
    empty = Nodes(there.nodes)
    devices = int(empty.has.sum())
    if not devices:
        raise InvalidData("this cluster has no device")
    fits = {ask: bool(empty.fit(ask).any()) for ask in set(there.pods)}
    wanting = [ask for ask in fits if ask.devices]
    if wanting and not any(map(fits.get, wanting)):
        raise InvalidData("no process of this trace that asks for a device fits this cluster",
                          hint=_bare(there))  # fmt: skip
    typical = placers.typical(there.pods) if watch.wanted else ()
    each: list[Json] = []
    for seed in seeds:
        watch.begin(f"{policy}, seed {seed}")
        asks = filling.arrivals(there.pods, devices * WHOLE, seed)
        account = Account(policy, devices, len(asks), watch.tell, typical)
        make = account.over(PLACERS[policy](there.pods, seed))
        found = filling.fill(there.nodes, make, asks, seed)
        if watch.wanted:
            watch.lines.append(account.line())
        at = {str(percent): found.at(percent) for percent in PERCENT}
        each.append({"seed": seed, "processes": len(asks), "allocation_at": at})
    mean = {name: fmean(one["allocation_at"][name] for one in each)
            for name in map(str, PERCENT)}  # fmt: skip
    return {"trace": "processes", "policy": policy, "allocation_at": mean, "seeds": each,
            "left_out": sum(not fits[ask] for ask in there.pods)}  # fmt: skip


def _replayed(there: Scene, policy: str, known: bool, watch: Watch) -> Json:
    events = None
    watch.begin(policy)
    if policy == OURS or there.quotas:
        cluster = Cluster(FirstFit, Shortest() if policy == OURS else None)
        cluster.feed([PoolChanged(pool=filling.POOL, nodes=tuple(there.nodes))])
        cluster.feed([there.quotas] if there.quotas else [])
        replay = Replay(cluster, filling.POOL, there.jobs, known, watch.tell)
        outcomes, events = replay.run(), replay.events
    else:
        outcomes = afresh.replay(there.nodes, there.jobs, afresh.ORDERS[policy], watch.tell)
    if not outcomes:
        raise InvalidData("no job of this trace fits this cluster", hint=_bare(there))
    if watch.wanted:
        watch.lines.append(over_time(policy, outcomes, there.nodes))
    found = {"trace": "queues" if there.quotas else "jobs", "policy": policy, "known": known,
             **figures.summary(outcomes, there.nodes),
             "left_out": len(there.jobs) - len(outcomes), "events": events}  # fmt: skip
    if there.quotas is None:
        return found
    return found | figures.queues(outcomes, there.quotas.queues, there.unit)


def _bare(there: Scene) -> str:
    if any(node.cpu or not node.devices for node in there.nodes):
        return ""
    return "machines as in 64x8 have devices only; cores and memory are told in a table of machines"
