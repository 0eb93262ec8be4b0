"""The native requests that a run would send to its engine. Nothing is sent."""

from __future__ import annotations

import argparse

from tradewind.cli import target
from tradewind.cli.parsing import target_arguments
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    target_arguments(parser, "a spec, FILE:NAME, a Python file, or a stored spec")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, print: it is made for machines, so text is JSON too."""
    with local.connect() as client:
        work = target.work_of(args, client)
        document = target.document(args, client, work)
        requests = client.quotes.render(document, args.pool or "")
    out.value(requests if not out.text or len(requests) != 1 else requests[0])
