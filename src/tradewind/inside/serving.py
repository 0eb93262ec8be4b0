"""Serve a function: `POST /predict` with its arguments by name as JSON; the answer is its result.

What a replica of a `service` with an entry of its own runs. Each request has a thread; SIGTERM ends
it after the requests that have begun. Standard library only, so that any environment can serve.
"""

from __future__ import annotations

import hmac
import inspect
import json
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import inputs, outputs
from .ends import text_of

MAX_BODY = 8 * 2**20
_PROBES = ("/v2/health/live", "/v2/health/ready")


class _Refused(Exception):
    """A request that gets an answer of its own instead of the function's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def serve(function: Callable[..., Any], start: dict[str, Any]) -> None:
    """Until SIGTERM. Inputs and parameters of the run are arguments of every call."""
    fixed = dict(start.get("params", {}))
    hints = inputs.hints_of(function)
    for name, slot in start.get("inputs", {}).items():
        fixed[name] = inputs.read(slot, hints.get(name), name)
    host = os.environ.get("HOST") or "127.0.0.1"
    kind = _Server6 if ":" in host else _Server
    server = kind((host, int(os.environ.get("PORT", "0"))), _Handler)
    server.function, server.fixed = function, fixed
    # Closing waits for the loop to end, so it cannot be done in the thread of that loop.
    stop = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: stop.start())
    place = f"[{host}]" if ":" in host else host
    print(f"answers on http://{place}:{server.server_address[1]}/predict", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    function: Callable[..., Any]
    fixed: dict[str, Any]


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60.0
    server: _Server

    def do_GET(self) -> None:
        if self.path in _PROBES:
            self._answer(200, {"ready": True})
        else:
            self._answer(404, {"error": f"there is nothing at {self.path}; POST to /predict"})

    def do_POST(self) -> None:
        try:
            given = self._given()
            result = outputs.json_of(self._call(given), "the answer", [])
        except _Refused as refused:
            self._answer(refused.status, {"error": str(refused)})
        except outputs.Unstorable as error:
            self._answer(500, {"error": str(error)})
        except Exception as error:
            traceback.print_exc()
            self._answer(500, {"error": f"{type(error).__name__}: {text_of(error)}"})
        else:
            self._answer(200, result)

    def _given(self) -> dict[str, Any]:
        token = os.environ.get("TRADEWIND_SERVICE_TOKEN", "")
        said = self.headers.get("Authorization", "").partition(" ")[2].strip()
        if token and not hmac.compare_digest(said.encode(), token.encode()):
            self.close_connection = True
            raise _Refused(401, "this service asks for a token")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            raise _Refused(413, f"send a body of a known length, at most {MAX_BODY} bytes")
        data = self.rfile.read(int(length))
        if self.path != "/predict":
            raise _Refused(404, f"there is nothing at {self.path}; POST to /predict")
        try:
            body = json.loads(data)
        except ValueError as error:
            raise _Refused(400, f"the body is no JSON: {error}") from None
        if not isinstance(body, dict):
            raise _Refused(400, "send an object with the arguments by name")
        return body

    def _call(self, given: dict[str, Any]) -> Any:
        arguments = {**self.server.fixed, **given}
        try:
            inspect.signature(self.server.function).bind(**arguments)
        except TypeError as error:
            raise _Refused(422, str(error)) from None
        return self.server.function(**arguments)

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the log is the user's."""
