"""The API server: who asks, what for, may they, and what comes of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.kube.double import discovery, lists, patches, selectors, targets
from tests.kube.double.access import Access, Call
from tests.kube.double.eviction import evict
from tests.kube.double.faults import Faults
from tests.kube.double.fields import check_known, check_resource
from tests.kube.double.kubelet import Kubelet
from tests.kube.double.objects import Object, name_of, node_of, set_condition, uid_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import (
    ACCESS_REVIEWS,
    NAMESPACES,
    PODS,
    RULES_REVIEWS,
    Resource,
)  # fmt: skip
from tests.kube.double.statuses import (
    Refusal,
    about,
    bad_request,
    conflict,
    method_not_allowed,
    not_modelled,
    success,
)  # fmt: skip
from tests.kube.double.targets import Target
from tests.kube.double.watch import Wanted, Watches, error_line
from tests.kube.double.wire import Request, Response

_PATCHES = (patches.MERGE, patches.JSON, patches.STRATEGIC)


class Api:
    """Answers each request; a failure is always a Status."""

    def __init__(
        self, registry: Registry, access: Access, faults: Faults, watches: Watches
    ) -> None:
        self.registry, self.access, self.faults, self.watches = registry, access, faults, watches
        self.kubelet = Kubelet(registry)
        # Too old a version is told inside the watch, as the real one does, or as the answer.
        self.gone_inside = True

    async def handle(self, request: Request) -> Response:
        try:
            return await self._handle(request)
        except Refusal as error:
            return _refused(error)

    async def _handle(self, request: Request) -> Response:
        user = self.access.user(request.headers.get("authorization", ""))
        target = targets.read(request)
        if target is None:
            self.access.allowed_path(user, request.path)
            return discovery.answer(request)
        call = Call(
            user=user, verb=target.verb, group=target.resource.group,
            resource=target.resource.plural, subresource=target.subresource,
            namespace=target.namespace, name=target.name,
        )  # fmt: skip
        self.faults.before(call)
        self.access.authorize(call, target.resource)
        if target.subresource == "exec" and target.verb == "get":
            self.access.authorize_upgrade(call, target.resource)
        try:
            response = await self._verb(request, target, user)
        except Refusal as error:
            response = _refused(error)
        if delay := self.faults.after(call):
            await asyncio.sleep(delay)
        return response

    async def _verb(self, request: Request, target: Target, user: str) -> Response:
        resource, namespace, name = target.resource, _space(target), target.name
        if target.subresource not in ("", "status"):
            return await self._part(request, target)
        if target.verb == "get":
            return _json(self.registry.get(resource, namespace, name))
        if target.verb == "list":
            match = _match(resource, request)
            space = "" if resource is NAMESPACES else namespace
            return _json(lists.page(self.registry.storage, resource, space, match, request))
        if target.verb == "watch":
            return self._watch(request, target)
        if target.verb == "delete":
            return self._delete(request, target)
        if target.verb == "create":
            return self._create(request, target, user)
        return self._write(request, target)

    def _watch(self, request: Request, target: Target) -> Response:
        version, seconds = request.one("resourceVersion"), request.one("timeoutSeconds")
        wanted = Wanted(
            resource=target.resource, namespace=target.namespace,
            match=_match(target.resource, request),
            version=lists.number(version) if version not in ("", "0") else None,
            bookmarks=request.one("allowWatchBookmarks") in ("1", "true"),
            seconds=float(seconds) if seconds else None,
        )  # fmt: skip
        try:
            self.watches.check(wanted)
        except Refusal as error:
            if not self.gone_inside:
                raise
            return Response(stream=_only(error_line(error.body)))
        return Response(stream=self.watches.stream(wanted))

    def _create(self, request: Request, target: Target, user: str) -> Response:
        resource = target.resource
        obj = _decode(request, resource)
        if resource in (ACCESS_REVIEWS, RULES_REVIEWS):
            return self._review(resource, obj, user)
        _place(obj, resource, target.namespace)
        dry = request.one("dryRun")
        if dry not in ("", "All"):
            raise not_modelled(f"dryRun={dry}")
        new = self.registry.create(resource, obj, dry_run=dry == "All")
        warnings = self.registry.admission.warnings(resource, new)
        headers = {"Warning": f"299 - {json.dumps(warnings[0])}"} if warnings else {}
        return _json(new, 201, headers)

    def _review(self, resource: Resource, obj: Object, user: str) -> Response:
        check_resource(resource, {**obj, "metadata": obj.get("metadata") or {}})
        spec = obj.get("spec") or {}
        if resource is ACCESS_REVIEWS:
            status = self.access.review(user, spec)
        else:
            status = self.access.listed(user, spec.get("namespace", ""))
        return _json({**obj, "metadata": {}, "status": status}, 201)

    def _write(self, request: Request, target: Target) -> Response:
        resource, namespace = target.resource, _space(target)
        if target.verb == "update":
            obj = _decode(request, resource)
            _place(obj, resource, target.namespace)
            new, fresh = self.registry.update(
                resource, namespace, target.name, obj, target.subresource
            )
            return _json(new, 201 if fresh else 200)
        sort = request.headers.get("content-type", "").partition(";")[0].strip()
        if sort == "application/apply-patch+yaml":
            raise not_modelled(f"server-side apply of {resource.plural}")
        if sort not in _PATCHES:
            message = "415: Unsupported Media Type"
            raise Refusal(415, "UnsupportedMediaType", message, details={})
        patch = _loads(request)
        found = self.registry.patch(
            resource, namespace, target.name, sort, patch, target.subresource
        )
        return _json(found)

    def _delete(self, request: Request, target: Target) -> Response:
        resource, namespace = target.resource, _space(target)
        options = _loads(request) if request.body else {}
        check_known("DeleteOptions", "meta.k8s.io/v1", options)
        for key in ("gracePeriodSeconds", "propagationPolicy"):
            if value := request.one(key):
                options[key] = int(value) if key == "gracePeriodSeconds" else value
        check_known("DeleteOptions", "meta.k8s.io/v1", options)
        last, gone = self.registry.delete(resource, namespace, target.name, options)
        if not gone or resource.returns_deleted:
            return _json(last)
        return _json(success(resource, name_of(last), uid_of(last)))

    async def _part(self, request: Request, target: Target) -> Response:
        namespace, name, part = target.namespace, target.name, target.subresource
        if part == "log" and target.verb == "get":
            return await self.kubelet.log(request, namespace, name)
        if part == "exec" and target.verb in ("get", "create"):
            return await self.kubelet.exec(request, namespace, name)
        if part not in ("binding", "eviction") or target.verb != "create":
            raise method_not_allowed()
        body = _loads(request)
        check_known(part.capitalize(), "v1", body)
        if part == "binding":
            if (body.get("metadata") or {}).get("name") != name:
                raise bad_request("name in URL does not match name in Binding object")
            bind(self.registry, namespace, name, body["target"]["name"])
        else:
            evict(self.registry, namespace, name, body.get("deleteOptions") or {})
        return _json(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "code": 201,
            },
            201,
        )


def bind(registry: Registry, namespace: str, name: str, node: str) -> None:
    """Gives a pod its node, once."""
    pod = registry.get(PODS, namespace, name)
    if "deletionTimestamp" in pod["metadata"]:
        why = f'pod "{name}" is being deleted, cannot be assigned to a host'
        raise _unbound(name, why)
    if node_of(pod):
        raise _unbound(name, f"pod {name} is already assigned to node {json.dumps(node_of(pod))}")

    def change(obj: Object) -> None:
        obj["spec"]["nodeName"] = node
        scheduled = {"type": "PodScheduled", "status": "True"}
        conditions = obj["status"].setdefault("conditions", [])
        obj["status"]["conditions"] = [one for one in conditions if one["type"] != "PodScheduled"]
        set_condition(obj, scheduled, registry.clock.now())
        obj["status"]["conditions"][-1]["lastProbeTime"] = None

    registry.place(pod, change)


def _unbound(name: str, why: str) -> Refusal:
    found = conflict(PODS, name, why)
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    details = {**about(PODS, name), "kind": "pods/binding"}
    return Refusal(409, found.reason, message, details=details)


def _space(target: Target) -> str:
    return target.namespace if target.resource.namespaced else ""


def _match(resource: Resource, request: Request) -> selectors.Match:
    tests: list[Callable[[Object], bool]] = []
    if text := request.one("labelSelector"):
        tests.append(selectors.labels(text))
    if text := request.one("fieldSelector"):
        tests.append(selectors.fields(resource, text))
    return lambda obj: all(test(obj) for test in tests)


def _loads(request: Request) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        raise bad_request(
            "the object provided is unrecognized (must be of type Status): couldn't get"
            f" version/kind; json parse error: ({request.body[:100].decode(errors='replace')})"
        ) from None


def _decode(request: Request, resource: Resource) -> Object:
    sort = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if sort != "application/json":
        raise not_modelled(f"a body of the type {sort}")
    obj = _loads(request)
    if not isinstance(obj, dict):
        raise bad_request("the object provided is unrecognized: no object")
    found = (obj.get("apiVersion", resource.api_version), obj.get("kind", resource.kind))
    if found != (resource.api_version, resource.kind):
        raise bad_request(
            f'{found[1]} in version "{found[0].rpartition("/")[2]}" cannot be handled as a'
            f" {resource.kind}: converting to {resource.kind}: unknown conversion"
        )
    return {"kind": resource.kind, "apiVersion": resource.api_version, **obj}


def _place(obj: Object, resource: Resource, namespace: str) -> None:
    """Sets the namespace of the path; the object may name no other."""
    metadata = obj.setdefault("metadata", {})
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return
    if metadata.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


def _json(obj: Object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(obj, separators=(",", ":")).encode() + b"\n"
    return Response(status=status, headers=headers or {}, body=body)


def _refused(error: Refusal) -> Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return _json(error.body, error.code, headers)


async def _only(line: bytes) -> AsyncIterator[bytes]:
    yield line
