"""What a pod's spec says of a container: its environment, its command, its rights. No I/O but by
the `Lookup` it is given."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
# (kind, name) -> the object's decoded data, None if there is none. Kind: secrets or configmaps.
Lookup = Callable[[str, str], Awaitable[dict[str, bytes] | None]]

KINDS = {"secrets": "secret", "configmaps": "configmap"}
_FACTOR = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "m": 0.001}
_FACTOR |= {f"{unit}i": 1 << 10 * power for power, unit in enumerate("KMGTP", 1)}
_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.+)'\]")
_VARIABLE = re.compile(r"\$(\$)?\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")


class BadConfig(Exception):
    """The container cannot be made from what there is now: CreateContainerConfigError."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What of a pod only its node knows."""

    ip: str
    host_ip: str = "127.0.0.1"
    node: str
    allocatable: dict[str, str]


def quantity(text: str | int | float) -> float:
    """`512Mi` -> 536870912.0, `500m` -> 0.5."""
    found = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([kMGTPm]|[KMGTP]i)?", str(text))
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * _FACTOR[found[2] or ""]


def memory_limit(container: Json) -> int:
    """In bytes; 0 for none."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return int(quantity(limits.get("memory", 0)))


def hostname(pod: Json) -> str:
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]


def containers(pod: Json) -> list[Json]:
    spec = pod["spec"]
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def field(pod: Json, path: str, facts: Facts) -> str:
    """A `fieldRef`."""
    meta, spec = pod["metadata"], pod["spec"]
    if found := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(found[1].partition(".")[2]) or {}).get(found[2], ""))
    known = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": facts.node,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": facts.ip,
        "status.podIPs": facts.ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path in known:
        return str(known[path])
    if path in ("metadata.labels", "metadata.annotations"):
        entries = meta.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    raise BadConfig(f"unsupported fieldPath: {path}")


def resource(pod: Json, container: Json, ref: Json, facts: Facts) -> str:
    """A `resourceFieldRef`: a limit not set is what the node has."""
    if named := ref.get("containerName"):
        container = next(one for one in containers(pod) if one["name"] == named)
    kind, _, name = str(ref["resource"]).partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(kind) or {}).get(name)
    if value is None and kind == "limits":
        value = facts.allocatable.get(name)
    exact = quantity(value or 0) / quantity(ref.get("divisor") or 1)
    return str(-int(-exact // 1))


async def environment(pod: Json, container: Json, facts: Facts, lookup: Lookup) -> dict[str, str]:
    """The container's own variables; `BadConfig` while something it names is missing."""
    values: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        values |= await _env_from(source, lookup)
    for entry in container.get("env") or []:
        value = await _env_value(pod, container, entry, facts, lookup)
        if value is not None:
            values[entry["name"]] = expand(value, values) if "value" in entry else value
    return values


async def _env_from(source: Json, lookup: Lookup) -> dict[str, str]:
    for key, kind in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
        if ref := source.get(key):
            data = await lookup(kind, ref["name"])
            if data is None and not ref.get("optional"):
                raise BadConfig(f'{KINDS[kind]} "{ref["name"]}" not found')
            prefix = source.get("prefix") or ""
            return {prefix + name: value.decode() for name, value in (data or {}).items()}
    return {}


async def _env_value(
    pod: Json, container: Json, entry: Json, facts: Facts, lookup: Lookup
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return str(entry.get("value", ""))
    if ref := source.get("fieldRef"):
        return field(pod, ref["fieldPath"], facts)
    if ref := source.get("resourceFieldRef"):
        return resource(pod, container, ref, facts)
    for key, kind in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if ref := source.get(key):
            return await _key(pod, kind, ref, lookup)
    raise BadConfig(f"unsupported source of {entry['name']}")


async def _key(pod: Json, kind: str, ref: Json, lookup: Lookup) -> str | None:
    data = await lookup(kind, ref["name"])
    if data is not None and ref["key"] in data:
        return data[ref["key"]].decode()
    if ref.get("optional"):
        return None
    if data is None:
        raise BadConfig(f'{KINDS[kind]} "{ref["name"]}" not found')
    shown = {"secrets": "Secret", "configmaps": "ConfigMap"}[kind]
    where = f"{shown} {pod['metadata']['namespace']}/{ref['name']}"
    raise BadConfig(f"couldn't find key {ref['key']} in {where}")


def expand(text: str, values: dict[str, str]) -> str:
    """$(NAME) by value; $$(NAME) and unknown names stay, less one $."""

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return f"$({found[2]})"
        return values.get(found[2], found[0])

    return _VARIABLE.sub(one, text)


def command(container: Json, values: dict[str, str]) -> list[str]:
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    return [expand(word, values) for word in words]


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Who the command is."""

    user: int | None
    group: int
    groups: list[int]
    drop: bool
    no_new_privs: bool
    read_only: bool


def rights(pod: Json, container: Json) -> Rights:
    """From both security contexts; `BadConfig` for a root that must not be."""
    of_pod = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    both = of_pod | own
    user = both.get("runAsUser")
    if both.get("runAsNonRoot") and not user:
        name, meta = container["name"], pod["metadata"]
        what = "image will run as root" if user is None else "container's runAsUser breaks it"
        where = f'pod: "{meta["name"]}_{meta["namespace"]}({meta["uid"]})", container: {name}'
        raise BadConfig(f"container has runAsNonRoot and {what} ({where})")
    extra = [of_pod["fsGroup"]] if "fsGroup" in of_pod else []
    group = both.get("runAsGroup") or 0
    return Rights(
        user=user,
        group=group,
        groups=[group, *extra, *(of_pod.get("supplementalGroups") or [])],
        drop="ALL" in ((own.get("capabilities") or {}).get("drop") or []),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        read_only=bool(own.get("readOnlyRootFilesystem")),
    )
