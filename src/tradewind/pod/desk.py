"""The server's desk, as a pod sees it. Everything is patient: a server that is away comes back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

import httpx

from tradewind.pod import ending
from tradewind.supervisor import layout
from tradewind.supervisor.helper import Failure

T = TypeVar("T")

# How long a server may be away, in seconds, and the pauses between two questions.
PATIENCE, FIRST, LONGEST = 600.0, 0.2, 5.0
# How long, in seconds, the end of a gang's member waits for an answer that it can do without.
FALLS = 3.0
# Many small files take as long as their answers; few large ones take the line.
AT_ONCE = 4
# How often bytes may come wrong before that is said.
TRIES = 3
ROOT = "/api/v1/work"
# Where bytes are, below it: those of inputs and outputs, and those of a unit's checkpoint.
BLOBS, CHECKPOINT = "/blobs/{}", "/checkpoint/{}"
_SET = "its operator sets `server:` in the pool's options"
_CHUNK = 1 << 18


class Trouble(Exception):
    """What was asked is not to be had; `ending` is what that means for the unit."""

    def ending(self) -> ending.Ending:
        """Worth another try."""
        return ending.made("lost", "lost", str(self))


class Away(Trouble):
    """Nobody answered for as long as we wait."""


class Superseded(Trouble):
    """This try is over: it was ended, or there is a newer one."""

    def ending(self) -> ending.Ending:
        """Whoever hears of it knows it already."""
        return ending.made("lost", "lost", "a newer try of this has been started")


class Refused(Trouble):
    """Asking again is of no use. `denied`: all that this task asks is refused."""

    def __init__(self, message: str, hint: str = "", denied: bool = False) -> None:
        super().__init__(message)
        self.hint, self.denied = hint, denied

    def ending(self) -> ending.Ending:
        """Not worth another try."""
        return ending.made("failed", "environment", str(self), self.hint)


class _Busy(Exception):
    """Later."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


