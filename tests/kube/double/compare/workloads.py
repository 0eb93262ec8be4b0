"""What controllers do, asked of the double and of a real cluster alike, whose nodes are played."""

from __future__ import annotations

import time
from typing import Any

from tests.kube.double.compare.objects import CONTAINER, Seen, deployment, job, pod
from tests.kube.double.compare.side import STRATEGIC, Side, masked

Json = Any
ROOM = {"cpu": "2", "memory": "4Gi", "pods": "10"}


def stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def node(side: Side, name: str, **room: str) -> None:
    """A node that says once that it is ready."""
    labels = {"kubernetes.io/hostname": name}
    side.raw("DELETE", f"/api/v1/nodes/{name}")
    side.raw("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    times = {"lastHeartbeatTime": stamp(), "lastTransitionTime": stamp()}
    amounts = {**ROOM, **{key.replace("_", "/"): value for key, value in room.items()}}
    status = {"allocatable": amounts, "capacity": amounts, "conditions": [{**condition, **times}]}
    side.raw("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, sort=STRATEGIC)
    side.until(lambda: not side.get(f"/api/v1/nodes/{name}")["spec"].get("taints"))


def runs(side: Side, one: Json, *, ready: bool = True) -> None:
    """A pod runs, as its node would say it."""
    status = {
        "phase": "Running",
        "startTime": stamp(),
        "conditions": [
            {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp()}
        ],
        "containerStatuses": [
            {"name": "main", "ready": ready, "state": {"running": {"startedAt": stamp()}}}
        ],
    }
    name = one["metadata"]["name"]
    side.raw("PATCH", f"{side.base}/pods/{name}/status", {"status": status}, sort=STRATEGIC)


def ends(side: Side, one: Json, code: int = 0, **more: Json) -> None:
    """A pod has ended with an exit status, as its node would say it."""
    ended = {"exitCode": code, "startedAt": stamp(), "finishedAt": stamp(), "reason": "Error"}
    status = {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [{"name": "main", "state": {"terminated": ended}}],
        **more,
    }
    name = one["metadata"]["name"]
    side.raw("PATCH", f"{side.base}/pods/{name}/status", {"status": status}, sort=STRATEGIC)


def bound(side: Side, count: int, selector: str = "") -> list[Json]:
    """The pods, once so many of them have a node and have not ended, in the order of names."""

    def look() -> list[Json]:
        query = f"?labelSelector={selector}" if selector else ""
        rows = [
            one
            for one in side.items(f"{side.base}/pods{query}")
            if one["spec"].get("nodeName")
            and one["status"].get("phase") not in ("Succeeded", "Failed")
            and "deletionTimestamp" not in one["metadata"]
        ]
        return sorted(rows, key=_name) if len(rows) == count else []

    found: list[Json] = side.until(look)
    return found


def _name(one: Json) -> str:
    return str(one["metadata"]["name"])


def finished(side: Side, name: str) -> Json:
    """The job once it has ended."""

    def look() -> Json:
        found = side.get(f"{side.jobs}/{name}")
        kinds = [one["type"] for one in found["status"].get("conditions") or []]
        return found if {"Complete", "Failed"} & set(kinds) else None

    return side.until(look)


def said(side: Side, about: str) -> list[Json]:
    """The events about an object, in a fixed order."""
    path = f"{side.base}/events?fieldSelector=involvedObject.name%3D{about}"
    rows = [
        [one["type"], one["reason"], one["message"], one["reportingComponent"]]
        for one in side.items(path)
    ]
    return sorted(masked(rows))


def story(side: Side, name: str, version: str) -> list[Json]:
    """The statuses of a job from a version to its end."""

    def over(events: list[Json]) -> bool:
        conditions = events[-1]["object"]["status"].get("conditions") or []
        return any(one["type"] in ("Complete", "Failed") for one in conditions)

    path = f"{side.jobs}?fieldSelector=metadata.name%3D{name}&resourceVersion={version}"
    return [masked(one["object"]["status"]) for one in side.watch(path, over)]


def scheduling(side: Side) -> Seen:
    """Who gets a node, and what those are told who do not."""
    base = f"{side.base}/pods"
    seen: Seen = []
    for name in ("dbl-a", "dbl-b"):
        node(side, name)
    many = {**CONTAINER, "resources": {"requests": {"cpu": "3"}}}
    much = {**CONTAINER, "resources": {"requests": {"cpu": "3", "memory": "9Gi"}}}
    gpu = {"limits": {"x.dev/gpu": "1"}}
    wanted: dict[str, Json] = {
        "large": {"containers": [many]},
        "much": {"containers": [much]},
        "special": {"containers": [{**CONTAINER, "resources": gpu}]},
        "choosy": {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}},
        "exact": {"nodeSelector": {"kubernetes.io/hostname": "dbl-b"}, "containers": [many]},
        "fits": {"nodeSelector": {"kubernetes.io/hostname": "dbl-b"}},
    }
    for label, spec in wanted.items():
        side.raw("POST", base, pod(label, **spec))
        path = f"{base}/{label}"
        found = side.until_at(path, lambda one: one["status"].get("conditions"))
        seen.append((label, [masked(found), side.get(path)["spec"].get("nodeName")]))
        seen.append((f"{label}: events", said(side, label)))
    side.raw("PATCH", "/api/v1/nodes/dbl-a", {"spec": {"unschedulable": True}})
    side.raw(
        "PATCH",
        "/api/v1/nodes/dbl-b",
        {"spec": {"taints": [{"key": "x.dev/t", "effect": "NoSchedule"}]}},
    )
    time.sleep(0.5)
    side.raw("POST", base, pod("none"))
    found = side.until(lambda: side.get(f"{base}/none")["status"].get("conditions"))
    seen.append(("none", masked(found)))
    for name in ("dbl-a", "dbl-b"):
        side.raw("DELETE", f"/api/v1/nodes/{name}")
    return seen


def arrays(side: Side) -> Seen:
    """An Indexed job: one item succeeds, one is tried again, one fails for good."""
    node(side, "dbl-a")
    rules = [
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
    body = job(
        "array",
        completionMode="Indexed",
        completions=4,
        parallelism=4,
        backoffLimitPerIndex=1,
        podFailurePolicy={"rules": rules},
    )
    made = side.raw("POST", side.jobs, body).json()
    first = bound(side, 4)
    seen: Seen = [("a pod", masked({k: v for k, v in first[1].items() if k != "status"}))]
    time.sleep(1.5)
    seen.append(("all run", masked(side.get(f"{side.jobs}/array")["status"])))
    ends(side, first[0])
    ends(side, first[1], 42)
    ends(side, first[2], 1)
    lost = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp()}
    ends(side, first[3], 9, conditions=[lost])
    again = bound(side, 2)
    seen.append(("again", [masked(one["metadata"]) for one in again]))
    for one in again:
        ends(side, one)
    done = finished(side, "array")
    seen.append(("done", masked(done["status"])))

    def others() -> list[Json]:
        return [one for one in said(side, "array") if one[1] != "SuccessfulCreate"]

    seen.append(("events", side.until(others)))
    finals = [
        [_name(one)[:7], one["metadata"].get("finalizers")]
        for one in side.items(f"{side.base}/pods")
    ]
    seen.append(("finalizers", sorted(finals)))
    texts = story(side, "array", made["metadata"]["resourceVersion"])
    kinds = [[one["type"] for one in text.get("conditions") or []] for text in texts]
    seen.append(
        ("order of conditions", [x for i, x in enumerate(kinds) if i == 0 or kinds[i - 1] != x])
    )
    side.raw("DELETE", "/api/v1/nodes/dbl-a")
    return seen


def gangs(side: Side) -> Seen:
    """A job whose first failed pod ends it, with its members still to stop."""
    node(side, "dbl-a")
    rules = [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
    ]
    seen: Seen = []
    for name, code in (("gang", 1), ("lost", 0)):
        body = job(
            name,
            completionMode="Indexed",
            completions=3,
            parallelism=3,
            backoffLimit=0,
            podFailurePolicy={"rules": rules},
        )
        made = side.raw("POST", side.jobs, body).json()
        members = bound(side, 3, f"job-name={name}")
        for one in members:
            runs(side, one)
        if code:
            ends(side, members[1], code)
        else:
            lost = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp()}
            ends(side, members[1], 137, conditions=[lost])

        def stopping(name: str = name) -> Json:
            return side.get(f"{side.jobs}/{name}")["status"].get("failed")

        side.until(stopping)
        seen.append((f"{name}: stopping", masked(side.get(f"{side.jobs}/{name}")["status"])))
        for one in (members[0], members[2]):
            path = f"{side.base}/pods/{_name(one)}"
            seen.append((f"{name}: a member", masked(side.get(path)["metadata"])))
            ends(side, one, 143)
            side.raw("DELETE", path, {"gracePeriodSeconds": 0})
        seen.append((f"{name}: over", masked(finished(side, name)["status"])))
        story_ = story(side, name, made["metadata"]["resourceVersion"])
        kinds = [[one["type"] for one in text.get("conditions") or []] for text in story_]
        seen.append(
            (f"{name}: order", [x for i, x in enumerate(kinds) if i == 0 or kinds[i - 1] != x])
        )
        kept = ("PodFailurePolicy", "SuccessfulDelete")
        seen.append((f"{name}: events", [one for one in said(side, name) if one[1] in kept]))
    side.raw("DELETE", "/api/v1/nodes/dbl-a")
    return seen


