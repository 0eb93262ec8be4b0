"""The engine of a cluster, as the exam of engines wants it: a namespace, a desk, entries."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import socket
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from tradewind.api import checkpoints, work
from tradewind.base.errors import TradewindError
from tradewind.engines.base import Place, Request
from tradewind.engines.desk import Desk
from tradewind.engines.kubernetes import KubernetesEngine, api
from tradewind.records.placements import Placement
from tradewind.records.tasks import Entry
from tradewind.testing.engine_suite import Pupil

_LISTEN = (
    "import os, socket, time;"
    "s = socket.create_server((os.environ['HOST'], int(os.environ['PORT'])));"
    "time.sleep(600)"
)
_RESUME = """
cd "$TRADEWIND_CHECKPOINTS" && [ -e deep/step ] && exit
mkdir -p "$TRADEWIND_CHECKPOINTS/deep" && echo 1 >"$TRADEWIND_CHECKPOINTS/deep/step"
exit 3
"""


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class ServedEngine(KubernetesEngine):
    """The engine with its desk's door in the same loop, as in a server."""

    def __init__(self, pupil: KubernetesPupil, place: Place) -> None:
        super().__init__(place)
        self._pupil = pupil
        self._serving: asyncio.Task[None] | None = None
        self._server: _Server | None = None

    def render(self, placement: Placement) -> Request:
        self._pupil.placements[placement.id] = placement
        return super().render(placement)

    async def begin(self) -> None:
        if self._serving is None:
            app = FastAPI()
            app.state.desk = self._pupil.desk
            app.include_router(work.router, prefix="/api/v1")
            app.include_router(checkpoints.router, prefix="/api/v1")
            app.add_exception_handler(TradewindError, _told)
            config = uvicorn.Config(
                app, port=self._pupil.port, log_level="error", timeout_graceful_shutdown=1
            )
            self._server = _Server(config)
            self._serving = asyncio.create_task(self._server.serve())
            while not self._server.started:
                await asyncio.sleep(0.01)
        await super().begin()

    async def close(self) -> None:
        await super().close()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._serving = None


async def _told(_: Any, error: Exception) -> JSONResponse:
    assert isinstance(error, TradewindError)
    return JSONResponse({"error": error.to_json()}, status_code=error.http_status)


class KubernetesPupil(Pupil):
    """An engine on a namespace of a cluster; `options` are those of its pool."""

    def __init__(self, data: Path, options: dict[str, Any], pool: str = "p") -> None:
        self.data, self.options, self.pool = data, options, pool
        self.placements: dict[str, Placement] = {}
        self.desk = Desk(b"exam", data / "blobs", self.placements.get)
        self.port = free_port()

    def place(self) -> Place:
        return Place(
            name=self.pool,
            options=self.options,
            data=self.data,
            python="python",
            url=f"http://127.0.0.1:{self.port}",
            desk=self.desk,
        )

    def engine(self) -> ServedEngine:
        return ServedEngine(self, self.place())

    def entry(self, behaviour: str, **options: Any) -> Entry:
        if behaviour == "serve":
            return Entry(kind="command", args=("python", "-c", _LISTEN))
        log = shlex.quote(options.get("log", ""))
        scripts = {
            "done": f"printf %s {log}",
            "fail": f'[ "$TRADEWIND_ATTEMPT" -gt {options.get("times", 0)} ] || exit 3',
            "rank": '[ "$RANK" != 1 ] || exit 3; exec sleep 600',
            "resume": _RESUME,
            "stay": f"printf %s {log}; exec sleep 600",
        }
        script = scripts[behaviour]
        if options.get("stubborn"):
            script = f"trap '' TERM; printf %s {log}; while :; do sleep 600; done"
        return Entry(kind="command", args=("sh", "-c", script))

    async def lose(self, placement: str) -> None:
        """Delete its workloads by hand, and what runs with them."""
        engine = self.engine()
        await KubernetesEngine.begin(engine)
        track = engine.track(placement)
        assert track is not None
        for workload in list(track.workloads.values()):
            kind = api.JOBS if "parallelism" in workload["spec"] else api.DEPLOYMENTS
            await engine.connected().delete(kind, workload["metadata"]["name"])
        await KubernetesEngine.close(engine)
