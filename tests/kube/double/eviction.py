"""Evictions, and what disruption budgets say to them."""

import math

from tests.kube.double.objects import (
    Object,
    deleting,
    ended,
    holds,
    labels_of,
    name_of,
    namespace_of,
    node_of,
    set_condition,
)  # fmt: skip
from tests.kube.double.registry import Registry
from tests.kube.double.resources import BUDGETS, PODS
from tests.kube.double.selectors import selected
from tests.kube.double.statuses import Refusal


def evict(registry: Registry, namespace: str, name: str, options: Object) -> None:
    """Deletes a pod unless a budget forbids it: 429."""
    pod = registry.get(PODS, namespace, name)
    for budget in registry.storage.all(BUDGETS, namespace):
        if selected(budget["spec"].get("selector") or {}, labels_of(pod)) and not ended(pod):
            always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
            if holds(pod, "Ready") or not always:
                _allow(registry, budget)
    if node_of(pod) and not ended(pod):
        registry.edit(PODS, pod, lambda obj: _disrupt(obj, registry.clock.now()), "status")
    registry.delete(PODS, namespace, name, {**options, "propagationPolicy": None})


def _disrupt(pod: Object, now: float) -> None:
    new = {
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }  # fmt: skip
    set_condition(pod, new, now, probe=False)


def _allow(registry: Registry, budget: Object) -> None:
    healthy, needed, _ = health(registry, budget)
    if healthy > needed:
        return
    cause = {
        "reason": "DisruptionBudget",
        "message": f"The disruption budget {name_of(budget)} needs {needed} healthy pods and has"
        f" {healthy} currently",
    }
    raise Refusal(
        429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption"
        " budget.", details={"causes": [cause]},
    )  # fmt: skip


def health(registry: Registry, budget: Object) -> tuple[int, int, int]:
    """Returns how many pods of a budget are healthy, must be, and are expected."""
    spec = budget["spec"]
    pods = [
        one
        for one in registry.storage.all(PODS, namespace_of(budget))
        if selected(spec.get("selector") or {}, labels_of(one)) and not ended(one)
    ]
    healthy = sum(holds(one, "Ready") and not deleting(one) for one in pods)
    if "maxUnavailable" in spec:
        needed = max(0, len(pods) - _count(spec["maxUnavailable"], len(pods)))
    else:
        needed = _count(spec.get("minAvailable", 1), len(pods))
    return healthy, needed, len(pods)


def _count(amount: int | str, total: int) -> int:
    if isinstance(amount, int):
        return amount
    return math.ceil(float(amount.removesuffix("%")) * total / 100)