def plain_jobs(side: Side) -> Seen:
    """Jobs without indexes, with a limit, a deadline, a pause."""
    node(side, "dbl-a")
    seen: Seen = []
    side.raw("POST", side.jobs, job("one"))
    for one in bound(side, 1):
        runs(side, one)
        ends(side, one)
    seen.append(("one", masked(finished(side, "one")["status"])))
    side.raw("POST", side.jobs, job("fails", backoffLimit=0))
    for one in bound(side, 1):
        ends(side, one, 3)
    seen.append(("fails", masked(finished(side, "fails")["status"])))
    side.until(lambda: len(said(side, "fails")) > 1)
    seen.append(("fails: events", said(side, "fails")))
    side.raw("POST", side.jobs, job("late", activeDeadlineSeconds=1, podReplacementPolicy="Failed"))
    (late,) = bound(side, 1)
    side.until(
        lambda: "deletionTimestamp" in side.get(f"{side.base}/pods/{_name(late)}")["metadata"]
    )
    side.raw("DELETE", f"{side.base}/pods/{_name(late)}", {"gracePeriodSeconds": 0})
    seen.append(("late", masked(finished(side, "late")["status"])))
    side.raw(
        "POST", side.jobs, job("pause", completionMode="Indexed", completions=2, parallelism=2)
    )
    members = bound(side, 2)
    side.raw("PATCH", f"{side.jobs}/pause", {"spec": {"suspend": True}})
    for one in members:
        path = f"{side.base}/pods/{_name(one)}"
        side.until_at(path, lambda one: "deletionTimestamp" in one["metadata"])
        seen.append(("pause: a member", masked(side.get(path)["metadata"])))
    side.until(lambda: side.get(f"{side.jobs}/pause")["status"].get("conditions"))
    seen.append(("paused", masked(side.get(f"{side.jobs}/pause")["status"])))
    for one in members:
        side.raw("DELETE", f"{side.base}/pods/{_name(one)}", {"gracePeriodSeconds": 0})
    side.raw("PATCH", f"{side.jobs}/pause", {"spec": {"suspend": False}})
    for one in bound(side, 2):
        ends(side, one)
    seen.append(("resumed", masked(finished(side, "pause")["status"])))
    seen.append(("pause: events", sorted({one[1] for one in said(side, "pause")})))
    side.raw("DELETE", "/api/v1/nodes/dbl-a")
    return seen


