"""Namespaces: what a new one is born with, and how one ends."""

import contextlib
from collections.abc import Hashable, Iterable

from tests.kube.double.controllers.loop import Controller
from tests.kube.double.objects import Object, deleting, name_of, namespace_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import (
    CONFIGMAPS,
    NAMESPACES,
    PODS,
    RESOURCES,
    SERVICEACCOUNTS,
    Resource,
)  # fmt: skip
from tests.kube.double.statuses import Refusal
from tests.kube.double.storage import Event


class Namespaces(Controller):
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
        """Deletes what is in a namespace that ends, and then it: the pods first, and while one is
        held nothing else."""
        found = self._inside(name_of(namespace))
        pods = [each for each in found if each[0] is PODS]
        for resource, obj in pods or found:
            if not deleting(obj):
                options = {"propagationPolicy": "Background"}
                # What goes with another is gone by its turn.
                with contextlib.suppress(Refusal):
                    self.registry.delete(resource, namespace_of(obj), name_of(obj), options)
        if not self._inside(name_of(namespace)):
            self.registry.storage.remove(NAMESPACES, "", name_of(namespace))

    def _inside(self, namespace: str) -> list[tuple[Resource, Object]]:
        kinds = [one for one in RESOURCES if one.namespaced]
        return [(one, obj) for one in kinds for obj in self.registry.storage.all(one, namespace)]
