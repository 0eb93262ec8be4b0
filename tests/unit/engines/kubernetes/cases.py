"""Placements of every kind, and what the checks share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tradewind.engines.kubernetes.render import Context, render
from tradewind.records.placements import Placement, placement_id
from tradewind.records.tasks import (
    Array,
    Entry,
    Environment,
    Gang,
    Input,
    Layout,
    Readiness,
    Replicas,
    Resources,
    Restart,
    Role,
    Shape,
    Stop,
    Task,
)

Object = dict[str, Any]
CONTEXT = Context(
    pool="cluster",
    store="0123456789abcdef",
    namespace="flights",
    image="tradewind:1",
    server="http://tradewind.example:7433",
    token="attempt-token-value",
    service_token="service-token-value",
)
ENTRY = Entry(kind="function", target="main.py:fit", args=("users-argument",))
# Whatever a user writes; none of it may be found in a manifest.
USERS: Any = {
    "params": {"users-param": "users-value"},
    "env": {"USERS_NAME": "users-secret"},
    "inputs": {"users-slot": Input(kind="value", source="users-source", value="users-input")},
}


def role(name: str, shape: Shape, **more: Any) -> Role:
    return Role(**{"name": name, "shape": shape, "entry": ENTRY, **USERS, **more})


def placement(
    *roles: Role, task: str = "fit", done: tuple[int, ...] = (), layout: Layout | None = None
) -> Placement:
    run = "rk7m2p9xqz4d"
    return Placement(
        id=placement_id(run, task, 2),
        run=run,
        task=Task(
            name=task, roles=roles, environment=Environment(digest="e"), bundle="b", layout=layout
        ),
        number=2,
        pool="cluster",
        engine="kubernetes",
        lease=5,
        demand=Resources(),
        done=done,
    )


GIB = 2**30
SMALL = Resources(cpu=0.1, memory=GIB)
GANG = role(
    "worker",
    Gang(least=3, most=3),
    ports=("rendezvous", "metrics"),
    resources=Resources(cpu=7.5, memory=64 * GIB, accelerators={"nvidia.com/gpu": 2}),
    stop=Stop(way="checkpoint", grace=90.5),
)
ELASTIC = role("trainer", Gang(least=2, most=8), resources=SMALL)
ARRAY = role(
    "map",
    Array(count=10, at_once=4),
    resources=SMALL,
    items=("users-item",) * 10,
    restart=Restart(most=2),
)
SERVING = role(
    "serve",
    Replicas(count=3),
    resources=SMALL,
    ports=("http", "prometheus-metrics"),
    readiness=Readiness(path="/health", timeout=30.2),
    stop=Stop(way="drain", grace=20.0),
)

PLACEMENTS: dict[str, Placement] = {
    "gang-of-one": placement(role("main", Gang(), resources=Resources(cpu=2, memory=GIB))),
    "gang-of-three": placement(GANG),
    "gang-elastic": placement(ELASTIC),
    "array-with-done-items": placement(ARRAY, done=(0, 1, 2, 3, 4, 7)),
    "array-with-nothing-to-do": placement(ARRAY, done=tuple(range(10))),
    "replicas-with-path": placement(SERVING),
    "replicas-without-readiness": placement(role("serve", Replicas(), resources=SMALL)),
    "replicas-with-open-port": placement(
        role("serve", Replicas(count=2), ports=("grpc",), readiness=Readiness(timeout=0.2))
    ),
    "several-roles": placement(
        role("参数服务器", Gang(least=2, most=2), resources=SMALL),
        role("Worker_1", Array(count=5, at_once=9)),
        role("worker-1", Replicas(count=1), ports=("网页", "Metrics!")),
        task="训练模型",
    ),
    "no-memory-limit": placement(role("main", Gang(), resources=Resources(cpu=0.0001))),
}
PLACEMENTS["gang-in-one-rack"] = placement(
    GANG, layout=Layout(together="rack", spread="node", strictly=True)
)
PLACEMENTS["gang-in-one-zone-if-it-can-be"] = placement(GANG, layout=Layout(together="zone"))
PLACEMENTS["replicas-over-zones"] = placement(SERVING, layout=Layout(spread="zone"))
CONTEXTS = {name: CONTEXT for name in PLACEMENTS}
CONTEXTS["gang-in-one-rack"] = replace(CONTEXT, rack="example.com/rack")
PLACEMENTS["pull-secret-and-account"] = PLACEMENTS["gang-of-one"]
CONTEXTS["pull-secret-and-account"] = Context(
    pool="Пул в облаке",
    store=CONTEXT.store,
    namespace="flights",
    image="registry.example/tradewind:1",
    server=CONTEXT.server,
    token=CONTEXT.token,
    service_token=CONTEXT.service_token,
    pull_secret="registry-login",
    service_account="trainer",
)
REQUESTS = {name: render(each, CONTEXTS[name]) for name, each in PLACEMENTS.items()}
OBJECTS: list[Object] = [each for request in REQUESTS.values() for each in request["objects"]]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def workloads(objects: list[Object]) -> list[Object]:
    """What makes pods."""
    return [each for each in objects if "template" in each.get("spec", {})]


def containers(pod: Object) -> Iterator[Object]:
    """All of a pod's spec."""
    yield from pod.get("initContainers", ())
    yield from pod["containers"]
