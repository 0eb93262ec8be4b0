"""What disruption budgets say of themselves."""

from collections.abc import Hashable, Iterable

from tests.kube.double.controllers.loop import Controller
from tests.kube.double.eviction import health
from tests.kube.double.objects import Object, name_of, namespace_of, set_condition
from tests.kube.double.registry import Registry
from tests.kube.double.resources import BUDGETS, PODS
from tests.kube.double.storage import Event


class Budgets(Controller):
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def concerns(self, event: Event) -> Iterable[Hashable]:
        if event.resource in (BUDGETS, PODS):
            for budget in self.registry.storage.all(BUDGETS, namespace_of(event.object)):
                yield namespace_of(budget), name_of(budget)

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        budget = self.registry.storage.get(BUDGETS, *key)
        if budget is None:
            return None
        healthy, needed, expected = health(self.registry, budget)
        allowed = max(0, healthy - needed) if expected else 0
        generation, now = budget["metadata"]["generation"], self.registry.clock.now()

        def change(obj: Object) -> None:
            obj["status"] |= {
                "currentHealthy": healthy, "desiredHealthy": needed, "expectedPods": expected,
                "disruptionsAllowed": allowed, "observedGeneration": generation,
            }  # fmt: skip
            new = {
                "type": "DisruptionAllowed", "status": "True" if allowed else "False",
                "reason": "SufficientPods" if allowed else "InsufficientPods", "message": "",
                "observedGeneration": generation,
            }  # fmt: skip
            set_condition(obj, new, now, probe=False)

        self.registry.edit(BUDGETS, budget, change, "status")
        return None
