"""What stands before every route: who asks, from where, with what sort of body.

A token always: a bearer token, or the browser's cookie made from a one-time code; for tasks on
other machines each its own, which opens nothing but what is theirs. A foreign
`Host` (DNS rebinding) or `Origin` (another page's script) is refused, and so is a body that is
neither JSON nor bytes: a form on another page can send neither without asking first. JSON is
bounded, since it is read whole; bytes are bounded where they are taken.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradewind.base.errors import NotAllowed, TradewindError, Unauthenticated, UserError

COOKIE = "tradewind"
PREFIX = "/api/v1"
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/login"})
# Whoever stands behind these asks for a token of another sort (`work.py`).
WORK_PATH = f"{PREFIX}/work"
CODE_SECONDS = 120.0
SESSION_SECONDS = 7 * 86400
MAX_JSON = 16 * 2**20
BYTES_PATHS = (f"{PREFIX}/blobs/", f"{WORK_PATH}/blobs/", f"{WORK_PATH}/checkpoint/")
BODY_TYPES = ("application/json", "application/octet-stream", "application/gzip")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Keys:
    """The token, and the codes and sessions made from it. Sessions end with the server."""

    token: str
    now: Callable[[], float]
    _codes: dict[str, float] = field(default_factory=dict)
    _sessions: dict[str, float] = field(default_factory=dict)

    def new_code(self) -> str:
        """A one-time code for the browser, good for two minutes."""
        now = self.now()
        self._codes = {code: until for code, until in self._codes.items() if until >= now}
        self._sessions = {key: until for key, until in self._sessions.items() if until >= now}
        code = secrets.token_urlsafe(24)
        self._codes[code] = self.now() + CODE_SECONDS
        return code

    def redeem(self, code: str) -> str:
        """A session for a code; the code is spent. Raises Unauthenticated."""
        until = self._codes.pop(code, 0.0)
        if until < self.now():
            raise Unauthenticated(
                "this sign-in link was used or is too old", hint="get a new one with: tw open"
            )
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self.now() + SESSION_SECONDS
        return session

    def admits(self, headers: dict[bytes, bytes]) -> bool:
        """Whether these headers carry the token or a live session."""
        given = headers.get(b"authorization", b"").decode("latin-1")
        scheme, _, token = given.partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(token.strip().encode(), self.token.encode())
        try:
            jar = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return False
        session = jar[COOKIE].value if COOKIE in jar else ""
        return self._sessions.get(session, 0.0) > self.now()


class Guard:
    """ASGI middleware. `hosts` are the names under which this server may be addressed."""

    def __init__(self, app: ASGIApp, keys: Keys, hosts: frozenset[str]) -> None:
        self._app = app
        self._keys = keys
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            self._check(scope, headers)
        except TradewindError as error:
            await _answer(send, error)
            return
        bounded = receive if _takes_bytes(scope) else _Bounded(receive)
        await self._app(scope, bounded, send)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        name = _parts(f"//{host}")[0]
        if name not in self._hosts:
            raise NotAllowed(
                f"this server does not answer to the name {name!r}",
                hint="use the address that `tw status` shows, or start the server with --name "
                "for this one",
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and _parts(origin)[1] != host:
            raise NotAllowed("a page of another origin may not ask this server")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise UserError("an address cannot hold the character NUL")
        if scope["method"] not in _SAFE:
            kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
            length = headers.get(b"content-length", b"0")
            has_body = length != b"0" or b"transfer-encoding" in headers
            if has_body and kind.lower() not in BODY_TYPES:
                raise UserError(
                    f"a body of type {kind or 'unknown'} is not taken",
                    hint="send JSON (Content-Type: application/json)",
                )
            if not _takes_bytes(scope) and length.isdigit() and int(length[:19]) > MAX_JSON:
                raise _too_large()
        if not _open(str(scope["path"])) and not self._keys.admits(headers):
            raise Unauthenticated(
                "no token, or not the right one",
                hint="send Authorization: Bearer with the token in the data folder; "
                "in a browser: tw open",
            )


class _Bounded:
    """Hands a body on as long as it is no longer than JSON may be."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_JSON:
            raise _too_large()
        return message


def _open(path: str) -> bool:
    return path in OPEN_PATHS or path == WORK_PATH or path.startswith(f"{WORK_PATH}/")


def _takes_bytes(scope: Scope) -> bool:
    return scope["method"] == "PUT" and str(scope["path"]).startswith(BYTES_PATHS)


def _too_large() -> UserError:
    return UserError(
        f"a body of more than {MAX_JSON >> 20} MiB is not taken",
        hint="send fewer runs at once; data and code travel as blobs, not in JSON",
    )


def _parts(url: str) -> tuple[str, str]:
    """Host name, and host with port; empty for an address that is none."""
    try:
        split = urlsplit(url)
        return split.hostname or "", split.netloc
    except ValueError:
        return "", "?"


async def _answer(send: Send, error: TradewindError) -> None:
    body = json.dumps({"error": error.to_json()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
