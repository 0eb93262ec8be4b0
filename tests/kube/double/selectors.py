"""Label and field selectors."""

import re
from collections.abc import Callable
from typing import Any

from tests.kube.double.objects import Object, labels_of
from tests.kube.double.resources import Resource
from tests.kube.double.statuses import bad_request

Match = Callable[[Object], bool]

_REQUIREMENT = re.compile(
    r"\s*(?:!\s*(?P<absent>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*"
)


def labels(text: str) -> Match:
    """Reads a label selector: a=b,c!=d,e in (f,g),h notin (i),j,!k."""
    tests = [_requirement(part) for part in _split(text)]
    return lambda obj: all(test(labels_of(obj)) for test in tests)


def selected(selector: Object, found: dict[str, str]) -> bool:
    """Whether labels match a selector as it stands in a spec; an empty one matches all."""
    if any(found.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for row in selector.get("matchExpressions") or []:
        key, values = row["key"], row.get("values") or []
        good = {
            "In": found.get(key) in values,
            "NotIn": found.get(key) not in values,
            "Exists": key in found,
            "DoesNotExist": key not in found,
        }[row["operator"]]
        if not good:
            return False
    return True


def fields(resource: Resource, text: str) -> Match:
    """Reads a field selector: a.b=c,d!=e; raises 400 for a field that the kind does not offer."""
    known = {"metadata.name", "metadata.namespace", *resource.fields}
    tests: list[Match] = []
    for part in _split(text):
        found = re.fullmatch(r"\s*([\w.]+)\s*(==|=|!=)\s*(.*?)\s*", part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if found[1] not in known:
            raise bad_request(_unknown(resource, found[1]))
        tests.append(_field(found[1], found[2] != "!=", found[3]))
    return lambda obj: all(test(obj) for test in tests)


def _unknown(resource: Resource, field: str) -> str:
    if resource.group == "batch":
        return f'field label "{field}" not supported for batchv1.Job'
    if resource.fields:
        return f"field label not supported: {field}"
    known = 'only "metadata.name", "metadata.namespace"'
    return f'"{field}" is not a known field selector: {known}'


def _split(text: str) -> list[str]:
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _requirement(part: str) -> Callable[[dict[str, str]], bool]:
    found = _REQUIREMENT.fullmatch(part)
    if not found:
        raise bad_request(f"unable to parse requirement: found '{part.strip()}'")
    if key := found["absent"]:
        return lambda have: key not in have
    key, value = found["key"], found["value"]
    if found["op"] == "!=":
        return lambda have: have.get(key) != value
    if found["op"]:
        return lambda have: have.get(key) == value
    if found["set"]:
        values = {one.strip() for one in found["values"].split(",")}
        within = found["set"] == "in"
        return lambda have: (have.get(key) in values) is within
    return lambda have: key in have


def _field(path: str, equal: bool, wanted: str) -> Match:
    return lambda obj: (_read(obj, path) == wanted) is equal


def _read(obj: Object, path: str) -> str:
    found: Any = obj
    for step in path.split("."):
        found = (found or {}).get(step)
    if isinstance(found, bool):
        return "true" if found else "false"
    if found is None and path in ("spec.unschedulable",):
        return "false"
    return "" if found is None else str(found)
