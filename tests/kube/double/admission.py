"""What stands between a valid object and the store: namespaces, standards, quotas, webhooks."""

from dataclasses import dataclass, field

from tests.kube.double import podsecurity
from tests.kube.double.objects import (
    Object,
    containers_of,
    ended,
    labels_of,
    name_of,
    namespace_of,
    quantity,
    requests_of,
)  # fmt: skip
from tests.kube.double.resources import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    QUOTAS,
    REPLICASETS,
    RESOURCES,
    SERVICEACCOUNTS,
    Resource,
)  # fmt: skip
from tests.kube.double.statuses import Refusal, forbidden, not_found
from tests.kube.double.storage import Storage

ENFORCE = "pod-security.kubernetes.io/enforce"
WARN = "pod-security.kubernetes.io/warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Denies creates and updates of these resources, or (with `fails`) cannot be reached."""

    name: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...] = ("create",)
    denies: str = ""
    fails: str = ""


@dataclass(slots=True)
class Admission:
    storage: Storage
    webhooks: list[Webhook] = field(default_factory=list)

    def begin(self, resource: Resource, obj: Object) -> None:
        """What is asked before an object is looked at: is there room for it to live?"""
        namespace = namespace_of(obj)
        if not resource.namespaced:
            return
        found = self.storage.get(NAMESPACES, "", namespace)
        if found is None:
            raise not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in found["metadata"]:
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise forbidden(
                resource, name_of(obj), f"unable to create new content in namespace {namespace}"
                " because it is being terminated", causes=[cause],
            )  # fmt: skip
        if resource is PODS:
            self._account(obj)

    def settle(self, resource: Resource, obj: Object, verb: str = "create") -> None:
        """What is asked of a valid object."""
        self._webhooks(resource, verb)
        if verb != "create":
            return
        restricted = resource is PODS and self._level(obj, ENFORCE) == "restricted"
        if restricted and (found := podsecurity.violations(obj["spec"])):
            why = f'violates PodSecurity "restricted:latest": {found}'
            raise forbidden(resource, name_of(obj), why)
        self._quotas(resource, obj)

    def warnings(self, resource: Resource, obj: Object) -> list[str]:
        """What a controller's pods would be refused for is a warning when it is created."""
        if resource not in (JOBS, DEPLOYMENTS, REPLICASETS):
            return []
        if "restricted" not in (self._level(obj, ENFORCE), self._level(obj, WARN)):
            return []
        found = podsecurity.violations(obj["spec"]["template"]["spec"])
        return [f'would violate PodSecurity "restricted:latest": {found}'] if found else []

    def _level(self, obj: Object, label: str) -> str:
        found = self.storage.get(NAMESPACES, "", namespace_of(obj))
        return labels_of(found).get(label, "") if found else ""

    def _account(self, obj: Object) -> None:
        name = (obj.get("spec") or {}).get("serviceAccountName") or "default"
        namespace = namespace_of(obj)
        if self.storage.get(SERVICEACCOUNTS, namespace, name) is None:
            raise forbidden(
                PODS, name_of(obj), f"error looking up service account {namespace}/{name}:"
                f' serviceaccount "{name}" not found',
            )  # fmt: skip

    def _webhooks(self, resource: Resource, verb: str) -> None:
        for hook in self.webhooks:
            if resource.plural not in hook.resources or verb not in hook.verbs:
                continue
            if hook.fails:
                words = f'failed calling webhook "{hook.name}": {hook.fails}'
                raise Refusal(
                    500, "InternalError", f"Internal error occurred: {words}",
                    details={"causes": [{"message": words}]},
                )  # fmt: skip
            message = f'admission webhook "{hook.name}" denied the request: {hook.denies}'
            raise Refusal(400, "", message)

    def _quotas(self, resource: Resource, obj: Object) -> None:
        for quota in self.storage.all(QUOTAS, namespace_of(obj) or "-"):
            hard = quota["spec"].get("hard") or {}
            asked = _usage(resource, obj, set(hard))
            _must_specify(quota, resource, obj, set(hard))
            used = self.used(quota)
            over = [
                name for name, amount in asked.items() if used[name] + amount > quantity(hard[name])
            ]
            if any(asked[name] for name in over):
                limits = {name: quantity(amount) for name, amount in hard.items()}
                rows = (("requested", asked), ("used", used), ("limited", limits))
                words = ", ".join(f"{word}: {_amounts(row, over)}" for word, row in rows)
                why = f"exceeded quota: {name_of(quota)}, {words}"
                raise forbidden(resource, name_of(obj), why)

    def used(self, quota: Object) -> dict[str, float]:
        """What the namespace uses of what a quota limits."""
        hard = set(quota["spec"].get("hard") or {})
        used = dict.fromkeys(hard, 0.0)
        for resource in RESOURCES:
            if not resource.namespaced:
                continue
            for obj in self.storage.all(resource, namespace_of(quota)):
                for name, amount in _usage(resource, obj, hard).items():
                    used[name] += amount
        return used


def _usage(resource: Resource, obj: Object, hard: set[str]) -> dict[str, float]:
    """What one object uses, as far as it is limited; ended pods use nothing but their place."""
    found = {f"count/{resource.qualified}": 1.0}
    if resource is PODS and not ended(obj):
        found["pods"] = 1.0
        requests, limits = requests_of(obj), _limits(obj)
        for name, amount in requests.items():
            found[f"requests.{name}"] = amount
            found[name] = amount
        for name, amount in limits.items():
            found[f"limits.{name}"] = amount
    elif resource.plural in hard and resource is not PODS:
        found[resource.plural] = 1.0
    return {name: amount for name, amount in found.items() if name in hard}


def _limits(pod: Object) -> dict[str, float]:
    total: dict[str, float] = {}
    for container in pod["spec"].get("containers") or []:
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            total[name] = total.get(name, 0) + quantity(amount)
    return total


def _must_specify(quota: Object, resource: Resource, obj: Object, hard: set[str]) -> None:
    if resource is not PODS:
        return
    missing: dict[str, list[str]] = {}
    for name in sorted(hard):
        sort, _, what = name.rpartition(".")
        if what not in ("cpu", "memory"):
            continue
        for _, container in containers_of(obj["spec"]):
            if what not in ((container.get("resources") or {}).get(sort or "requests") or {}):
                missing.setdefault(name, []).append(container["name"])
    if missing:
        words = "; ".join(f"{name} for: {','.join(found)}" for name, found in missing.items())
        raise forbidden(PODS, name_of(obj), f"failed quota: {name_of(quota)}: must specify {words}")


def _amounts(row: dict[str, float], names: list[str]) -> str:
    return ",".join(f"{name}={written(name, row[name])}" for name in sorted(names))


def written(name: str, amount: float) -> str:
    """Writes an amount as a quantity."""
    if name.endswith("memory"):
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if amount and amount % size == 0:
                return f"{int(amount // size)}{unit}"
        return str(int(amount))
    return str(int(amount)) if amount == int(amount) else f"{round(amount * 1000)}m"
