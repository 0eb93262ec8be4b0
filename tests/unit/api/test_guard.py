"""Who may ask, from where, and with what sort of body."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.api.serving import HOST, ONE, TOKEN, House, at_home, house
from tradewind.api.guard import CODE_SECONDS, MAX_JSON, OPEN_PATHS, SESSION_SECONDS

JSON = {"content-type": "application/json"}


def every_route(made: House) -> list[tuple[str, str]]:
    found = []
    for path, methods in made.app.openapi()["paths"].items():
        filled = path.replace("{", "").replace("}", "")
        found += [(method.upper(), filled) for method in methods]
    hidden = [
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/services/x/y"),
        ("POST", "/services/x/y"),
    ]
    return found + hidden + [("GET", "/api/v1/openapi.json"), ("GET", "/nothing")]


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 9])
def test_nothing_answers_without_the_token(given: str, tmp_path: Path) -> None:
    @at_home
    async def story(made: House, _: httpx.AsyncClient) -> None:
        async with made.client("") as client:
            headers = [(b"authorization", f"Bearer {given}".encode())] if given else []
            for method, path in every_route(made):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path)
                if method != "HEAD":
                    assert answer.json()["error"]["code"] == "unauthenticated"
                assert answer.headers["www-authenticate"] == "Bearer"
        assert not made.here.store.runs.counts()

    story(tmp_path)


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_the_token_counts_only_as_a_bearer(scheme: str, tmp_path: Path) -> None:
    @at_home
    async def story(made: House, _: httpx.AsyncClient) -> None:
        async with made.client("") as client:
            value = f"{scheme} {TOKEN}".strip()
            answer = await client.get("/api/v1/status", headers={"authorization": value})
            assert answer.status_code == 401
            answer = await client.get("/api/v1/status", params={"token": TOKEN})
            assert answer.status_code == 401
            lower = {"authorization": f"bearer {TOKEN}"}
            assert (await client.get("/api/v1/status", headers=lower)).status_code == 200

    story(tmp_path)


@at_home
async def test_health_needs_no_token_and_tells_nothing(made: House, _: httpx.AsyncClient) -> None:
    async with made.client("") as client:
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.text) == (200, "ok\n")
    assert {"/healthz", "/readyz", "/login"} == OPEN_PATHS


def test_a_server_that_does_not_step_is_not_ready(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path, start=False) as made, made.client("") as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503

    asyncio.run(story())


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7433", "127.0.0.1.evil.example", "", "[", "[::1", "a b"]
)
def test_a_foreign_host_is_refused(host: str, tmp_path: Path) -> None:
    """DNS rebinding: a name of the attacker's that leads here."""

    @at_home
    async def story(made: House, client: httpx.AsyncClient) -> None:
        for path in ("/healthz", "/api/v1/status", "/"):
            answer = await client.get(path, headers={"host": host})
            assert answer.status_code == 403, answer.text

    story(tmp_path)


@at_home
async def test_our_own_hosts_are_answered(made: House, client: httpx.AsyncClient) -> None:
    for host in ("127.0.0.1", "localhost:1234", "[::1]:7433", "LOCALHOST"):
        answer = await client.get("/healthz", headers={"host": host})
        assert answer.status_code == 200, host


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost", "http://[", "x"],
)
def test_a_page_of_another_origin_is_refused(origin: str, tmp_path: Path) -> None:
    @at_home
    async def story(made: House, client: httpx.AsyncClient) -> None:
        for headers in ({"origin": origin}, {"origin": origin, "cookie": "tradewind=x"}):
            body = {"runs": [{"spec": ONE}]}
            answer = await client.post("/api/v1/runs", json=body, headers=headers)
            assert answer.status_code == 403
            assert (await client.get("/api/v1/runs", headers=headers)).status_code == 403
        assert not made.here.store.runs.counts()

    story(tmp_path)


@at_home
async def test_our_own_origin_is_answered(made: House, client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/status", headers={"origin": f"http://{HOST}"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "",
     "text/plain; application/json"],
)  # fmt: skip
def test_a_body_that_a_form_could_send_is_refused(kind: str, tmp_path: Path) -> None:
    @at_home
    async def story(made: House, client: httpx.AsyncClient) -> None:
        for path in ("/api/v1/runs", "/api/v1/shutdown", "/api/v1/prune", "/api/v1/runs/x/stop"):
            headers = {"content-type": kind} if kind else {}
            answer = await client.post(path, content=b'{"runs": []}', headers=headers)
            assert answer.status_code == 400 and "is not taken" in answer.text, path
        assert made.downs == []

    story(tmp_path)


