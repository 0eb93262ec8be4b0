"""The one place that speaks HTTP: requests, errors mapped back to the tree, streams that reconnect.

A transport may be given, so that the same client talks to an application in this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from tradewind.base import errors
from tradewind.base.errors import Bug, TradewindError, TryAgain, Unreachable

PREFIX = "/api/v1"
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
# A server that restarts is away for a moment: a call that may be repeated is, after these delays.
RETRY_SECONDS = (0.1, 0.4, 1.0)
# A stream that breaks is taken up again where it was, this long after the break.
RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# The most that whoever has patience waits before the next try.
PATIENT_SECONDS = 60.0

Params = Mapping[str, Any]


def loopback(url: str) -> bool:
    """Whether this address is this machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def path_of(*parts: object) -> str:
    """A path below the API's prefix, each part quoted: a name with a slash stays one part."""
    return "/".join((PREFIX, *(quote(str(part), safe="@:") for part in parts)))


class Patience:
    """Of one who follows: a server that has once answered may be away for as long as it takes, or
    until a moment of the monotonic clock. `say` is told once each time."""

    def __init__(self, say: Callable[[str], None], until: float | None = None) -> None:
        """Nothing has been said yet."""
        self._say = say
        self._said = ""
        self.until = until

    def away(self, error: TryAgain) -> None:
        """It does not answer."""
        if self._said != error.message:
            self._said = error.message
            self._say(f"{error.message}; waiting until it is back")

    def back(self) -> None:
        """It answers again."""
        self._said = ""


class _Tries:
    """The tries at one question: a pause after each that failed, until the error is raised."""

    def __init__(self, http: Http, delays: tuple[float, ...]) -> None:
        self._http, self._delays = http, delays
        self._left = iter(delays)
        self._failed = 0

    def answered(self) -> None:
        """The server is there."""
        self._http.reached = True
        self._failed = 0
        if self._http.patience is not None:
            self._http.patience.back()

    def got_on(self) -> None:
        """And something came: the next pauses begin anew."""
        self._left = iter(self._delays)

    def failed(self, error: TryAgain) -> None:
        """Wait for the next try. Raises the error if there is to be none."""
        patience = self._http.patience
        delay, asked = next(self._left, None), error.after or 0.0
        if patience is None or not (self._delays and self._http.reached):
            if delay is None or max(delay, asked) > self._delays[-1]:
                raise error
            return self._http.sleep(max(delay, asked))
        wait = min(max(delay or self._delays[-1], asked), PATIENT_SECONDS)
        if patience.until is not None and time.monotonic() + wait > patience.until:
            raise error
        self._failed += 1
        if self._failed > 1:  # a connection that was only cut is there again at once
            patience.away(error)
        self._http.sleep(wait)


