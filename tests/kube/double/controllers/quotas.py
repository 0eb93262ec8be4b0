"""What quotas say of themselves; what they forbid is admission's matter."""

from collections.abc import Hashable, Iterable

from tests.kube.double.admission import written
from tests.kube.double.controllers.loop import Controller
from tests.kube.double.objects import Object, name_of, namespace_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import QUOTAS
from tests.kube.double.storage import Event


class Quotas(Controller):
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def concerns(self, event: Event) -> Iterable[Hashable]:
        for quota in self.registry.storage.all(QUOTAS, namespace_of(event.object) or "-"):
            yield namespace_of(quota), name_of(quota)

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        quota = self.registry.storage.get(QUOTAS, *key)
        if quota is None:
            return None
        used = self.registry.admission.used(quota)

        def change(obj: Object) -> None:
            hard = obj["spec"].get("hard") or {}
            shown = {name: written(name, used[name]) for name in hard}
            obj["status"] = {"hard": dict(hard), "used": shown}

        self.registry.edit(QUOTAS, quota, change, "status")
        return None
