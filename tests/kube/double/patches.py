"""Patches: merge, JSON, and the simple part of the strategic one."""

import copy
from collections.abc import Callable
from typing import Any

from tests.kube.double.objects import Object
from tests.kube.double.statuses import Refusal, not_modelled

MERGE, JSON = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
# Lists that the strategic patch merges by this key; all other lists are replaced, or 501.
_MERGED = {
    "conditions": "type", "containers": "name", "ownerReferences": "uid",
    "addresses": "type", "env": "name", "hostIPs": "ip", "podIPs": "ip", "volumes": "name",
}  # fmt: skip
_REPLACED = {
    "args", "command", "containerStatuses", "images", "initContainerStatuses", "taints",
    "tolerations",
}  # fmt: skip


def apply(sort: str, obj: Object, patch: Any) -> Object:
    """Returns a patched copy."""
    obj = copy.deepcopy(obj)
    if sort == JSON:
        for step in patch:
            _step(obj, step)
        return obj
    merged: Object = _merge(obj, patch, strategic=sort == STRATEGIC)
    return merged


def _merge(target: Any, patch: Any, *, strategic: bool) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if strategic and name.startswith("$"):
            raise not_modelled(f"the directive {name} of a strategic merge patch")
        if value is None:
            result.pop(name, None)
        elif strategic and isinstance(value, list):
            result[name] = _list(name, result.get(name) or [], value)
        else:
            result[name] = _merge(result.get(name), value, strategic=strategic)
    return result


def _list(name: str, target: list[Any], patch: list[Any]) -> list[Any]:
    if name == "finalizers":
        return _woven(list(dict.fromkeys(patch)), target, lambda one: one)
    if name in _REPLACED:
        return list(patch)
    if name not in _MERGED:
        raise not_modelled(f"a strategic merge patch of the list {name}")
    key, rows = _MERGED[name], [dict(row) for row in target]
    mine = []
    for change in patch:
        if any(one.startswith("$") for one in change):
            raise not_modelled("a directive in a list of a strategic merge patch")
        found = next((row for row in rows if row[key] == change[key]), {})
        mine.append(_merge(found, change, strategic=True))
    return _woven(mine, rows, lambda row: row[key])


def _woven(mine: list[Any], target: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    """The patch's rows and the rest: in the old order where there is one, new ones first."""
    order = {key(row): place for place, row in enumerate(target)}
    changed = {key(row) for row in mine}
    rest = [row for row in target if key(row) not in changed]
    woven: list[Any] = []
    for row in mine:
        while rest and key(row) in order and order[key(rest[0])] < order[key(row)]:
            woven.append(rest.pop(0))
        woven.append(row)
    return woven + rest


def _rejected() -> Refusal:
    message = "the server rejected our request due to an error in our request"
    return Refusal(422, "Invalid", message, details={})


def _step(obj: Any, step: Object) -> None:
    verb, path = step["op"], _path(step["path"])
    if verb == "test":
        if _at(obj, path) != step.get("value"):
            raise _rejected()
    elif verb in ("add", "replace", "remove"):
        if verb != "add":
            _at(obj, path)
        _set(obj, path, verb, copy.deepcopy(step.get("value")))
    elif verb in ("move", "copy"):
        source = _path(step["from"])
        value = copy.deepcopy(_at(obj, source))
        if verb == "move":
            _set(obj, source, "remove", None)
        _set(obj, path, "add", value)
    else:
        raise _rejected()


def _path(text: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(obj: Any, path: list[str]) -> Any:
    for part in path:
        try:
            obj = obj[int(part)] if isinstance(obj, list) else obj[part]
        except (LookupError, ValueError, TypeError):
            raise _rejected() from None
    return obj


def _set(obj: Any, path: list[str], verb: str, value: Any) -> None:
    holder, last = _at(obj, path[:-1]), path[-1]
    if isinstance(holder, dict):
        if verb == "remove":
            del holder[last]
        else:
            holder[last] = value
    elif isinstance(holder, list):
        place = len(holder) if last == "-" else int(last)
        if verb == "add":
            holder.insert(place, value)
        elif verb == "replace":
            holder[place] = value
        else:
            del holder[place]
    else:
        raise _rejected()
