"""A transport that runs an ASGI application in this process, streams included, without a socket."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import httpx

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class _Body(httpx.SyncByteStream):
    def __init__(self, messages: "queue.Queue[Message | BaseException]") -> None:
        self._messages = messages

    def __iter__(self) -> Iterator[bytes]:
        while True:
            message = self._messages.get(timeout=10)
            if isinstance(message, BaseException):
                raise httpx.ReadError(str(message))
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return


class AsgiTransport(httpx.BaseTransport):
    """Each request runs in a thread with a loop of its own."""

    def __init__(self, app: App) -> None:
        self.app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        messages: queue.Queue[Message | BaseException] = queue.Queue()
        scope = {
            "type": "http",
            "method": request.method,
            "path": request.url.path,
            "query_string": request.url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            messages.put(message)

        async def serve() -> None:
            await self.app(scope, receive, send)

        def work() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                messages.put(error)

        threading.Thread(target=work, daemon=True).start()
        start = messages.get(timeout=10)
        if isinstance(start, BaseException):
            raise httpx.RemoteProtocolError(str(start))
        return httpx.Response(
            start["status"], headers=start["headers"], stream=_Body(messages), request=request
        )
