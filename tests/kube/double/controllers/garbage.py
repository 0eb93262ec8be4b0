"""The garbage collector: what has lost all its owners goes, and what waits for its dependents."""

from collections.abc import Hashable, Iterable

from tests.kube.double.controllers.loop import Controller
from tests.kube.double.objects import (
    Object,
    deleting,
    finalizers_of,
    name_of,
    namespace_of,
    owners_of,
    uid_of,
)  # fmt: skip
from tests.kube.double.registry import FOREGROUND, Registry
from tests.kube.double.resources import BY_KIND, Resource
from tests.kube.double.storage import Event


class Garbage(Controller):
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def concerns(self, event: Event) -> Iterable[Hashable]:
        obj = event.object
        if event.kind == "DELETED":
            for resource, child in self.registry.storage.owned(uid_of(obj)):
                yield resource, namespace_of(child), name_of(child)
        elif owners_of(obj) or FOREGROUND in finalizers_of(obj):
            yield event.resource, namespace_of(obj), name_of(obj)
        for owner in owners_of(obj):
            resource = BY_KIND[owner["apiVersion"], owner["kind"]]
            space = namespace_of(obj) if resource.namespaced else ""
            yield resource, space, owner["name"]

    def sync(self, key: Hashable) -> float | None:
        assert isinstance(key, tuple)
        resource, namespace, name = key
        obj = self.registry.storage.get(resource, namespace, name)
        if obj is None:
            return None
        if FOREGROUND in finalizers_of(obj):
            self._foreground(resource, obj)
        elif owners_of(obj) and not deleting(obj):
            self._dependent(resource, obj)
        return None

    def _foreground(self, resource: Resource, owner: Object) -> None:
        """Deletes the dependents; those that block hold the owner until they are gone."""
        for child, obj in self.registry.storage.owned(uid_of(owner)):
            if not deleting(obj):
                policy = "Foreground" if self.registry.storage.owned(uid_of(obj)) else "Background"
                options = {"propagationPolicy": policy}
                self.registry.delete(child, namespace_of(obj), name_of(obj), options)
        rest = self.registry.storage.owned(uid_of(owner))
        mine = uid_of(owner)
        if not any(
            one["uid"] == mine and one.get("blockOwnerDeletion")
            for _, obj in rest
            for one in owners_of(obj)
        ):
            self.registry.edit(resource, owner, lambda obj: _drop(obj, FOREGROUND))

    def _dependent(self, resource: Resource, obj: Object) -> None:
        alive = [owner for owner in owners_of(obj) if self._there(obj, owner)]
        if not alive:
            options = {
                "propagationPolicy": "Background", "preconditions": {"uid": uid_of(obj)},
            }  # fmt: skip
            self.registry.delete(resource, namespace_of(obj), name_of(obj), options)
        elif len(alive) < len(owners_of(obj)):

            def change(new: Object) -> None:
                new["metadata"]["ownerReferences"] = alive

            self.registry.edit(resource, obj, change)

    def _there(self, obj: Object, owner: Object) -> bool:
        resource = BY_KIND[owner["apiVersion"], owner["kind"]]
        space = namespace_of(obj) if resource.namespaced else ""
        found = self.registry.storage.get(resource, space, owner["name"])
        return found is not None and uid_of(found) == owner["uid"]


def _drop(obj: Object, finalizer: str) -> None:
    obj["metadata"]["finalizers"] = [one for one in finalizers_of(obj) if one != finalizer]
