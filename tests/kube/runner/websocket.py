"""A WebSocket, no more than `exec` needs (RFC 6455)."""

import asyncio
import base64
import hashlib
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def accept(key: bytes) -> str:
    """The answer to Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()


class WebSocket:
    """Messages over a connection that has been upgraded. A client masks what it sends, a server
    does not; the mask of this one is nought."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        rest: bytes = b"",
        client: bool = False,
    ) -> None:
        self._reader, self._writer, self._rest = reader, writer, rest
        self._bit, self._mask = (0x80, bytes(4)) if client else (0, b"")

    async def receive(self) -> bytes | None:
        """The next message; None when the peer has closed or gone."""
        message = b""
        while True:
            try:
                final, kind, data = await self._frame()
            except (asyncio.IncompleteReadError, OSError):
                return None
            if kind == CLOSE:
                return None
            if kind == PING:
                await self._send(PONG, data)
            elif kind in (CONTINUED, TEXT, BINARY):
                message += data
                if final:
                    return message

    async def send(self, data: bytes) -> None:
        await self._send(BINARY, data)

    async def close(self, code: int = 1000) -> None:
        await self._send(CLOSE, struct.pack("!H", code))

    def drop(self) -> None:
        self._writer.transport.abort()

    async def _frame(self) -> tuple[bool, int, bytes]:
        first, second = await self._read(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._read(8))
        mask = await self._read(4) if second & 0x80 else b""
        data = await self._read(size)
        if mask:
            whole = (mask * (size // 4 + 1))[:size]
            number = int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")
            data = number.to_bytes(size, "big")
        return bool(first & 0x80), first & 0x0F, data

    async def _read(self, size: int) -> bytes:
        early, self._rest = self._rest[:size], self._rest[size:]
        return early + await self._reader.readexactly(size - len(early))

    async def _send(self, kind: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | kind, self._bit | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | kind, self._bit | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, self._bit | 127, size)
        self._writer.write(head + self._mask + data)
        await self._writer.drain()