@at_home
async def test_json_is_bounded_whether_its_length_is_told_or_not(
    made: House, client: httpx.AsyncClient
) -> None:
    big = b'{"runs": "' + b"x" * MAX_JSON + b'"}'
    told = await client.post("/api/v1/runs", content=big, headers=JSON)
    assert told.status_code == 400 and "16 MiB" in told.json()["error"]["message"]
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        while sent < 10 * MAX_JSON:
            sent += 2**20
            yield b"x" * 2**20

    untold = await client.post("/api/v1/runs", content=chunks(), headers=JSON)
    assert untold.status_code == 400
    assert made.here.store.runs.counts() == {}


@at_home
async def test_bytes_are_kept_whole_and_checked(made: House, client: httpx.AsyncClient) -> None:
    from tradewind.base.ids import digest_bytes

    data = b"\0\1" * (MAX_JSON // 2 + 10)
    digest = digest_bytes(data)
    octets = {"content-type": "application/octet-stream"}
    path = f"/api/v1/blobs/{digest}"
    assert (await client.head(path)).status_code == 404
    assert (await client.put(path, content=data, headers=octets)).status_code == 201
    assert (await client.head(path)).status_code == 200
    wrong = await client.put(path, content=b"other", headers=octets)
    assert wrong.status_code == 400 and "do not match" in wrong.text
    for name in ("x", "sha256:" + "g" * 64, "..%2f..%2fetc%2fpasswd", "sha256:" + "0" * 63):
        odd = await client.head(f"/api/v1/blobs/{name}")
        assert 400 <= odd.status_code < 500, name
        odd = await client.put(f"/api/v1/blobs/{name}", content=b"a", headers=octets)
        assert 400 <= odd.status_code < 500, name


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"runs": {}}', b'{"runs": [1]}', b'{"runs": [{}]}',
     b'{"runs": [{"spec": null}]}', b"[" * 100_000, b'{"runs": [{"spec": {"kind": "x"}}]}',
     b'{"runs": [{"spec": {"kind": "function", "name": "a\\u0000b", "sql": "SELECT 1"}}]}',
     b'{"runs": [{"spec": {"kind": "function", "name": "\\ud800", "sql": "SELECT 1"}}]}',
     b'{"runs": [{"spec": {"kind":"function","name":"a","sql":"SELECT 1","params":{"x":NaN}}}]}',
     b'{"runs": [{"spec": {"kind":"function","name":"a","sql":"SELECT 1","params":{"x":1e999}}}]}',
     b'{"runs":[{"spec":{"kind":"function","name":"a","sql":"SELECT 1"},"quote":{"a":1}}]}',
     b'{"runs":[{"spec":{"kind":"function","name":"a","sql":"SELECT 1"},"quote":"q","plan":"1"}]}',
     b'{"runs":[{"spec":{"kind":"function","name":"a","sql":"SELECT 1"},"request_key":"\\ud800"}'
     b"]}"],
)  # fmt: skip
def test_a_malformed_body_is_the_callers_error(body: bytes, tmp_path: Path) -> None:
    @at_home
    async def story(made: House, client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/v1/runs", content=body, headers=JSON)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["error"]["message"]
        assert made.here.store.runs.counts() == {}

    story(tmp_path)


@at_home
async def test_a_located_error_crosses_the_wire(made: House, client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/runs", json={"runs": [{"spec": {**ONE, "timeout": 5}}]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_spec")
    assert error["where"]["field"] == "timeout"


@at_home
async def test_unknown_routes_and_methods_are_told_in_our_form(
    made: House, client: httpx.AsyncClient
) -> None:
    for method, path, code in [
        ("GET", "/api/v1/nothing", 404), ("GET", "/docs", 404), ("GET", "/../etc/passwd", 404),
        ("DELETE", "/api/v1/runs", 400), ("GET", "/api/v1/runs/none", 404),
        ("GET", "/api/v1/specs/function/none", 404), ("GET", "/api/v1/models/none", 404),
    ]:  # fmt: skip
        answer = await client.request(method, path)
        assert answer.status_code == code, path
        assert answer.json()["error"]["message"]


@at_home
async def test_figures_that_no_database_holds_are_refused(
    made: House, client: httpx.AsyncClient
) -> None:
    huge = 10**30
    for path in (
        f"/api/v1/events?after={huge}", f"/api/v1/specs/function/x?revision={huge}",
        f"/api/v1/models/x?version={huge}", f"/api/v1/datasets/x/versions/{huge}",
        f"/api/v1/runs?limit={huge}", f"/api/v1/runs/x/logs?offset={huge}",
        f"/api/v1/specs/function/x?revision=-{huge}",
        "/api/v1/runs?name=a%00b", "/api/v1/runs/a%00", f"/api/v1/runs/x/results/o/files/{huge}",
    ):  # fmt: skip
        answer = await client.get(path)
        assert 400 <= answer.status_code < 500, path
    body = {"older_than": 1.0, "keep": huge}
    assert (await client.post("/api/v1/prune", json=body)).status_code == 400
    answer = await client.put("/api/v1/models/x/aliases/y", json={"version": huge})
    assert answer.status_code == 400


@at_home
async def test_a_browser_signs_in_once_by_a_code(made: House, client: httpx.AsyncClient) -> None:
    url = (await client.post("/api/v1/login-codes")).json()["url"]
    assert url.startswith(f"http://{HOST}/login?code=")
    async with made.client("") as browser:
        answer = await browser.get(url)
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
        assert (await browser.get("/")).status_code == 200
        assert (await browser.get("/api/v1/status")).status_code == 200
    async with made.client("") as other:
        again = await other.get(url)
        assert again.status_code == 401 and "set-cookie" not in again.headers
        for code in ("", "x" * 32):
            assert (await other.get("/login", params={"code": code})).status_code == 401
        forged = {"cookie": "tradewind=forged"}
        assert (await other.get("/api/v1/status", headers=forged)).status_code == 401
        odd = {"cookie": 'a="b; tradewind=; =;; \x01'}
        assert (await other.get("/api/v1/status", headers=odd)).status_code == 401


@at_home
async def test_codes_and_sessions_run_out(made: House, client: httpx.AsyncClient) -> None:
    old = (await client.post("/api/v1/login-codes")).json()["url"]
    made.clock.advance(CODE_SECONDS + 1)
    fresh = (await client.post("/api/v1/login-codes")).json()["url"]
    async with made.client("") as browser:
        assert (await browser.get(old)).status_code == 401
        assert (await browser.get(fresh)).status_code == 303
        assert (await browser.get("/")).status_code == 200
        made.clock.advance(SESSION_SECONDS + 1)
        assert (await browser.get("/")).status_code == 401


def test_the_token_is_in_no_answer_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @at_home
    async def story(made: House, client: httpx.AsyncClient) -> None:
        await client.post("/api/v1/runs", json={"runs": [{"spec": ONE}]})
        for method, path in every_route(made):
            if "shutdown" in path or path.endswith("/events"):
                continue
            answer = await client.request(method, path)
            assert TOKEN not in answer.text, path
            assert TOKEN not in str(answer.headers), path
        broken = await client.get("/api/v1/status", headers={"host": TOKEN})
        assert broken.status_code == 403

        def break_(*_: Any, **__: Any) -> Any:
            raise RuntimeError("our fault")

        made.here.store.runs.counts = break_  # type: ignore[method-assign]
        answer = await client.get("/api/v1/status")
        assert answer.status_code == 500 and answer.json()["error"]["code"] == "bug"
        assert "our fault" not in answer.text

    with caplog.at_level(logging.DEBUG):
        story(tmp_path)
    assert TOKEN not in caplog.text


@at_home
async def test_a_websocket_is_closed(made: House, client: httpx.AsyncClient) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    headers = [(b"host", HOST.encode()), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "websocket", "path": "/", "headers": headers}
    await made.app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@at_home
async def test_an_attempt_token_opens_the_door_for_tasks_and_nothing_else(
    made: House, client: httpx.AsyncClient
) -> None:
    token = made.here.desk.token("r1-main-1")
    async with made.client(token) as task, made.client("") as nobody:
        for path in ("/api/v1/runs", "/api/v1/workers", "/api/v1/status"):
            assert (await task.get(path)).status_code == 401, path
        gone = await task.get("/api/v1/work", params={"pod": "p"})
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "gone")
        for stranger in (nobody, client):
            answer = await stranger.get("/api/v1/work", params={"pod": "p"})
            assert answer.status_code == 401
            path, octets = f"/api/v1/work/blobs/sha256:{'0' * 64}", "application/octet-stream"
            put = await stranger.put(path, content=b"x", headers={"content-type": octets})
            assert put.status_code == 401
