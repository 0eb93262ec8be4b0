"""Watches: what was written since a version, and then each write as it happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tests.kube.double.clock import Clock
from tests.kube.double.objects import Object, namespace_of
from tests.kube.double.resources import Resource
from tests.kube.double.selectors import Match
from tests.kube.double.statuses import expired
from tests.kube.double.storage import Event, Storage

_CUT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a watch was asked for."""

    resource: Resource
    namespace: str
    match: Match
    # None: all that is there now, then what comes.
    version: int | None
    bookmarks: bool
    seconds: float | None

    def shows(self, obj: Object | None) -> bool:
        if obj is None or (self.namespace and namespace_of(obj) != self.namespace):
            return False
        return self.match(obj)


class Watches:
    """All open watches."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self.storage, self.clock = storage, clock
        self.bookmark_seconds = 60.0
        self._open: dict[asyncio.Queue[Any], Wanted] = {}
        storage.listeners.append(self._hear)

    @property
    def count(self) -> int:
        return len(self._open)

    def cut(self) -> None:
        """Ends all watches as a broken connection does."""
        for queue in self._open:
            queue.put_nowait(_CUT)

    def _hear(self, event: Event) -> None:
        for queue, wanted in self._open.items():
            if wanted.resource is event.resource:
                queue.put_nowait(event)

    def check(self, wanted: Wanted) -> None:
        """Raises 410 when the history does not reach back that far."""
        if wanted.version is not None and wanted.version < self.storage.compacted:
            raise expired(f"too old resource version: {wanted.version} ({self.storage.compacted})")

    async def stream(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """Yields a line for each event; raises ConnectionError when it is cut."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        end = None if wanted.seconds is None else loop.time() + wanted.seconds
        # Nothing is awaited between reading the past and hearing of the future.
        past = self._past(wanted)
        self._open[queue] = wanted
        try:
            for line in past:
                yield line
            while True:
                event = await self._next(queue, end, wanted)
                if event is None:
                    return
                if event is _CUT:
                    raise ConnectionAbortedError
                if found := event if isinstance(event, bytes) else _shown(wanted, event):
                    yield found
        finally:
            del self._open[queue]

    async def _next(self, queue: asyncio.Queue[Any], end: float | None, wanted: Wanted) -> Any:
        """Returns an event, a bookmark's line, the cut, or None when the time is over."""
        loop = asyncio.get_running_loop()
        left = None if end is None else end - loop.time()
        wait = left
        if wanted.bookmarks:
            wait = min(self.bookmark_seconds, left) if left is not None else self.bookmark_seconds
        try:
            # Not wait_for: in Python 3.11 it may swallow the cancelling of this task.
            async with asyncio.timeout(wait):
                return await queue.get()
        except TimeoutError:
            if not queue.empty():
                # It came while the wait ended; a bookmark may not overtake it.
                return queue.get_nowait()
            if end is not None and loop.time() >= end:
                return None
            return self._bookmark(wanted)

    def _bookmark(self, wanted: Wanted) -> bytes:
        metadata = {"resourceVersion": str(self.storage.version)}
        kind, version = wanted.resource.kind, wanted.resource.api_version
        return _line("BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": metadata})

    def _past(self, wanted: Wanted) -> list[bytes]:
        if wanted.version is None:
            rows = self.storage.all(wanted.resource, wanted.namespace)
            return [_line("ADDED", row) for row in rows if wanted.match(row)]
        events = self.storage.since(wanted.resource, wanted.version)
        return [line for event in events if (line := _shown(wanted, event))]


def _shown(wanted: Wanted, event: Event) -> bytes | None:
    """What a watch with a selector sees: an object that comes into its sight is added."""
    now = wanted.shows(event.object) and event.kind != "DELETED"
    before = wanted.shows(event.before)
    if not now and not before:
        return None
    kind = "MODIFIED" if now and before else "ADDED" if now else "DELETED"
    obj = event.object
    if kind == "DELETED" and event.kind != "DELETED":
        assert event.before is not None
        version = event.object["metadata"]["resourceVersion"]
        metadata = {**event.before["metadata"], "resourceVersion": version}
        obj = {**event.before, "metadata": metadata}
    return _line(kind, obj)


def _line(kind: str, obj: Object) -> bytes:
    return json.dumps({"type": kind, "object": obj}, separators=(",", ":")).encode() + b"\n"


def error_line(body: Object) -> bytes:
    return _line("ERROR", body)
