"""Delete ended runs (with logs and results) or stored specs. Versions of datasets and models stay.

tw delete RUN
tw delete function/clean
"""

from __future__ import annotations

import argparse

from tradewind.base.errors import NotFound, Refused
from tradewind.cli.show import Out
from tradewind.cli.verbs.get import noun_of
from tradewind.sdk import local
from tradewind.sdk.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("thing", nargs="+", metavar="RUN|KIND/NAME", help="what to delete")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask where it matters, delete; what stays all the same is said."""
    with local.connect() as client:
        for thing in args.thing:
            word, slash, name = thing.partition("/")
            kind = noun_of(word)[:-1] if slash else "run"
            if kind == "run":
                client.runs.delete(name or word)
            else:
                _spec(client, kind, name, args.yes, out)
    if out.text:
        out.line(f"deleted: {', '.join(args.thing)}")
    else:
        out.value({"deleted": args.thing})


def _spec(client: Client, kind: str, name: str, yes: bool, out: Out) -> None:
    thing, kept = f"{kind}/{name}", _versions(client, kind, name)
    try:
        document = client.specs.get(kind, name).get("document") or {}
    except NotFound:
        if not kept:
            raise
        raise Refused(
            f"there is no stored spec of {thing} to delete, and its {kept} stay",
            hint="results, models and lineage are made of them; `tw prune` frees old runs",
        ) from None
    question = f"{thing} is marked as production. Delete it?"
    if document.get("production") and not out.confirm(question, yes):
        raise Refused(f"{thing} is marked as production", hint="--yes deletes it")
    client.specs.delete(kind, name)
    if kept:
        out.note(f"the spec of {thing} is deleted; its {kept} stay")


def _versions(client: Client, kind: str, name: str) -> str:
    """How many versions there are under this name, in words; nothing if there are none."""
    if kind not in ("dataset", "model"):
        return ""
    try:
        plain = name.partition("@")[0]
        found = (client.datasets if kind == "dataset" else client.models).get(plain)
    except NotFound:
        return ""
    count = len(found["versions"])
    return f"{count} version{'s' if count != 1 else ''}"
