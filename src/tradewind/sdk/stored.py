"""Specs, quotes and blobs over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.base import errors
from tradewind.base.ids import digest_bytes
from tradewind.sdk.http import Http, path_of
from tradewind.sdk.runs import Runs

Json = dict[str, Any]


class Specs:
    """`/specs`: what `apply` keeps, with numbered revisions."""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def apply(self, documents: Sequence[Json], *, dry_run: bool = False) -> list[Json]:
        """Make them true, or say what would change: kind, name, revision, change, diff."""
        body = {"specs": list(documents), "dry_run": dry_run}
        changes: list[Json] = self._http.call("PUT", path_of("specs"), body=body)
        return changes

    def list(self, kind: str = "") -> list[Json]:
        """The newest revision of each."""
        found: list[Json] = self._http.get(path_of("specs"), {"kind": kind})
        return found

    def get(self, kind: str, name: str, revision: int | None = None) -> Json:
        """One spec, its newest revision or the one named."""
        found: Json = self._http.get(path_of("specs", kind, name), {"revision": revision})
        return found

    def delete(self, kind: str, name: str) -> None:
        """Take it away; runs that it made stay."""
        self._http.call("DELETE", path_of("specs", kind, name))


class Quotes:
    """`/quotes`, `/promises` and `/render`: what it would cost, what it did, what would be sent."""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def ask(
        self,
        document: Json,
        rows: int = 0,
        deadlines: Sequence[float] = (),
        against: Json | None = None,
    ) -> Json:
        """The plans worth choosing between, with an id to hold the server to: for so many rows (0:
        all of its inputs), and in `curve` what each deadline (in seconds) would cost. What must be
        measured or imported for it is waited for. `against` is an earlier version, {run: ID} or
        {spec: document, name: what it is called}: what the change did is the quote's `against`."""
        body = {"spec": document, "rows": rows, "deadlines": list(deadlines), "against": against}
        sent = {key: value for key, value in body.items() if value or key == "spec"}
        quote: Json = self._http.call("POST", path_of("quotes"), body=sent)
        if "run" not in quote:
            return quote
        run = Runs(self._http).wait(quote["run"])
        if run["state"] != "succeeded":
            raise errors.from_json(run["error"] or {"message": f"{run['id']} was {run['state']}"})
        path = path_of("quotes", run["result"]["quote"]["id"])
        found: Json = self._http.get(path, {"deadline": list(deadlines)} if deadlines else None)
        return found

    def promises(self, project: str = "") -> list[Json]:
        """How often quotes were right, by function and backend; the last line is all of them."""
        found: list[Json] = self._http.get(path_of("promises"), {"project": project})
        return found

    def render(self, document: Json, pool: str = "") -> list[Json]:
        """The native requests that a run would send."""
        requests: list[Json] = self.rendering(document, pool)["requests"]
        return requests

    def rendering(self, document: Json, pool: str = "") -> Json:
        """The same as `requests`; and as `later` why those of a pipeline's later steps are not
        known yet, by step."""
        body = {"spec": document, **({"pool": pool} if pool else {})}
        found: Json = self._http.call("POST", path_of("render"), body=body)
        return found


class Blobs:
    """`/blobs`: bytes by hash."""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http
        self._known: set[str] = set()

    def put(self, data: bytes) -> str:
        """Store these bytes if the server lacks them; their digest."""
        digest = digest_bytes(data)
        path = path_of("blobs", digest)
        if digest not in self._known and not self._http.exists(path):
            self._http.call("PUT", path, content=data)
        self._known.add(digest)
        return digest
