"""A desk that answers over HTTP as the server does, and pods that are real processes beside it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "cGxhY2VtZW50.00"
PLACEMENT = "run-1-main-1"


class Server:
    """What the desk knows, and how it misbehaves."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.put: dict[str, bytes] = {}
        self.facts: list[dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []
        self.work: dict[str, Any] = {}
        self.checkpoint: list[dict[str, Any]] = []  # as a claim finds it
        self.changes: list[dict[str, Any]] = []
        self.open = True  # whether members of a gang may begin
        self.asked: list[str] = []
        self.down: set[str] = set()  # "METHOD what": the connection breaks, unanswered
        self.answers: dict[str, int] = {}  # "METHOD what" → a status instead
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.desk = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def add(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def wait_for(self, what: str) -> None:
        """Until this was asked once more than it was."""
        before = self.asked.count(what)
        until(lambda: self.asked.count(what) > before)

    def values(self, kind: str, name: str) -> list[Any]:
        return [
            fact["body"].get("value")
            for fact in self.facts
            if fact["kind"] == kind and fact["body"].get("name") == name
        ]


def until(true: Any, seconds: float = 30.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it does not come true"
        time.sleep(0.01)


class _Http(ThreadingHTTPServer):
    desk: Server
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def _serve(self) -> None:
        desk, url = self.server.desk, urlsplit(self.path)
        _empty, _api, _v1, work, *rest = url.path.split("/")
        what = f"{self.command} {rest[-1 if self.command == 'POST' else 0] if rest else work}"
        desk.asked.append(what)
        if what in desk.down:
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, _error("the attempt token is not of this server"))
        elif what in desk.answers:
            self._answer(desk.answers[what], _error("because the test says so"))
        elif what == "GET work":
            assert parse_qs(url.query) == {"pod": ["pod-1"]}
            self._answer(200, json.dumps(desk.work).encode())
        elif what == "GET gate":
            assert parse_qs(url.query) == {"pod": ["pod-1"]}
            self._answer(200, json.dumps({"open": desk.open}).encode())
        elif what == "POST facts":
            told = json.loads(body)
            desk.posts.append(told)
            known = {fact["seq"] for fact in desk.facts}
            desk.facts += [fact for fact in told["facts"] if fact["seq"] not in known]
            self._answer(204)
        elif what == "POST falls":
            assert json.loads(body) == {"pod": "pod-1"}
            self._answer(204)
        elif what == "POST claim":
            self._answer(200, json.dumps({"files": desk.checkpoint, "damaged": False}).encode())
        elif what == "POST checkpoint":
            desk.changes.append(json.loads(body))
            self._answer(204)
        else:
            self._blob(desk, rest[1], body)

    def _blob(self, desk: Server, digest: str, body: bytes) -> None:
        if self.command == "PUT":
            assert digest == "sha256:" + hashlib.sha256(body).hexdigest()
            desk.put[digest] = body
            self._answer(201, json.dumps({"digest": digest, "size": len(body)}).encode())
        elif digest in desk.blobs:
            self._answer(200, desk.blobs[digest] if self.command == "GET" else b"")
        else:
            self._answer(404, _error("no such blob") if self.command == "GET" else b"")

    do_GET = do_HEAD = do_PUT = do_POST = _serve

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


def _error(message: str) -> bytes:
    return json.dumps({"error": {"code": "x", "message": message}}).encode()


def bundle(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Ended:
    """A process that is over."""

    def __init__(self, status: int, out: bytes, err: bytes, message: Path) -> None:
        self.status, self.out, self.err = status, out, err
        self.told: dict[str, Any] = {}
        if message.exists():
            data = message.read_bytes()
            assert len(data) <= 3800
            self.told = json.loads(data)
            message.unlink()

    @property
    def exit(self) -> dict[str, Any]:
        found: dict[str, Any] = self.told["exit"]
        return found


class Pod:
    """One unit's folder and its two processes."""

    def __init__(self, folder: Path, server: Server, code: str = "", **unit: Any) -> None:
        self.folder, self.server = folder, server
        folder.mkdir(parents=True, exist_ok=True)
        self.home = folder / "tw"
        self.env: dict[str, str] = {}
        self.python = ["-m", "tradewind.pod"]
        self.role: dict[str, Any] = {
            "name": "main",
            "shape": {"shape": "gang", "least": 1, "most": 1},
            "entry": {"kind": "function", "target": "code.py:f"},
        }
        self.request: dict[str, Any] = {
            "placement": PLACEMENT,
            "run": "run-1",
            "task": "main",
            "number": 1,
            "bundle": server.add(bundle({"code.py": code})) if code else "",
            "environment": {"digest": "none"},
            "roles": [self.role],
        }
        self.unit = {"role": "main", "index": 0, "attempt": 1, "rank": 0, "width": 1, **unit}
        server.work = {"request": self.request, "unit": self.unit}

    def begin(self, verb: str) -> subprocess.Popen[bytes]:
        env = {
            key: value for key, value in os.environ.items() if not key.startswith("TRADEWIND_")
        } | {
            "TRADEWIND_SERVER": self.server.url,
            "TRADEWIND_TOKEN": TOKEN,
            "TRADEWIND_POD": "pod-1",
            "TRADEWIND_IP": "127.0.0.1",
            "TRADEWIND_NODE": "node-1",
            "TRADEWIND_HOME": str(self.home),
            "TRADEWIND_TERMINATION_LOG": str(self.folder / "ended"),
            "HOME": str(self.home / "home"),
            **self.env,
        }
        return subprocess.Popen(
            [sys.executable, *self.python, verb],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes]) -> Ended:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return Ended(process.returncode, out, err, self.folder / "ended")

    def stage(self) -> Ended:
        return self.end(self.begin("stage"))

    def run(self) -> Ended:
        return self.end(self.begin("run"))

    def both(self) -> Ended:
        staged = self.stage()
        assert (staged.status, staged.out, staged.err, staged.told) == (0, b"", b"", {})
        ended = self.run()
        assert ended.err == b""
        return ended

    def stop(self, process: subprocess.Popen[bytes]) -> Ended:
        process.send_signal(signal.SIGTERM)
        return self.end(process)


def journal_of(pod: Pod) -> bytes:
    """The whole lines of it: space is taken ahead."""
    path = pod.home / "node/attempts" / PLACEMENT / "reports.jsonl"
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]
