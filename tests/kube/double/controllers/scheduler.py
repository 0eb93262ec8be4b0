"""The scheduler: gives a pending pod a node that has room for it."""

from collections.abc import Hashable, Iterable

from tests.kube.double.api import bind
from tests.kube.double.controllers.events import tell
from tests.kube.double.objects import (
    Object,
    condition,
    deleting,
    ended,
    labels_of,
    name_of,
    namespace_of,
    node_of,
    quantity,
    requests_of,
    set_condition,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import NODES, PODS
from tests.kube.double.selectors import selected
from tests.kube.double.settings import Settings
from tests.kube.double.storage import Event

_SOURCE = "default-scheduler"


class Scheduler:
    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry, self.settings = registry, settings

    def concerns(self, event: Event) -> Iterable[Hashable]:
        if event.resource is PODS:
            if waiting(event.object) and event.kind != "DELETED":
                yield namespace_of(event.object), name_of(event.object)
            if event.kind == "DELETED" or ended(event.object):
                yield from self._waiting()
        elif event.resource is NODES:
            yield from self._waiting()

    def _waiting(self) -> list[tuple[str, str]]:
        pods = self.registry.storage.all(PODS)
        return [(namespace_of(pod), name_of(pod)) for pod in pods if waiting(pod)]

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        pod = self.registry.storage.get(PODS, *key)
        if pod is None or not waiting(pod):
            return None
        nodes = sorted(self.registry.storage.all(NODES), key=name_of)
        pods = _by_node(self.registry.storage.all(PODS))
        faults = {name_of(node): why(pod, node, pods.get(name_of(node), [])) for node in nodes}
        # An empty node would have room: that is what taking others' place could do.
        full = sum(bool(faults[name_of(node)]) and not why(pod, node, []) for node in nodes)
        good = [node for node in nodes if not faults[name_of(node)]]
        if not good:
            self._refuse(pod, _message(list(faults.values()), full))
            return self.settings.schedule_again
        best = min(good, key=lambda node: _cost(pod, node, pods.get(name_of(node), [])))
        bind(self.registry, namespace_of(pod), name_of(pod), name_of(best))
        words = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {name_of(best)}"
        tell(self.registry, self.registry.clock, _SOURCE, pod, "Scheduled", words)
        return None

    def _refuse(self, pod: Object, message: str) -> None:
        old = condition(pod, "PodScheduled")
        if old and old.get("message") == message:
            return
        now = self.registry.clock.now()
        new = {
            "type": "PodScheduled", "status": "False", "lastProbeTime": None,
            "reason": "Unschedulable", "message": message,
            "observedGeneration": pod["metadata"]["generation"],
        }  # fmt: skip
        self.registry.edit(PODS, pod, lambda obj: set_condition(obj, new, now), "status")
        tell(
            self.registry,
            self.registry.clock,
            _SOURCE,
            pod,
            "FailedScheduling",
            message,
            warning=True,
        )


def waiting(pod: Object) -> bool:
    return not node_of(pod) and not ended(pod) and not deleting(pod)


def _by_node(pods: list[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        if not ended(pod):
            found.setdefault(node_of(pod), []).append(pod)
    return found


def why(pod: Object, node: Object, pods: list[Object]) -> list[str]:
    """Returns what keeps a pod off a node, in the scheduler's words."""
    if node["spec"].get("unschedulable"):
        return ["node(s) were unschedulable"]
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
            return ["node(s) had untolerated taint(s)"]
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels_of(node).get(key) != value for key, value in wanted.items()):
        return ["node(s) didn't match Pod's node affinity/selector"]
    return _short(pod, node, pods)


def tolerated(pod: Object, taint: Object) -> bool:
    for one in pod["spec"].get("tolerations") or []:
        if one.get("effect") and one["effect"] != taint["effect"]:
            continue
        if one.get("operator") == "Exists":
            if one.get("key", taint["key"]) == taint["key"]:
                return True
        elif one.get("key") == taint["key"] and one.get("value", "") == taint.get("value", ""):
            return True
    return False


def _short(pod: Object, node: Object, pods: list[Object]) -> list[str]:
    found = []
    offered = (node.get("status") or {}).get("allocatable") or {}
    if len(pods) + 1 > quantity(offered.get("pods", 0)):
        found.append("Too many pods")
    used = _used(pods)
    for name, amount in requests_of(pod).items():
        if amount and used.get(name, 0) + amount > quantity(offered.get(name, 0)) + 1e-9:
            found.append(f"Insufficient {name}")
    return found


def _used(pods: list[Object]) -> dict[str, float]:
    used: dict[str, float] = {}
    for pod in pods:
        for name, amount in requests_of(pod).items():
            used[name] = used.get(name, 0) + amount
    return used


def _message(faults: list[list[str]], full: int) -> str:
    if not faults:
        return "no nodes available to schedule pods"
    counts: dict[str, int] = {}
    for found in faults:
        for one in found:
            counts[one] = counts.get(one, 0) + 1
    total = len(faults)
    words = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    parts = []
    if full:
        parts.append(f"{full} No preemption victims found for incoming pod")
    if total - full:
        parts.append(f"{total - full} Preemption is not helpful for scheduling")
    return (
        f"0/{total} nodes are available: {words}. no new claims to deallocate, preemption:"
        f" 0/{total} nodes are available: {', '.join(sorted(parts))}."
    )


def _cost(pod: Object, node: Object, pods: list[Object]) -> tuple[int, float, str]:
    """Spread comes first, then the emptier node."""
    alike = 0
    for one in pod["spec"].get("topologySpreadConstraints") or []:
        selector = one.get("labelSelector") or {}
        alike += sum(
            selected(selector, labels_of(other)) and namespace_of(other) == namespace_of(pod)
            for other in pods
        )
    offered = (node.get("status") or {}).get("allocatable") or {}
    used = _used(pods)
    shares = [
        used.get(name, 0) / max(quantity(offered.get(name, 1)), 1e-9) for name in ("cpu", "memory")
    ]
    return alike, max(shares) + 1e-6 * len(pods), name_of(node)
