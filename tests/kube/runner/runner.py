"""The runner as a library: a kubelet in a thread of its own."""

import asyncio
import atexit
import tempfile
import threading
from collections.abc import Coroutine
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
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        atexit.register(self.stop)
        try:
            self._do(self._start())
        except BaseException:
            self.stop()
            raise
        return self

    async def _start(self) -> None:
        root = self._root or Path(tempfile.mkdtemp(prefix="tradewind-runner-"))
        root.mkdir(parents=True, exist_ok=True)
        self._kubelet = Kubelet(self._entry, self.settings, root)
        await self._kubelet.start()

    def stop(self) -> None:
        """Ends all processes and removes the node. Again: nothing."""
        atexit.unregister(self.stop)
        loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        try:
            if self._kubelet is not None:
                asyncio.run_coroutine_threadsafe(self._kubelet.stop(), loop).result(PATIENCE)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(PATIENCE)
            loop.close()

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
