"""The ReplicaSet controller: as many pods as are wanted."""

from collections import defaultdict
from collections.abc import Hashable, Iterable

from tests.kube.double.controllers import templates
from tests.kube.double.controllers.events import tell
from tests.kube.double.controllers.loop import Controller
from tests.kube.double.controllers.ranking import rank
from tests.kube.double.objects import (
    Object,
    controller_of,
    deleting,
    ended,
    holds,
    name_of,
    namespace_of,
    set_condition,
    uid_of,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import PODS, REPLICASETS
from tests.kube.double.settings import Settings
from tests.kube.double.statuses import Refusal
from tests.kube.double.storage import Event

_SOURCE = "replicaset-controller"


class ReplicaSets(Controller):
    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.registry, self.settings, self.clock = registry, settings, registry.clock
        self._refused: dict[str, int] = defaultdict(int)

    def concerns(self, event: Event) -> Iterable[Hashable]:
        obj = event.object
        if event.resource is REPLICASETS:
            yield namespace_of(obj), name_of(obj)
        elif event.resource is PODS:
            owner = controller_of(obj)
            if owner and owner["kind"] == "ReplicaSet":
                yield namespace_of(obj), owner["name"]

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        found = self.registry.storage.get(REPLICASETS, *key)
        if found is None:
            return None
        wait: float | None = None
        failure = ""
        if not deleting(found):
            try:
                self._manage(found)
                self._refused.pop(uid_of(found), None)
            except Refusal as error:
                failure, wait = error.message, self._refuse(found, error)
        self._describe(found, failure)
        return wait

    def _pods(self, found: Object) -> list[Object]:
        owned = self.registry.storage.owned(uid_of(found))
        pods = [obj for resource, obj in owned if resource is PODS]
        return [pod for pod in pods if not ended(pod)]

    def _manage(self, found: Object) -> None:
        active = [pod for pod in self._pods(found) if not deleting(pod)]
        wanted = found["spec"]["replicas"]
        for pod in sorted(active, key=rank)[: max(0, len(active) - wanted)]:
            self.registry.delete(PODS, namespace_of(pod), name_of(pod))
            words = f"Deleted pod: {name_of(pod)}"
            tell(self.registry, self.clock, _SOURCE, found, "SuccessfulDelete", words)
        for _ in range(wanted - len(active)):
            pod = self.registry.create(PODS, templates.pod(found, f"{name_of(found)}-"))
            words = f"Created pod: {name_of(pod)}"
            tell(self.registry, self.clock, _SOURCE, found, "SuccessfulCreate", words)

    def _refuse(self, found: Object, error: Refusal) -> float:
        words = f"Error creating: {error.message}"
        tell(self.registry, self.clock, _SOURCE, found, "FailedCreate", words, warning=True)
        self._refused[uid_of(found)] += 1
        wait = self.settings.create_backoff * 2.0 ** min(self._refused[uid_of(found)] - 1, 30)
        return min(wait, self.settings.create_backoff_most)

    def _describe(self, found: Object, failure: str) -> None:
        pods = self._pods(found)
        active = [pod for pod in pods if not deleting(pod)]
        ready = sum(holds(pod, "Ready") for pod in active)
        numbers = {
            "fullyLabeledReplicas": len(active), "readyReplicas": ready,
            "availableReplicas": ready,
        }  # fmt: skip
        generation, now = found["metadata"]["generation"], self.clock.now()

        def change(obj: Object) -> None:
            old = [
                one
                for one in obj["status"].get("conditions") or []
                if one["type"] != "ReplicaFailure" or failure
            ]
            obj["status"] = {
                "replicas": len(active), "terminatingReplicas": len(pods) - len(active),
                "observedGeneration": generation,
                **{key: value for key, value in numbers.items() if value},
                **({"conditions": old} if old else {}),
            }  # fmt: skip
            # It tells of the first refusal: each names another pod.
            if failure and not holds(obj, "ReplicaFailure"):
                new = {
                    "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                    "message": failure,
                }  # fmt: skip
                set_condition(obj, new, now, probe=False)

        self.registry.edit(REPLICASETS, found, change, "status")
