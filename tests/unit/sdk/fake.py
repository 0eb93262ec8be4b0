"""The API in memory: what the SDK and the CLI are tried against. Runs end as they are told to."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.unit.sdk.asgi import AsgiTransport
from tradewind.base.errors import NotFound, TradewindError, Unauthenticated
from tradewind.base.ids import digest_bytes, digest_json
from tradewind.sdk.client import Client

Json = dict[str, Any]
TOKEN = "secret"


class Cut(Exception):
    """The connection breaks here."""


class Fake:
    """An ASGI application. `outcome` says how a run of a document ends."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.runs: dict[str, Json] = {}
        self.keys: dict[str, str] = {}
        self.specs: dict[tuple[str, str], Json] = {}
        self.results: dict[str, Json] = {}
        self.files: list[bytes] = []
        self.logs = b"one\ntwo\n"
        self.cut_logs_at: list[int] = []
        self.events: list[Json] = []
        self.cut_events_after: list[int] = []
        self.fail_next: list[TradewindError] = []
        self.services: list[Json] = []
        self.calls: list[str] = []
        self.outcome: Callable[[Json], Json] = lambda document: {"state": "succeeded"}
        self.result: Json = {"output": {"kind": "json", "value": 42}}
        self.stopped = False
        # So many requests meet nobody; after so many that were answered.
        self.away, self.away_after = 0, 0

    def client(self, token: str = TOKEN) -> Client:
        client = Client("http://127.0.0.1:1", token, AsgiTransport(self))
        client.http.sleep = lambda seconds: None
        return client

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        path, query = unquote(scope["path"]), dict(parse_qsl(scope["query_string"].decode()))
        self.calls.append(f"{scope['method']} {path}")
        if self.away and path.startswith("/api"):
            if self.away_after <= 0:
                self.away -= 1
                raise Cut
            self.away_after -= 1
        try:
            if self.fail_next and path.startswith("/api"):
                raise self.fail_next.pop(0)
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            if path not in {"/healthz", "/readyz"} and sent != f"Bearer {TOKEN}":
                raise Unauthenticated("no token, or not the right one")
            answer = self._route(scope["method"], path, query, body)
            status = 200
        except TradewindError as error:
            answer, status = {"error": error.to_json()}, error.http_status
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": head})
        if isinstance(answer, Iterator):
            for chunk in answer:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if scope["method"] == "HEAD":
            data = b""
        await send({"type": "http.response.body", "body": data})

    def _route(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        for pattern, methods, name in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in methods.split("|"):
                given = json.loads(body) if body[:1] in (b"{", b"[") else body
                return getattr(self, name)(method, query, given, *match.groups())
        raise NotFound(f"there is nothing at {path}")

    def _blob(self, method: str, query: Any, body: Any, digest: str) -> Any:
        if method == "PUT":
            assert digest_bytes(body) == digest
            self.blobs[digest] = body
        elif digest not in self.blobs:
            raise NotFound("no such blob")
        return {}

    def _create(self, method: str, query: Any, body: Any) -> Any:
        return {"runs": [self._made(order) for order in body["runs"]]}

    def _made(self, order: Json) -> Json:
        key = order["request_key"]
        if key in self.keys:
            return self.runs[self.keys[key]]
        number = len(self.runs) + 1
        document = order["spec"]
        run = {
            "id": f"r{number:03}", "project": "default", "kind": document["kind"],
            "name": document["name"], "state": "accepted", "spec": document, "created": 1000.0,
            "updated": 1000.0, "parent": "", "waiting": "", "price": 0, "ended": 0.0,
            "quote": order.get("quote", ""), "children": [], "phases": [], "attempts": [],
        }  # fmt: skip
        self.runs[run["id"]] = run
        self.keys[key] = run["id"]
        return dict(run)

    def _end(self, run: Json) -> None:
        if run["state"] == "accepted":
            run.update({"ended": 1001.5, "price": 2_000_000, **self.outcome(run["spec"])})
            run["result"] = self.result if run["state"] == "succeeded" else {}

    def _find(self, prefix: str) -> Json:
        found = [run for run in self.runs.values() if run["id"].startswith(prefix)]
        if not found:
            raise NotFound(f"there is no run {prefix!r}")
        return found[0]

    def _list(self, method: str, query: dict[str, str], body: Any) -> Any:
        asked = {k: v for k, v in query.items() if k in ("name", "kind")}
        states = set(filter(None, query.get("state", "").split(",")))
        runs = [r for r in reversed(self.runs.values()) if asked.items() <= r.items()]
        runs = [r for r in runs if not states or r["state"] in states]
        start, limit = int(query.get("cursor") or 0), int(query["limit"])
        more = str(start + limit) if start + limit < len(runs) else ""
        return {"items": runs[start : start + limit], "cursor": more}

    def _get(self, method: str, query: Any, body: Any, run: str) -> Any:
        found = self._find(run)
        if method == "DELETE":
            del self.runs[found["id"]]
        return found

    def _wait(self, method: str, query: dict[str, str], body: Any, run: str) -> Any:
        if float(query["timeout"]) > 0:
            self._end(self._find(run))
        return self._find(run)

    def _stop(self, method: str, query: Any, body: Any, run: str) -> Any:
        self._find(run)["state"] = "stopped"
        return self._find(run)

    def _logs(self, method: str, query: dict[str, str], body: Any, run: str) -> Any:
        begin = int(query.get("offset", 0))

        def chunks() -> Iterator[bytes]:
            if self.cut_logs_at:
                yield self.logs[begin : self.cut_logs_at.pop(0)]
                raise Cut
            yield self.logs[begin:]

        return chunks()

    def _results(self, method: str, query: Any, body: Any, run: str) -> Any:
        return self._find(run).get("result", {})

    def _file(self, method: str, query: Any, body: Any, run: str, slot: str, number: str) -> Any:
        if int(number) >= len(self.files):
            raise NotFound("no such file")
        return self.files[int(number)]

    def _events(self, method: str, query: dict[str, str], body: Any) -> Any:
        def chunks() -> Iterator[bytes]:
            yield b"\n"
            for event in self.events:
                if event["seq"] > int(query.get("after", 0)):
                    yield json.dumps(event).encode() + b"\n"
                    if self.cut_events_after and event["seq"] == self.cut_events_after[0]:
                        self.cut_events_after.pop(0)
                        yield b'{"type": "half'
                        raise Cut

        return chunks()

    def _quote(self, method: str, query: Any, body: Any) -> Any:
        option = {"backend": "python", "width": 1, "resources": {"cpu": 1.0, "memory": 0}}
        plan = {"pool": "local", "engine": "local", "option": option, "seconds": None,
                "price": {"p50": 1_000_000, "p90": 2_000_000}, "basis": "history"}  # fmt: skip
        return {"id": "q1", "plans": [plan], "expires": 2000.0, "spec": body["spec"]}

    def _render(self, method: str, query: Any, body: Any) -> Any:
        return {"requests": [{"command": ["python"], "pool": body.get("pool", "")}]}

    def _apply(self, method: str, query: Any, body: Any) -> Any:
        changes = []
        for document in body["specs"]:
            key = (document["kind"], document["name"])
            before = self.specs.get(key)
            change = "created" if before is None else "changed"
            if before and digest_json(before["document"]) == digest_json(document):
                change = "unchanged"
            number = (before["number"] if before else 0) + (change != "unchanged")
            diff = [{"field": "timeout", "old": 1, "new": 2}] if change == "changed" else []
            changes.append({"kind": key[0], "name": key[1], "revision": number, "change": change,
                            "diff": diff})  # fmt: skip
            if not body["dry_run"]:
                self.specs[key] = {"kind": key[0], "name": key[1], "number": number,
                                   "document": document, "created": 1000.0}  # fmt: skip
        return changes

    def _specs(self, method: str, query: dict[str, str], body: Any) -> Any:
        return [each for each in self.specs.values() if query.get("kind") in (None, each["kind"])]

    def _spec(self, method: str, query: Any, body: Any, kind: str, name: str) -> Any:
        if (kind, name) not in self.specs:
            raise NotFound(f"there is no {kind} {name!r}")
        return self.specs.pop((kind, name)) if method == "DELETE" else self.specs[kind, name]

    def _datasets(self, method: str, query: Any, body: Any) -> Any:
        return [{"name": "flights", "number": 3, "rows": 336776, "created": 1000.0, "run": "r1"}]

    def _dataset(self, method: str, query: Any, body: Any, name: str) -> Any:
        [newest] = self._datasets("", {}, None)
        return {**newest, "bytes": 10, "schema": {"year": "int64"}, "versions": [newest]}

    def _models(self, method: str, query: Any, body: Any) -> Any:
        return [{"name": "late", "number": 1, "aliases": {"best": 1}, "created": 1000.0,
                 "metrics": {"auc": 0.69}}]  # fmt: skip

    def _model(self, method: str, query: Any, body: Any, name: str) -> Any:
        return {**self._models("", {}, None)[0], "versions": []}

    def _services(self, method: str, query: Any, body: Any) -> Any:
        return self.services

    def _pools(self, method: str, query: Any, body: Any) -> Any:
        return [{"name": "local", "engine": "local", "capacity": {"cpu": 2.0}, "price": 10**8,
                 "machines": 1}]  # fmt: skip

    def _status(self, method: str, query: Any, body: Any) -> Any:
        return {"version": "0.1.0", "pid": 1, "uptime": 5.0, "node": {"limits": {"memory": "nice"}}}

    def _top(self, method: str, query: Any, body: Any) -> Any:
        return [
            {"run": "r001", "name": "f", "role": "main", "index": 0, "cpu": 0.5, "memory": 2048}
        ]

    def _post(self, method: str, query: Any, body: Any, what: str) -> Any:
        self.stopped = self.stopped or what == "shutdown"
        return {"prune": {"runs": 3, "bytes": 2048}, "shutdown": {"going_on": []},
                "login-codes": {"url": "http://127.0.0.1:1/login?code=x"}}[what]  # fmt: skip

    def _fine(self, method: str, query: Any, body: Any) -> Any:
        return b"ok\n"

    def _metrics(self, method: str, query: Any, body: Any, run: str) -> Any:
        return [{"name": "loss", "value": 0.5, "step": 1, "at": 1000.0}]


_V = "/api/v1"
_ROUTES = [
    (r"/(?:healthz|readyz)", "GET", "_fine"),
    (_V + r"/blobs/([^/]+)", "PUT|HEAD", "_blob"),
    (_V + r"/runs", "POST", "_create"),
    (_V + r"/runs", "GET", "_list"),
    (_V + r"/runs/([^/]+)", "GET|DELETE", "_get"),
    (_V + r"/runs/([^/]+)/wait", "GET", "_wait"),
    (_V + r"/runs/([^/]+)/stop", "POST", "_stop"),
    (_V + r"/runs/([^/]+)/logs", "GET", "_logs"),
    (_V + r"/runs/([^/]+)/metrics", "GET", "_metrics"),
    (_V + r"/runs/([^/]+)/results", "GET", "_results"),
    (_V + r"/runs/([^/]+)/results/([^/]+)/files/(\d+)", "GET", "_file"),
    (_V + r"/events", "GET", "_events"),
    (_V + r"/quotes", "POST", "_quote"),
    (_V + r"/render", "POST", "_render"),
    (_V + r"/specs", "PUT", "_apply"),
    (_V + r"/specs", "GET", "_specs"),
    (_V + r"/specs/([^/]+)/([^/]+)", "GET|DELETE", "_spec"),
    (_V + r"/datasets", "GET", "_datasets"),
    (_V + r"/datasets/([^/]+)", "GET", "_dataset"),
    (_V + r"/models", "GET", "_models"),
    (_V + r"/models/([^/]+)", "GET", "_model"),
    (_V + r"/services", "GET", "_services"),
    (_V + r"/pools", "GET", "_pools"),
    (_V + r"/status", "GET", "_status"),
    (_V + r"/top", "GET", "_top"),
    (_V + r"/(prune|shutdown|login-codes)", "POST", "_post"),
]
