"""A copy of the cluster's objects of one kind that follows it: list, then watch, then watch on.

What the copy was told twice, it tells once; what it missed while it could not watch, it finds when
it lists anew. So whoever follows a mirror sees every object's latest state, not its every state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from tradewind.base.errors import TradewindError
from tradewind.engines.kubernetes.api import Api, Expired, Kind, Object

log = logging.getLogger("tradewind.kubernetes")

# Called with an object and whether it is gone; a gone object comes in its last state.
Told = Callable[[Kind, Object, bool], None]
PAUSE, LONGEST = 0.2, 3.0


class Mirror:
    """One kind, those objects that a selector names."""

    def __init__(self, api: Api, kind: Kind, selector: str, told: Told) -> None:
        self.kind = kind
        self.objects: dict[str, Object] = {}
        self.trouble: TradewindError | None = None
        self._api, self._selector, self._told = api, selector, told
        self._version = ""
        self._silent = 0.0
        self._fine = False
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """List once, then follow for ever. Raises what stands in the way of the first list."""
        if self._task is None:
            await self._list()
            self._task = asyncio.create_task(self._follow())

    def deaf(self) -> float:
        """Seconds since which nothing can be heard."""
        return time.monotonic() - self._silent if self.trouble is not None else 0.0

    async def close(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        pause = PAUSE
        while True:
            began, self._fine = time.monotonic(), False
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                self._hear()
            except Expired:
                self._version = ""
            except TradewindError as error:
                if self.trouble is None or self.trouble.message != error.message:
                    log.info("%s: %s", self.kind.plural, error.message)
                if self.trouble is None:
                    self._silent = time.monotonic()
                self.trouble = error
            except Exception:
                log.exception("%s cannot be followed; they are listed anew", self.kind.plural)
                self._version = ""
            if time.monotonic() - began > 1.0 and self._fine:
                pause = PAUSE
            await asyncio.sleep(pause)
            pause = min(LONGEST, pause * 2)

    async def _list(self) -> None:
        items, version = await self._api.items(self.kind, labelSelector=self._selector)
        fresh = {each["metadata"]["name"]: each for each in items}
        gone = [
            old
            for name, old in self.objects.items()
            if name not in fresh or fresh[name]["metadata"]["uid"] != old["metadata"]["uid"]
        ]
        for old in gone:
            self._tell(old, gone=True)
        for each in items:
            known = self.objects.get(each["metadata"]["name"])
            if known is None or _version(known) != _version(each):
                self._tell(each)
        self._version = version
        self._hear()

    async def _watch(self) -> None:
        selected = {"labelSelector": self._selector}
        async for event in self._api.watch(self.kind, self._version, self._hear, **selected):
            if event["type"] != "BOOKMARK":
                self._tell(event["object"], gone=event["type"] == "DELETED")
            self._version = event["object"]["metadata"]["resourceVersion"]
            self._hear()

    def _hear(self) -> None:
        self.trouble, self._fine = None, True

    def _tell(self, found: Object, gone: bool = False) -> None:
        name = found["metadata"]["name"]
        if gone:
            self.objects.pop(name, None)
        else:
            self.objects[name] = found
        self._told(self.kind, found, gone)


def _version(found: Object) -> str:
    return str(found["metadata"]["resourceVersion"])
