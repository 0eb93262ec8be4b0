"""The application: routes behind the guard, errors in one form."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tradewind import __version__
from tradewind.api import checkpoints, prices, runs, server, services, stored, work
from tradewind.api.guard import PREFIX, Guard, Keys
from tradewind.base.errors import Bug, Location, NotFound, TradewindError, UserError
from tradewind.control.assemble import Assembly

log = logging.getLogger("tradewind.api")


def create_app(
    assembly: Assembly, keys: Keys, hosts: frozenset[str], shutdown: Callable[[], None]
) -> FastAPI:
    """The ASGI application of one assembly. `shutdown` ends the server process."""
    app = FastAPI(
        title="Tradewind",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.assembly = assembly
    app.state.keys = keys
    app.state.desk = assembly.desk
    app.state.shutdown = shutdown
    app.state.replicas = httpx.AsyncClient(timeout=services.CALL_SECONDS, trust_env=False)
    app.include_router(runs.router, prefix=PREFIX)
    app.include_router(stored.router, prefix=PREFIX)
    app.include_router(prices.router, prefix=PREFIX)
    app.include_router(server.router, prefix=PREFIX)
    app.include_router(services.router, prefix=PREFIX)
    app.include_router(services.gateway)
    app.include_router(work.router, prefix=PREFIX)
    app.include_router(checkpoints.router, prefix=PREFIX)
    app.include_router(server.open_router)
    app.add_exception_handler(TradewindError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(Guard, keys=keys, hosts=hosts)
    return app


def _body(error: TradewindError) -> JSONResponse:
    headers = {"Retry-After": str(round(error.after or 1))} if error.http_status == 503 else None
    return JSONResponse({"error": error.to_json()}, status_code=error.http_status, headers=headers)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TradewindError)
    if isinstance(error, Bug):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _body(error)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return _body(UserError(str(first["msg"]), where=Location(field=field or "body")))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _body(NotFound(f"there is nothing at {request.url.path}"))
    return _body(UserError(f"{request.method} {request.url.path}: {error.detail}"))


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return _body(
        Bug(
            f"{type(error).__name__} in {request.method} {request.url.path}",
            hint="this is a fault of Tradewind: its server.log has the details",
        )
    )
