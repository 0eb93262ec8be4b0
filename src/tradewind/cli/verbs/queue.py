"""Queues as a tree: what each is guaranteed, what it may use, what it uses, who waits in it.

tw queue
tw queue vision
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.base.errors import NotFound
from tradewind.cli.show import Out
from tradewind.cli.verbs.get import amount
from tradewind.sdk import local

Json = dict[str, Any]

_HEAD = ["queue", "guaranteed", "at most", "in use", "share", "waiting"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("name", nargs="?", default="", help="only this, and its projects")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show."""
    with local.connect() as client:
        queues: list[Json] = list(client.queues.list())
    chosen = [each for each in queues if not args.name or each["name"] == args.name]
    if args.name and not chosen:
        known = ", ".join(each["name"] for each in queues)
        raise NotFound(f"there is no queue {args.name!r}", hint=f"queues: {known or 'none yet'}")
    if not out.text:
        out.value(chosen)
        return
    depth = {"": -1}
    rows = []
    for each in queues:
        depth[each["name"]] = depth[each["parent"]] + 1
        if each in chosen:
            rows += _rows(each, "" if args.name else "  " * depth[each["name"]])
    out.table(_HEAD, rows, empty="nobody has used a queue yet, and none is applied")


def _share(of: Json) -> str:
    """There is none of what no pool has any more."""
    return "-" if of["share"] is None else f"{of['share']:.0%}"


def _rows(queue: Json, indent: str) -> list[list[Any]]:
    most = "all that is idle" if not queue["most"] else amount(queue["most"])
    rows = [[f"{indent}{queue['name']}", amount(queue["guarantee"]), most, amount(queue["used"]),
             _share(queue), queue["waiting"]]]  # fmt: skip
    for each in queue["projects"]:
        most = amount(each["most"]) if each["most"] else ""
        rows.append([f"{indent}  · {each['name']}", "", most, amount(each["used"]),
                     _share(each), each["waiting"]])  # fmt: skip
    return rows
