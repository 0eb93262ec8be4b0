"""A node's agent: takes the pods that are bound to it and runs each."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx

from tests.kube.runner.home import Home, Settings
from tests.kube.runner.names import Names
from tests.kube.runner.node import Node
from tests.kube.runner.pod import Pod
from tests.kube.runner.process import isolation, raise_descriptor_limit
from tests.kube.runner.rest import Access, Api
from tests.kube.runner.server import Server

Json = dict[str, Any]


class Kubelet:
    """Lives in one event loop, from `start` to `stop`."""

    def __init__(self, entry: Access, settings: Settings, root: Path | None) -> None:
        """What the pods hold is in a folder of its own below `root`."""
        root = Path(tempfile.mkdtemp(prefix="tradewind-runner-", dir=root))
        isolation()  # without it there is no use in starting
        raise_descriptor_limit()
        self._settings = settings
        self._home = Home(settings=settings, api=Api(entry), root=root, names=Names())
        self._node = Node(self._home.api, settings)
        self._server = Server(self.find, settings)
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.pods: dict[str, Pod] = {}
        self._server.pods = lambda: list(self.pods.values())

    async def start(self) -> None:
        """Returns when the node is registered and ready."""
        self._node.port = await self._server.open(self._home.root)
        await self._node.register()
        self._begin()

    def _begin(self) -> None:
        api, names = self._home.api, self._home.names
        selector = f"spec.nodeName={self._settings.node}"
        works = [
            self._node.run(),
            self._follow("/api/v1/pods", self._seen, selector),
            self._follow("/api/v1/pods", names.pods),
            self._follow("/api/v1/services", names.services),
            names.run(),
        ]
        assert api.open.is_set()
        self._tasks = [asyncio.create_task(work) for work in works]
        for task in self._tasks:
            task.add_done_callback(_broken)

    async def _follow(self, path: str, tell: Any, selector: str = "") -> None:
        async with contextlib.aclosing(self._home.api.follow(path, selector)) as changes:
            async for change, what in changes:
                tell(change, what)

    def _seen(self, change: str, what: Any) -> None:
        if change == "LIST":
            uids = {pod["metadata"]["uid"] for pod in what}
            for uid in self.pods.keys() - uids:
                self._drop(uid)
            for pod in what:
                self._take(pod)
        elif change == "DELETED":
            self._drop(what["metadata"]["uid"])
        else:
            self._take(what)

    def _take(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.pods:
            self.pods[uid] = Pod(pod, self._home)
        self.pods[uid].update(pod)

    def _drop(self, uid: str) -> None:
        if pod := self.pods.pop(uid, None):
            pod.gone()
            task = asyncio.create_task(pod.ended())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def find(self, namespace: str, name: str) -> Pod | None:
        """The newest of this name."""
        found = [
            one for one in self.pods.values() if (one.namespace, one.name) == (namespace, name)
        ]
        return found[-1] if found else None

    async def freeze(self) -> None:
        """As a node that is cut off: nothing goes out, nobody is answered; processes go on."""
        await self._end_tasks()
        await self._home.api.shut()
        await self._server.close()

    async def thaw(self) -> None:
        """The node is back."""
        self._home.api.open.set()
        await self._server.open(self._home.root)
        self._begin()

    def kill_pod(self, name: str) -> int:
        """As a crash of all its processes. How many pods of this name there are here."""
        found = [pod for pod in self.pods.values() if pod.name == name]
        for pod in found:
            pod.kill()
        return len(found)

    async def stop(self) -> None:
        """Ends every process, removes what it made."""
        frozen = not self._home.api.open.is_set()
        await self._end_tasks()
        for uid in list(self.pods):
            self._drop(uid)
        self._home.api.open.set()
        if self._closing:
            _, stuck = await asyncio.wait(self._closing, timeout=5)
            for task in stuck:  # in a request that nobody answers
                task.cancel()
        await self._server.close()
        if not self._settings.keep_node and not frozen:
            with contextlib.suppress(TimeoutError, httpx.TransportError):
                async with asyncio.timeout(5):
                    await self._node.remove()
        await self._home.api.close()
        await asyncio.sleep(0.01)  # connections are closed by the loop, a turn or two later
        shutil.rmtree(self._home.root, ignore_errors=True)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []


def _broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logging.getLogger(__name__).error("a part of the node ended", exc_info=error)
