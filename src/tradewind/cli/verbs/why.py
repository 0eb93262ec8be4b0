"""What a run waits for, when it starts, and the smallest changes that would start it now.

tw why RUN
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.base import units
from tradewind.cli.show import Out
from tradewind.sdk import local

Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", help="a run's id, or the beginning of it")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show."""
    with local.connect() as client:
        body = client.runs.why(args.run)
    if not out.text:
        out.value(body)
        return
    out.line(f"{body['run']} is {body['state']}" + (f": {body['waiting']}" * bool(body["waiting"])))
    if estimate := body["estimate"]:
        about, low, high = (
            units.format_duration(estimate[name]) for name in ("seconds", "low", "high")
        )
        out.line(f"starts in about {about}; nine times out of ten between {low} and {high}")
    for each in body["changes"]:
        out.line(f"would start now {each['change']}{made_room(each)}")


def made_room(start: Json) -> str:
    """Who would have to go, in words."""
    return f", once {', '.join(start['interrupts'])} made room" if start["interrupts"] else ""
