"""Wait for runs to end. Exit status 1: one of them failed or was stopped; 4: the time was over."""

from __future__ import annotations

import argparse
import time
from typing import Any

from tradewind.base import units
from tradewind.base.errors import TryAgain, UserError
from tradewind.cli import follow
from tradewind.cli.show import Out
from tradewind.sdk import local
from tradewind.sdk.runs import ENDED


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", nargs="+", help="runs' ids, or beginnings of them")
    parser.add_argument("--timeout", metavar="TIME", help="at most so long: 60s, 1h")


def main(args: argparse.Namespace, out: Out) -> int:
    """One after the other: all have to end."""
    until = None
    if args.timeout:
        try:
            until = time.monotonic() + units.parse_duration(args.timeout)
        except ValueError as error:
            raise UserError(f"--timeout: {error}") from None
    bodies: list[dict[str, Any]] = []
    with local.connect() as client:
        follow.patiently(client, out, until)
        for run in args.run:
            left = None if until is None else max(0.0, until - time.monotonic())
            body = client.runs.wait(client.runs.get(run)["id"], left)
            if body["state"] not in ENDED:
                raise TryAgain(f"{body['id']} is still {body['state']} after {args.timeout}")
            bodies.append(body)
            if out.text:
                out.line(follow.headline(body))
    if not out.text:
        out.value(bodies)
    return 0 if all(body["state"] == "succeeded" for body in bodies) else follow.FAILED
