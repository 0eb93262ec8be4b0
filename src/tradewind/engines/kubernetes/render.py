"""Placement → the objects that the cluster gets. Pure: what the pool is comes in with the context.

A placement is a root Secret and, for each role, a Job or a Deployment with what belongs to it. No
value of the user's (environment, params, inputs, items) stands in them: the pod asks the server.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from tradewind.base.ids import canonical
from tradewind.engines.base import Request
from tradewind.engines.kubernetes import names
from tradewind.records.placements import Placement
from tradewind.records.tasks import Array, Gang, Readiness, Replicas, Resources, Role

Object = dict[str, Any]

USER = 10001
HOME = "/tradewind"
# Our process beside the user's; and what to ask for when the user's has no limit.
OURS_BYTES, FREE_BYTES = 128 * 2**20, 256 * 2**20
FIRST_PORT = 8080
# The pod's process stores the end before it goes.
FAREWELL = 5
# A node that is gone is given up after this; Kubernetes' own default is five minutes.
NODE_PATIENCE = 30
# What the pod says by its exit status: the infrastructure failed, not the user's code.
LOST = 75
# Kubernetes takes more items, but then it wants to know how many may fail and runs fewer at once.
MANY_ITEMS, MANY_AT_ONCE = 100_000, 10_000
# For pulling the image and staging, beside the time until the role is ready.
PROGRESS = 600
_INT32 = 2**31 - 1
_DISRUPTED: Object = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the pool is. `server` is the address that pods use, `token` the placement's attempt
    token, `service_token` what callers of its replicas must show."""

    pool: str
    namespace: str
    image: str
    server: str
    token: str
    service_token: str
    pull_secret: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """One role of a placement."""

    placement: Placement
    context: Context
    role: Role

    @property
    def name(self) -> str:
        return names.child(self.placement.id, self.role.name)

    @property
    def selector(self) -> dict[str, str]:
        """Finds the role's pods, in all epochs, and no other's."""
        return {names.ROLE: self.name}


def render(placement: Placement, context: Context) -> Request:
    """The native request: JSON, complete, the same for equal placements. The first object is the
    root, which is to own the others."""
    parts = [_Part(placement, context, role) for role in placement.task.roles]
    return {
        "engine": "kubernetes",
        "placement": placement.id,
        "namespace": context.namespace,
        "objects": [
            _root(placement, context),
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


def number(port_names: tuple[str, ...]) -> dict[str, int]:
    """Port name → number inside the pod."""
    return {name: FIRST_PORT + i for i, name in enumerate(dict.fromkeys(port_names))}


def ports(role: Role) -> dict[str, int]:
    """The same for a role; replicas have at least one."""
    return number(role.ports or (("http",) if isinstance(role.shape, Replicas) else ()))


def todo(count: int, done: tuple[int, ...]) -> list[int]:
    """The items of an array's Job: its completion k is the item at place k."""
    over = set(done)
    return [item for item in range(count) if item not in over]


def gang_epoch(job: Object, epoch: int, width: int, name: str) -> Object:
    """The Job of another epoch of an elastic gang, from the one that the cluster has. The Service
    and the owner stay; what the cluster wrote into it is left out."""
    meta, spec = job["metadata"], job["spec"]
    template = spec["template"]
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
                "metadata": _of_epoch(template["metadata"], epoch),
                "spec": template["spec"],
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
    shapes = {role.name: asdict(role.shape) for role in placement.task.roles}
    secrets = {"token": context.token}
    if any(isinstance(role.shape, Replicas) for role in placement.task.roles):
        secrets["service-token"] = context.service_token
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.base(placement.id),
            "namespace": context.namespace,
            "labels": _labels(placement, context),
            "annotations": {
                **_annotations(placement, context),
                names.SHAPE: canonical(shapes),
            },
        },
        "type": "Opaque",
        "stringData": secrets,
    }


def _objects(part: _Part) -> list[Object]:
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


def _gang(part: _Part, shape: Gang) -> Object:
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


