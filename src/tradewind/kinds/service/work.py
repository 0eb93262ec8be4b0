"""One replica: load a model, answer for it until it is told to stop, finish what was begun.

Offers the Open Inference Protocol v2, a plain `POST /predict`, `POST /v1/models/NAME:predict`, and
`/metrics`. Slow predictions run in threads, so that they do not keep the probes waiting; requests
beyond the threads and the places to wait are told to come again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

import tradewind
from tradewind.base.errors import (
    Bug,
    Conflict,
    InvalidData,
    NotFound,
    TradewindError,
    TryAgain,
    Unauthenticated,
)
from tradewind.models import inference
from tradewind.models.columns import validate, validate_columns
from tradewind.models.formats import FORMATS
from tradewind.models.heavy import Array, Columns, without
from tradewind.models.manifest import read
from tradewind.models.package import Model, load

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN = "TRADEWIND_SERVICE_TOKEN"
MAX_BODY = 8 * 2**20
# A quick prediction of a few rows is made at once: handing it to a thread would cost more.
FEW_ROWS, QUICK = 16, 0.005
WAITING = 256  # requests that may wait for a thread
GRACE = 30.0  # seconds that requests have to end after SIGTERM

# Probes come without a token: they tell nothing but whether it lives.
_OPEN = ("/v2/health/live", "/v2/health/ready")
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

# What LightGBM imports when it finds it, and a Booster over numpy never uses.
OPTIONAL = ("pandas", "sklearn", "pyarrow", "matplotlib", "dask", "graphviz", "polars")

Handler = Callable[[Request], Awaitable[Response]]


class TooLarge(InvalidData):
    """The body is over the limit."""

    code, http_status = "too_large", 413


class Figures:
    """The replica's Prometheus metrics; names as KServe and MLServer have them."""

    def __init__(self, name: str, version: str) -> None:
        """One registry of its own: the process may hold others."""
        self.registry = CollectorRegistry()
        labels = {"model_name": name, "model_version": version}

        def histogram(phase: str, about: str) -> Histogram:
            made = Histogram(
                f"request_{phase}_seconds", about, [*labels],
                registry=self.registry, buckets=_BUCKETS,
            )  # fmt: skip
            return made.labels(**labels)

        self.preprocess = histogram("preprocess", "reading and checking a request")
        self.predict = histogram("predict", "the model itself, waiting for a thread included")
        self.postprocess = histogram("postprocess", "writing the answer")
        self.requests = Counter(
            "rest_server_requests", "answers by route and status", ["path", "status_code"],
            registry=self.registry,
        )  # fmt: skip
        self.rows = Counter("predicted_rows", "rows predicted", [*labels], registry=self.registry)
        self.rows = self.rows.labels(**labels)
        self.active = Gauge(
            "rest_server_requests_in_progress", "predictions begun", registry=self.registry
        )


