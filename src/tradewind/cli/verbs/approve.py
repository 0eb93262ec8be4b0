"""Let runs go on that are expected to cost more than the `value` of their spec."""

from __future__ import annotations

import argparse

from tradewind.cli import follow
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", nargs="+", help="runs' ids, or beginnings of them")


def main(args: argparse.Namespace, out: Out) -> None:
    """Say yes to each."""
    with local.connect() as client:
        bodies = [client.runs.approve(run) for run in args.run]
    if not out.text:
        out.value(bodies)
        return
    for body in bodies:
        why = body["nothing"]
        said = f"nothing to approve, {why}" if why else "approved"
        out.line(f"{follow.headline(body)}: {said}")
