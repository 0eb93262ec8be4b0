"""Placement → the objects that the cluster gets. Pure: what the pool is comes in with the context.

A placement is a root, a Secret, and for each role a Job or a Deployment with what belongs to it. No
value of the user's (environment, params, inputs, items) stands in them: the pod asks the server.
"""

from __future__ import annotations

from dataclasses import asdict

from tradewind.base.errors import Location, Refused
from tradewind.base.ids import canonical
from tradewind.engines.base import Request
from tradewind.engines.kubernetes import names
from tradewind.engines.kubernetes.template import (
    HOST,
    INT32,
    Context,
    Object,
    Part,
    labels,
    metadata,
    number,
    originals,
    ports,
    seconds,
    template,
)
from tradewind.records.placements import Placement
from tradewind.records.tasks import NODE, Array, Gang, Replicas, Role

__all__ = ["Context", "gang_epoch", "number", "ports", "redacted", "render", "todo"]

# What the pod says by its exit status: the infrastructure failed, or somebody ended it from
# outside; not the user's code.
LOST, STOPPED = 75, 143
# Kubernetes takes more items, but then it wants to know how many may fail and runs fewer at once.
MANY_ITEMS, MANY_AT_ONCE = 100_000, 10_000
# For pulling the image and staging, beside the time until the role is ready.
PROGRESS = 600
_DISRUPTED: Object = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def render(placement: Placement, context: Context) -> Request:
    """The native request: JSON, complete, the same for equal placements. The first object is the
    root, which is to own the others."""
    parts = [Part(placement, context, role) for role in placement.task.roles]
    return {
        "engine": "kubernetes",
        "placement": placement.id,
        "namespace": context.namespace,
        "objects": [
            _root(placement, context),
            _secret(placement, context),
            *(each for part in parts for each in _objects(part)),
        ],
    }


def redacted(request: Request) -> Request:
    """The request for people's eyes: without what its Secrets hold."""
    return {**request, "objects": [_redacted(each) for each in request["objects"]]}


def _redacted(value: Object) -> Object:
    if value.get("kind") != "Secret":
        return value
    hidden: Object = {
        field: dict.fromkeys(value[field], "***")
        for field in ("data", "stringData")
        if field in value
    }
    return {**value, **hidden}


def todo(count: int, done: tuple[int, ...]) -> list[int]:
    """The items of an array's Job: its completion k is the item at place k."""
    over = set(done)
    return [item for item in range(count) if item not in over]


def at_once(wanted: int, left: int) -> int:
    """How many items the cluster runs at the same time."""
    return max(1, min(wanted, left, MANY_AT_ONCE if left > MANY_ITEMS else MANY_ITEMS))


def gang_epoch(job: Object, epoch: int, width: int, name: str) -> Object:
    """The Job of another epoch of an elastic gang, from the one that the cluster has. The Service
    and the owner stay; what the cluster wrote into it is left out."""
    meta, spec, pod = job["metadata"], job["spec"], job["spec"]["template"]
    kept = {key: meta[key] for key in ("namespace", "ownerReferences") if key in meta}
    left_out = {"selector", "manualSelector", "suspend", "template"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **kept, **_of_epoch(meta, epoch)},
        "spec": {
            **{key: value for key, value in spec.items() if key not in left_out},
            "completions": width,
            "parallelism": width,
            "suspend": False,
            "template": {
                "metadata": _of_epoch(pod["metadata"], epoch),
                "spec": pod["spec"],
            },
        },
    }


def _of_epoch(meta: Object, epoch: int) -> Object:
    """Labels and annotations, without the job controller's, for this epoch."""
    theirs = ("batch.kubernetes.io/", "controller-uid", "job-name", "kubectl.kubernetes.io/")
    return {
        field: {
            **{k: v for k, v in meta.get(field, {}).items() if not k.startswith(theirs)},
            names.EPOCH: str(epoch),
        }
        for field in ("labels", "annotations")
    }


# --- objects -------------------------------------------------------------------------------------


def _root(placement: Placement, context: Context) -> Object:
    """A ConfigMap, so that who follows the roots may not read a single Secret."""
    parts = {role.name: _said(placement, role) for role in placement.task.roles}
    meta = _meta(placement, context)
    meta["annotations"] |= {names.ROLES: canonical(parts), names.URL: context.server}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def _said(placement: Placement, role: Role) -> Object:
    """What the engine has to know of a role for as long as it lasts (`roles.py`)."""
    return {
        "shape": asdict(role.shape),
        "done": names.spans(placement.done),
        "restart": {"most": role.restart.most},
        "stop": asdict(role.stop),
        "port": next(iter(ports(role).values()), 0),
        "probed": role.readiness is not None,
        "timeout": role.readiness.timeout if role.readiness is not None else 0.0,
    }


def _secret(placement: Placement, context: Context) -> Object:
    secrets = {"token": context.token}
    if any(isinstance(role.shape, Replicas) for role in placement.task.roles):
        secrets["service-token"] = context.service_token
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(placement, context),
        "type": "Opaque",
        "stringData": secrets,
    }


