"""The event stream over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from tradewind.records.events import Event
from tradewind.sdk.http import Http, Lines, path_of

_FIELDS = frozenset(each.name for each in fields(Event))


class Events:
    """`GET /events`"""

    def __init__(self, http: Http) -> None:
        """Made by the client."""
        self._http = http

    def stream(
        self, *, after: int | None = None, run: str = "", project: str = "", follow: bool = True
    ) -> Iterator[Event]:
        """Events behind number `after`, oldest first; with `follow` without an end. A broken
        connection is taken up again behind the last event seen."""
        last, held = after, Lines()

        def params() -> dict[str, Any]:
            held.clear()
            return {"after": last, "run": run, "project": project, "follow": follow}

        for chunk in self._http.stream(path_of("events"), params):
            for body in held.feed(chunk):
                event = Event(**{key: body[key] for key in _FIELDS & body.keys()})
                last = event.seq
                yield event
