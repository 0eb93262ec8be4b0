"""The double's controllers, as far as time comes in, or a node."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.kube.double import Double
from tests.kube.double.clock import Clock
from tests.kube.double.compare.objects import deployment, job, pod
from tests.kube.double.compare.side import Side
from tests.kube.double.compare.workloads import bound, ends, finished, node, runs
from tests.kube.double.controllers.loop import Loop
from tests.kube.double.fixtures import MAPS, PODS, double, side, until
from tests.kube.double.storage import Storage

Json = Any
__all__ = ["double", "side"]


def test_a_failed_item_is_tried_again_until_it_has_failed_too_often(side: Side) -> None:
    node(side, "n1")
    spec = {"completionMode": "Indexed", "completions": 2, "parallelism": 1}
    side.raw("POST", side.jobs, job("j", backoffLimitPerIndex=1, **spec))
    # Each item's own tries come in order; while one waits for its next, another may take its place.
    tries = {"0": [1, 1], "1": [1, 0]}
    for _ in range(4):
        (one,) = bound(side, 1)
        notes = one["metadata"]["annotations"]
        left = tries[notes["batch.kubernetes.io/job-completion-index"]]
        assert notes["batch.kubernetes.io/job-index-failure-count"] == str(2 - len(left))
        ends(side, one, left.pop(0))
    status = finished(side, "j")["status"]
    assert (status["completedIndexes"], status["failedIndexes"]) == ("1", "0")
    assert status["conditions"][-1]["reason"] == "FailedIndexes"


def test_too_many_failed_items_end_a_job(side: Side) -> None:
    node(side, "n1")
    spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
    side.raw("POST", side.jobs, job("j", backoffLimitPerIndex=0, maxFailedIndexes=0, **spec))
    first, *others = bound(side, 3)
    ends(side, first, 1)
    for one in others:
        path = f"{PODS}/{one['metadata']['name']}"
        side.until_at(path, lambda found: "deletionTimestamp" in found["metadata"])
        side.raw("DELETE", path, {"gracePeriodSeconds": 0})
    reasons = [one["reason"] for one in finished(side, "j")["status"]["conditions"]]
    assert reasons == ["MaxFailedIndexesExceeded", "MaxFailedIndexesExceeded"]


def test_a_gang_grows_and_shrinks_in_tandem(side: Side) -> None:
    node(side, "n1")
    spec = {"completionMode": "Indexed", "completions": 2, "parallelism": 2}
    side.raw("POST", side.jobs, job("j", **spec))
    bound(side, 2)
    for width in (3, 1):
        both = {"spec": {"completions": width, "parallelism": width}}
        assert side.raw("PATCH", f"{side.jobs}/j", both).status_code == 200
        names = [one["metadata"]["name"][:4] for one in bound(side, width)]
        assert names == [f"j-{index}-" for index in range(width)]


def test_a_finished_job_goes_when_its_time_to_live_is_over(double: Double, side: Side) -> None:
    node(side, "n1")
    side.raw("POST", side.jobs, job("j", ttlSecondsAfterFinished=100))
    (one,) = bound(side, 1)
    ends(side, one)
    finished(side, "j")
    double.clock.advance(102)
    until(lambda: not side.items(side.jobs) and not side.items(PODS))


def test_a_job_whose_deadline_passes_fails(double: Double, side: Side) -> None:
    side.raw("POST", side.jobs, job("j", activeDeadlineSeconds=600))
    until(lambda: side.items(PODS))
    double.clock.advance(601)
    assert finished(side, "j")["status"]["conditions"][-1]["reason"] == "DeadlineExceeded"


def beat(side: Side, name: str, number: int) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    lease = {"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseTransitions": 0}}
    side.raw("POST", path, lease)
    renewed = {"spec": {"renewTime": f"2030-01-01T00:00:0{number}.000000Z"}}
    side.raw("PATCH", f"{path}/{name}", renewed)


def test_pods_leave_a_node_that_is_silent(double: Double, side: Side) -> None:
    node(side, "n1")
    tolerated = [
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    ]
    side.raw("POST", PODS, pod("goes", tolerations=[{**tolerated[0], "tolerationSeconds": 30}]))
    side.raw("POST", PODS, pod("stays", tolerations=tolerated))
    for one in bound(side, 2):
        runs(side, one)
    node(side, "n2")
    double.clock.advance(40)
    beat(side, "n2", 1)
    double.clock.advance(20)

    def taints() -> list[str]:
        rows = side.get("/api/v1/nodes/n1")["spec"].get("taints") or []
        return [one["effect"] for one in rows]

    until(lambda: taints() == ["NoSchedule", "NoExecute"])
    ready = side.get("/api/v1/nodes/n1")["status"]["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert "deletionTimestamp" not in side.get(f"{PODS}/goes")["metadata"]
    beat(side, "n2", 2)
    double.clock.advance(31)
    gone = side.until_at(
        f"{PODS}/goes", lambda one: one if "deletionTimestamp" in one["metadata"] else None
    )
    reasons = {one["type"]: one.get("reason") for one in gone["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "DeletionByTaintManager"
    assert "deletionTimestamp" not in side.get(f"{PODS}/stays")["metadata"]


def test_no_pod_is_evicted_when_all_nodes_are_silent(double: Double, side: Side) -> None:
    node(side, "n1")
    side.raw("POST", PODS, pod("p"))
    bound(side, 1)
    double.clock.advance(51)
    path = "/api/v1/nodes/n1"
    found = side.until_at(path, lambda one: one["spec"].get("taints"))
    assert [one["effect"] for one in found] == ["NoSchedule"]
    double.clock.advance(400)
    side.raw("POST", MAPS, {"metadata": {"name": "c"}})
    assert "deletionTimestamp" not in side.get(f"{PODS}/p")["metadata"]


def test_the_pods_of_a_node_that_is_gone_go(side: Side) -> None:
    node(side, "n1")
    body = job("j", podReplacementPolicy="Failed", backoffLimit=0)
    side.raw("POST", side.jobs, body)
    bound(side, 1)
    side.raw("DELETE", "/api/v1/nodes/n1")
    conditions = finished(side, "j")["status"]["conditions"]
    assert conditions[-1]["reason"] == "BackoffLimitExceeded"
    until(lambda: not side.items(PODS))


def test_an_eviction_asks_the_budget(side: Side) -> None:
    node(side, "n1")
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "p"}}}
    side.raw("POST", side.budgets, {"metadata": {"name": "b"}, "spec": spec})
    for name in ("p1", "p2"):
        side.raw("POST", PODS, pod(name))
    for one in bound(side, 2):
        runs(side, one)
    budget = f"{side.budgets}/b"
    side.until_at(budget, lambda one: one["status"]["disruptionsAllowed"] == 1)
    assert side.raw("POST", f"{PODS}/p1/eviction", {}).status_code == 201
    evicted = side.get(f"{PODS}/p1")
    assert evicted["status"]["conditions"][-1]["reason"] == "EvictionByEvictionAPI"
    assert "deletionTimestamp" in evicted["metadata"]
    refused = side.raw("POST", f"{PODS}/p2/eviction", {})
    assert (refused.status_code, refused.json()["details"]["causes"][0]["reason"]) == (
        429,
        "DisruptionBudget",
    )


def test_spread_pods_go_to_the_node_with_fewer_of_them(side: Side) -> None:
    for name in ("n1", "n2"):
        node(side, name)
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    body = deployment("web", replicas=4)
    body["spec"]["template"]["spec"]["topologySpreadConstraints"] = [spread]
    side.raw("POST", side.deployments, body)
    nodes = [one["spec"]["nodeName"] for one in bound(side, 4)]
    assert sorted(nodes) == ["n1", "n1", "n2", "n2"]


def test_a_pod_waits_for_room(side: Side) -> None:
    node(side, "n1", pods="1")
    side.raw("POST", PODS, pod("a"))
    bound(side, 1)
    side.raw("POST", PODS, pod("b"))
    waiting = side.until_at(f"{PODS}/b", lambda one: one["status"].get("conditions"))
    assert waiting[0]["message"] == (
        "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: 0/1"
        " nodes are available: 1 No preemption victims found for incoming pod."
    )
    side.raw("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 0})
    assert bound(side, 1)[0]["metadata"]["name"] == "b"


def test_a_deployment_that_gets_no_further_says_so(double: Double, side: Side) -> None:
    side.raw("POST", side.deployments, deployment("web", progressDeadlineSeconds=60))
    until(lambda: side.items(PODS))
    double.clock.advance(61)

    def progressing(found: Json) -> bool:
        rows = found["status"].get("conditions") or []
        return any(one["reason"] == "ProgressDeadlineExceeded" for one in rows)

    side.until_at(f"{side.deployments}/web", progressing)


def test_a_replica_set_that_is_refused_is_told_once_and_tries_again(side: Side) -> None:
    """Each refusal names another pod. Were each written down, every write would be a reason to try
    at once, and nothing else would have its turn."""
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}
    side.raw("POST", f"{side.base}/resourcequotas", quota)
    until(lambda: side.get(f"{side.base}/resourcequotas/q").get("status", {}).get("used"))
    side.raw("POST", side.deployments, deployment("web"))
    sets = "/apis/apps/v1/namespaces/default/replicasets"
    [first] = until(lambda: [one for one in side.items(sets) if one["status"].get("conditions")])
    name = first["metadata"]["name"]

    def refusals() -> int:
        told = side.items(f"{side.base}/events?fieldSelector=involvedObject.name%3D{name}")
        return sum(one["count"] for one in told if one["reason"] == "FailedCreate")

    before = refusals()
    until(lambda: refusals() > before + 1)
    assert side.get(f"{sets}/{name}")["status"]["conditions"] == first["status"]["conditions"]
    side.raw("POST", side.jobs, job("j"))
    until(lambda: side.get(f"{side.jobs}/j")["status"])
    side.raw("DELETE", f"{side.base}/resourcequotas/q")
    until(lambda: len(side.items(PODS)) == 2)
    until(lambda: "conditions" not in side.get(f"{sets}/{name}")["status"])


def test_controllers_stand_still_while_they_are_paused(double: Double, side: Side) -> None:
    double.pause()
    side.raw("POST", side.jobs, job("j"))
    assert side.get(f"{side.jobs}/j")["status"] == {}
    double.pause(False)
    side.until_at(f"{side.jobs}/j", lambda one: one["status"].get("active"))


async def _ended_as_it_is_woken() -> bool:
    """Whether the loop ends that is cancelled in the moment in which something wakes it."""
    loop = Loop(Storage(10), Clock(), [])
    loop._later = [(loop.clock.now() + 60.0, 0, (0, "nobody"))]
    task = asyncio.create_task(loop.run())
    await asyncio.sleep(0.01)
    loop.poke()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5.0)
    task.cancel()
    return bool(done)


def test_a_loop_that_is_woken_as_it_is_cancelled_ends() -> None:
    assert asyncio.run(_ended_as_it_is_woken())
