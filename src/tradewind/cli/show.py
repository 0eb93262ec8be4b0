"""All that people read: tables, colours, errors. Colours only in a terminal, and not if NO_COLOR.

What is asked for goes to stdout; what only accompanies it (`note`) goes to stderr, so that stdout
can be piped on.
"""

from __future__ import annotations

import json as json_
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tradewind.base import units
from tradewind.base.errors import TradewindError

Json = dict[str, Any]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "36"}
STATES = {
    "succeeded": "green", "running": "blue", "placed": "blue", "probing": "blue", "failed": "red",
    "stopped": "dim", "stopping": "yellow", "queued": "yellow", "ready": "green",
}  # fmt: skip


class Out:
    """Where one command writes."""

    def __init__(self, json: bool = False) -> None:
        """Text, or JSON."""
        self.json = json
        self.yaml = False
        self.live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")

    def format(self, name: str) -> None:
        """What `-o` said."""
        self.json = name == "json"
        self.yaml = name == "yaml"

    @property
    def text(self) -> bool:
        """Whether people read it."""
        return not (self.json or self.yaml)

    def value(self, value: Any) -> None:
        """One value, as `-o` wants it."""
        if self.yaml:
            import yaml

            print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
        else:
            print(json_.dumps(value, indent=2, ensure_ascii=False))

    def record(self, value: Any) -> None:
        """One value of a stream: a line of JSON."""
        print(json_.dumps(value, ensure_ascii=False), flush=True)

    def line(self, text: str = "") -> None:
        """A line of what was asked for."""
        print(text)

    def note(self, text: str) -> None:
        """A line beside it; none where JSON is asked for."""
        if self.text:
            # At once, with its end: what a run says may come from another thread in between.
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def style(self, text: str, *names: str) -> str:
        """Coloured, where there are colours."""
        codes = ";".join(_CODES[name] for name in names if name in _CODES)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.colour and codes and text else text

    def state(self, state: str) -> str:
        """A state in its colour."""
        return self.style(state, STATES.get(state, ""))

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "") -> None:
        """Columns as wide as they need to be. The last one is cut at the terminal's edge."""
        cells = [[_cell(value) for value in row] for row in rows]
        if not cells:
            self.note(empty or "none")
            return
        widths = [max(len(row[i]) for row in (list(head), *cells)) for i in range(len(head))]
        edge = shutil.get_terminal_size().columns if self.live else 0
        self.line(self.style(_joined(head, widths, edge), "bold"))
        for row in cells:
            text = _joined(row, widths, edge)
            for value in row:
                if value in STATES and self.colour:
                    text = text.replace(value, self.state(value), 1)
                    break
            self.line(text)

    def facts(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Names and values, those without a value left out."""
        shown = [(name, _cell(value)) for name, value in pairs if value not in (None, "", [], {})]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            head, *more = value.split("\n")
            self.line(f"{self.style(name.ljust(width), 'dim')}  {head}")
            for line in more:
                self.line(f"{' ' * width}  {line}")

    def error(self, error: TradewindError) -> None:
        """`error: message` and the hint below it; with `-o json` the error's JSON on stdout."""
        if not self.text:
            self.value({"error": error.to_json()})
            return
        sys.stdout.flush()
        colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        word = "\x1b[31merror\x1b[0m" if colour else "error"
        place = f"{error.where}: " if error.where else ""
        print(f"{word}: {place}{error.message}", file=sys.stderr)
        for line in error.hint.splitlines():
            print(f"  {line}", file=sys.stderr)

    def confirm(self, question: str, yes: bool) -> bool:
        """Ask, where somebody can answer; elsewhere only `--yes` is a yes."""
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _joined(row: Sequence[str], widths: Sequence[int], edge: int) -> str:
    text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    return text[: edge - 1] + "…" if 0 < edge < len(text) else text


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).rstrip() or "-"


def ago(when: float, now: float | None = None) -> str:
    """How long ago a moment (s since 1970) was."""
    if not when:
        return "-"
    return units.format_duration(max(0.0, (time.time() if now is None else now) - when)) + " ago"


def moment(when: float) -> str:
    """A moment in this machine's time."""
    return datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M:%S") if when else "-"


def lasted(body: Json, now: float | None = None) -> str:
    """How long a run took or has taken, waiting included."""
    begin = float(body.get("created") or 0)
    end = float(body.get("ended") or 0) or (time.time() if now is None else now)
    return units.format_duration(max(0.0, end - begin)) if begin else "-"


def money(nanodollars: Any) -> str:
    """An amount, or a dash."""
    return units.format_money(int(nanodollars)) if nanodollars else "-"


def paid(run: Json) -> str:
    """What a run cost. Once it has ended nothing is an amount too; what a pipeline cost is known
    with its steps only."""
    price = run.get("price")
    whole = run.get("kind") != "pipeline" or "children" in run
    return units.format_money(0) if price == 0 and run.get("ended") and whole else money(price)


def hourly(pool: Json) -> str:
    """What a pool costs for an hour; nothing is a price, where there are machines that have it."""
    price = pool.get("price")
    known = price or (price == 0 and pool.get("machines"))
    return units.format_money(int(price or 0)) if known else ""


def count(number: Any) -> str:
    """A whole number with separators."""
    return f"{number:,}" if isinstance(number, int) else "-"
