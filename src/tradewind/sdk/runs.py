"""Runs over the wire."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any

from tradewind.base import errors
from tradewind.base.ids import new_id
from tradewind.sdk.http import Http, path_of

Json = dict[str, Any]
Points = list[Json]

PAGE = 200
# How long the server holds one question open; well below what stands between may cut off.
WAIT_SECONDS = 30.0
# A server that ends closes the streams of its logs: the next one is asked for at this pace.
_BETWEEN_SECONDS = 0.5
ENDED = frozenset({"succeeded", "failed", "stopped"})


class Runs:
    """`GET|POST|DELETE /runs…`"""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def create(self, orders: Sequence[Json]) -> list[Json]:
        """Accept several at once, in this order. An order is `{"spec": document}` and may hold
        `quote` with `plan`, and `request_key`: the same key twice gives the same run, so that a
        call whose answer was lost may be repeated. One is made where none is given."""
        keyed = [{"request_key": new_id("k"), **order} for order in orders]
        body = {"runs": keyed}
        made: list[Json] = self._http.call("POST", path_of("runs"), body=body, repeat=True)["runs"]
        return made

    def list(
        self,
        *,
        project: str = "",
        kind: str = "",
        state: str = "",
        name: str = "",
        parent: str | None = None,
        quotes: bool = False,
        limit: int | None = None,
    ) -> Iterator[Json]:
        """Summaries, newest first, page by page as they are read; `limit` in all. With `quotes`
        also those that only measured what a quote asked."""
        asked = {"project": project, "kind": kind, "state": state, "name": name, "parent": parent}
        also = {"quotes": "true"} if quotes else {}
        return paged(self._http, path_of("runs"), {**asked, **also}, limit)

    def get(self, run: str) -> Json:
        """A run by its id or an unambiguous beginning of it, with attempts, placements, phases,
        children and explanations."""
        found: Json = self._http.get(path_of("runs", run))
        return found

    def wait(self, run: str, timeout: float | None = None) -> Json:
        """The run as it ended, or as it is when the timeout (s) passes."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_SECONDS if until is None else until - time.monotonic()
            held = max(0.0, min(WAIT_SECONDS, left))
            found: Json = self._http.get(
                path_of("runs", run, "wait"), {"timeout": round(held, 3)}, timeout=held + 30
            )
            if found["state"] in ENDED or (until is not None and time.monotonic() >= until):
                return found

    def stop(self, run: str) -> Json:
        """Ask it to stop; it ends a moment later."""
        found: Json = self._http.call("POST", path_of("runs", run, "stop"), repeat=True)
        return found

    def approve(self, run: str) -> Json:
        """Let it run although it is expected to cost more than its `value`."""
        found: Json = self._http.call("POST", path_of("runs", run, "approve"), repeat=True)
        return found

    def delete(self, run: str) -> None:
        """Forget an ended run with its logs and results."""
        self._http.call("DELETE", path_of("runs", run))

    def logs(
        self,
        run: str,
        *,
        task: str = "",
        role: str = "",
        index: int | None = None,
        offset: int = 0,
        follow: bool = False,
    ) -> Iterator[bytes]:
        """The bytes of a log, from `offset` on; with `follow` until the run has ended, whatever
        ends the stream before. A broken connection is taken up again at the next byte."""
        seen = offset

        def params() -> Json:
            return {"task": task, "role": role, "index": index, "offset": seen, "follow": follow}

        while True:
            for chunk in self._http.stream(path_of("runs", run, "logs"), params):
                seen += len(chunk)
                yield chunk
            if not follow:
                return
            # Once it has ended, what was written in the moment of the end is read as well.
            follow = self.wait(run, _BETWEEN_SECONDS)["state"] not in ENDED

    def exec(
        self, run: str, command: Sequence[str], *, role: str = "", index: int = 0
    ) -> Iterator[bytes | int]:
        """Run a command beside a running unit: its output as it comes, its exit status last. It is
        killed when whoever asks goes away."""
        body = {"command": [*command], "role": role, "index": index}
        for told in self._http.lines(path_of("runs", run, "exec"), body):
            if "error" in told:
                raise errors.from_json(told["error"])
            yield int(told["exit"]) if "exit" in told else b64decode(told["data"])

    def metrics(self, run: str) -> Points:
        """Each point: name, value, step, at."""
        found: Points = self._http.get(path_of("runs", run, "metrics"))
        return found

    def cost(self, run: str, *, against: str = "") -> Json:
        """Its bill in the margin of its code; `against` another run also what changed and where."""
        asked = {"against": against} if against else None
        found: Json = self._http.get(path_of("runs", run, "cost"), asked)
        return found

    def why(self, run: str) -> Json:
        """What it waits for, when it starts, and what would start it now."""
        found: Json = self._http.get(path_of("runs", run, "why"))
        return found

    def whatif(self, run: str, **changes: Any) -> Json:
        """Whether it would start now if it asked for this. Nothing is changed."""
        found: Json = self._http.call("POST", path_of("runs", run, "whatif"), body=changes)
        return found

    def results(self, run: str) -> Json:
        """Output slot → what it became."""
        found: Json = self._http.get(path_of("runs", run, "results"))
        return found

    def result_file(self, run: str, slot: str, number: int) -> bytes:
        """One file of a result: Parquet for a table."""
        return self._http.data(path_of("runs", run, "results", slot, "files", number))


def paged(http: Http, path: str, asked: Json, limit: int | None = None) -> Iterator[Json]:
    """The items of a listing, page by page as they are read."""
    cursor, left = "", limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = http.get(path, {**asked, "limit": size, "cursor": cursor})
        items = page["items"]
        yield from items if left is None else items[:left]
        if left is not None:
            left -= len(items)
        cursor = page.get("cursor") or ""
        if not cursor or not items:
            return