def _array(part: _Part, shape: Array, left: int) -> Object:
    """Each item by itself; what the infrastructure did to one does not count as its try."""
    lost = {"onExitCodes": {"operator": "In", "values": [LOST]}}
    many = left > MANY_ITEMS
    spec = {
        "completions": left,
        "parallelism": min(shape.at_once, left, MANY_AT_ONCE if many else MANY_ITEMS),
        "backoffLimitPerIndex": min(part.role.restart.most, _INT32),
        **({"maxFailedIndexes": MANY_AT_ONCE} if many else {}),
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", **_DISRUPTED}, {"action": "Ignore", **lost}]
        },
    }
    job = _job(part, spec, {})
    job["metadata"]["annotations"][names.DONE] = names.spans(part.placement.done)
    return job


def _job(part: _Part, spec: Object, pod: Object) -> Object:
    """No time to live: the engine deletes it once its end is stored. A pod is replaced only when
    it is over, so no unit runs twice at the same time."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _meta(part),
        "spec": {
            "completionMode": "Indexed",
            **spec,
            "podReplacementPolicy": "Failed",
            "suspend": False,
            "template": _template(part, {"restartPolicy": "Never", **pod}),
        },
    }


def _deployment(part: _Part, shape: Replicas) -> Object:
    """Spread over machines and, on purpose, not over zones: where a constraint's label is missing
    from the nodes, the scheduler passes over all constraints of the pod."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": part.selector},
    }
    pod = {"restartPolicy": "Always", "topologySpreadConstraints": [spread]}
    ready = part.role.readiness
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(part),
        "spec": {
            "replicas": shape.count,
            "selector": {"matchLabels": part.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "progressDeadlineSeconds": _seconds(PROGRESS + (ready.timeout if ready else 0)),
            "template": _template(part, pod),
        },
    }


def _service(part: _Part, *, headless: bool) -> Object:
    """Headless: members of a gang find each other by name before they are ready."""
    spec: Object = {"selector": part.selector}
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    else:
        spec |= {"type": "ClusterIP"}
    called = names.ports(tuple(ports(part.role)))
    exposed = [
        {"name": called[name], "port": port, "targetPort": called[name], "protocol": "TCP"}
        for name, port in ports(part.role).items()
    ]
    if exposed:
        spec["ports"] = exposed
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(part, epochs=True),
        "spec": spec,
    }