class Http:
    """One server and one token. `patience` is given to it by whoever follows something."""

    def __init__(
        self,
        url: str,
        token: str = "",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is sent yet."""
        self.url = url.rstrip("/")
        self.sleep = sleep
        self.patience: Patience | None = None
        self.reached = False
        here = loopback(self.url)
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
            # No proxy stands between us and this machine; and the certificates take time to load.
            trust_env=not here,
            verify=not here,
        )

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def get(self, path: str, params: Params | None = None, *, timeout: float = READ_SECONDS) -> Any:
        """The JSON of a query."""
        return self.call("GET", path, params=params, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        content: bytes | None = None,
        repeat: bool | None = None,
        timeout: float = READ_SECONDS,
    ) -> Any:
        """One call; `repeat` says that it may be sent twice (by default all but POST)."""
        delays = RETRY_SECONDS if (method != "POST" if repeat is None else repeat) else ()
        if method == "POST" and body is None:
            body = {}  # the server takes JSON only
        response = self._repeated(method, path, delays, params, body, content, timeout)
        return _json(response) if response.content else None

    def data(self, path: str) -> bytes:
        """The bytes of a file."""
        return self._repeated("GET", path, RETRY_SECONDS, None, None, None, READ_SECONDS).content

    def date(self) -> str:
        """The server's time, as it writes it in the head of an answer."""
        path = "/readyz"
        found = self._repeated("GET", path, RETRY_SECONDS, None, None, None, READ_SECONDS)
        return str(found.headers.get("date", ""))

    def exists(self, path: str) -> bool:
        """What HEAD says of this path."""
        try:
            self._repeated("HEAD", path, RETRY_SECONDS, None, None, None, READ_SECONDS)
        except errors.NotFound:
            return False
        return True

    def _repeated(
        self,
        method: str,
        path: str,
        delays: tuple[float, ...],
        params: Params | None,
        body: Any,
        content: bytes | None,
        timeout: float,
    ) -> httpx.Response:
        tries = _Tries(self, delays)
        while True:
            try:
                with mapped(self.url):
                    response = self._http.request(
                        method,
                        path,
                        params=_given(params),
                        json=body,
                        content=content,
                        headers={"Content-Type": "application/octet-stream"} if content else None,
                        timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS),
                    )
                raise_for(response)
                tries.answered()
                return response
            except TryAgain as error:
                tries.failed(error)

    def stream(self, path: str, params: Callable[[], Params]) -> Iterator[bytes]:
        """The bytes of a stream, as they come. After a break it is asked for again: `params` is
        called anew each time and says where to go on. A break long enough is raised, unless there
        is patience for it."""
        tries = _Tries(self, RECONNECT_SECONDS)
        while True:
            try:
                with (
                    mapped(self.url),
                    self._http.stream(
                        "GET",
                        path,
                        params=_given(params()),
                        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                    ) as response,
                ):
                    if response.is_error:
                        response.read()
                    raise_for(response)
                    tries.answered()
                    for chunk in response.iter_raw():
                        tries.got_on()
                        yield chunk
                return
            except TryAgain as error:
                tries.failed(error)

    def lines(self, path: str, body: Any) -> Iterator[Any]:
        """The JSON lines that one POST is answered with, as they come; a break is raised."""
        lines = Lines()
        with (
            mapped(self.url),
            self._http.stream(
                "POST", path, json=body, timeout=httpx.Timeout(None, connect=CONNECT_SECONDS)
            ) as response,
        ):
            if response.is_error:
                response.read()
            raise_for(response)
            for chunk in response.iter_raw():
                yield from lines.feed(chunk)


def _given(params: Params | None) -> dict[str, Any]:
    """Without what is not given; truth as the wire writes it."""
    pairs = (params or {}).items()
    return {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in pairs
        if value is not None and value != ""
    }


@contextmanager
def mapped(url: str) -> Iterator[None]:
    """What httpx raises, as our errors."""
    try:
        yield
    except httpx.ConnectError as error:
        raise Unreachable(
            f"no server answers at {url}",
            hint="start the local one with `tw up`, or point TRADEWIND_URL at another",
        ) from error
    except httpx.TimeoutException as error:
        raise Unreachable(f"the server at {url} did not answer in time") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise errors.UserError(
            f"{url!r} is no URL of a server", hint="it looks like http://127.0.0.1:7777"
        ) from error
    except httpx.TransportError as error:
        raise Unreachable(
            f"the connection to {url} broke: {error or type(error).__name__}"
        ) from error


_BY_STATUS: dict[int, type[TradewindError]] = {
    401: errors.Unauthenticated,
    403: errors.NotAllowed,
    404: errors.NotFound,
    409: errors.Conflict,
    429: errors.TryAgain,
    502: errors.Unreachable,
    503: errors.TryAgain,
    504: errors.TryAgain,
}


def raise_for(response: httpx.Response) -> None:
    """Raise the error that this answer carries, if it carries one."""
    if not response.is_error:
        return
    try:
        body = response.json()["error"]
        found = errors.from_json(body) if isinstance(body, dict) else None
    except (ValueError, KeyError, TypeError):
        found = None
    if found is None:
        status = response.status_code
        kind = _BY_STATUS.get(status, errors.UserError if status < 500 else errors.Broken)
        asked = f"{response.request.method} {response.request.url.path}"
        text = response.text.strip()[:200] or response.reason_phrase
        found = kind(f"the server answered {asked} with {status}: {text}")
    raise found


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise Bug(
            f"the answer to {response.request.url.path} is no JSON",
            hint="is this a Tradewind server? TRADEWIND_URL says which is asked",
        ) from error


class Lines:
    """The values of a stream of JSON lines; blank ones keep the connection alive."""

    def __init__(self) -> None:
        """Nothing is held yet."""
        self._rest = b""

    def clear(self) -> None:
        """Forget half a line: the stream begins anew."""
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Any]:
        """The values that this chunk completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield json.loads(line)
