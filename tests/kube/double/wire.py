"""HTTP/1.1 on asyncio streams, plain enough to break on purpose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.kube.double.faults import Dropped

_LARGEST = 3 * 1024 * 1024


@dataclass(slots=True)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(slots=True, kw_only=True)
class Request:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    connection: Connection

    def one(self, name: str) -> str:
        """Returns a parameter's first value, or nothing."""
        return next((value for key, value in self.query if key == name), "")


@dataclass(slots=True, kw_only=True)
class Response:
    """Either a body or a stream; `taken` when the handler spoke on the connection itself."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    taken: bool = False


Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """Listens on one port of 127.0.0.1; may be closed and opened again on the same one."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, limit=2**17
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuses connections, and cuts those that are open."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        tasks = list(self._tasks.items())
        for task, writer in tasks:
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        try:
            while await self._exchange(Connection(reader, writer)):
                pass
        except (Dropped, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            del self._tasks[task]
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, connection: Connection) -> bool:
        request = await read_request(connection)
        if request is None:
            return False
        response = await self._handler(request)
        if response.taken:
            return False
        keep = request.headers.get("connection", "").lower() != "close"
        if response.stream is None:
            _head(connection.writer, response, {"Content-Length": str(len(response.body))})
            connection.writer.write(b"" if request.method == "HEAD" else response.body)
            await connection.writer.drain()
            return keep
        _head(connection.writer, response, {"Transfer-Encoding": "chunked"})
        return await _pour(connection, response.stream) and keep


async def read_request(connection: Connection) -> Request | None:
    try:
        head = await connection.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = read_headers(lines)
    url = urlsplit(target)
    query = parse_qsl(url.query, keep_blank_values=True)
    body = await read_body(connection.reader, headers)
    return Request(
        method=method, path=unquote(url.path), query=query, headers=headers, body=body,
        connection=connection,
    )  # fmt: skip


def read_headers(lines: list[str]) -> dict[str, str]:
    rows = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in rows}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length") or 0)
        return await reader.readexactly(min(length, _LARGEST))
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(parts)


def _head(writer: asyncio.StreamWriter, response: Response, more: dict[str, str]) -> None:
    phrase = HTTPStatus(response.status).phrase
    headers = {"Content-Type": "application/json", **response.headers, **more}
    if response.status == HTTPStatus.NO_CONTENT:
        headers = {}
    lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


async def _pour(connection: Connection, stream: AsyncIterator[bytes]) -> bool:
    """Sends the stream in chunks until it ends or the client leaves."""
    gone = asyncio.ensure_future(connection.reader.read(1))
    sender = asyncio.ensure_future(_chunks(connection.writer, stream))
    try:
        await asyncio.wait({gone, sender}, return_when=asyncio.FIRST_COMPLETED)
        if not sender.done():
            return False
        await sender
        return not gone.done()
    finally:
        for task in (gone, sender):
            task.cancel()
        await asyncio.gather(gone, sender, return_exceptions=True)


async def _chunks(writer: asyncio.StreamWriter, stream: AsyncIterator[bytes]) -> None:
    await writer.drain()
    async for part in stream:
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
