"""The API of one cluster, as JSON over HTTP: connection, the retries that it asks for, errors.

Manifests are plain values here, checked in tests against the official schemas. Foreign errors are
mapped here and nowhere else; what is not allowed names the rule that an operator would have to add.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tradewind.base.errors import (
    Broken,
    Conflict,
    NotAllowed,
    NotFound,
    Refused,
    TradewindError,
    Unauthenticated,
    Unreachable,
)
from tradewind.engines.base import NoSuchPlace

Object = dict[str, Any]
Verb = Literal["get", "list", "watch", "create", "patch", "update", "delete"]

# A request that the cluster puts off is said again for so long, in seconds.
PATIENCE = 15.0
CONNECT, ANSWER = 5.0, 30.0
# A watch is ended by the cluster after this long, and missed after this much silence: a cluster
# says about once a minute that it is still there.
WATCH, SILENCE = 290, 150.0
PAGE = 500
_AGAIN = frozenset({429, 500, 502, 503, 504})


class Kind(NamedTuple):
    """A sort of object: its API group, version and plural name."""

    group: str
    version: str
    plural: str
    namespaced: bool = True


PODS = Kind("", "v1", "pods")
ROOTS = Kind("", "v1", "configmaps")
SECRETS = Kind("", "v1", "secrets")
SERVICES = Kind("", "v1", "services")
EVENTS = Kind("", "v1", "events")
NODES = Kind("", "v1", "nodes", namespaced=False)
JOBS = Kind("batch", "v1", "jobs")
DEPLOYMENTS = Kind("apps", "v1", "deployments")
BUDGETS = Kind("policy", "v1", "poddisruptionbudgets")
LEASES = Kind("coordination.k8s.io", "v1", "leases")

BY_NAME = {
    ("v1", "ConfigMap"): ROOTS,
    ("v1", "Secret"): SECRETS,
    ("v1", "Service"): SERVICES,
    ("batch/v1", "Job"): JOBS,
    ("apps/v1", "Deployment"): DEPLOYMENTS,
    ("policy/v1", "PodDisruptionBudget"): BUDGETS,
}


class Expired(Exception):
    """A watch asks for what the cluster has forgotten: list again."""


class Taken(Conflict):
    """There is an object of this name already."""


class Ending(Conflict):
    """The namespace is being deleted: nothing new can start in it."""


class Untrusted(Unreachable):
    """What answers is not the cluster that we are to trust."""


class Full(Unreachable):
    """A quota has no room. It is asked before anybody looks whether the object is there already."""


class Stale(Conflict):
    """Somebody else changed the object since it was read."""


@dataclass(frozen=True, slots=True)
class Where:
    """A connection's particulars: for messages, and to tell whether two are the same place."""

    context: str
    namespace: str
    server: str


