"""Namespaces: what a new one is born with, and how one ends."""

from collections.abc import Hashable, Iterable

from tests.kube.double.objects import Object, deleting, name_of, namespace_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import CONFIGMAPS, NAMESPACES, RESOURCES, SERVICEACCOUNTS
from tests.kube.double.statuses import Refusal
from tests.kube.double.storage import Event


class Namespaces:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def concerns(self, event: Event) -> Iterable[Hashable]:
        if event.resource is NAMESPACES:
            if event.kind != "DELETED":
                yield name_of(event.object)
        elif event.kind == "DELETED" and event.resource.namespaced:
            yield namespace_of(event.object)

    def sync(self, key: Hashable) -> float | None:
        found = self.registry.storage.get(NAMESPACES, "", str(key))
        if found is None:
            return None
        if deleting(found):
            self._empty(found)
        else:
            self._furnish(str(key))
        return None

    def _furnish(self, namespace: str) -> None:
        wanted = (
            (SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": namespace}}),
            (
                CONFIGMAPS,
                {
                    "metadata": {"name": "kube-root-ca.crt", "namespace": namespace},
                    "data": {"ca.crt": ""},
                },
            ),
        )
        for resource, obj in wanted:
            if self.registry.storage.get(resource, namespace, name_of(obj)) is None:
                self.registry.create(resource, obj)

    def _empty(self, namespace: Object) -> None:
        left = False
        for resource in RESOURCES:
            if not resource.namespaced:
                continue
            for obj in self.registry.storage.all(resource, name_of(namespace)):
                left = True
                if deleting(obj):
                    continue
                try:
                    options = {"propagationPolicy": "Background"}
                    self.registry.delete(resource, namespace_of(obj), name_of(obj), options)
                except Refusal:
                    continue
        if (left and not self._any(name_of(namespace))) or not left:
            self.registry.storage.remove(NAMESPACES, "", name_of(namespace))

    def _any(self, namespace: str) -> bool:
        return any(self.registry.storage.all(one, namespace) for one in RESOURCES if one.namespaced)
