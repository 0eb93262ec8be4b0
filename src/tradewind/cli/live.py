"""A run in a terminal: its words scroll by, its state stays at the bottom."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tradewind.cli.show import STATES, lasted, paid
from tradewind.sdk.runs import ENDED

Json = dict[str, Any]

_STEPS = 12
_REMEMBERED = 4000


class Live:
    """Opens and closes with `with`; leaves no trace of itself but the run's words."""

    period = 0.25

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._body: Json = {}
        self._rest = ""
        self.said = ""
        self._console = Console(file=sys.stdout, highlight=False)
        self._live = RichLive(
            console=self._console, refresh_per_second=8, transient=True, get_renderable=self._draw
        )
        self._spinner = Spinner("dots")

    def __enter__(self) -> Live:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._rest:
            self.say("\n")
        self._live.__exit__(None, None, None)

    def say(self, text: str) -> None:
        """The run's own words, whole lines above the state."""
        self.said = (self.said + text)[-_REMEMBERED:]
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            self._console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)

    def update(self, body: Json) -> None:
        """How it is now; drawn a moment later."""
        self._body = body

    def _draw(self) -> RenderableType:
        if not self._body:
            return Text()
        grid = Table.grid(padding=(0, 1))
        grid.add_row(self._spinner, *self._row(self._body))
        children = list(self._body.get("children") or ())
        if not children:
            return grid
        steps = Table.grid(padding=(0, 1))
        live = [each for each in children if each["state"] not in ENDED]
        done = len(children) - len(live)
        for child in [*children[max(0, len(children) - _STEPS) :]]:
            steps.add_row("  ", *self._row(child))
        return Group(grid, steps, Text(f"   {done} of {len(children)} steps done", style="dim"))

    def _row(self, body: Json) -> list[RenderableType]:
        state = str(body["state"])
        note = "" if state in ENDED else str(body.get("waiting") or "")
        if body.get("cached_from"):
            note = "from the cache"
        style = {"blue": "cyan", "dim": "dim"}.get(STATES.get(state, ""), STATES.get(state, ""))
        price = paid(body)
        return [
            Text(str(body["name"]), style="bold"),
            Text(state, style=style),
            Text(lasted(body, time.time())),
            Text("" if price == "-" else price, style="dim"),
            Text(note, style="dim"),
        ]