def _budget(part: _Part) -> Object:
    """For a single replica too: it forbids nothing then, and holds once there are more of them.
    A replica that is not ready holds up no drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(part, epochs=True),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": part.selector},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


# --- the pod -------------------------------------------------------------------------------------


def _template(part: _Part, pod: Object) -> Object:
    context, stop = part.context, part.role.stop
    grace = 0 if stop.way == "kill" else _seconds(stop.grace)
    away = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return {
        "metadata": _marks(part),
        "spec": {
            **pod,
            **({"serviceAccountName": context.service_account} if context.service_account else {}),
            **(
                {"imagePullSecrets": [{"name": context.pull_secret}]} if context.pull_secret else {}
            ),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": min(grace + FAREWELL, _INT32),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": [
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": NODE_PATIENCE,
                }
                for key in away
            ],
            "initContainers": [_stage(part)],
            "containers": [_main(part)],
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    }


def _stage(part: _Part) -> Object:
    """Asks for nothing that the main container does not ask for: a pod's request is the larger of
    the two. It needs no accelerators."""
    role = part.role
    plain = Resources(cpu=role.resources.cpu, memory=role.resources.memory)
    return {**_container(part, "stage", "stage"), "resources": _resources(plain)}


def _main(part: _Part) -> Object:
    role = part.role
    main = {**_container(part, "main", "run"), "resources": _resources(role.resources)}
    numbers = ports(role)
    called = names.ports(tuple(numbers))
    if numbers:
        main["ports"] = [
            {"name": called[name], "containerPort": port, "protocol": "TCP"}
            for name, port in numbers.items()
        ]
    if isinstance(role.shape, Replicas) and role.readiness is not None:
        main |= _probes(role.readiness, called[next(iter(numbers))])
    return main


def _container(part: _Part, name: str, verb: str) -> Object:
    return {
        "name": name,
        "image": part.context.image,
        "command": ["python", "-m", "tradewind.pod", verb],
        "env": _env(part),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "work", "mountPath": HOME},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _env(part: _Part) -> list[Object]:
    root = names.base(part.placement.id)

    def secret(key: str) -> Object:
        return {"valueFrom": {"secretKeyRef": {"name": root, "key": key}}}

    def own(path: str) -> Object:
        return {"valueFrom": {"fieldRef": {"fieldPath": path}}}

    env = {
        "TRADEWIND_SERVER": {"value": part.context.server},
        "TRADEWIND_TOKEN": secret("token"),
        "TRADEWIND_POD": own("metadata.name"),
        "TRADEWIND_IP": own("status.podIP"),
        "TRADEWIND_NODE": own("spec.nodeName"),
        "TRADEWIND_HOME": {"value": HOME},
        "HOME": {"value": f"{HOME}/home"},
    }
    if isinstance(part.role.shape, Replicas):
        env["TRADEWIND_SERVICE_TOKEN"] = secret("service-token")
    return [{"name": name, **value} for name, value in env.items()]


def _resources(wanted: Resources) -> Object:
    """Memory is held to what was asked for, CPU is shared when others leave it idle."""
    accelerators = {name: str(count) for name, count in wanted.accelerators.items() if count}
    memory = str(wanted.memory + OURS_BYTES if wanted.memory else FREE_BYTES)
    limits = {**({"memory": memory} if wanted.memory else {}), **accelerators}
    requests = {"cpu": cores(wanted.cpu), "memory": memory, **accelerators}
    return {"requests": requests, **({"limits": limits} if limits else {})}


def cores(cpu: float) -> str:
    """As Kubernetes writes it: `2`, `100m`; in thousandths, rounded up, at least one."""
    milli = max(1, int((Decimal(str(cpu)) * 1000).to_integral_value(ROUND_CEILING)))
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def _probes(rule: Readiness, port: str) -> Object:
    """Asked every second. At the start an answer may take one second, so that the time until it is
    given up is the rule's; later five, three times in a row: a busy replica is no dead one."""
    ask: Object = {"httpGet": {"path": rule.path, "port": port}}
    if not rule.path:
        ask = {"tcpSocket": {"port": port}}
    return {
        "startupProbe": {
            **ask,
            "periodSeconds": 1,
            "timeoutSeconds": 1,
            "failureThreshold": max(1, _seconds(rule.timeout)),
        },
        "readinessProbe": {
            **ask,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
    }


def _seconds(value: float) -> int:
    """Whole seconds, upwards, as far as Kubernetes counts."""
    return min(math.ceil(value), _INT32)


# --- metadata ------------------------------------------------------------------------------------


def _labels(placement: Placement, context: Context) -> dict[str, str]:
    """What all objects of a placement are found by."""
    return {
        names.NAME: names.slug(placement.task.name, 63, names.OURS),
        names.INSTANCE: names.base(placement.id),
        names.PART_OF: names.OURS,
        names.MANAGED_BY: names.OURS,
        names.POOL: names.label(context.pool),
    }


def _annotations(placement: Placement, context: Context) -> dict[str, str]:
    """What they stand for, in its own words."""
    return {
        names.PLACEMENT: placement.id,
        names.RUN: placement.run,
        names.TASK: placement.task.name,
        names.LEASE: str(placement.lease),
        names.NUMBER: str(placement.number),
        names.POOL: context.pool,
    }


def _marks(part: _Part) -> Object:
    """The same of a role: of its pods, and of what makes them."""
    epoch = {names.EPOCH: "1"}
    component = {names.COMPONENT: names.slug(part.role.name, 63, "role"), **part.selector}
    return {
        "labels": {**_labels(part.placement, part.context), **component, **epoch},
        "annotations": {
            **_annotations(part.placement, part.context),
            names.ROLE: part.role.name,
            **epoch,
        },
    }


def _meta(part: _Part, *, epochs: bool = False) -> Object:
    """The metadata of an object of a role. `epochs`: it outlives them."""
    marks = _marks(part)
    if epochs:
        for field in marks.values():
            del field[names.EPOCH]
    return {"name": part.name, "namespace": part.context.namespace, **marks}
