"""The Pod Security Standard `restricted`, in the admission plugin's words."""

from tests.kube.double.objects import Object, containers_of

_VOLUMES = {"emptyDir", "secret", "configMap", "projected", "downwardAPI", "persistentVolumeClaim"}


def violations(spec: Object) -> str:
    """Returns what keeps a pod from being `restricted`, in one line; empty when it is."""
    found = [check(spec) for check in _CHECKS]
    return ", ".join(one for one in found if one)


def _context(thing: Object) -> Object:
    found: Object = thing.get("securityContext") or {}
    return found


def _named(names: list[str]) -> str:
    word = "container" if len(names) == 1 else "containers"
    return f"{word} " + ", ".join(f'"{name}"' for name in names)


def _host_namespaces(spec: Object) -> str:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return f"host namespaces ({', '.join(used)})" if used else ""


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _privileged(spec: Object) -> str:
    found = [one["name"] for _, one in containers_of(spec) if _context(one).get("privileged")]
    return (
        f"privileged ({_named(found)} must not set securityContext.privileged=true)"
        if found
        else ""
    )


def _escalation(spec: Object) -> str:
    found = [
        one["name"]
        for _, one in containers_of(spec)
        if _context(one).get("allowPrivilegeEscalation") is not False
    ]
    words = "must set securityContext.allowPrivilegeEscalation=false"
    return f"allowPrivilegeEscalation != false ({_named(found)} {words})" if found else ""


def _capabilities(spec: Object) -> str:
    rows = [
        (one["name"], _context(one).get("capabilities") or {}) for _, one in containers_of(spec)
    ]
    found = [name for name, row in rows if "ALL" not in (row.get("drop") or [])]
    added = {name: set(row.get("add") or ()) - {"NET_BIND_SERVICE"} for name, row in rows}
    parts = []
    if found:
        words = 'must set securityContext.capabilities.drop=["ALL"]'
        parts.append(f"{_named(found)} {words}")
    if names := [name for name, extra in added.items() if extra]:
        extra = sorted(set().union(*added.values()))
        words = f"must not include {_quoted(extra)} in securityContext.capabilities.add"
        parts.append(f"{_named(names)} {words}")
    return f"unrestricted capabilities ({'; '.join(parts)})" if parts else ""


def _host_ports(spec: Object) -> str:
    names, ports = [], []
    for _, one in containers_of(spec):
        used = [row["hostPort"] for row in one.get("ports") or [] if row.get("hostPort")]
        if used:
            names.append(one["name"])
            ports += [str(port) for port in used]
    if not names:
        return ""
    verb = "uses" if len(names) == 1 else "use"
    word = "hostPort" if len(ports) == 1 else "hostPorts"
    return f"hostPort ({_named(names)} {verb} {word} {', '.join(ports)})"


def _volumes(spec: Object) -> str:
    found, kinds = [], []
    for volume in spec.get("volumes") or []:
        for kind in set(volume) - {"name"} - _VOLUMES:
            found.append(volume["name"])
            kinds.append(kind)
    if not found:
        return ""
    word = "volume" if len(found) == 1 else "volumes"
    uses = "uses restricted volume type" if len(found) == 1 else "use restricted volume types"
    return f"restricted volume types ({word} {_quoted(found)} {uses} {_quoted(sorted(set(kinds)))})"


def _non_root(spec: Object) -> str:
    good = _context(spec).get("runAsNonRoot") is True
    found = [
        one["name"] for _, one in containers_of(spec) if not _context(one).get("runAsNonRoot", good)
    ]
    words = "must set securityContext.runAsNonRoot=true"
    return f"runAsNonRoot != true (pod or {_named(found)} {words})" if found else ""


def _root(spec: Object) -> str:
    if _context(spec).get("runAsUser") == 0:
        return "runAsUser=0 (pod must not set runAsUser=0)"
    found = [one["name"] for _, one in containers_of(spec) if _context(one).get("runAsUser") == 0]
    return f"runAsUser=0 ({_named(found)} must not set runAsUser=0)" if found else ""


def _seccomp(spec: Object) -> str:
    def good(thing: Object) -> bool:
        profile = _context(thing).get("seccompProfile") or {}
        return profile.get("type") in ("RuntimeDefault", "Localhost")

    found = [
        one["name"]
        for _, one in containers_of(spec)
        if not (good(one) if _context(one).get("seccompProfile") else good(spec))
    ]
    words = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return f"seccompProfile (pod or {_named(found)} {words})" if found else ""


_CHECKS = (
    _host_namespaces, _privileged, _escalation, _capabilities, _host_ports, _volumes, _non_root,
    _root, _seccomp,
)  # fmt: skip
