"""Whether a waiting run would start now if it asked for something else. Nothing is changed.

tw whatif RUN --cpu 1
tw whatif RUN --processes 2 --priority 5
"""

from __future__ import annotations

import argparse
import contextlib
import math

from tradewind.base.errors import UserError
from tradewind.cli.show import Out
from tradewind.cli.verbs.why import made_room
from tradewind.sdk import local

CHANGES = ("processes", "cpu", "memory", "share", "priority", "pool", "any_model", "preferred")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", help="a run's id, or the beginning of it")
    parser.add_argument("--processes", type=int, metavar="N", help="so many processes")
    parser.add_argument("--cpu", type=_cores, metavar="CORES", help="so many cores for each")
    parser.add_argument("--memory", metavar="SIZE", help="so much memory for each: 4GiB")
    parser.add_argument("--share", type=_part, metavar="PART", help="0.5 of a device for each")
    parser.add_argument("--priority", type=int, metavar="N", help="another priority")
    parser.add_argument("--pool", help="another pool")
    parser.add_argument("--any-model", action="store_true", help="devices of any model")
    parser.add_argument(
        "--preferred", action="store_true", help="its topology preferred, not required"
    )


def _cores(text: str) -> float:
    return _number(text, "a number of cores")


def _part(text: str) -> float:
    return _number(text, "a part of a device")


def _number(text: str, what: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(found := float(text)):
            return found
    raise argparse.ArgumentTypeError(f"not {what}: {text!r}")


def main(args: argparse.Namespace, out: Out) -> int:
    """Ask, show. Exit status 1 where it would not start."""
    said = {name: getattr(args, name) for name in CHANGES}
    changes = {
        name: value for name, value in said.items() if value is not None and value is not False
    }
    if not changes:
        raise UserError("what is to be different?", hint="for example tw whatif RUN --cpu 1")
    with local.connect() as client:
        body = client.runs.whatif(args.run, **changes)
    if not out.text:
        out.value(body)
    elif body["starts"]:
        out.line(f"{body['run']} would start now {body['change']}{made_room(body)}")
    else:
        out.line(f"{body['run']} would go on waiting {body['change']}")
    return 0 if body["starts"] else 1