class Replica:
    """A loaded model under a name and a version, and its routes."""

    def __init__(
        self, model: Model, *, name: str, version: str, threads: int = 0, max_body: int = MAX_BODY
    ) -> None:
        """`threads` predictions run at once; 0: one for each core, at most four."""
        threads = threads or min(4, os.cpu_count() or 1)
        self.model, self.name, self.version = model, name, version
        self.max_body = max_body
        self.most = threads + WAITING
        self.begun = 0
        self.draining = False
        # What a few rows take; code of the user's own may wait for anything, and is never timed.
        self.pace = math.inf
        self.is_data = not FORMATS[model.manifest.format].executes
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self.figures = Figures(name, version)

    def app(self, token: str = "") -> ASGIApp:
        """The ASGI application; with a token, every route but the probes asks for it."""
        get: dict[str, Handler] = {
            "/": self.server,
            "/v2": self.server,
            "/v2/health/live": self.live,
            "/v2/health/ready": self.ready,
            "/metrics": self.metrics,
        }
        post: dict[str, Handler] = {
            "/predict": self.predict,
            "/v1/models/{model}:predict": self.predict_v1,
        }
        for place in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            get |= {place: self.metadata, f"{place}/ready": self.model_ready}
            post[f"{place}/infer"] = self.infer
        routes = [Route(path, self._guard(path, handler)) for path, handler in get.items()]
        for path, handler in post.items():
            routes.append(Route(path, self._guard(path, handler), methods=["POST"]))
        app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
        return _Token(app, token) if token else app

    async def server(self, request: Request) -> Response:
        """GET /v2."""
        return answer({"name": "tradewind", "version": tradewind.__version__, "extensions": []})

    async def live(self, request: Request) -> Response:
        """GET /v2/health/live."""
        return answer({"live": True})

    async def ready(self, request: Request) -> Response:
        """GET /v2/health/ready: no longer, once it was told to stop."""
        return answer({"ready": not self.draining}, 503 if self.draining else 200)

    async def metadata(self, request: Request) -> Response:
        """GET /v2/models/{m}."""
        self._check_model(request)
        return answer(inference.metadata(self.model.manifest, self.name, self.version))

    async def model_ready(self, request: Request) -> Response:
        """GET /v2/models/{m}/ready."""
        self._check_model(request)
        body = {"name": self.name, "ready": not self.draining}
        return answer(body, 503 if self.draining else 200)

    async def metrics(self, request: Request) -> Response:
        """GET /metrics."""
        text = generate_latest(self.figures.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def infer(self, request: Request) -> Response:
        """POST /v2/models/{m}/infer."""
        self._check_model(request)
        if "inference-header-content-length" in request.headers:
            raise InvalidData("the binary tensor extension is not offered: send data as JSON")
        with self.figures.preprocess.time():
            body = await self._json(request)
            columns = inference.decode(self.model.manifest, body)
            wanted = inference.wanted_outputs(self.model.manifest, body)
        outputs = await self._run(columns)
        with self.figures.postprocess.time():
            made = {
                "model_name": self.name,
                "model_version": self.version,
                "outputs": inference.encode(self.model.manifest, outputs, wanted),
            }
            if isinstance(body.get("id"), str):
                made["id"] = body["id"]
            return answer(made)

    async def predict(self, request: Request) -> Response:
        """POST /predict: rows, columns, or one row; the answer has the form of the question."""
        with self.figures.preprocess.time():
            form, columns = self._columns(await self._json(request))
        outputs = await self._run(columns)
        with self.figures.postprocess.time():
            plain = {name: values.tolist() for name, values in outputs.items()}
            if form != "columns":
                rows = _rows(plain)
                body = {"predictions": rows} if form == "rows" else {"prediction": rows[0]}
            else:
                body = {"outputs": plain}
            return answer({"model_name": self.name, "model_version": self.version, **body})

    async def predict_v1(self, request: Request) -> Response:
        """POST /v1/models/{m}:predict with {"instances": [row, …]}."""
        self._check_model(request)
        body = await self._json(request)
        if not isinstance(body, Mapping) or not isinstance(body.get("instances"), list):
            raise InvalidData("expected an object with a list of instances")
        _, columns = self._columns(body["instances"])
        outputs = await self._run(columns)
        plain = {name: values.tolist() for name, values in outputs.items()}
        return answer({"predictions": _rows(plain)})

    def _columns(self, body: Any) -> tuple[str, Columns]:
        signature = self.model.manifest.signature
        if isinstance(body, list):
            return "rows", validate(signature, body)
        if not isinstance(body, Mapping):
            raise InvalidData('expected {"rows": […]}, {"columns": {…}} or one row as an object')
        if isinstance(body.get("rows"), list) and len(body) == 1:
            return "rows", validate(signature, body["rows"])
        columns = body.get("columns")
        if isinstance(columns, Mapping) and len(body) == 1:
            if odd := [name for name, values in columns.items() if not isinstance(values, list)]:
                raise InvalidData(f"column {odd[0]!r}: expected a list of values")
            return "columns", validate_columns(signature, columns)
        return "row", validate(signature, [body])

    async def _run(self, columns: Columns) -> dict[str, Array]:
        """Predict in a thread; beyond the places to wait, say so at once."""
        rows = len(next(iter(columns.values()), ()))
        if not rows:
            raise InvalidData("there are no rows to predict")
        if self.begun >= self.most:
            raise TryAgain("this replica has more requests than it can take", after=1.0)
        self.begun += 1
        self.figures.active.set(self.begun)
        start = time.perf_counter()
        try:
            if rows <= FEW_ROWS and self.pace < QUICK:
                outputs = self._timed(columns)
            else:
                loop = asyncio.get_running_loop()
                outputs = await loop.run_in_executor(self.pool, self._timed, columns)
        except TradewindError:
            raise
        except Exception as error:
            # The input has passed the signature, so it is the predictor that failed.
            raise Bug(f"the model failed: {type(error).__name__}: {error}") from error
        finally:
            self.begun -= 1
            self.figures.active.set(self.begun)
        self.figures.predict.observe(time.perf_counter() - start)
        self.figures.rows.inc(rows)
        return outputs

    def _timed(self, columns: Columns) -> dict[str, Array]:
        """Predict, and remember how long a few rows take."""
        start = time.perf_counter()
        outputs = self.model.predict(columns)
        if len(next(iter(columns.values()))) <= FEW_ROWS and self.is_data:
            took = time.perf_counter() - start
            self.pace = took if self.pace == math.inf else 0.9 * self.pace + 0.1 * took
        return outputs

    async def _json(self, request: Request) -> Any:
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body:
            await self._swallow(request)
            raise self._too_large()
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.max_body:
                await self._swallow(request)
                raise self._too_large()
            parts.append(part)
        try:
            return from_json(b"".join(parts), allow_inf_nan=False)
        except ValueError as error:
            raise InvalidData(f"the body is not JSON: {error}") from error

    async def _swallow(self, request: Request) -> None:
        """Read on for a while: who is still sending would see a broken pipe, and no reason."""
        left = 8 * self.max_body
        async for part in request.stream():
            left -= len(part)
            if left < 0:
                return

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self.max_body} bytes", hint="send fewer rows")

    def _check_model(self, request: Request) -> None:
        asked = request.path_params["model"]
        if asked != self.name:
            raise NotFound(f"there is no model {asked!r} here; this replica serves {self.name!r}")
        version = request.path_params.get("version", self.version)
        if version != self.version:
            raise NotFound(
                f"there is no version {version!r} of {self.name!r} here; it is {self.version!r}"
            )

    def _guard(self, path: str, handler: Handler) -> Handler:
        """Errors of our tree become answers, and every answer is counted."""

        async def guarded(request: Request) -> Response:
            try:
                response = await handler(request)
            except ClientDisconnect:
                response = Response(status_code=499)
            except TradewindError as error:
                response = refusal(error)
            self.figures.requests.labels(path, str(response.status_code)).inc()
            return response

        return guarded


