"""Follow a run as `tw run` does: its words, its state, its end. Exit status 1: the run failed."""

from __future__ import annotations

import argparse

from tradewind.cli import follow
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", help="a run's id, or the beginning of it")


def main(args: argparse.Namespace, out: Out) -> int:
    """Come back to it."""
    with local.connect() as client:
        ended = follow.to_end(client, client.runs.get(args.run), out)
        return follow.INTERRUPTED if ended is None else follow.finish(client, ended, out)
