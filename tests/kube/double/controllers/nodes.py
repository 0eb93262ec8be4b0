"""The node lifecycle: who is silent, what that does to its pods, and pods whose node is gone."""

from collections.abc import Hashable, Iterable

from tests.kube.double.controllers.events import tell
from tests.kube.double.controllers.loop import Controller
from tests.kube.double.defaults import NOT_READY, UNREACHABLE
from tests.kube.double.objects import (
    Object,
    condition,
    deleting,
    ended,
    holds,
    name_of,
    namespace_of,
    node_of,
    seconds,
    set_condition,
    stamp,
    status_of,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import LEASES, NODES, PODS
from tests.kube.double.settings import Settings
from tests.kube.double.storage import Event

_LEASES = "kube-node-lease"
_CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")


class Nodes(Controller):
    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry, self.settings, self.clock = registry, settings, registry.clock
        # What each node last said, and when that was heard: its own clock is not asked.
        self._heard: dict[str, tuple[object, float]] = {}
        self._gone: dict[str, float] = {}

    def concerns(self, event: Event) -> Iterable[Hashable]:
        if event.resource is NODES:
            yield name_of(event.object)
            # Whether all nodes are silent is each one's matter.
            if _ready(event.object) != (event.before and _ready(event.before)):
                yield from (name_of(node) for node in self.registry.storage.all(NODES))
        elif event.resource is LEASES and namespace_of(event.object) == _LEASES:
            yield name_of(event.object)
        elif event.resource is PODS and event.kind != "DELETED":
            node = self.registry.storage.get(NODES, "", node_of(event.object))
            if node_of(event.object) and (node is None or _executes(node)):
                yield node_of(event.object)

    def sync(self, key: Hashable) -> float | None:
        name = str(key)
        node = self.registry.storage.get(NODES, "", name)
        pods = [pod for pod in self.registry.storage.all(PODS) if node_of(pod) == name]
        if node is None:
            return self._bury(name, pods)
        self._gone.pop(name, None)
        left = self._listen(node)
        if left <= 0:
            self._silence(node, pods)
        node = self.registry.get(NODES, "", name)
        self._taint(node)
        waits = self._evict(self.registry.get(NODES, "", name), pods)
        return min([*waits, *([left] if left > 0 else [])], default=None)

    def _listen(self, node: Object) -> float:
        """Returns how long the node may still be silent."""
        lease = self.registry.storage.get(LEASES, _LEASES, name_of(node)) or {}
        beat = (condition(node, "Ready") or {}).get("lastHeartbeatTime")
        said = ((lease.get("spec") or {}).get("renewTime"), beat, node["metadata"]["uid"])
        now = self.clock.now()
        if self._heard.get(name_of(node), (None, 0.0))[0] != said:
            self._heard[name_of(node)] = (said, now)
        return self._heard[name_of(node)][1] + self.settings.node_grace - now

    def _silence(self, node: Object, pods: list[Object]) -> None:
        if _ready(node) == "Unknown":
            return
        now = self.clock.now()

        def change(obj: Object) -> None:
            for kind in _CONDITIONS:
                new = {
                    "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.",
                }  # fmt: skip
                set_condition(obj, new, now, probe=False)

        self.registry.edit(NODES, node, change, "status")
        for pod in pods:
            if holds(pod, "Ready"):
                self.registry.edit(PODS, pod, lambda obj: _unready(obj, now), "status")
                words = "Node is not ready"
                tell(
                    self.registry,
                    self.clock,
                    "node-controller",
                    pod,
                    "NodeNotReady",
                    words,
                    warning=True,
                )

    def _taint(self, node: Object) -> None:
        """Keeps the two taints of the node's readiness; pods are not evicted from all nodes."""
        ready = _ready(node)
        key = {"True": "", "Unknown": UNREACHABLE}.get(ready, NOT_READY)
        wanted = [(key, "NoSchedule")] if key else []
        alive = any(_ready(one) == "True" for one in self.registry.storage.all(NODES))
        if key and ready and alive:
            wanted.append((key, "NoExecute"))
        old = node["spec"].get("taints") or []
        mine = [one for one in old if one["key"] in (NOT_READY, UNREACHABLE)]
        if [(one["key"], one["effect"]) for one in mine] == wanted:
            return
        now = stamp(self.clock.now())

        def change(obj: Object) -> None:
            kept = [one for one in old if one not in mine]
            for pair in wanted:
                same = [one for one in mine if (one["key"], one["effect"]) == pair]
                new = {"key": pair[0], "effect": pair[1], "timeAdded": now}
                kept.append(same[0] if same else new)
            obj["spec"]["taints"] = kept
            if not kept:
                del obj["spec"]["taints"]

        self.registry.edit(NODES, node, change)

    def _evict(self, node: Object, pods: list[Object]) -> list[float]:
        """Deletes the pods that no longer tolerate the node; returns when others are due."""
        waits = []
        for pod in pods:
            if ended(pod) or deleting(pod):
                continue
            limits = [_tolerates(pod, taint) for taint in _executes(node)]
            if not (due := [one for one in limits if one is not None]):
                continue
            left = min(due) - self.clock.now()
            if left > 0:
                waits.append(left)
                continue
            words = "Taint manager: deleting due to NoExecute taint"
            self._doom(pod, "DeletionByTaintManager", words)
            self.registry.delete(PODS, namespace_of(pod), name_of(pod))
        return waits

    def _doom(self, pod: Object, reason: str, message: str, *, fails: bool = False) -> None:
        new = {
            "type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "reason": reason,
            "message": message, "observedGeneration": pod["metadata"]["generation"],
        }  # fmt: skip
        now = self.clock.now()

        def change(obj: Object) -> None:
            if not holds(obj, "DisruptionTarget"):
                set_condition(obj, new, now)
            if fails:
                obj["status"]["phase"] = "Failed"

        self.registry.edit(PODS, pod, change, "status")

    def _bury(self, name: str, pods: list[Object]) -> float | None:
        """Removes the pods of a node that is gone."""
        self._heard.pop(name, None)
        if not pods:
            self._gone.pop(name, None)
            return None
        since = self._gone.setdefault(name, self.clock.now())
        if (left := since + self.settings.orphan_grace - self.clock.now()) > 0:
            return left
        for pod in pods:
            if not ended(pod):
                self._doom(pod, "DeletionByPodGC", "PodGC: node no longer exists", fails=True)
            if pod["metadata"].get("deletionGracePeriodSeconds") != 0:
                options = {"gracePeriodSeconds": 0}
                self.registry.delete(PODS, namespace_of(pod), name_of(pod), options)
        return None


def _ready(node: Object) -> str:
    return str((condition(node, "Ready") or {}).get("status", ""))


def _executes(node: Object) -> list[Object]:
    return [one for one in node["spec"].get("taints") or [] if one["effect"] == "NoExecute"]


def _tolerates(pod: Object, taint: Object) -> float | None:
    """Returns until when the pod tolerates the taint, None for ever."""
    found: list[float] = []
    for one in pod["spec"].get("tolerations") or []:
        fits = one.get("effect") in (None, "", "NoExecute") and (
            one.get("key") in (None, "", taint["key"])
            and (one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", ""))
        )
        if fits and one.get("tolerationSeconds") is None:
            return None
        if fits:
            found.append(float(one["tolerationSeconds"]))
    began = seconds(taint["timeAdded"]) if taint.get("timeAdded") else 0.0
    return began + min(found, default=0.0)


def _unready(pod: Object, now: float) -> None:
    old = condition(pod, "Ready") or {}
    new = {"type": "Ready", "status": "False", "lastProbeTime": old.get("lastProbeTime")}
    conditions = status_of(pod)["conditions"]
    conditions[conditions.index(old)] = {**new, "lastTransitionTime": stamp(now)}
