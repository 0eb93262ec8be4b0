"""What all kinds of objects have in common: metadata, owners, conditions, times, quantities."""

import math
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

# What generated names end with: no vowels, and nothing that looks like another character.
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SCALES = {
    "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "E": 1e18, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?[0-9.]+)(?:([numkMGTPE]i?|[KMGTPE]i)|[eE]([+-]?[0-9]+))?")


def stamp(seconds: float, *, micro: bool = False) -> str:
    """Returns the time as the API writes it."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Reads what `stamp` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def quantity(text: str | int | float) -> float:
    """Reads a quantity: 100m, 64Mi, 1e3, 2; raises ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if not found or (found[2] or "") not in _SCALES:
        raise ValueError(text)
    return float(found[1]) * _SCALES[found[2] or ""] * 10.0 ** int(found[3] or 0)


def canonical(text: str | int | float) -> str:
    """Writes a quantity in its shortest form: 0.5 is 500m, 1024Mi is 1Gi; raises ValueError."""
    amount = quantity(text)
    family = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki") if str(text).endswith("i") else tuple("EPTGMk")
    for unit in family:
        if amount and amount % _SCALES[unit] == 0:
            return f"{int(amount // _SCALES[unit])}{unit}"
    if amount == int(amount):
        return str(int(amount))
    return f"{math.ceil(round(amount * 1000, 6))}m"


def suffix(length: int = 5) -> str:
    return "".join(random.choices(LETTERS, k=length))


def name_of(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


def version_of(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion", 0))


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def owners_of(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def finalizers_of(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def deleting(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def status_of(obj: Object) -> Object:
    found: Object = obj.get("status") or {}
    return found


def phase_of(pod: Object) -> str:
    return str(status_of(pod).get("phase", ""))


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName") or "")


def ended(pod: Object) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def controller_of(obj: Object) -> Object | None:
    return next((one for one in owners_of(obj) if one.get("controller")), None)


def condition(obj: Object, kind: str) -> Object | None:
    found = status_of(obj).get("conditions") or []
    return next((one for one in found if one["type"] == kind), None)


def holds(obj: Object, kind: str) -> bool:
    found = condition(obj, kind)
    return bool(found and found["status"] == "True")


def set_condition(obj: Object, new: Object, now: float, *, probe: bool = True) -> None:
    """Puts the condition in; its transition time moves only with its status."""
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    old = next((one for one in conditions if one["type"] == new["type"]), None)
    moved = old is None or old["status"] != new["status"]
    times: Object = {"lastProbeTime": stamp(now)} if probe else {}
    if old is not None and not moved:
        if {key: old.get(key) for key in new} == new:
            return
        times["lastTransitionTime"] = old["lastTransitionTime"]
    else:
        times["lastTransitionTime"] = stamp(now)
    row = {"type": new["type"], "status": new["status"], **times, **new}
    if old is None:
        conditions.append(row)
    else:
        conditions[conditions.index(old)] = row


def containers_of(spec: Object) -> Iterator[tuple[str, Object]]:
    """Yields (field, container) of all containers in a pod's spec."""
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or []:
            yield field, container


def requests_of(pod: Object) -> dict[str, float]:
    """What the pod asks of a node: the larger of its containers' sum and each init container."""
    total: dict[str, float] = {}
    for container in pod["spec"].get("containers") or []:
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0) + amount
    for container in pod["spec"].get("initContainers") or []:
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, 0), amount)
    return total


def _requests(container: Object) -> dict[str, float]:
    found = (container.get("resources") or {}).get("requests") or {}
    return {name: quantity(amount) for name, amount in found.items()}