def deployments(side: Side) -> Seen:
    """A deployment: from no pods to all ready, one fails and comes again, then fewer."""
    node(side, "dbl-a")
    seen: Seen = []
    path, sets = f"{side.deployments}/web", f"/apis/apps/v1/namespaces/{side.namespace}/replicasets"
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    side.raw("POST", side.deployments, deployment("web", replicas=3, strategy=strategy))
    members = bound(side, 3)
    time.sleep(1.5)
    seen.append(("a pod", masked({k: v for k, v in members[0].items() if k != "status"})))
    seen.append(("begun", masked(side.get(path)["status"])))
    for one in members[:2]:
        runs(side, one)
    side.until(lambda: side.get(path)["status"].get("readyReplicas") == 2)
    time.sleep(0.5)
    seen.append(("two", masked(side.get(path)["status"])))
    runs(side, members[2])
    side.until(lambda: side.get(path)["status"].get("readyReplicas") == 3)
    time.sleep(0.5)
    seen.append(("three", masked(side.get(path)["status"])))
    seen.append(("the set", masked(side.items(sets))))
    seen.append(("the deployment", masked(side.get(path)["metadata"])))
    side.raw("DELETE", f"{side.base}/pods/{_name(members[0])}", {"gracePeriodSeconds": 0})
    again = bound(side, 3)
    seen.append(
        ("comes again", len({_name(one) for one in again} - {_name(one) for one in members}))
    )
    time.sleep(0.5)
    seen.append(("less", masked(side.get(path)["status"])))
    side.raw("PATCH", path, {"spec": {"replicas": 2}})
    left = bound(side, 2)
    kept = {_name(one) for one in members[1:]}
    seen.append(("the one that is not ready goes", {_name(one) for one in left} == kept))
    side.raw(
        "PATCH",
        f"{side.base}/pods/{_name(left[1])}",
        {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}},
    )
    side.raw("PATCH", path, {"spec": {"replicas": 1}})
    seen.append(("the cheap one goes", _name(bound(side, 1)[0]) == _name(left[0])))
    time.sleep(0.5)
    seen.append(("one is leaving", masked(side.get(path)["status"])))
    seen.append(("events", [one for one in said(side, "web")]))
    side.raw("DELETE", "/api/v1/nodes/dbl-a")
    return seen