class Api:
    """One cluster, one namespace."""

    def __init__(
        self,
        client: Any,
        where: Where,
        library: Any,
        renew: Callable[[], Any] = lambda: None,
    ) -> None:
        """`client` is an asynchronous HTTP client that signs its requests; `library` its module.
        `renew` gives another one if the credentials have been changed since, or None."""
        self.where = where
        self._client = client
        self._http = library
        self._renew = renew
        self._old: list[Any] = []

    # -- verbs ---------------------------------------------------------------------------------

    async def get(self, kind: Kind, name: str) -> Object:
        """Raises NotFound."""
        return await self._ask("get", kind, name)

    async def items(self, kind: Kind, **params: str) -> tuple[list[Object], str]:
        """Every object, and the version of the collection to watch from."""
        found: list[Object] = []
        more: dict[str, str] = {"limit": str(PAGE)}
        while True:
            try:
                page = await self._ask("list", kind, params={**params, **more})
            except Expired:
                # The cluster has forgotten where we were.
                found, more = [], {"limit": str(PAGE)}
                await asyncio.sleep(0.2)
                continue
            found += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return found, page["metadata"]["resourceVersion"]
            more["continue"] = token

    async def create(
        self, kind: Kind, body: Object, subresource: str = "", *, dry: bool = False
    ) -> Object:
        """Raises Taken; Ending. `dry`: only learn whether it would be."""
        params = {"dryRun": "All"} if dry else None
        return await self._ask("create", kind, params=params, body=body, subresource=subresource)

    async def patch(self, kind: Kind, name: str, body: Object) -> Object:
        """Merge into the object (RFC 7396). Raises NotFound, Stale."""
        return await self._ask("patch", kind, name, body=body)

    async def delete(
        self, kind: Kind, name: str, uid: str = "", grace: int | None = None, version: str = ""
    ) -> None:
        """Begin to delete, with all that it owns. One that is gone, or another one under the same
        name than the one with `uid`, or one changed since `version`, is no error."""
        body: Object = {"propagationPolicy": "Background"}
        named = {"uid": uid, "resourceVersion": version}
        if chosen := {key: value for key, value in named.items() if value}:
            body["preconditions"] = chosen
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._ask("delete", kind, name, body=body)
        except (NotFound, Stale):
            return

    async def watch(
        self, kind: Kind, version: str, heard: Callable[[], None], **params: str
    ) -> AsyncIterator[Object]:
        """Events from this version on, until the cluster ends the watch; `heard` is called when it
        begins. Raises Expired."""
        query = {
            **params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH),
        }
        asked = self._request("watch", kind, query)
        async with self._stream(asked, "watch", kind) as lines:
            heard()
            async for line in lines.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Expired
                    raise self._error(event["object"], "watch", kind, "")
                yield event

    @asynccontextmanager
    async def log(self, pod: str, container: str, *, follow: bool, previous: bool) -> Any:
        """A container's output as it comes. Raises NotFound, Unreachable."""
        query = {"container": container}
        query |= {"follow": "true"} if follow else {}
        query |= {"previous": "true"} if previous else {}
        asked = self._request("get", PODS, query, pod, "log")
        async with self._stream(asked, "get", PODS, "log") as answer:
            yield answer.aiter_raw()

    async def exec(
        self, pod: str, container: str, command: Sequence[str]
    ) -> AsyncIterator[bytes | int]:
        """Run a command in a container: its output as it comes, its exit status last. Raises
        NotFound, NotAllowed, Unreachable."""
        query = [("container", container), ("stdout", "true"), ("stderr", "true")]
        query += [("command", each) for each in command]
        url = self.path(PODS, pod, "exec")
        try:
            async with self._client.websocket(url, subprotocols=_EXEC, params=query) as socket:
                while True:
                    message = await socket.receive_bytes()
                    channel, data = message[0], message[1:]
                    if channel in (1, 2) and data:
                        yield data
                    elif channel == 3:
                        yield _exit_status(json.loads(data))
                        return
        except self._http.HTTPError as error:
            raise self._unreachable(error) from error

    async def version(self) -> str:
        """What the cluster says it is; the first question, which costs nothing."""
        answer = await self._send("get", "/version", {}, None, _headers("get"))
        return str(self._read(answer).get("gitVersion", "")) if answer.status_code == 200 else ""

    async def close(self) -> None:
        """Let go of the connections."""
        await asyncio.gather(*(each.aclose() for each in (self._client, *self._old)))

    # -- requests ------------------------------------------------------------------------------

    def path(self, kind: Kind, name: str = "", subresource: str = "") -> str:
        """Where objects of this kind are."""
        parts = ["apis", kind.group, kind.version] if kind.group else ["api", kind.version]
        parts += ["namespaces", self.where.namespace] if kind.namespaced else []
        return "/" + "/".join([*parts, kind.plural, *filter(None, (name, subresource))])

    def _request(
        self, verb: Verb, kind: Kind, query: dict[str, str], name: str = "", subresource: str = ""
    ) -> Any:
        wait = self._http.Timeout(SILENCE, connect=CONNECT)
        path = self.path(kind, name, subresource)
        return self._client.build_request("GET", path, params=query, timeout=wait)

    @asynccontextmanager
    async def _stream(self, asked: Any, verb: Verb, kind: Kind, subresource: str = "") -> Any:
        try:
            answer = await self._client.send(asked, stream=True)
            try:
                if answer.status_code >= 400:
                    await answer.aread()
                    if answer.status_code == 410:
                        raise Expired
                    if answer.status_code == 401:
                        self._renewed()
                    raise self._error(_status(answer), verb, kind, subresource)
                yield answer
            finally:
                await answer.aclose()
        except self._http.HTTPError as error:
            raise self._unreachable(error) from error

    async def _ask(
        self,
        verb: Verb,
        kind: Kind,
        name: str = "",
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        subresource: str = "",
    ) -> Object:
        """One request, said again while the cluster asks for that. Every verb here may be said
        twice: names are given by us, so what was carried out unheard is found on the second try."""
        path = self.path(kind, name, subresource)
        loop = asyncio.get_running_loop()
        limit, pause = loop.time() + PATIENCE, 0.2
        while True:
            try:
                answer = await self._send(verb, path, dict(params or {}), body, _headers(verb))
            except Untrusted:
                raise
            except Unreachable:
                if loop.time() + pause > limit:
                    raise
            else:
                if answer.status_code < 400:
                    return self._read(answer)
                status = _status(answer)
                if answer.status_code == 401 and self._renewed():
                    continue
                if answer.status_code == 410 and verb == "list":
                    raise Expired
                if not _passing(answer.status_code, status) or loop.time() + pause > limit:
                    raise self._error(status, verb, kind, subresource)
                pause = max(pause, _after(answer))
            await asyncio.sleep(min(pause, max(0.05, limit - loop.time())) * random.uniform(0.8, 1))
            pause = min(5.0, pause * 2)

    async def _send(
        self, verb: Verb, path: str, params: dict[str, str], body: Object | None, headers: Any
    ) -> Any:
        method = _METHODS[verb]
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            return await self._client.request(
                method, path, params=params, content=content, headers=headers
            )
        except self._http.HTTPError as error:
            raise self._unreachable(error) from error
        except Exception as error:
            # Signing in may run a program of the user's, which fails in its own ways.
            if type(error).__module__.startswith("lightkube"):
                raise self._unsigned(str(error)) from error
            raise

    def _renewed(self) -> bool:
        """Take up the credentials that somebody has renewed, if they did."""
        try:
            fresh = self._renew()
        except TradewindError:
            return False  # they are just being written, or are gone
        if fresh is None:
            return False
        self._old.append(self._client)
        self._client = fresh
        return True

    def _read(self, answer: Any) -> Object:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Broken(
                f"what answers at {self.where.server} is no Kubernetes cluster",
                hint=f"check the address of the cluster in context {self.where.context!r}",
            )
        return found

    # -- errors --------------------------------------------------------------------------------

    def _unreachable(self, error: Exception) -> Unreachable:
        words = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in words:
            return Untrusted(
                f"the cluster at {self.where.server} shows a certificate that is not trusted: "
                f"{words}",
                hint="set the authority that issued it (certificate-authority-data) in the "
                f"kubeconfig, at the cluster of context {self.where.context!r}",
                after=10.0,
            )
        return Unreachable(
            f"the cluster at {self.where.server} cannot be reached: {words}",
            hint=f"check the network, and the address in context {self.where.context!r}",
            after=2.0,
        )

    def _unsigned(self, words: str) -> Unauthenticated:
        return Unauthenticated(
            f"the cluster at {self.where.server} does not accept this sign-in: {words}",
            hint=f"it may have run out: sign in again, or renew the credentials of context "
            f"{self.where.context!r} in the kubeconfig",
        )

    def _error(self, status: Object, verb: Verb, kind: Kind, subresource: str) -> TradewindError:
        code, reason = int(status.get("code") or 0), str(status.get("reason") or "")
        words = str(status.get("message") or reason or f"status {code}")
        if code == 401:
            return self._unsigned(words)
        if code == 403:
            return self._forbidden(status, words, verb, kind, subresource)
        if code == 404:
            return self._absent(status, words)
        if code == 409:
            return (Taken if reason == "AlreadyExists" else Stale)(words)
        if code in _AGAIN or code == 0:
            return Unreachable(f"the cluster cannot do this now: {words}", after=2.0)
        if "admission webhook" in words:
            return Refused(
                f"a rule of the cluster refuses this: {words}",
                hint="show this to the cluster's operators, whose rule it is",
            )
        causes = (status.get("details") or {}).get("causes") or ()
        if code == 422 and any(each.get("field") == "metadata.uid" for each in causes):
            return Stale(words)  # another one under the same name
        if "HTTP request to an HTTPS server" in words:
            return Refused(
                f"the cluster at {self.where.server} is asked without TLS, and wants it: {words}",
                hint="write https:// in the kubeconfig, at the cluster of context "
                f"{self.where.context!r}",
            )
        if code in (400, 422):
            return Refused(f"the cluster refuses this: {words}")
        return Broken(f"the cluster answers {code}: {words}")

    def _absent(self, status: Object, words: str) -> NotFound:
        told = status.get("details") or {}
        if (told.get("kind"), told.get("name")) != ("namespaces", self.where.namespace):
            return NotFound(words)
        return NoSuchPlace(
            f"the cluster of context {self.where.context!r} has no namespace "
            f"{self.where.namespace!r}",
            hint="create it, or name another in the pool's options (namespace: NAME)",
        )

    def _forbidden(
        self, status: Object, words: str, verb: Verb, kind: Kind, subresource: str
    ) -> TradewindError:
        causes = (status.get("details") or {}).get("causes") or ()
        space = self.where.namespace
        if any(each.get("reason") == "NamespaceTerminating" for each in causes):
            return Ending(
                f"the namespace {space!r} is being deleted, nothing new can start in it",
                hint="name another in the pool's options, or wait and create it anew",
            )
        if "exceeded quota" in words:
            return Full(
                f"the quota of namespace {space!r} is used up: {words.partition('exceeded ')[2]}",
                hint="wait until something ends there, or ask its operators for more",
                after=5.0,
            )
        if "admission webhook" in words:
            return Refused(
                f"a rule of the cluster refuses this: {words}",
                hint="show this to the cluster's operators, whose rule it is",
            )
        if "is forbidden: User" not in words:
            return Refused(f"the cluster refuses this: {words}")
        return forbidden(verb, kind, subresource, self.where)


