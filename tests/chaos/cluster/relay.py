"""The way from the server to the cluster, which can be cut, and can keep answers to itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from urllib.parse import urlsplit

import yaml

Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Relay:
    """Passes bytes between whoever connects and one address; a context manager."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._to = parts.hostname or "", parts.port or 443
        self._scheme = parts.scheme
        self._pairs: set[Pair] = set()
        self._deaf = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")
        self.port = 0

    def __enter__(self) -> Relay:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kubeconfig(self, original: Path, path: Path) -> Path:
        """The same access, by way of here."""
        document = yaml.safe_load(original.read_text(encoding="utf-8"))
        for each in document["clusters"]:
            each["cluster"]["server"] = f"{self._scheme}://127.0.0.1:{self.port}"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        path.chmod(0o600)
        return path

    def cut(self) -> None:
        """Every connection breaks, watches among them."""
        self._loop.call_soon_threadsafe(self._cut)

    def swallow(self, seconds: float) -> None:
        """What is asked is carried out, nobody hears of it; then everything breaks."""

        def begin() -> None:
            self._deaf = True
            self._loop.call_later(seconds, self._cut)

        self._loop.call_soon_threadsafe(begin)

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def _cut(self) -> None:
        self._deaf = False
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()

    async def _serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        try:
            far, request = await asyncio.open_connection(self._host, self._to)
        except OSError:
            answer.transport.abort()
            return
        pair = answer, request
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(near, request, True), self._pump(far, answer, False))
        finally:
            self._pairs.discard(pair)
            for writer in pair:
                writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if there or not self._deaf:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    async def _end(self) -> None:
        self._cut()
        while self._pairs:
            await asyncio.sleep(0.01)
