"""The scheduler: gives a pending pod a node that has room for it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from tests.kube.double.api import bind
from tests.kube.double.controllers.events import tell
from tests.kube.double.controllers.loop import Controller
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
    version_of,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import NODES, PODS
from tests.kube.double.selectors import selected
from tests.kube.double.settings import Settings
from tests.kube.double.storage import Event

_SOURCE = "default-scheduler"
# So many pods are bound before others have their turn.
_AT_ONCE = 50


class Room:
    """A node and what its pods take of it."""

    def __init__(self, node: Object) -> None:
        self.node, self.name = node, name_of(node)
        offered = (node.get("status") or {}).get("allocatable") or {}
        self._offered = {name: quantity(amount) for name, amount in offered.items()}
        self._used: dict[str, float] = {}
        self._pods: list[Object] = []

    def take(self, pod: Object) -> None:
        self._pods.append(pod)
        for name, amount in requests_of(pod).items():
            self._used[name] = self._used.get(name, 0) + amount

    def why(self, pod: Object) -> list[str]:
        """Returns what keeps a pod off the node, in the scheduler's words."""
        if self.node["spec"].get("unschedulable"):
            return ["node(s) were unschedulable"]
        for taint in self.node["spec"].get("taints") or []:
            if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
                return ["node(s) had untolerated taint(s)"]
        wanted = pod["spec"].get("nodeSelector") or {}
        if any(labels_of(self.node).get(key) != value for key, value in wanted.items()):
            return ["node(s) didn't match Pod's node affinity/selector"]
        found = []
        if len(self._pods) + 1 > self._offered.get("pods", 0):
            found.append("Too many pods")
        for name, amount in requests_of(pod).items():
            left = self._offered.get(name, 0) - self._used.get(name, 0)
            if amount > left + 1e-9:
                found.append(f"Insufficient {name}")
        return found

    def cost(self, pod: Object) -> tuple[int, float, str]:
        """Spread comes first, then the emptier node."""
        alike = 0
        for one in pod["spec"].get("topologySpreadConstraints") or []:
            selector = one.get("labelSelector") or {}
            alike += sum(
                selected(selector, labels_of(other)) and namespace_of(other) == namespace_of(pod)
                for other in self._pods
            )
        shares = [
            self._used.get(name, 0) / max(self._offered.get(name, 1), 1e-9)
            for name in ("cpu", "memory")
        ]
        return alike, max(shares) + 1e-6 * len(self._pods), self.name


class Scheduler(Controller):
    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry, self.settings = registry, settings

    def concerns(self, event: Event) -> Iterable[Hashable]:
        if event.resource is NODES:
            yield "all"
        elif event.resource is PODS:
            pod = event.object
            news = event.before is None or event.kind == "DELETED" or ended(pod)
            if news or (waiting(pod) and event.before and not waiting(event.before)):
                yield "all"

    def sync(self, key: Hashable) -> float | None:
        """Finds nodes for pods that wait, the oldest first; a few at a time, to let others in."""
        pods = self.registry.storage.all(PODS)
        row = [pod for pod in pods if waiting(pod)]
        if not row:
            return None
        rooms = [Room(node) for node in sorted(self.registry.storage.all(NODES), key=name_of)]
        by_name = {room.name: room for room in rooms}
        for pod in pods:
            if node_of(pod) in by_name and not ended(pod):
                by_name[node_of(pod)].take(pod)
        row.sort(key=lambda pod: (condition(pod, "PodScheduled") is not None, version_of(pod)))
        bound = 0
        for pod in row:
            bound += self._place(pod, rooms)
            if bound == _AT_ONCE:
                return 0.0
        return self.settings.schedule_again if bound < len(row) else None

    def _place(self, pod: Object, rooms: list[Room]) -> bool:
        """Binds a pod to the best node, or says in its status why there is none."""
        faults = [room.why(pod) for room in rooms]
        good = [room for room, found in zip(rooms, faults, strict=True) if not found]
        if not good:
            # An empty node would have room: that is what taking others' place could do.
            full = sum(
                bool(found) and not Room(room.node).why(pod)
                for room, found in zip(rooms, faults, strict=True)
            )
            self._refuse(pod, _message(faults, full))
            return False
        best = min(good, key=lambda room: room.cost(pod))
        bind(self.registry, namespace_of(pod), name_of(pod), best.name)
        best.take(pod)
        words = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {best.name}"
        tell(self.registry, self.registry.clock, _SOURCE, pod, "Scheduled", words)
        return True

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
