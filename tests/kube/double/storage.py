"""Objects, one rising version for all writes, and the history that watches resume from."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tests.kube.double.objects import Object, name_of, namespace_of, owners_of
from tests.kube.double.resources import Resource

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """One write: what the object is now (deleted: what it was last), and what it was before."""

    version: int
    resource: Resource
    kind: str
    object: Object
    before: Object | None


class Storage:
    """Keeps objects as they were given: nobody may change one that is stored."""

    def __init__(self, window: int) -> None:
        self.version = 1
        # The oldest version that a watch may resume from.
        self.compacted = 0
        self.window = window
        self.listeners: list[Callable[[Event], None]] = []
        self._rows: dict[Resource, dict[Key, Object]] = defaultdict(dict)
        self._owned: dict[str, dict[tuple[Resource, Key], None]] = defaultdict(dict)
        self._events: list[Event] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._rows[resource].get((namespace, name))

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Returns the objects (of one namespace), in no special order."""
        rows = self._rows[resource]
        if not namespace:
            return list(rows.values())
        return [row for (space, _), row in rows.items() if space == namespace]

    def owned(self, uid: str) -> list[tuple[Resource, Object]]:
        """Returns the objects that name this uid as an owner."""
        return [(resource, self._rows[resource][key]) for resource, key in self._owned.get(uid, ())]

    def write(self, resource: Resource, obj: Object) -> Object:
        """Stores a new object or a new state of one, under the next version."""
        key = (namespace_of(obj), name_of(obj))
        before = self._rows[resource].get(key)
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self._rows[resource][key] = obj
        self._index(resource, key, before, obj)
        self._tell(Event(self.version, resource, "MODIFIED" if before else "ADDED", obj, before))
        return obj

    def remove(self, resource: Resource, namespace: str, name: str) -> Object:
        before = self._rows[resource].pop((namespace, name))
        self._index(resource, (namespace, name), before, None)
        self.version += 1
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
        self._tell(Event(self.version, resource, "DELETED", last, before))
        return last

    def at(self, resource: Resource, version: int) -> dict[Key, Object]:
        """Returns the objects as they were at a version that is not compacted."""
        rows = dict(self._rows[resource])
        for event in reversed(self._events):
            if event.version <= version:
                break
            if event.resource is resource:
                key = (namespace_of(event.object), name_of(event.object))
                if event.before is None:
                    rows.pop(key, None)
                else:
                    rows[key] = event.before
        return rows

    def since(self, resource: Resource, version: int) -> list[Event]:
        """Returns the writes after a version that is not compacted."""
        start = bisect_right(self._events, version, key=lambda event: event.version)
        return [event for event in self._events[start:] if event.resource is resource]

    def compact(self, version: int) -> None:
        """Forgets how things were before a version."""
        self.compacted = max(self.compacted, version)
        start = bisect_right(self._events, self.compacted, key=lambda event: event.version)
        del self._events[:start]

    def _index(self, resource: Resource, key: Key, old: Object | None, new: Object | None) -> None:
        for owner in owners_of(old) if old else ():
            self._owned[owner["uid"]].pop((resource, key), None)
        for owner in owners_of(new) if new else ():
            self._owned[owner["uid"]][resource, key] = None

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        # Cut in bulk: taking one off the front at each write would cost the whole list.
        if len(self._events) > 2 * self.window:
            self.compact(self._events[-self.window - 1].version)
        for listener in self.listeners:
            listener(event)
