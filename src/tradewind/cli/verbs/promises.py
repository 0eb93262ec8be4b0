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
    head = ["function", "backend", "promises", "kept", "broken", "inside", "off by"]
    out.table(head, [_row(each) for each in found if each["promises"]], "nothing was promised yet")
    if any(each["checked"] for each in found):
        out.note("inside: outcomes within their interval; off by: the middle error of the figure")


def _row(each: dict[str, Any]) -> list[str]:
    error = each["error"]
    return [each["function"] or "all", each["backend"], str(each["promises"]), str(each["kept"]),
            str(each["broken"]), f"{each['inside']} of {each['checked']}",
            "-" if error is None else f"{error:.1%}"]  # fmt: skip
