"""Let runs go on that are expected to cost more than the `value` of their spec.

Exit status 1 says that one of them has ended.
"""

from __future__ import annotations

import argparse

from tradewind.cli import follow
from tradewind.cli.show import Out
from tradewind.sdk import local
from tradewind.sdk.runs import ENDED


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", nargs="+", help="runs' ids, or beginnings of them")


def main(args: argparse.Namespace, out: Out) -> int:
    """Say yes to each."""
    with local.connect() as client:
        bodies = [client.runs.approve(run) for run in args.run]
    status = follow.FAILED if any(body["state"] in ENDED for body in bodies) else 0
    if not out.text:
        out.value(bodies)
        return status
    for body in bodies:
        why = body["nothing"]
        said = f"nothing to approve, {why}" if why else "approved"
        out.line(f"{follow.headline(body)}: {said}")
    return status
