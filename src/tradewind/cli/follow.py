"""Following a run to its end: live in a terminal, plain lines elsewhere.

The run's own words go to stdout, ours to stderr. Ctrl-C leaves the run going and says how to stop
it.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tradewind.base import units
from tradewind.base.errors import TradewindError
from tradewind.cli.show import Out, lasted, paid
from tradewind.sdk.handles import failure
from tradewind.sdk.http import Patience
from tradewind.sdk.results import handed_on
from tradewind.sdk.runs import ENDED

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

Json = dict[str, Any]

FAILED = 1
INTERRUPTED = 130
_PLAIN_PERIOD = 1.0
_LAST_LINES_SECONDS = 3.0
_TRACE_LINES = 25
_PREVIEW = 2000
_REMEMBERED = 4000


class Screen(Protocol):
    """Where a run is shown while it goes on."""

    period: float
    said: str

    def say(self, text: str) -> None:
        """A piece of the run's own words."""

    def update(self, body: Json) -> None:
        """How it is now."""


class Plain:
    """One line for each change, on stderr."""

    period = _PLAIN_PERIOD

    def __init__(self, out: Out) -> None:
        """Nothing has been seen yet."""
        self._out = out
        self.said = ""
        self._seen: dict[str, tuple[str, str]] = {}

    def say(self, text: str) -> None:
        """On to stdout."""
        self.said = (self.said + text)[-_REMEMBERED:]
        if self._out.text:
            sys.stdout.write(text)
            sys.stdout.flush()

    def update(self, body: Json) -> None:
        """A line if state or reason has changed; one for each step of a pipeline too."""
        for each in (body, *(body.get("children") or ())):
            mark = (str(each["state"]), str(each.get("waiting") or ""))
            if self._seen.get(each["id"]) != mark:
                self._seen[each["id"]] = mark
                self._out.note(headline(each))


def headline(body: Json) -> str:
    """A run in one line."""
    parts = [str(body["name"]), str(body["id"]), str(body["state"])]
    if body.get("waiting") and body["state"] not in ENDED:
        parts.append(f"({body['waiting']})")
    if body.get("cached_from"):
        parts.append(f"(from the cache: {body['cached_from']})")
    if body["state"] in ENDED:
        parts.append(f"in {lasted(body)}")
    return " ".join(parts)


@contextlib.contextmanager
def _screen(out: Out) -> Iterator[Screen]:
    if out.live and out.text:
        from tradewind.cli.live import Live

        with Live() as live:
            yield live
    else:
        yield Plain(out)


def patiently(client: Client, out: Out, until: float | None = None) -> None:
    """From now on this client waits for a server that goes away and comes back, and says so; until
    a moment of the monotonic clock, if there is one."""
    client.http.patience = Patience(out.note, until)


def to_end(client: Client, body: Json, out: Out) -> Json | None:
    """The run as it ended; None when the person went away before."""
    patiently(client, out)
    try:
        with _screen(out) as screen:
            with _words(client, body, screen, out.text):
                ended = _until_ended(client, body, screen)
            # A traceback that the run has just printed need not be said again.
            trace = str((ended.get("error") or {}).get("traceback") or "").rstrip()
            if trace and trace in screen.said:
                ended["error"] = {**ended["error"], "traceback": ""}
            return ended
    except KeyboardInterrupt:
        run = body["id"]
        out.note(f"\ndetached: {body['name']} goes on as {run}")
        out.note(f"  `tw attach {run}` comes back to it, `tw stop {run}` stops it")
        return None


def _until_ended(client: Client, body: Json, screen: Screen) -> Json:
    whole = body["kind"] == "pipeline"
    while True:
        screen.update(body)
        if body["state"] in ENDED:
            return client.runs.get(body["id"])
        body = client.runs.wait(body["id"], screen.period)
        if whole or body["state"] in ENDED:
            body = client.runs.get(body["id"])


@contextlib.contextmanager
def _words(client: Client, body: Json, screen: Screen, wanted: bool) -> Iterator[None]:
    """Show what the run says while this lasts."""
    if not wanted or body["kind"] in {"pipeline", "dataset"}:
        yield
        return
    ended, left = threading.Event(), threading.Event()

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with contextlib.suppress(TradewindError, OSError, ValueError, RuntimeError):
            for chunk in client.runs.logs(body["id"], follow=True):
                if left.is_set():
                    return
                screen.say(decoder.decode(chunk))
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        yield
        ended.wait(_LAST_LINES_SECONDS)
    finally:
        left.set()


