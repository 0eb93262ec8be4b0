"""What a write means: the rules between a request and the store, for clients and controllers."""

import copy
import json
import uuid
from collections.abc import Callable

from tests.kube.double import defaults, patches, validation
from tests.kube.double.admission import Admission
from tests.kube.double.clock import Clock
from tests.kube.double.fields import check_resource
from tests.kube.double.objects import (
    Object,
    deleting,
    ended,
    finalizers_of,
    labels_of,
    name_of,
    namespace_of,
    node_of,
    owners_of,
    seconds,
    stamp,
    suffix,
    uid_of,
)  # fmt: skip
from tests.kube.double.resources import BY_KIND, NAMESPACES, NODES, PODS, Resource
from tests.kube.double.statuses import (
    Faults,
    Refusal,
    already_exists,
    bad_request,
    conflict,
    modified,
    not_found,
    not_modelled,
    wrong_precondition,
)  # fmt: skip
from tests.kube.double.storage import Storage

FOREGROUND = "foregroundDeletion"
# What the server sets and no client changes.
_FIXED = (
    "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds",
    "name", "namespace", "generateName",
)  # fmt: skip


class Registry:
    """Creates, changes and deletes objects as the API server does; raises `Refusal`."""

    def __init__(self, storage: Storage, clock: Clock, admission: Admission) -> None:
        self.storage, self.clock, self.admission = storage, clock, admission

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self.storage.get(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        obj = copy.deepcopy(obj)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise Refusal(500, "", message)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:58] + suffix()
        self.admission.begin(resource, obj)
        check_resource(resource, obj)
        _known_owners(obj)
        obj = self._born(resource, obj)
        validation.check(resource, obj)
        self.admission.settle(resource, obj)
        if self.storage.get(resource, namespace_of(obj), name_of(obj)) is not None:
            raise already_exists(resource, name_of(obj))
        return obj if dry_run else self.storage.write(resource, obj)

    def _born(self, resource: Resource, obj: Object) -> Object:
        metadata = {key: value for key, value in obj["metadata"].items() if value is not None}
        for key in ("managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(key, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(self.clock.now())}
        metadata.pop("generation", None)
        if resource.generation:
            metadata["generation"] = 1
        # A node alone comes with a status: it registers itself.
        dropped = {"kind", "apiVersion", "metadata"} | (set() if resource is NODES else {"status"})
        rest = {key: value for key, value in obj.items() if key not in dropped}
        frame = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        obj = {**frame, **rest}
        defaults.shape(resource, obj)
        defaults.fill(resource, obj)
        if resource is PODS:
            defaults.admit_pod(obj)
        defaults.begin(resource, obj)
        return obj

    def update(
        self, resource: Resource, namespace: str, name: str, obj: Object, subresource: str = ""
    ) -> tuple[Object, bool]:
        """Replaces an object (or its status); returns it, and whether it is new."""
        given = obj["metadata"].get("name")
        if given and given != name:
            raise bad_request(
                f"the name of the object ({given}) does not match the name on the URL ({name})"
            )
        old = self.storage.get(resource, namespace, name)
        if old is None and resource.upsert and not obj["metadata"].get("uid"):
            return self.create(resource, obj), True
        old = self.get(resource, namespace, name)
        version = obj["metadata"].get("resourceVersion")
        if not version and not resource.unconditional:
            faults = Faults(resource, name)
            field = "metadata.resourceVersion"
            faults.add("invalid", field, "must be specified for an update", 0)
            faults.settle(kind=resource.plural)
        if (uid := obj["metadata"].get("uid")) and uid != uid_of(old):
            group = f"{resource.group}/" if resource.group else ""
            raise conflict(
                resource, name, "StorageError: invalid object, Code: 4, Key: /registry/"
                f"{group}{resource.plural}/{namespace}/{name}, ResourceVersion: 0,"
                f" AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in"
                f" object meta: {uid_of(old)}",
            )  # fmt: skip
        return self._change(resource, old, obj, subresource), False

    def patch(
        self, resource: Resource, namespace: str, name: str, sort: str, patch: object,
        subresource: str = "",
    ) -> Object:  # fmt: skip
        old = self.get(resource, namespace, name)
        new = patches.apply(sort, old, patch)
        if (uid := new["metadata"].get("uid")) and uid != uid_of(old):
            faults = Faults(resource, name)
            for _ in range(2):
                faults.add("invalid", "metadata.uid", "field is immutable", uid)
            faults.settle()
        asked = patch.get("metadata") if isinstance(patch, dict) else None
        if not (asked or {}).get("resourceVersion") and sort != patches.JSON:
            new["metadata"].pop("resourceVersion", None)
        return self._change(resource, old, new, subresource)

    def edit(
        self, resource: Resource, obj: Object, change: Callable[[Object], None],
        subresource: str = "",
    ) -> Object | None:  # fmt: skip
        """Changes the newest state of an object, for a controller; None when it is gone."""
        old = self.storage.get(resource, namespace_of(obj), name_of(obj))
        if old is None or uid_of(old) != uid_of(obj):
            return None
        new = copy.deepcopy(old)
        change(new)
        return self._commit(resource, old, self._merged(resource, old, new, subresource))

    def place(self, pod: Object, change: Callable[[Object], None]) -> Object:
        """Binds a pod: the one change of its spec that is no new generation."""
        new = copy.deepcopy(pod)
        change(new)
        return self._commit(PODS, pod, new)

    def _change(self, resource: Resource, old: Object, obj: Object, subresource: str) -> Object:
        name = name_of(old)
        check_resource(resource, obj)
        version = obj["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise modified(resource, name)
        new = self._merged(resource, old, obj, subresource)
        self._finalizers(resource, old, new)
        if not subresource:
            validation.check(resource, new, old)
        _known_owners(new)
        self.admission.settle(resource, new, "update")
        return self._commit(resource, old, new)

    def _merged(self, resource: Resource, old: Object, obj: Object, subresource: str) -> Object:
        """The old object with what the request may change of it."""
        new = copy.deepcopy(obj)
        metadata = {key: value for key, value in new["metadata"].items() if value is not None}
        for key in _FIXED:
            metadata.pop(key, None)
            if key in old["metadata"]:
                metadata[key] = old["metadata"][key]
        metadata.pop("managedFields", None)
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not metadata.get(key):
                metadata.pop(key, None)
        if subresource == "status":
            new["status"] = new.get("status") or {}
            defaults.fill_status(resource, new)
            return {**old, "metadata": metadata, "status": new["status"]}
        new = {**new, "kind": old["kind"], "apiVersion": old["apiVersion"], "metadata": metadata}
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
        defaults.shape(resource, new)
        defaults.fill(resource, new)
        if resource.generation and new.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"]["generation"] + 1
        return new

    def _finalizers(self, resource: Resource, old: Object, new: Object) -> None:
        fresh = [one for one in finalizers_of(new) if one not in finalizers_of(old)]
        if deleting(old) and fresh:
            faults = Faults(resource, name_of(old))
            shown = ", ".join(json.dumps(one) for one in fresh)
            for _ in range(2):
                faults.add(
                    "forbidden", "metadata.finalizers", "no new finalizers can be added if the"
                    f" object is being deleted, found new finalizers []string{{{shown}}}",
                )  # fmt: skip
            faults.settle()

    def _commit(self, resource: Resource, old: Object, new: Object) -> Object:
        if new == old:
            return old
        held = finalizers_of(new) or new["metadata"].get("deletionGracePeriodSeconds")
        if deleting(new) and not held and resource is not NAMESPACES:
            self.storage.remove(resource, namespace_of(old), name_of(old))
            return new
        return self.storage.write(resource, new)

    def delete(
        self, resource: Resource, namespace: str, name: str, options: Object | None = None
    ) -> tuple[Object, bool]:
        """Deletes, or begins to; returns the last state, and whether the object is gone."""
        options = options or {}
        old = self.get(resource, namespace, name)
        _preconditions(resource, old, options.get("preconditions") or {})
        policy = options.get("propagationPolicy")
        if policy is None and resource.orphans:
            raise not_modelled(
                f"delete {resource.plural} without propagationPolicy: it would orphan the pods"
            )
        new = copy.deepcopy(old)
        if policy == "Foreground" and FOREGROUND not in finalizers_of(new):
            new["metadata"]["finalizers"] = [*finalizers_of(new), FOREGROUND]
        self._mark(resource, new, options.get("gracePeriodSeconds"))
        grace = new["metadata"].get("deletionGracePeriodSeconds") or 0
        stays = bool(finalizers_of(new)) or grace > 0 or resource is NAMESPACES
        if new != old and (stays or resource is PODS):
            new = self.storage.write(resource, new)
        if stays:
            return new, False
        last = self.storage.remove(resource, namespace, name)
        return (new if resource is PODS else last), True

    def _mark(self, resource: Resource, obj: Object, asked: int | None) -> None:
        """Sets when the object ends; a deletion once begun may only come sooner."""
        metadata, now = obj["metadata"], self.clock.now()
        grace = _grace(obj, asked) if resource is PODS else 0
        if not deleting(obj):
            metadata["deletionTimestamp"] = stamp(now + grace)
            if resource is not NAMESPACES:
                metadata["deletionGracePeriodSeconds"] = grace
            else:
                obj["status"] = {**obj["status"], "phase": "Terminating"}
            if metadata.get("generation"):
                metadata["generation"] += 1
            return
        current = metadata.get("deletionGracePeriodSeconds") or 0
        if asked is None or asked >= current:
            return
        began = seconds(metadata["deletionTimestamp"]) - current
        metadata["deletionTimestamp"] = stamp(began + asked if asked else now)
        metadata["deletionGracePeriodSeconds"] = asked

    def labelled(self, resource: Resource, namespace: str, key: str, value: str) -> list[Object]:
        rows = self.storage.all(resource, namespace)
        return [row for row in rows if labels_of(row).get(key) == value]


def _grace(pod: Object, asked: int | None) -> int:
    if not node_of(pod) or ended(pod):
        return 0
    found = pod["spec"].get("terminationGracePeriodSeconds") if asked is None else asked
    return 1 if found < 0 else int(found)


def _preconditions(resource: Resource, obj: Object, asked: Object) -> None:
    uid, version = asked.get("uid"), asked.get("resourceVersion")
    if uid and uid != uid_of(obj):
        raise wrong_precondition(
            resource, name_of(obj), f"the UID in the precondition ({uid}) does not match the UID"
            f" in record ({uid_of(obj)}). The object might have been deleted and then recreated",
        )  # fmt: skip
    found = obj["metadata"]["resourceVersion"]
    if version and version != found:
        raise wrong_precondition(
            resource, name_of(obj), f"the ResourceVersion in the precondition ({version}) does not"
            f" match the ResourceVersion in record ({found}). The object might have been modified",
        )  # fmt: skip


def _known_owners(obj: Object) -> None:
    for owner in owners_of(obj):
        if (owner.get("apiVersion"), owner.get("kind")) not in BY_KIND:
            raise not_modelled(f"an owner of kind {owner.get('kind')} {owner.get('apiVersion')}")
