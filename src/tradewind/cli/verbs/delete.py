"""Delete ended runs (with logs and results) or stored specs.

tw delete RUN
tw delete function/clean
"""

from __future__ import annotations

import argparse

from tradewind.base.errors import Refused
from tradewind.cli.show import Out
from tradewind.sdk import local
from tradewind.sdk.loading import KINDS


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("thing", nargs="+", metavar="RUN|KIND/NAME", help="what to delete")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask where it matters, delete."""
    with local.connect() as client:
        for thing in args.thing:
            kind, slash, name = thing.partition("/")
            if not slash or kind not in KINDS:
                client.runs.delete(thing)
                continue
            document = client.specs.get(kind, name).get("document") or {}
            question = f"{thing} is marked as production. Delete it?"
            if document.get("production") and not out.confirm(question, args.yes):
                raise Refused(f"{thing} is marked as production", hint="--yes deletes it")
            client.specs.delete(kind, name)
    if out.text:
        out.line(f"deleted: {', '.join(args.thing)}")
    else:
        out.value({"deleted": args.thing})
