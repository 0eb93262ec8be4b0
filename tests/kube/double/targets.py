"""What a request is about, read from its method and path."""

from dataclasses import dataclass

from tests.kube.double.resources import BY_PATH, NAMESPACES, Resource
from tests.kube.double.statuses import method_not_allowed, not_modelled
from tests.kube.double.wire import Request

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
# Subresources that are a connection to the pod rather than a part of the object.
_CONNECTIONS = ("log", "exec")
_KNOWN = {
    "get": {"resourceVersion"},
    "list": {
        "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion",
        "resourceVersionMatch", "timeoutSeconds",
    },
    "watch": {
        "labelSelector", "fieldSelector", "resourceVersion", "timeoutSeconds", "watch",
        "allowWatchBookmarks",
    },
    "create": {"dryRun", "fieldManager", "fieldValidation"},
    "update": {"fieldManager", "fieldValidation"},
    "patch": {"fieldManager", "fieldValidation"},
    "delete": {"gracePeriodSeconds", "propagationPolicy"},
    "log": {
        "container", "follow", "tailLines", "limitBytes", "sinceTime", "sinceSeconds",
        "timestamps", "previous",
    },
    "exec": {"container", "command", "stdin", "stdout", "stderr", "tty"},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str


def read(request: Request) -> Target | None:
    """Returns the target of a resource request, None for any other path."""
    parts = request.path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and not group
        and rest[2] in ("status", "finalize")
    ):
        raise not_modelled(f"{request.method} namespaces/{rest[2]}")
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0]))
    if resource is None:
        raise not_modelled(
            f"{request.method} of the resource {rest[0]} in {group or 'core'}/{version}"
        )
    name, subresource = (*rest[1:3], "", "")[:2]
    if len(rest) > 3 or (subresource and subresource not in resource.subresources):
        raise not_modelled(f"{request.method} {resource.plural}/{'/'.join(rest[2:])}")
    target = Target(
        verb=_verb(request, name), resource=resource, subresource=subresource,
        namespace=name if resource is NAMESPACES else namespace, name=name,
    )  # fmt: skip
    _check(request, target, namespace)
    return target


def _verb(request: Request, name: str) -> str:
    if request.method == "GET":
        watching = request.one("watch") in ("1", "true")
        return "watch" if watching and not name else "get" if name else "list"
    if request.method == "DELETE":
        return "delete" if name else "deletecollection"
    if request.method not in _VERBS:
        raise method_not_allowed()
    return _VERBS[request.method]


def _check(request: Request, target: Target, namespace: str) -> None:
    resource, verb = target.resource, target.verb
    if verb == "deletecollection":
        raise not_modelled(f"deletecollection of {resource.plural}")
    if verb == "create" and (bool(target.name) != bool(target.subresource)):
        raise method_not_allowed()
    if verb in ("update", "patch") and not target.name:
        raise method_not_allowed()
    if resource.namespaced and not namespace and (target.name or verb == "create"):
        raise method_not_allowed()
    if not target.subresource and verb not in resource.verbs:
        raise not_modelled(f"{verb} of {resource.plural}")
    sort = target.subresource if target.subresource in _CONNECTIONS else verb
    for key, value in request.query:
        if key not in _KNOWN[sort]:
            raise not_modelled(f"the parameter {key}={value} of {verb} {resource.plural}")
