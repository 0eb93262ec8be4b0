"""The pod of a role. Pure.

It keeps the "restricted" Pod Security Standard. An init container stages code, environment and
inputs; the main container runs the unit. Both are ours, from the pool's image; what they need to
know, they ask the server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from tradewind.base.errors import Refused
from tradewind.engines.kubernetes import names
from tradewind.records.placements import Placement
from tradewind.records.tasks import NODE, Readiness, Replicas, Resources, Role
from tradewind.specs import DeviceSpec

Object = dict[str, Any]

USER = 10001
HOME = "/tradewind"
PROGRAM = ("python", "-m", "tradewind.pod")
# Our process beside the user's; and what to ask for when the user's has no limit.
OURS_BYTES, FREE_BYTES = 128 * 2**20, 256 * 2**20
FIRST_PORT = 8080
# The pod's process stores the end before it goes.
FAREWELL = 5
# A node that is gone is given up after this; Kubernetes' own default is five minutes.
NODE_PATIENCE = 30
INT32 = 2**31 - 1
# The labels that tell where a machine is, the widest level first.
REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
LEVELS = {"region": REGION, "zone": ZONE}
HOST = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the pool is. `server` is the address that pods use, `token` the placement's attempt
    token, `service_token` what callers of its replicas must show, `store` whose placements
    it holds, `classes` those of devices that clusters have, `rack` the label of machines that tells
    their rack (empty: none does)."""

    pool: str
    store: str
    namespace: str
    image: str
    server: str
    token: str
    service_token: str
    pull_secret: str = ""
    service_account: str = ""
    classes: tuple[DeviceSpec, ...] = ()
    rack: str = ""

    @property
    def levels(self) -> dict[str, str]:
        """By level the label of machines that tells it, the widest first."""
        return {**LEVELS, **({"rack": self.rack} if self.rack else {}), NODE: HOST}


@dataclass(frozen=True, slots=True)
class Part:
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

    @property
    def ports(self) -> dict[str, int]:
        """Name in the cluster → number inside the pod."""
        numbers = ports(self.role)
        called = names.ports(tuple(numbers))
        return {called[name]: port for name, port in numbers.items()}


def number(port_names: tuple[str, ...]) -> dict[str, int]:
    """Port name → number inside the pod."""
    return {name: FIRST_PORT + i for i, name in enumerate(dict.fromkeys(port_names))}


def ports(role: Role) -> dict[str, int]:
    """The same for a role; replicas have at least one."""
    return number(role.ports or (("http",) if isinstance(role.shape, Replicas) else ()))


def template(part: Part, pod: Object) -> Object:
    """The role's pod; `pod` is what its shape adds."""
    context, stop = part.context, part.role.stop
    grace = 0 if stop.way == "kill" else seconds(stop.grace)
    away = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return {
        "metadata": marks(part),
        "spec": {
            **pod,
            **_machines(part),
            **({"serviceAccountName": context.service_account} if context.service_account else {}),
            **(
                {"imagePullSecrets": [{"name": context.pull_secret}]} if context.pull_secret else {}
            ),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": min(grace + FAREWELL, INT32),
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


def _stage(part: Part) -> Object:
    """Asks for nothing that the main container does not ask for: a pod's request is the larger of
    the two. It needs no accelerators."""
    role = part.role
    plain = Resources(cpu=role.resources.cpu, memory=role.resources.memory)
    return {**_container(part, "stage", "stage"), "resources": _resources(plain, ())}


def _main(part: Part) -> Object:
    role = part.role
    main = {
        **_container(part, "main", "run"),
        "resources": _resources(role.resources, part.context.classes),
    }
    if part.ports:
        main["ports"] = [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in part.ports.items()
        ]
    if isinstance(role.shape, Replicas) and role.readiness is not None:
        main |= _probes(role.readiness, next(iter(part.ports)))
    return main


def _container(part: Part, name: str, verb: str) -> Object:
    return {
        "name": name,
        "image": part.context.image,
        "command": [*PROGRAM, verb],
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


def _env(part: Part) -> list[Object]:
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


def _machines(part: Part) -> Object:
    """On which machines it can be: those that have its classes of devices."""
    wanted = part.role.resources.accelerators
    labels: Object = {}
    for each in part.context.classes:
        labels |= each.nodes if each.name in wanted else {}
    return {"nodeSelector": labels} if labels else {}


def _devices(wanted: Resources, classes: Iterable[DeviceSpec]) -> dict[str, str]:
    """By the cluster's names. A part of a device is one of what its plugin gives away; raises
    Refused for one that it does not."""
    known, found = {each.name: each for each in classes}, {}
    for name, count in wanted.accelerators.items():
        of = known.get(name)
        if count < 1 and (of is None or of.parts == 1):
            raise Refused(
                f"a cluster gives devices of class {name!r} away whole, not {count:g} of one",
                hint="ask for a whole one; docs/cluster.md says how to share them",
            )
        found[of.resource if of else name] = str(1 if count < 1 else int(count))
    return found


def _resources(wanted: Resources, classes: Iterable[DeviceSpec]) -> Object:
    """Memory is held to what was asked for, CPU is shared when others leave it idle."""
    accelerators = _devices(wanted, classes)
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
            "failureThreshold": max(1, seconds(rule.timeout)),
        },
        "readinessProbe": {
            **ask,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
    }


def seconds(value: float) -> int:
    """Whole seconds, upwards, as far as Kubernetes counts."""
    return min(math.ceil(value), INT32)


# --- metadata ------------------------------------------------------------------------------------


def labels(placement: Placement, context: Context) -> dict[str, str]:
    """What all objects of a placement are found by."""
    return {
        names.NAME: names.slug(placement.task.name, 63, names.OURS),
        names.INSTANCE: names.base(placement.id),
        names.PART_OF: names.OURS,
        names.MANAGED_BY: names.OURS,
        names.POOL: names.label(context.pool),
        names.STORE: context.store,
    }


def originals(placement: Placement, context: Context) -> dict[str, str]:
    """What they stand for, in its own words."""
    return {
        names.PLACEMENT: placement.id,
        names.RUN: placement.run,
        names.TASK: placement.task.name,
        names.LEASE: str(placement.lease),
        names.NUMBER: str(placement.number),
        names.POOL: context.pool,
    }


def marks(part: Part) -> Object:
    """The same of a role: of its pods, and of what makes them."""
    epoch = {names.EPOCH: "1"}
    component = {names.COMPONENT: names.slug(part.role.name, 63, "role"), **part.selector}
    return {
        "labels": {**labels(part.placement, part.context), **component, **epoch},
        "annotations": {
            **originals(part.placement, part.context),
            names.ROLE: part.role.name,
            **epoch,
        },
    }


def metadata(part: Part, *, epochs: bool = False) -> Object:
    """The metadata of an object of a role. `epochs`: it outlives them."""
    found = marks(part)
    if epochs:
        for field in found.values():
            del field[names.EPOCH]
    return {"name": part.name, "namespace": part.context.namespace, **found}