def _meta(placement: Placement, context: Context) -> Object:
    return {
        "name": names.base(placement.id),
        "namespace": context.namespace,
        "labels": labels(placement, context),
        "annotations": originals(placement, context),
    }


def _objects(part: Part) -> list[Object]:
    """In the order in which they are to be made."""
    match part.role.shape:
        case Gang() as shape:
            service = [_service(part, headless=True)] if shape.most > 1 else []
            return [*service, _gang(part, shape)]
        case Array() as shape:
            left = len(todo(shape.count, part.placement.done))
            return [_array(part, shape, left)] if left else []
        case Replicas() as shape:
            return [_service(part, headless=False), _budget(part), _deployment(part, shape)]


def _gang(part: Part, shape: Gang) -> Object:
    """All or none: the first member that fails ends the Job; another try is another placement."""
    failing = {"onExitCodes": {"operator": "NotIn", "values": [0]}}
    spec = {
        "completions": shape.least,
        "parallelism": shape.least,
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [{"action": "FailJob", **_DISRUPTED}, {"action": "FailJob", **failing}]
        },
    }
    pod = {"subdomain": part.name} if shape.most > 1 else {}
    return _job(part, spec, pod)


def _array(part: Part, shape: Array, left: int) -> Object:
    """Each item by itself; what the infrastructure did to one does not count as its try."""
    lost = {"onExitCodes": {"operator": "In", "values": [LOST, STOPPED]}}
    spec = {
        "completions": left,
        "parallelism": at_once(shape.at_once, left),
        "backoffLimitPerIndex": min(part.role.restart.most, INT32),
        **({"maxFailedIndexes": MANY_AT_ONCE} if left > MANY_ITEMS else {}),
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", **_DISRUPTED}, {"action": "Ignore", **lost}]
        },
    }
    job = _job(part, spec, {})
    job["metadata"]["annotations"][names.DONE] = names.spans(part.placement.done)
    return job


def _job(part: Part, spec: Object, pod: Object) -> Object:
    """No time to live: the engine deletes it once its end is stored. A pod is replaced only when
    it is over, so no unit runs twice at the same time."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(part),
        "spec": {
            "completionMode": "Indexed",
            **spec,
            "podReplacementPolicy": "Failed",
            "suspend": False,
            "template": template(part, {"restartPolicy": "Never", **pod, **_standing(part)}),
        },
    }


def _deployment(part: Part, shape: Replicas) -> Object:
    """Spread over machines and, unless it is to be, not over zones: where a constraint's label is
    missing from the nodes, the scheduler passes over all constraints of the pod."""
    stands = _standing(part)
    spread = [*stands.pop("topologySpreadConstraints", ())]
    layout = part.placement.task.layout
    if layout is None or NODE not in (layout.spread, layout.together):
        spread.append(_apart(part, HOST, strictly=False))
    constraints = {"topologySpreadConstraints": spread} if spread else {}
    pod = {"restartPolicy": "Always", **constraints, **stands}
    ready = part.role.readiness
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(part),
        "spec": {
            "replicas": shape.count,
            "selector": {"matchLabels": part.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "progressDeadlineSeconds": seconds(PROGRESS + (ready.timeout if ready else 0)),
            "template": template(part, pod),
        },
    }


def _standing(part: Part) -> Object:
    """How its pods stand to each other: near those of all roles, apart from those of their own.
    Raises Refused for a level that must be kept and that no label tells."""
    layout, found = part.placement.task.layout, Object()
    if layout is None:
        return found
    if key := _key(part, layout.together, layout.strictly):
        mine = {"matchLabels": {names.INSTANCE: names.base(part.placement.id)}}
        term = {"topologyKey": key, "labelSelector": mine}
        near: Object = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        if not layout.strictly:
            some = [{"weight": 100, "podAffinityTerm": term}]
            near = {"preferredDuringSchedulingIgnoredDuringExecution": some}
        found["affinity"] = {"podAffinity": near}
    if key := _key(part, layout.spread, layout.strictly):
        found["topologySpreadConstraints"] = [_apart(part, key, strictly=layout.strictly)]
    return found


def _key(part: Part, level: str, strictly: bool) -> str:
    key = part.context.levels.get(level, "")
    if level and strictly and not key:
        raise Refused(
            f"pool {part.context.pool!r} has no label that tells the {level} of a machine",
            hint=f"levels: {', '.join(part.context.levels)}; the pool's option `rack` names one",
            where=Location(field="topology"),
        )
    return key


def _apart(part: Part, key: str, *, strictly: bool) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule" if strictly else "ScheduleAnyway",
        "labelSelector": {"matchLabels": part.selector},
    }


def _service(part: Part, *, headless: bool) -> Object:
    """Headless: members of a gang find each other by name before they are ready."""
    spec: Object = {"selector": part.selector}
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    else:
        spec |= {"type": "ClusterIP"}
    exposed = [
        {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}
        for name, port in part.ports.items()
    ]
    if exposed:
        spec["ports"] = exposed
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(part, epochs=True),
        "spec": spec,
    }


def _budget(part: Part) -> Object:
    """For a single replica too: it forbids nothing then, and holds once there are more of them.
    A replica that is not ready holds up no drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(part, epochs=True),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": part.selector},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
