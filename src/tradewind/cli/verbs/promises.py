"""How often quotes were right: promises kept, and figures that came as they were said.

tw promises
tw promises --project NAME
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--project", default="", help="of this project only")


def main(args: argparse.Namespace, out: Out) -> None:
    """A line for each function and backend, the last for all."""
    with local.connect() as client:
        found = client.quotes.promises(args.project)
    if not out.text:
        out.value(found)
        return
    head = ["function", "backend", "promises", "kept", "broken", "likely kept"]
    head += [word for what in ("CPU", "time", "price") for word in (f"{what} inside", "off by")]
    rows = [_row(each) for each in found if each["promises"] or each["likely"]["promises"]]
    out.table(head, rows, "nothing was promised yet")
    if any(each["checked"] for each in found):
        out.note("inside: outcomes within their interval; off by: the middle error of the figure")
    if found[-1]["likely"]["promises"]:
        out.note("likely: said not to be sure of its deadline, and counted apart from the others")
    if rest := found[-1]["promises"] - found[-1]["kept"] - found[-1]["broken"]:
        out.note(f"{rest} neither kept nor broken: it goes on, failed by itself or was stopped")
    if over := max(found[-1][figure]["over"] for figure in ("time", "price")):
        out.note(f"{over} took longer than its upper figure, or cost more")


def _row(each: dict[str, Any]) -> list[str]:
    said = [each["function"] or "all", each["backend"]]
    said += [str(each[name]) for name in ("promises", "kept", "broken")]
    likely = each["likely"]
    said.append(f"{likely['kept']} of {likely['kept'] + likely['broken']}")
    for figure in (each, each["time"], each["price"]):
        error = figure["error"]
        said.append(f"{figure['inside']} of {figure['checked']}")
        said.append("-" if error is None else f"{error:.1%}")
    return said
