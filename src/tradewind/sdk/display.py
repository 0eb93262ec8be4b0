"""How a run looks in a notebook: a card that changes while it waits. No widgets, no JavaScript."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any, Protocol

from tradewind.base import units

Json = dict[str, Any]

_SHOWN_SECONDS = 0.5
_UNSHOWN_SECONDS = 30.0
_COLOURS = {"succeeded": "#188038", "failed": "#c5221f", "stopped": "#80868b"}
_LIVE_COLOUR = "#1a73e8"
_CHILDREN = 30


class Shown(Protocol):
    """What is shown: a handle on a run."""

    @property
    def body(self) -> Json:
        """The run as last seen."""

    @property
    def ended(self) -> bool:
        """Whether it had ended."""

    def refresh(self) -> Shown:
        """Look again."""


class Update:
    """Call it to show the run as it is now. `period` is how often (s) that makes sense."""

    def __init__(self, handle: Shown, place: Any = None) -> None:
        """Without a place it shows nothing."""
        self.period = _SHOWN_SECONDS if place is not None else _UNSHOWN_SECONDS
        self._handle = handle
        self._place = place

    def __call__(self) -> None:
        if self._place is None:
            return
        body = self._handle.body
        if body.get("kind") == "pipeline" or self._handle.ended:
            body = self._handle.refresh().body
        self._place.update(_Html(html(body)))


class _Html:
    """What the notebook shows."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return ""


def in_notebook() -> bool:
    """Whether a notebook shows what this session displays."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


@contextmanager
def progress(handle: Shown, show: bool | None) -> Iterator[Update]:
    """A card that is updated; nothing outside a notebook, or where `show` is False."""
    if handle.ended or not (in_notebook() if show is None else show and in_notebook()):
        yield Update(handle)
        return
    shown: Any = import_module("IPython.display")
    place = shown.display(_Html(html(handle.body)), display_id=True)
    update = Update(handle, place)
    yield update
    update()


def html(body: Json) -> str:
    """A run as a card."""
    state = str(body.get("state", ""))
    colour = _COLOURS.get(state, _LIVE_COLOUR)
    facts = [str(body.get("kind", "")), str(body.get("id", "")), elapsed(body)]
    if body.get("price"):
        facts.append(units.format_money(int(body["price"])))
    rows = "".join(_row(child) for child in (body.get("children") or [])[:_CHILDREN])
    note = (
        body.get("waiting") if state not in _COLOURS else (body.get("error") or {}).get("message")
    )
    return (
        '<div style="font-family:system-ui,sans-serif;font-size:13px;border-left:4px solid '
        f'{colour};padding:4px 12px;margin:4px 0">'
        f"<b>{escape(str(body.get('name', '')))}</b> "
        f'<span style="color:{colour}">{escape(state)}</span> '
        f'<span style="color:#80868b">{escape(" · ".join(filter(None, facts)))}</span>'
        + (f"<div>{escape(str(note))}</div>" if note else "")
        + (f"<table>{rows}</table>" if rows else "")
        + "</div>"
    )


def _row(child: Json) -> str:
    state = str(child.get("state", ""))
    colour = _COLOURS.get(state, _LIVE_COLOUR)
    cached = " (from the cache)" if child.get("cached_from") else ""
    cells = (escape(str(child.get("name", ""))), escape(state + cached), elapsed(child))
    return (
        f'<tr><td style="text-align:left">{cells[0]}</td>'
        f'<td style="text-align:left;color:{colour}">{cells[1]}</td><td>{cells[2]}</td></tr>'
    )


def elapsed(body: Json, now: float | None = None) -> str:
    """How long a run has taken, from acceptance to its end or to now."""
    created = float(body.get("created") or 0)
    ended = float(body.get("ended") or 0) or (time.time() if now is None else now)
    return units.format_duration(max(0.0, ended - created)) if created else ""
