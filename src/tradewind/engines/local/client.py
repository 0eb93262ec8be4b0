"""One connection to the node: pipelined requests in JSON lines. Foreign errors are mapped here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import Any

from tradewind.base import errors
from tradewind.inside import wire

_LIMIT = 64 << 20


class Client:
    """Sends verbs and hands each answer to who asked. Broken means closed: make another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self.alive = True
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: str) -> Client:
        """To the node that listens at `path`. Raises OSError if none does."""
        sock = wire.connect(path)
        sock.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=_LIMIT)
        return cls(reader, writer)

    async def ask(self, verb: str, patience: float = 30.0, /, **fields: Any) -> dict[str, Any]:
        """Carry out one verb. Raises what the node refused with, or Unreachable."""
        if not self.alive:
            raise errors.Unreachable("the node does not answer", after=0.2)
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(wire.encode({"id": number, "verb": verb, **fields}))
            # Not `wait_for`: on 3.11 it loses a cancellation that comes as the answer does.
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError as error:
            raise errors.Unreachable(f"the node did not answer within {patience:g} s") from error
        except OSError as error:
            raise errors.Unreachable("the node does not answer", after=0.2) from error
        finally:
            self._waiting.pop(number, None)

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                future = self._waiting.get(message["id"])
                if future is None or future.done():
                    continue
                if "error" in message:
                    future.set_exception(errors.from_json(message["error"]))
                else:
                    future.set_result(message["ok"])
        except (OSError, ValueError):
            pass
        finally:
            self.alive = False
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(errors.Unreachable("the node went away", after=0.2))
            self._writer.close()

    async def close(self) -> None:
        """Let go. Work goes on."""
        self.alive = False
        self._writer.close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
