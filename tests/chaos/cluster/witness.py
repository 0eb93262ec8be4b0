"""Who sees what really happens: every Job and pod that ever is, and what user code says it does.

It looks by a way of its own to the cluster, past whatever the campaign breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from tests.kube.home import Site
from tests.kube.runner.rest import Api, access
from tradewind.engines.kubernetes import names

Json = dict[str, Any]
Unit = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """What one execution of user code said; `unit` is a run's id and an index or rank."""

    at: float
    event: str
    execution: str
    placement: str
    unit: Unit


class Witness:
    """Follows the namespace and keeps the ledger, in a thread of its own; a context manager."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="witness")
        self._counts: Counter[tuple[str, Unit]] = Counter()
        self.lines: list[Line] = []
        self.jobs: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self.pods: dict[str, Json] = {}
        self.ledger = ""

    def __enter__(self) -> Witness:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def running(self) -> list[Json]:
        """The pods that run now."""
        pods = list(self.pods.values())
        return [each for each in pods if (each.get("status") or {}).get("phase") == "Running"]

    async def _begin(self) -> None:
        server = await asyncio.start_server(self._hear, "127.0.0.1", 0)
        self.ledger = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._api = Api(access(self._site.kubeconfig))
        name = self._site.namespace
        follow = (
            self._follow(f"/apis/batch/v1/namespaces/{name}/jobs", self._job),
            self._follow(f"/api/v1/namespaces/{name}/pods", self._pod),
        )
        self._server, self._tasks = server, [asyncio.create_task(each) for each in follow]

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(await reader.readline())
            unit = said["run"], said["unit"]
            self.lines.append(
                Line(time.time(), said["event"], said["execution"], said["placement"], unit)
            )
            self._counts[said["event"], unit] += 1
            writer.write(f"{self._counts[said['event'], unit]}\n".encode())
            await writer.drain()
        writer.close()

    async def _follow(self, path: str, tell: Any) -> None:
        async with contextlib.aclosing(self._api.follow(path)) as changes:
            async for change, what in changes:
                for each in what if change == "LIST" else [what]:
                    tell(each, change == "DELETED")

    def _job(self, job: Json, gone: bool) -> None:
        notes = job["metadata"].get("annotations") or {}
        key = notes[names.PLACEMENT], notes[names.ROLE], notes[names.EPOCH]
        self.jobs[key].add(job["metadata"]["uid"])

    def _pod(self, pod: Json, gone: bool) -> None:
        if gone:
            self.pods.pop(pod["metadata"]["uid"], None)
        else:
            self.pods[pod["metadata"]["uid"]] = pod
