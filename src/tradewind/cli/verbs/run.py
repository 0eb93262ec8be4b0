"""Run a spec, a stored spec or any Python script, once.

  tw run train.py --performance 1h -- --epochs 3
  tw run flow.yaml --data flights=./flights.csv
  tw run pipeline/nightly --detach

The result of a function becomes a version of a dataset. Ctrl-C leaves the run going. Exit status 1
says that the run failed.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from tradewind.base.errors import from_json
from tradewind.cli import follow, target
from tradewind.cli.parsing import target_arguments
from tradewind.cli.show import Out
from tradewind.sdk import loading, local
from tradewind.sdk.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    target_arguments(parser, "a spec, FILE:NAME, a Python file, or a stored spec")
    parser.add_argument("--detach", "-d", action="store_true", help="come back when it is accepted")
    parser.add_argument("--quote", metavar="ID", default="", help="hold us to this quote")
    parser.add_argument("--plan", type=int, metavar="N", help="take plan N of the quote (from 0)")


def main(args: argparse.Namespace, out: Out) -> int:
    """Send it, follow it."""
    with local.connect() as client:
        work = target.work_of(args, client)
        document = target.document(args, client, work)
        for other in loading.imports(work):
            place = {"pool": document["pool"]} if document.get("pool") else None
            made = client.runs.create([{"spec": loading.finish(client, other, place)}])[0]
            ended = follow.to_end(client, made, out)
            if ended is None:
                return follow.INTERRUPTED
            if ended["state"] != "succeeded":
                return follow.finish(client, ended, out)
        with target.located(work, document):
            body = _run(client, document, args, out)
        if not isinstance(body, dict):
            return body
        if error := body.get("error"):
            where = target.in_file(work, document, from_json(error).where)
            body["error"] = {**error, **({"where": asdict(where)} if where else {})}
        return follow.finish(client, body, out)


def _run(
    client: Client, document: dict[str, Any], args: argparse.Namespace, out: Out
) -> int | dict[str, Any]:
    """The run as it ended; the exit status where nobody waits for that."""
    order: dict[str, Any] = {"spec": document}
    if args.quote:
        order["quote"] = args.quote
    if args.plan is not None:
        order["plan"] = args.plan
    body = client.runs.create([order])[0]
    if args.detach or document["kind"] == "service":
        if not out.text:
            out.value(body)
        else:
            out.line(body["id"])
            out.note(f"  `tw attach {body['id']}` follows it, `tw stop {body['id']}` stops it")
            most = "is expected to cost more than its value"
            if document.get("value"):
                value, approve = document["value"], f"`tw approve {body['id']}`"
                out.note(f"  if it {most}, {value}, it waits for {approve}")
            if steps := " or ".join(_valued(client, document)):
                which = f"`tw describe {body['id']}` says of which run"
                out.note(f"  if step {steps} {most}, it waits for `tw approve`; {which}")
        return 0
    ended = follow.to_end(client, body, out)
    return follow.INTERRUPTED if ended is None else ended


def _valued(client: Client, document: dict[str, Any]) -> list[str]:
    """The steps of a pipeline whose specs have a `value`: such a step may ask."""
    steps = document.get("steps", ())
    stored: dict[str, dict[str, Any]] = {}
    if any(isinstance(step["uses"], str) for step in steps):
        stored = {
            f"{each['kind']}/{each['name']}": each["document"] for each in client.specs.list()
        }
    used = [(step["name"], step["uses"]) for step in steps]
    return [
        name
        for name, uses in used
        if (uses if isinstance(uses, dict) else stored.get(uses, {})).get("value")
    ]
