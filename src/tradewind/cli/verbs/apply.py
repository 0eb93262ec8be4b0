"""Store specs as revisions and make them true. Equal specs stay as they are.

  tw apply pipeline.yaml pools.yaml
  tw apply flow.py --dry-run

All or nothing: with a fault in any of these specs nothing is stored, and the faults of all are
told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from tradewind.base.errors import Refused, TradewindError, UserError
from tradewind.cli.show import Out
from tradewind.sdk import loading, local
from tradewind.sdk.client import Client

Json = dict[str, Any]

_SIGNS = {"created": "+", "changed": "~", "unchanged": " "}
_COLOURS = {"created": "green", "changed": "yellow", "unchanged": "dim"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("file", nargs="*", metavar="FILE", help="specs, or Python with decorators")
    parser.add_argument("-f", action="append", metavar="FILE", help="the same")
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask about production")
    parser.add_argument("--root", metavar="DIR", help="the folder that travels")


def main(args: argparse.Namespace, out: Out) -> None:
    """Say what changes, ask where it is production, store."""
    with local.connect() as client:
        works, documents = read([*args.file, *(args.f or ())], client, args.root)
        with located(works):
            if not args.dry_run:
                _confirm(client, documents, args, out)
            changes = client.specs.apply(documents, dry_run=args.dry_run)
        show(changes, out)


def read(
    files: list[str], client: Client, root: str | None
) -> tuple[list[loading.Work], list[Json]]:
    """Every spec of these files, with its document; its code is sent. Raises the faults of all of
    them as one."""
    if not files:
        raise UserError("no file is named", hint="tw apply FILE…")
    works, documents, faults = list[loading.Work](), list[Json](), list[UserError]()
    for file in files:
        try:
            works += loading.load(file, client, root)
        except UserError as error:
            faults.append(error)
    for work in works:
        try:
            documents.append(loading.finish(client, work))
        except UserError as error:
            faults.append(error)
    if faults:
        from tradewind.specs.faults import together

        raise together(faults)
    return works, documents


@contextlib.contextmanager
def located(works: list[loading.Work]) -> Iterator[None]:
    """The server knows a spec by its name: errors raised in here say where in its file."""
    try:
        yield
    except TradewindError as error:
        named = error.where.file if error.where else ""
        work = next((each for each in works if f"{each.kind}/{each.name}" == named), None)
        if work is not None and error.where is not None:
            error.where = work.where(tuple(error.where.field.split("."))) or error.where
        raise


def _confirm(client: Client, documents: list[Json], args: argparse.Namespace, out: Out) -> None:
    guarded = {(d["kind"], d["name"]) for d in documents if d.get("production")}
    if not guarded:
        return
    changes = client.specs.apply(documents, dry_run=True)
    touched = [
        f"{each['kind']}/{each['name']}"
        for each in changes
        if each["change"] != "unchanged" and (each["kind"], each["name"]) in guarded
    ]
    if touched and not out.confirm(f"{', '.join(touched)} is production. Change it?", args.yes):
        raise Refused(f"{', '.join(touched)} is marked as production", hint="--yes changes it")


def show(changes: list[Json], out: Out) -> None:
    """What changed, field by field."""
    if not out.text:
        out.value(changes)
        return
    for each in changes:
        change = str(each["change"])
        head = f"{_SIGNS.get(change, ' ')} {each['kind']}/{each['name']}"
        revision = f" (revision {each['revision']})" if each.get("revision") else ""
        again = f", starts again as {each['run']}" if each.get("restarted") else ""
        out.line(out.style(f"{head} {change}{revision}{again}", _COLOURS.get(change, "")))
        if change == "changed":
            for field in each.get("diff") or ():
                out.line(f"    {field['field']}: {_short(field['old'])} → {_short(field['new'])}")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