class _Token:
    """Asks for `Authorization: Bearer TOKEN` on every route but the probes."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.wanted):
                error = Unauthenticated(
                    "this service asks for a token", hint="send Authorization: Bearer TOKEN"
                )
                await refusal(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def answer(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(to_json(body, inf_nan_mode="null"), status, media_type="application/json")


def refusal(error: TradewindError) -> Response:
    """The protocol's error body: `error` is text; `code` and `field` come besides."""
    body = {"error": f"{error.message}; {error.hint}" if error.hint else error.message}
    body["code"] = error.code
    if error.where:
        body["field"] = error.where.field
    # The protocol knows 400 for a bad request and nothing finer.
    status = 400 if error.http_status == 422 else error.http_status
    response = answer(body, status)
    if error.after is not None:
        response.headers["retry-after"] = str(max(1, round(error.after)))
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return refusal(NotFound(f"there is nothing at {request.url.path}"))
    text = f"{request.url.path} does not take {request.method}"
    return answer({"error": text, "code": "user_error"}, error.status_code)


def _rows(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


class Server(uvicorn.Server):
    """uvicorn's own handlers end the process by the signal; ours, when its work is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """`serve` has taken the signals."""
        yield


async def serve(replica: Replica, sock: socket.socket, token: str = "") -> None:
    """Answer on a bound socket until SIGTERM or SIGINT; then finish what was begun."""
    config = uvicorn.Config(
        replica.app(token), log_level="warning", access_log=False, lifespan="off",
        timeout_graceful_shutdown=round(GRACE), timeout_keep_alive=75, server_header=False,
    )  # fmt: skip
    server = Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        replica.draining = True
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=[sock])
    replica.pool.shutdown(wait=False, cancel_futures=True)


def bind(host: str, port: int) -> socket.socket:
    """The socket to listen on, taken before the model is loaded: a taken port is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, the loop turns Nagle's algorithm off for what it accepts.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Conflict(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return sock


def load_light(folder: Path) -> Model:
    """The model; for a booster, without what LightGBM loads for users of pandas and scikit-learn.

    It makes the difference between three seconds and half of one, and 120 MB of memory.
    """
    unused = OPTIONAL if read(folder).format == "lightgbm" else ()
    with without(*unused):
        return load(folder)


def main(
    model: Path, *, name: str, version: str | int = "1", port: int = 0, host: str = ""
) -> None:
    """Serve the model in this folder until the process is told to stop.

    Without a port or a host, those that the task was given, else a free port of this machine alone.
    """
    began = time.perf_counter()
    host = host or os.environ.get("HOST") or "127.0.0.1"
    sock = bind(host, int(port) or int(os.environ.get("PORT", "0")))
    loaded = load_light(Path(model))
    for note in loaded.notes:
        print(f"note: {note}", file=sys.stderr)
    limit = int(os.environ.get("TRADEWIND_SERVICE_MAX_BODY", MAX_BODY))
    replica = Replica(loaded, name=name, version=str(version), max_body=limit)
    took = time.perf_counter() - began
    place = f"http://{host}:{sock.getsockname()[1]}"
    sock.listen(2048)  # what is said here is true: who comes now waits, and is not turned away
    print(f"{name}/{version} answers on {place} (loaded in {took:.2f} s)", flush=True)
    # A thread that predicts gives the loop its turn after 1 ms, not after 5.
    sys.setswitchinterval(0.001)
    with asyncio.Runner(loop_factory=_loop()) as runner:
        runner.run(serve(replica, sock, os.environ.get(TOKEN, "")))


def _loop() -> Any:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve one model folder.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    try:
        main(**vars(arguments))
    except TradewindError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_status) from None
