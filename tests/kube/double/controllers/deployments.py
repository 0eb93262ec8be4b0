"""The Deployment controller, for one template: a ReplicaSet, and what becomes of it."""

import copy
import hashlib
import json
import math
from collections.abc import Hashable, Iterable

from tests.kube.double.controllers.events import tell
from tests.kube.double.controllers.loop import Controller
from tests.kube.double.objects import (
    LETTERS,
    Object,
    condition,
    controller_of,
    deleting,
    labels_of,
    name_of,
    namespace_of,
    seconds,
    stamp,
    status_of,
    uid_of,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import DEPLOYMENTS, REPLICASETS
from tests.kube.double.statuses import Refusal
from tests.kube.double.storage import Event

_SOURCE, _HASH = "deployment-controller", "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"
_COUNTS = ("replicas", "readyReplicas", "availableReplicas", "terminatingReplicas")


class Deployments(Controller):
    def __init__(self, registry: Registry) -> None:
        self.registry, self.clock = registry, registry.clock

    def concerns(self, event: Event) -> Iterable[Hashable]:
        obj = event.object
        if event.resource is DEPLOYMENTS:
            yield namespace_of(obj), name_of(obj)
        elif event.resource is REPLICASETS:
            owner = controller_of(obj)
            if owner and owner["kind"] == "Deployment":
                yield namespace_of(obj), owner["name"]

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        found = self.registry.storage.get(DEPLOYMENTS, *key)
        if found is None:
            return None
        owned = self.registry.storage.owned(uid_of(found))
        sets = [obj for resource, obj in owned if resource is REPLICASETS]
        created = False
        if not sets and not deleting(found):
            try:
                sets, created = [self._create(found)], True
            except Refusal:
                return 1.0
        if not sets:
            return None
        self._scale(found, sets[0])
        return self._describe(found, sets[0], created)

    def _create(self, found: Object) -> Object:
        template = copy.deepcopy(found["spec"]["template"])
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
        mark = "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:10])
        template["metadata"].setdefault("labels", {})[_HASH] = mark
        selector = copy.deepcopy(found["spec"]["selector"])
        selector.setdefault("matchLabels", {})[_HASH] = mark
        owner = {
            "apiVersion": "apps/v1", "kind": "Deployment", "name": name_of(found),
            "uid": uid_of(found), "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        made = self.registry.create(
            REPLICASETS,
            {
                "metadata": {
                    "name": f"{name_of(found)}-{mark}", "namespace": namespace_of(found),
                    "labels": dict(labels_of(template)), "ownerReferences": [owner],
                    "annotations": {_REVISION: "1", **_sizes(found)},
                },
                "spec": {
                    "replicas": found["spec"]["replicas"], "selector": selector,
                    "template": template,
                },
            },
        )  # fmt: skip
        self.registry.edit(DEPLOYMENTS, found, _revised)
        words = f"Scaled up replica set {name_of(made)} from 0 to {found['spec']['replicas']}"
        tell(self.registry, self.clock, _SOURCE, found, "ScalingReplicaSet", words)
        return made

    def _scale(self, found: Object, owned: Object) -> None:
        old, new = owned["spec"]["replicas"], found["spec"]["replicas"]
        if old == new or deleting(found):
            return

        def change(obj: Object) -> None:
            obj["spec"]["replicas"] = new
            obj["metadata"].setdefault("annotations", {}).update(_sizes(found))

        self.registry.edit(REPLICASETS, owned, change)
        way = "up" if new > old else "down"
        words = f"Scaled {way} replica set {name_of(owned)} from {old} to {new}"
        tell(self.registry, self.clock, _SOURCE, found, "ScalingReplicaSet", words)

    def _describe(self, found: Object, owned: Object, created: bool) -> float | None:
        status, now = status_of(owned), self.clock.now()
        counts = {name: status.get(name, 0) for name in _COUNTS}
        counts["updatedReplicas"] = counts["replicas"]
        wanted = found["spec"]["replicas"]
        counts["unavailableReplicas"] = max(0, wanted - counts["availableReplicas"])
        generation = found["metadata"]["generation"]
        progress, wait = self._progress(found, owned, counts, created)

        def change(obj: Object) -> None:
            old = status_of(obj).get("conditions") or []
            kept = [one for one in old if one["type"] != "ReplicaFailure"]
            obj["status"] = {
                "observedGeneration": generation, "conditions": kept,
                **{name: count for name, count in counts.items() if count},
                "terminatingReplicas": counts["terminatingReplicas"],
            }  # fmt: skip
            for new in (_available(found, counts["availableReplicas"]), progress):
                _update(obj, new, now)
            if failure := condition(owned, "ReplicaFailure"):
                _update(obj, {k: failure[k] for k in ("type", "status", "reason", "message")}, now)

        self.registry.edit(DEPLOYMENTS, found, change, "status")
        return wait

    def _progress(
        self, found: Object, owned: Object, counts: dict[str, int], created: bool
    ) -> tuple[Object, float | None]:
        """Returns the condition, and after how long the deployment is late."""
        name, wanted = f'ReplicaSet "{name_of(owned)}"', found["spec"]["replicas"]
        old = condition(found, "Progressing")
        complete = counts["replicas"] == wanted == counts["availableReplicas"]
        done = old is not None and old["reason"] == "NewReplicaSetAvailable"
        if complete or done:
            words = f"{name} has successfully progressed."
            return _condition("True", "NewReplicaSetAvailable", words), None
        if created or old is None:
            words = f'Created new replica set "{name_of(owned)}"'
            return _condition("True", "NewReplicaSetCreated", words), 0.0
        limit = found["spec"]["progressDeadlineSeconds"]
        late = seconds(old["lastUpdateTime"]) + limit - self.clock.now()
        before = status_of(found)
        moved = any(before.get(key, 0) < counts[key] for key in ("replicas", "readyReplicas"))
        if old["reason"] == "ProgressDeadlineExceeded" and not moved:
            return _condition("False", old["reason"], old["message"]), None
        if late <= 0 and not moved:
            words = f"{name} has timed out progressing."
            return _condition("False", "ProgressDeadlineExceeded", words), None
        words = f"{name} is progressing."
        return _condition("True", "ReplicaSetUpdated", words), max(
            late, 0.0
        ) if not moved else limit


def _sizes(found: Object) -> dict[str, str]:
    wanted = found["spec"]["replicas"]
    surge = (found["spec"]["strategy"].get("rollingUpdate") or {}).get("maxSurge", 0)
    if isinstance(surge, str):
        surge = math.ceil(int(surge.removesuffix("%")) * wanted / 100)
    prefix = "deployment.kubernetes.io"
    return {
        f"{prefix}/desired-replicas": str(wanted),
        f"{prefix}/max-replicas": str(wanted + surge if wanted else 0),
    }


def _condition(status: str, reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _available(found: Object, available: int) -> Object:
    wanted, strategy = found["spec"]["replicas"], found["spec"]["strategy"]
    spare = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 0)
    if isinstance(spare, str):
        spare = math.floor(int(spare.removesuffix("%")) * wanted / 100)
    if strategy["type"] == "RollingUpdate" and not spare:
        surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", 0)
        spare = 0 if surge else 1
    good = available >= wanted - spare
    return {
        "type": "Available", "status": "True" if good else "False",
        "reason": f"MinimumReplicas{'Available' if good else 'Unavailable'}",
        "message": f"Deployment {'has' if good else 'does not have'} minimum availability.",
    }  # fmt: skip


def _update(obj: Object, new: Object, now: float) -> None:
    """Sets a condition; one that changes goes to the end of the row."""
    old = condition(obj, new["type"])
    if old and (old["status"], old["reason"]) == (new["status"], new["reason"]):
        return
    rows = obj["status"].setdefault("conditions", [])
    moved = old is None or old["status"] != new["status"]
    since = stamp(now) if old is None or moved else old["lastTransitionTime"]
    rows[:] = [one for one in rows if one is not old]
    rows.append({**new, "lastUpdateTime": stamp(now), "lastTransitionTime": since})


def _revised(obj: Object) -> None:
    obj["metadata"].setdefault("annotations", {})[_REVISION] = "1"
