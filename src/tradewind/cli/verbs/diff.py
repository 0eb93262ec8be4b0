"""What `tw apply` would change, field by field. Nothing is stored.

tw diff pipeline.yaml
tw diff dataset/flights 1 2        two versions of a dataset
"""

from __future__ import annotations

import argparse

from tradewind.base.errors import UserError
from tradewind.cli.show import Out
from tradewind.cli.verbs import apply
from tradewind.sdk import local
from tradewind.sdk.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("thing", nargs="+", metavar="FILE", help="specs, or dataset/NAME OLD NEW")
    parser.add_argument("--root", metavar="DIR", help="the folder that travels")


def main(args: argparse.Namespace, out: Out) -> None:
    """A dry run of apply, or two versions of a dataset."""
    with local.connect() as client:
        if args.thing[0].startswith(("dataset/", "datasets/")):
            _versions(client, args.thing, out)
            return
        documents = apply.documents_of(args.thing, client, args.root)
        apply.show(client.specs.apply(documents, dry_run=True), out)


def _versions(client: Client, words: list[str], out: Out) -> None:
    if len(words) != 3 or not all(word.isdigit() for word in words[1:]):
        raise UserError("which two versions?", hint="tw diff dataset/NAME 1 2")
    found = client.datasets.diff(words[0].partition("/")[2], int(words[1]), int(words[2]))
    if out.text:
        out.facts(found.items())
    else:
        out.value(found)