def finish(client: Client, body: Json, out: Out) -> int:
    """Say how a run ended; the exit status."""
    good = body["state"] == "succeeded"
    if not out.text:
        found = client.runs.results(body["id"]) if good else {}
        out.value({**body, "results": found})
        return 0 if good else FAILED
    for note in body.get("notes") or ():
        out.note(out.style(f"note: {note}", "yellow"))
    if not good:
        _say_failure(body, out)
        return FAILED
    results = client.runs.results(body["id"])
    price = paid(body)
    cached = f", from the cache of {body['cached_from']}" if body.get("cached_from") else ""
    cost = f", {price}" if price != "-" else ""
    none = "; it returned nothing, so there is no dataset" if _nothing(body, results) else ""
    done = out.style(f"{body['name']} succeeded", "green")
    out.note(f"{done} in {lasted(body)}{cost}{cached}{none}")
    if told := _phases(body.get("phases") or ()):
        out.note(out.style(f"  where the time went: {told}", "dim"))
    for slot, result in results.items():
        _say_result(slot, result, out, len(results) > 1)
    return 0


def _nothing(body: Json, results: Json) -> bool:
    """Whether a function returned None: a forgotten `return`, or it was called for its effect."""
    found = results.get("output") or {}
    nothing = found.get("kind") == "json" and found.get("value", found) is None
    return body["kind"] == "function" and nothing


def spent(phases: Sequence[Json]) -> dict[str, float]:
    """Each phase once, with what all tries and items spent in it."""
    found: dict[str, float] = {}
    for each in phases:
        found[each["name"]] = found.get(each["name"], 0.0) + float(each.get("seconds") or 0.0)
    return found


def _phases(phases: Sequence[Json]) -> str:
    return ", ".join(
        f"{name} {units.format_duration(seconds)}"
        for name, seconds in spent(phases).items()
        if seconds >= 0.0005
    )


def _say_result(slot: str, body: Json, out: Out, several: bool) -> None:
    if body.get("kind") == "json" and _of_training(body.get("value")):
        found = body["value"].get("metrics") or {}
        told = [f"{name} {value:g}" for name, value in found.items() if _is_number(value)]
        if told:
            out.note(f"  metrics: {', '.join(told)}")
    elif "value" in body:
        if body["value"] is not None:
            out.line(f"{slot}: {result_text(body)}" if several else result_text(body))
    else:
        out.note(f"  {slot}: {result_text(body)}")
        if body.get("name") and body.get("version"):
            noun = "model" if body.get("kind") == "model" else "dataset"
            out.note(out.style(f"  next: tw describe {noun}/{body['name']}", "dim"))


def result_text(body: Json) -> str:
    """What one output became, in a line."""
    handed = handed_on(body)
    if handed is not None:
        return f"[{', '.join(map(result_text, handed))}]"
    if "value" in body:
        text = json.dumps(body["value"], ensure_ascii=False)
        return text if len(text) <= _PREVIEW else text[:_PREVIEW] + " …"
    rows = f", {body['rows']:,} rows" if isinstance(body.get("rows"), int) else ""
    if body.get("name") and body.get("version"):
        left = f", {body['skipped']:,} left out (on_error: skip)" if body.get("skipped") else ""
        return f"{body['name']}@{body['version']}{rows}{left}"
    size = body.get("size")
    more = f", {units.format_bytes(size)}" if isinstance(size, int) else rows
    return f"{body.get('kind', 'a result')}{more}"


def _of_training(value: Any) -> bool:
    """Whether this is what a script leaves: no value, and its last metrics."""
    return (
        isinstance(value, dict)
        and "value" in value
        and not any(part for name, part in value.items() if name != "metrics")
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _say_failure(body: Json, out: Out) -> None:
    found = failure(body)
    trace = str(getattr(found, "traceback", "")).rstrip().splitlines()
    if len(trace) > _TRACE_LINES:
        trace = ["  …", *trace[-_TRACE_LINES:]]
    for line in trace:
        out.note(out.style(line, "dim"))
    out.error(found)
