"""Routes about the server itself: health, status, metrics, sign-in, shutting down."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from tradewind import __version__
from tradewind.api import pages
from tradewind.api.deps import MOST, OWNER, Here
from tradewind.api.guard import COOKIE, SESSION_SECONDS, Keys
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.control import retention
from tradewind.records import codec
from tradewind.records.states import LIVE
from tradewind.store.rows import RunFilter

router = APIRouter()
open_router = APIRouter(include_in_schema=False)


@open_router.get("/healthz")
def healthz() -> PlainTextResponse:
    """The process answers."""
    return PlainTextResponse("ok\n")


@open_router.get("/readyz")
def readyz(here: Here) -> PlainTextResponse:
    """The store answers and the loop steps."""
    here.store.events.last_seq()
    return PlainTextResponse("ok\n" if here.stepping() else "not stepping\n",
                             status_code=200 if here.stepping() else 503)  # fmt: skip


@open_router.get("/metrics")
def metrics(here: Here) -> Response:
    """Prometheus metrics."""
    from tradewind.telemetry.prometheus import exposition

    text, kind = exposition(here.store)
    return Response(text, media_type=kind)


@open_router.get("/login")
def login(request: Request, code: str = "") -> RedirectResponse:
    """Sign a browser in by a one-time code."""
    keys = cast(Keys, request.app.state.keys)
    session = keys.redeem(code)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", path="/"
    )
    return answer


@open_router.get("/")
def home(here: Here) -> HTMLResponse:
    """A plain page of runs; the console takes its place."""
    found = here.front.page(RunFilter(top=True, work=True), 50, "")
    return HTMLResponse(pages.runs(found.runs, here.clock.now()))


@router.post("/login-codes")
def login_code(request: Request) -> Any:
    """A sign-in link for the browser."""
    keys = cast(Keys, request.app.state.keys)
    return {"url": f"{request.base_url}login?code={keys.new_code()}"}


@router.get("/status")
async def status(here: Here) -> Any:
    """What runs here and how it stands."""
    disk = shutil.disk_usage(here.settings.data)
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime": here.clock.monotonic() - here.started,
        "data": str(here.settings.data),
        "counts": {state: count for state, count in here.store.runs.counts().items()},
        "store": {"size": here.store.size(), "kind": here.store_kind()},
        "disk": {"total": disk.total, "free": disk.free},
        "pools": await asyncio.to_thread(here.places.listing),
        "node": await here.node_status(),
    }


@router.get("/top")
async def top(here: Here) -> Any:
    """What runs now, with its usage."""
    return await here.top()


@router.post("/prune")
def prune(
    here: Here,
    older_than: Annotated[float, Body(ge=0, le=1e12)] = 30 * 86400.0,
    keep: Annotated[int, Body(ge=0, le=MOST)] = 10,
) -> Any:
    """Delete ended runs older than `older_than` seconds, but the newest `keep` of each name."""
    checkpoints = Checkpoints(here.desk.blobs)
    return retention.prune(here.store, here.blobs, checkpoints, here.clock, older_than, keep)


@router.post("/shutdown")
async def shutdown(
    here: Here, request: Request, stop_runs: Annotated[bool, Body(embed=True)] = False
) -> Any:
    """End the server. What runs goes on, unless `stop_runs`."""
    going_on = here.front.page(RunFilter(states=LIVE), 1000, "").runs
    if stop_runs:
        for run in going_on:
            await here.front.stop(run.id, OWNER)
        for run in going_on:
            await here.front.wait(run.id, 30.0)
        going_on = here.front.page(RunFilter(states=LIVE), 1000, "").runs
    request.app.state.shutdown()
    return {"going_on": [codec.to_json(run) for run in going_on]}
