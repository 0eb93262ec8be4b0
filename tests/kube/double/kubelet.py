"""Logs and exec: what the API server passes through to a pod's node."""

import asyncio
import contextlib
import ssl
from urllib.parse import urlencode

from tests.kube.double.objects import Object, node_of
from tests.kube.double.registry import Registry
from tests.kube.double.resources import NODES, PODS
from tests.kube.double.statuses import Refusal, bad_request
from tests.kube.double.wire import Connection, Request, Response, read_body, read_headers

# What the node calls the streams that the client asks for.
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


class Kubelet:
    """Reaches a node at its address and port: TLS without a known authority, else plain."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._plain: set[tuple[str, int]] = set()

    async def log(self, request: Request, namespace: str, name: str) -> Response:
        pod = self.registry.get(PODS, namespace, name)
        container = _container(pod, request.one("container"))
        if not node_of(pod):
            return Response(status=204)
        query = sorted((key, value) for key, value in request.query if key != "container")
        path = f"/containerLogs/{namespace}/{name}/{container}"
        target = f"{path}?{urlencode(query)}" if query else path
        connection = await self._reach(pod, target)
        return await _relay(request, connection, f"GET {target} HTTP/1.1", {})

    async def exec(self, request: Request, namespace: str, name: str) -> Response:
        pod = self.registry.get(PODS, namespace, name)
        container = _container(pod, request.one("container"))
        if not node_of(pod):
            raise bad_request(f"pod {name} does not have a host assigned")
        if request.headers.get("upgrade", "").lower() != "websocket":
            raise bad_request("Upgrade request required")
        query = [
            (_STREAMS.get(key, key), "1" if key in _STREAMS else value)
            for key, value in request.query
            if key != "container" and not (key in _STREAMS and value not in ("1", "true"))
        ]
        target = f"/exec/{namespace}/{name}/{container}?{urlencode(query)}"
        connection = await self._reach(pod, target)
        kept = ("upgrade", "connection", "sec-websocket-")
        headers = {key: value for key, value in request.headers.items() if key.startswith(kept)}
        return await _relay(request, connection, f"GET {target} HTTP/1.1", headers)

    async def _reach(self, pod: Object, target: str) -> Connection:
        status = self.registry.get(NODES, "", node_of(pod)).get("status") or {}
        rows = status.get("addresses") or []
        host = next((row["address"] for row in rows if row["type"] == "InternalIP"), "")
        if not host:
            raise Refusal(500, "", "no preferred addresses found; known addresses: []")
        port = int(status["daemonEndpoints"]["kubeletEndpoint"]["Port"])
        try:
            if (host, port) not in self._plain:
                with contextlib.suppress(ssl.SSLError, asyncio.IncompleteReadError):
                    return Connection(*await asyncio.open_connection(host, port, ssl=_trusting()))
                self._plain.add((host, port))
            return Connection(*await asyncio.open_connection(host, port))
        except OSError:
            raise Refusal(
                500, "", f'Get "https://{host}:{port}{target}": dial tcp {host}:{port}: connect:'
                " connection refused",
            ) from None  # fmt: skip


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _container(pod: Object, asked: str) -> str:
    name = pod["metadata"]["name"]
    ordinary = [one["name"] for one in pod["spec"]["containers"]]
    first = [one["name"] for one in pod["spec"].get("initContainers") or []]
    if asked:
        if asked not in (*ordinary, *first):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(ordinary) == 1:
        return str(ordinary[0])
    words = (
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(ordinary)}]"
    )
    if first:
        words += f" or one of the init containers: [{' '.join(first)}]"
    raise bad_request(words)


async def _relay(
    request: Request, node: Connection, line: str, headers: dict[str, str]
) -> Response:
    """Sends the request on, and then passes bytes both ways until one side ends."""
    lines = [line, "Host: kubelet", *(f"{key}: {value}" for key, value in headers.items())]
    if not headers:
        lines.append("Connection: close")
    node.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    try:
        head = (await node.reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        code, found = int(head[0].split(" ")[1]), read_headers(head[1:])
        if code not in (101, 200):
            raise _refusal(code, (await read_body(node.reader, found)).decode(), request)
        if code == 200:
            found["connection"] = "close"
        rows = [head[0], *(f"{key}: {value}" for key, value in found.items())]
        client = request.connection
        client.writer.write(("\r\n".join(rows) + "\r\n\r\n").encode("latin-1"))
        await _both(client, node, upward=code == 101)
    finally:
        node.writer.transport.abort()
    return Response(taken=True)


def _refusal(code: int, text: str, request: Request) -> Refusal:
    """What the node refused, as the API server passes it on."""
    if code == 400:
        return bad_request(text)
    if code == 500:
        details: Object = {"causes": [{"message": text}]}
        return Refusal(500, "InternalError", f"Internal error occurred: {text}", details=details)
    name = request.path.split("/")[-2]
    reason = {403: "Forbidden", 404: "NotFound"}.get(code, "")
    words = "the server could not find the requested resource" if code == 404 else text
    details = {"name": name, "kind": "pods/log"}
    return Refusal(code, reason, f"{words} ( pods/log {name})", details=details)


async def _both(client: Connection, node: Connection, *, upward: bool) -> None:
    down = asyncio.ensure_future(_copy(node.reader, client.writer))
    # Upward goes the websocket; of a log, only that the client has left.
    up = asyncio.ensure_future(_copy(client.reader, node.writer if upward else None))
    try:
        await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (down, up):
            task.cancel()
        await asyncio.gather(down, up, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    while part := await reader.read(65536):
        if writer is not None:
            writer.write(part)
            await writer.drain()
