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
        out.line(_when(estimate))
    for each in body["changes"]:
        out.line(f"would start now {each['change']}{made_room(each)}")


def _when(estimate: Json) -> str:
    """In words; nobody cares for less than a second."""
    seconds, low, high = (float(estimate[name]) for name in ("seconds", "low", "high"))
    about = f"in about {units.format_duration(seconds)}" if seconds >= 1 else "at once"
    if high < 1:
        return f"starts {about}"
    until = units.format_duration(high)
    span = f"between {units.format_duration(low)} and {until}" if low >= 1 else f"within {until}"
    return f"starts {about}; nine times out of ten {span}"


def made_room(start: Json) -> str:
    """Who would have to go, in words."""
    return f", once {', '.join(start['interrupts'])} made room" if start["interrupts"] else ""
