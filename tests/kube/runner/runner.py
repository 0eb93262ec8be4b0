"""The runner as a library: a kubelet in a thread of its own."""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from tests.kube.runner.home import Settings
from tests.kube.runner.kubelet import Kubelet
from tests.kube.runner.rest import access

PATIENCE = 30  # seconds for starting and for ending


class Runner:
    """A node that runs pods as processes of this machine.

    `start` returns when the node is ready; after `stop`, or the end of this process however it
    comes, nothing that it started runs any more. Usable as a context manager.
    """

    def __init__(
        self, kubeconfig: Path, context: str = "", root: Path | None = None, **settings: Any
    ) -> None:
        """`settings`: see `Settings`; `node` is the one that must be given."""
        self._entry = access(Path(kubeconfig), context)
        self._root = root
        self.settings = Settings(**settings)
        self._kubelet: Kubelet | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), daemon=True)
        self._thread.start()
        atexit.register(self.stop)
        try:
            ready.result(PATIENCE)
        except BaseException:
            self.stop()
            raise
        return self

    async def _live(self, ready: "Future[None]") -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            self._kubelet = Kubelet(self._entry, self.settings, self._root)
            starting = asyncio.create_task(self._kubelet.start())
            starting.add_done_callback(lambda done: _tell(ready, done))
            await self._end.wait()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._kubelet.stop()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    def stop(self) -> None:
        """Ends all processes and removes the node. Again: nothing."""
        atexit.unregister(self.stop)
        loop, thread, end, self._loop = self._loop, self._thread, self._end, None
        if loop is None or thread is None or end is None:
            return
        loop.call_soon_threadsafe(end.set)
        thread.join(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def freeze(self) -> None:
        """The node is cut off: no heartbeat, no word of its pods, no answer. Processes go on."""
        self._do(self._now.freeze())

    def thaw(self) -> None:
        self._do(self._now.thaw())

    def kill_pod(self, name: str) -> None:
        """SIGKILL to all processes of the pod, as a crash."""

        async def kill() -> int:
            return self._now.kill_pod(name)

        if not self._do(kill()):
            raise LookupError(f"no pod {name} on {self.settings.node}")

    @property
    def _now(self) -> Kubelet:
        if self._kubelet is None:
            raise RuntimeError("the runner has not been started")
        return self._kubelet

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is None:
            work.close()
            raise RuntimeError("the runner has not been started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


def _tell(ready: "Future[None]", starting: "asyncio.Task[None]") -> None:
    if ready.done() or starting.cancelled():
        return
    if error := starting.exception():
        ready.set_exception(error)
    else:
        ready.set_result(None)