def together(calls: Iterable[Callable[[], None]]) -> None:
    """A few at a time, until all are done or one fails."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for done in [pool.submit(call) for call in calls]:
            done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Desk:
    """One server, one token, one pod. May be used by several threads."""

    def __init__(
        self,
        server: str,
        token: str,
        pod: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent yet. Raises Refused for an address that is none."""
        self.server, self.pod = server, pod
        self.patience_from = -math.inf  # before this moment no time is counted as spent waiting
        self._sleep, self._clock = sleep, clock
        try:
            known = httpx.URL(server).scheme in ("http", "https")
        except httpx.InvalidURL:
            known = False
        if not known:
            raise Refused(f"{server!r} is no address of a server", _SET)
        secure = server.startswith("https:")
        self._http = httpx.Client(
            base_url=server,
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
            # An answer to a large file comes when all of it is on the server's disk.
            timeout=httpx.Timeout(300.0, connect=5.0),
            # Beside it in the cluster stands no proxy; and the certificates take time to load.
            trust_env=secure,
            verify=secure,
        )

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def work(self) -> dict[str, Any]:
        """What this pod has to do."""
        answer = self._ask("GET", ROOT, params={"pod": self.pod})
        try:
            found = answer.json()
            return {"request": found["request"], "unit": found["unit"]}
        except (ValueError, KeyError, TypeError):
            raise Refused(f"what answers at {self.server} is no Tradewind server", _SET) from None

    def gate(self) -> None:
        """Return when all members of this pod's gang are set up. The server holds back its answer;
        its patience with us has no end, ours with one that is away has."""
        while not self._ask("GET", f"{ROOT}/gate", params={"pod": self.pod}).json()["open"]:
            self._sleep(FIRST)

    def falls(self) -> None:
        """Tell that the gang ends with this member: the cluster will end the others, and the server
        begins to read their logs before it answers. Asked once: our own end waits for it."""
        with contextlib.suppress(httpx.HTTPError):
            self._http.post(f"{ROOT}/falls", json={"pod": self.pod}, timeout=FALLS)

    def post(self, facts: list[dict[str, Any]]) -> None:
        """Tell facts; they are stored when this returns."""
        # Not by httpx, which refuses half a character and a value that is no number.
        data = json.dumps({"pod": self.pod, "facts": facts}, separators=(",", ":")).encode()
        head = {"Content-Type": "application/json"}
        self._ask("POST", f"{ROOT}/facts", content=data, headers=head)

    def claim(self, begin: bool) -> dict[str, Any]:
        """What earlier tries have kept for this one, which from now on may change it; if there is
        nothing, only with `begin`."""
        said = {"pod": self.pod, "begin": begin}
        found: dict[str, Any] = self._ask("POST", f"{ROOT}/checkpoint/claim", json=said).json()
        return found

    def change(self, changed: list[dict[str, Any]], dropped: list[str]) -> None:
        """Keep these files of the checkpoint, and those no longer."""
        said = {"pod": self.pod, "changed": changed, "dropped": dropped}
        self._ask("POST", f"{ROOT}/checkpoint", json=said)

    def put(
        self, digest: str, opened: Callable[[], IO[bytes] | io.RawIOBase], shelf: str = BLOBS
    ) -> None:
        """Bring these bytes to the server, unless it has them."""
        place = ROOT + shelf.format(digest)
        if self._ask("HEAD", place).status_code == 200:
            return

        def send() -> None:
            with opened() as file:
                head = {"Content-Type": "application/octet-stream"}
                self._check(self._http.put(place, content=file, headers=head))

        self._patiently(send)

    def fetch(self, digest: str, blobs: str, shelf: str = BLOBS) -> None:
        """Bring a blob here, unless it is here. What has another digest is never used."""
        target = layout.blob(blobs, digest)
        if os.path.exists(target):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for _try in range(TRIES):
            if self._patiently(lambda: self._download(digest, target, shelf)):
                return
        raise Failure("input", f"what {self.server} sends as {digest} is not what was asked for")

    def _download(self, digest: str, target: str, shelf: str) -> bool:
        folder, name = os.path.split(target)
        part = os.path.join(folder, f".part-{threading.get_ident()}-{name}")
        seen = hashlib.sha256()
        try:
            with (
                self._http.stream("GET", ROOT + shelf.format(digest)) as answer,
                open(part, "wb") as file,
            ):
                if answer.is_error:
                    answer.read()
                self._check(answer)
                for chunk in answer.iter_bytes(_CHUNK):
                    seen.update(chunk)
                    file.write(chunk)
            if "sha256:" + seen.hexdigest() != digest:
                return False
            os.chmod(part, 0o444)
            os.rename(part, target)
            return True
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        def once() -> httpx.Response:
            answer = self._http.request(method, path, **what)
            if method != "HEAD" or answer.status_code != 404:
                self._check(answer)
            return answer

        return self._patiently(once)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Until it passes, or the server was away for too long."""
        since, pause = math.inf, FIRST
        while True:
            try:
                return call()
            except (httpx.TransportError, _Busy) as error:
                now = self._clock()
                since = min(since, now)
                if now - max(since, self.patience_from) >= PATIENCE:
                    raise Away(self._away(error)) from error
                self._sleep(min(LONGEST, max(pause, getattr(error, "after", 0.0))))
                pause = min(LONGEST, 2 * pause)

    def _away(self, error: Exception) -> str:
        if isinstance(error, _Busy):
            return f"the server at {self.server} did not get ready: {error}"
        return (
            f"the server at {self.server} cannot be reached from where the task runs ({error});"
            f" {_SET}"
        )

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status < 300:
            return
        message, hint = _words(answer)
        if status < 400:
            goal = answer.headers.get("location", "another place")
            raise Refused(f"the server at {self.server} sends us on to {goal}", _SET)
        if status == 410:
            raise Superseded(message)
        if status >= 500 or status in (408, 429):
            after = answer.headers.get("retry-after", "")
            raise _Busy(message, float(after) if after.isdigit() else 0.0)
        if status == 401:
            message = f"the server at {self.server} does not know this task: {message}"
        raise Refused(message, hint, denied=status in (401, 403))


def _words(answer: httpx.Response) -> tuple[str, str]:
    """What an answer says of an error, with its hint."""
    try:
        said = answer.json()["error"]
        return str(said["message"]), str(said.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        asked = f"{answer.request.method} {answer.request.url.path}"
        return f"the server answered {asked} with {answer.status_code}", ""