def forbidden(verb: str, kind: Kind, subresource: str, where: Where) -> NotAllowed:
    """The error that names the missing rule."""
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    place = f"namespace {where.namespace!r}" if kind.namespaced else "the cluster"
    role = "Role" if kind.namespaced else "ClusterRole"
    rule = f'apiGroups: ["{kind.group}"], resources: ["{resource}"], verbs: ["{verb}"]'
    return NotAllowed(
        f"no permission to {verb} {resource} in {place} (context {where.context!r})",
        hint=f"an operator adds this rule to the {role} of this account: {{{rule}}}",
    )


_METHODS: dict[str, str] = {
    "get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "update": "PUT",
    "delete": "DELETE",
}  # fmt: skip


# The fifth version differs in what is said to the command, and nothing is.
_EXEC = ["v4.channel.k8s.io"]


def _exit_status(status: Object) -> int:
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or ()
    return next((int(e["message"]) for e in causes if e.get("reason") == "ExitCode"), 1)


def _headers(verb: Verb) -> dict[str, str]:
    kind = "application/merge-patch+json" if verb == "patch" else "application/json"
    return {"content-type": kind, "accept": "application/json"}


def _status(answer: Any) -> Object:
    """The Status of an error; what stands before a cluster may answer anything."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status":
        return {**found, "code": answer.status_code}
    return {"code": answer.status_code, "message": answer.text[:500]}


def _passing(code: int, status: Object) -> bool:
    """Whether saying it again may help. A 500 of a webhook that failed may pass as well."""
    return code in _AGAIN and status.get("reason") not in ("AlreadyExists", "Invalid")


def _after(answer: Any) -> float:
    """How long the cluster asks us to wait."""
    try:
        return min(10.0, float(answer.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
