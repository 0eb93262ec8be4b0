"""Check this machine and say what to mend. Starts nothing. Exit status 5: something is broken."""

from __future__ import annotations

import argparse

from tradewind.cli import checks
from tradewind.cli.show import Out

_MARKS = {"good": ("✓", "green"), "note": ("·", "yellow"), "broken": ("✗", "red")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing."""


def main(args: argparse.Namespace, out: Out) -> int:
    """Make all checks; the worst decides."""
    found = checks.all_checks()
    broken = any(check.level == "broken" for check in found)
    if not out.text:
        out.value({"good": not broken, "checks": [check.to_json() for check in found]})
        return 5 if broken else 0
    width = max(len(check.name) for check in found)
    for check in found:
        mark, colour = _MARKS[check.level]
        head, *more = check.said.split("\n")
        out.line(f"{out.style(mark, colour)} {check.name.ljust(width)}  {head}")
        for line in more:
            out.line(f"  {' ' * width}  {line}")
        if check.hint:
            out.line(f"  {' ' * width}  {out.style(check.hint, 'dim')}")
    out.line("something is broken" if broken else "all is well")
    return 5 if broken else 0
