"""Paths that are about no object: version, health, and what resources there are."""

import json

from tests.kube.double.objects import Object
from tests.kube.double.resources import RESOURCES, Resource
from tests.kube.double.statuses import Refusal, method_not_allowed
from tests.kube.double.wire import Request, Response

_VERSION = {
    "major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "double",
    "gitTreeState": "clean", "buildDate": "2026-08-21T00:00:00Z", "goVersion": "go1.26.4",
    "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip


def answer(request: Request) -> Response:
    if request.method != "GET":
        raise method_not_allowed()
    path = request.path.rstrip("/")
    if path in ("/readyz", "/livez", "/healthz"):
        return Response(headers={"Content-Type": "text/plain; charset=utf-8"}, body=b"ok")
    if path == "/version":
        return _json(_VERSION)
    if path == "/api":
        return _json({"kind": "APIVersions", "versions": ["v1"]})
    if path == "/apis":
        return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()})
    found = [one for one in RESOURCES if one.root == path]
    if found:
        return _json(_resources(found))
    raise Refusal(501, "NotImplemented", f"the double does not model GET {request.path}")


def _groups() -> list[Object]:
    rows = []
    for name in sorted({one.group for one in RESOURCES} - {""}):
        version = next(one.version for one in RESOURCES if one.group == name)
        row = {"groupVersion": f"{name}/{version}", "version": version}
        rows.append({"name": name, "versions": [row], "preferredVersion": row})
    return rows


def _resources(found: list[Resource]) -> Object:
    rows: list[Object] = []
    for one in found:
        frame = {"singularName": one.kind.lower(), "namespaced": one.namespaced, "kind": one.kind}
        rows.append({"name": one.plural, **frame, "verbs": [*one.verbs]})
        for part in one.subresources:
            rows.append({"name": f"{one.plural}/{part}", **frame, "verbs": ["get", "update"]})
    return {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": found[0].api_version,
        "resources": rows,
    }  # fmt: skip


def _json(obj: Object) -> Response:
    return Response(body=json.dumps(obj).encode() + b"\n")
