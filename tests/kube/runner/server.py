"""The kubelet's own port: logs, exec, health."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from tests.kube.runner.container import Container
from tests.kube.runner.execute import PROTOCOLS, execute
from tests.kube.runner.home import Settings
from tests.kube.runner.logs import Asked, Log
from tests.kube.runner.pod import Pod
from tests.kube.runner.websocket import WebSocket, accept

Query = dict[str, list[str]]
PART = 1 << 16


class Answer(Exception):
    """What a request comes to when there is nothing to stream."""

    def __init__(self, code: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        super().__init__(text)
        self.code, self.text, self.kind = code, text, kind


class Server:
    """Serves what `find` knows of, one request per connection."""

    def __init__(self, find: Callable[[str, str], Pod | None], settings: Settings) -> None:
        self._find, self._settings = find, settings
        self._port = settings.port
        self._tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.pods: Callable[[], list[Pod]] = list

    async def open(self, folder: Path) -> int:
        """Listen; the port."""
        if self._settings.secure and self._tls is None:
            self._tls = await asyncio.to_thread(_certificate, folder)
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, ssl=self._tls
        )
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def close(self) -> None:
        """Stop listening and break off what is under way."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await _Exchange(reader, writer, self._settings, self._route).run()
        except (OSError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()

    async def _route(self, exchange: "_Exchange", path: list[str], query: Query) -> None:
        match path:
            case ["healthz"]:
                raise Answer(200, "ok")
            case ["pods"]:
                listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {}}
                items = [one.pod for one in self.pods()]
                raise Answer(200, json.dumps(listed | {"items": items}), "application/json")
            case ["containerLogs", namespace, pod, container]:
                log = _log(self._container(namespace, pod, container), pod, query)
                await exchange.stream(log.read(_asked(query)))
            case ["exec", namespace, pod, container]:
                found = self._container(namespace, pod, container)
                if found.process is None:
                    raise Answer(500, f'container not found ("{container}")')
                await execute(await exchange.upgrade(), found.process, query)
            case _:
                raise Answer(404, "404 page not found")

    def _container(self, namespace: str, name: str, container: str) -> Container:
        pod = self._find(namespace, name)
        if pod is None:
            raise Answer(404, f'pod "{name}_{namespace}" does not exist')
        found = pod.find(container)
        if found is None:
            raise Answer(404, f'container "{container}" not found in pod "{name}_{namespace}"')
        return found


def _log(container: Container, pod: str, query: Query) -> Log:
    if query.get("previous", [""])[0] == "true":
        previous = container.previous if container.running or not container.waits else container.log
        if previous is None:
            name = container.name
            raise Answer(400, f'previous terminated container "{name}" in pod "{pod}" not found')
        return previous
    if container.log is None:
        what = f'container "{container.name}" in pod "{pod}" is waiting to start'
        raise Answer(400, f"{what}: {container.waits}")
    return container.log


def _asked(query: Query) -> Asked:
    def number(name: str) -> int | None:
        try:
            return int(query[name][0]) if name in query else None
        except ValueError:
            raise Answer(400, f"{name} must be a number") from None

    since = 0
    if text := query.get("sinceTime", [""])[0]:
        since = int(datetime.fromisoformat(text).timestamp() * 10**9)
    elif seconds := number("sinceSeconds"):
        since = int((datetime.now().timestamp() - seconds) * 10**9)
    return Asked(
        follow=query.get("follow", [""])[0] == "true",
        tail=number("tailLines"),
        limit=number("limitBytes"),
        since=since,
        timestamps=query.get("timestamps", [""])[0] == "true",
    )


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: Settings,
        route: Callable[..., Awaitable[None]],
    ) -> None:
        self._reader, self._writer, self._route = reader, writer, route
        self._http = h11.Connection(h11.SERVER)
        self._headers: dict[bytes, bytes] = {}

    async def run(self) -> None:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(PART))
        if not isinstance(event, h11.Request):
            return
        self._headers = dict(event.headers)
        target = urlsplit(event.target.decode())
        path = [unquote(part) for part in target.path.strip("/").split("/")]
        try:
            await self._route(self, path, parse_qs(target.query))
        except Answer as answer:
            data = answer.text.encode()
            await self._head(answer.code, answer.kind, [("Content-Length", str(len(data)))])
            await self._send(h11.Data(data=data))
            await self._send(h11.EndOfMessage())

    async def stream(self, parts: AsyncGenerator[bytes, None]) -> None:
        """Bytes as they come, until there are no more or nobody reads them."""
        await self._head(200, "text/plain", [("Transfer-Encoding", "chunked")])
        gone = asyncio.create_task(self._gone())
        try:
            async with contextlib.aclosing(parts):
                coming = aiter(parts)
                while True:
                    part = asyncio.ensure_future(anext(coming, None))
                    await asyncio.wait({part, gone}, return_when=asyncio.FIRST_COMPLETED)
                    if gone.done() and not part.done():
                        part.cancel()
                        await asyncio.gather(part, return_exceptions=True)
                        return
                    if (data := part.result()) is None:
                        break
                    await self._send(h11.Data(data=data))
            await self._send(h11.EndOfMessage())
        finally:
            gone.cancel()

    async def upgrade(self) -> WebSocket:
        offered = self._headers.get(b"sec-websocket-protocol", b"").decode()
        spoken = {one.strip() for one in offered.split(",")}
        chosen = next((one for one in PROTOCOLS if one in spoken), "")
        key = self._headers.get(b"sec-websocket-key")
        if not chosen or key is None:
            raise Answer(400, f"Upgrade request required: a WebSocket with one of {PROTOCOLS}")
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        headers += [("Sec-WebSocket-Accept", accept(key)), ("Sec-WebSocket-Protocol", chosen)]
        await self._send(h11.InformationalResponse(status_code=101, headers=headers))
        return WebSocket(self._reader, self._writer, self._http.trailing_data[0])

    async def _gone(self) -> None:
        while await self._reader.read(PART):
            pass

    async def _head(self, code: int, kind: str, headers: list[tuple[str, str]]) -> None:
        headers = [("Content-Type", kind), ("Connection", "close"), *headers]
        await self._send(h11.Response(status_code=code, headers=headers))

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)
            await self._writer.drain()


def _certificate(folder: Path) -> ssl.SSLContext:
    """Self-signed, as a kubelet's is when nobody gave it one."""
    key, certificate = folder / "kubelet.key", folder / "kubelet.crt"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-nodes", "-days", "30", "-subj", "/CN=kubelet"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls
