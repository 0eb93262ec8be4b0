"""What machines cost that clouds let; a price says when it was taken.

tw catalog --accelerator H100 --max-price '$5'
tw catalog import prices.csv             adds its rows, in the place of the same ones
tw catalog import prices.csv --replace   instead of all others
tw catalog reset                         back to the list that Tradewind carries
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from tradewind.base import units
from tradewind.base.errors import UserError
from tradewind.cli.show import Out, money
from tradewind.sdk import local
from tradewind.sdk.client import Client

ACTIONS = ("list", "import", "reset")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "action", metavar="WHAT", nargs="?", default="list", choices=ACTIONS,
        help="list (this is meant without it), import, reset",
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", nargs="?", default="", help="import: a CSV file")
    parser.add_argument("--replace", action="store_true", help="import: instead of all others")
    parser.add_argument("--provider", default="", help="list: only of this one")
    parser.add_argument("--region", default="", help="list: only in this one")
    parser.add_argument("--accelerator", default="", metavar="NAME", help="list: only with these")
    parser.add_argument("--max-price", default="", metavar="MONEY", help="list: an hour, on demand")
    parser.add_argument("--columns", default="", metavar="NAMES", help="list: these, with commas")


def main(args: argparse.Namespace, out: Out) -> None:
    """Show or change it."""
    if (args.action == "import") != bool(args.file):
        said = "which file?" if args.action == "import" else f"{args.action} takes no file"
        raise UserError(said, hint="tw catalog import FILE")
    if args.replace and args.action != "import":
        raise UserError("--replace says how to import", hint="tw catalog import FILE --replace")
    if args.action == "list":
        _list(args, out)
        return
    with local.connect() as client:
        if args.action == "import":
            told = client.prices.load(args.file, replace=args.replace)
            said = f"{told['added']} added, {told['changed']} changed"
        else:
            told = client.prices.reset()
            said = f"{told['dropped']} imported rows dropped"
    if out.text:
        out.line(f"{said}; {told['total']} instance types")
    else:
        out.value(told)


def _list(args: argparse.Namespace, out: Out) -> None:
    names = _columns(args.columns)
    with local.connect() as client:
        rows = _asked(args, client)
    if not out.text:
        out.value(rows)
        return
    head = [name.replace("_", " ") for name in names]
    out.table(head, [[_COLUMNS[name](row) for name in names] for row in rows], empty="none")
    if aged := sum(row["old"] for row in rows):
        out.note(f"old: {aged} prices were taken more than 180 days ago, or nobody knows when")


def _asked(args: argparse.Namespace, client: Client) -> list[dict[str, Any]]:
    most = 0
    if args.max_price:
        try:
            most = units.parse_money(args.max_price)
        except ValueError as error:
            raise UserError(f"--max-price: {error}") from None
        if not most:
            raise UserError("--max-price: nothing is for nothing")
    return client.prices.list(
        provider=args.provider,
        region=args.region,
        accelerator=args.accelerator,
        max_price=most,
    )


def _columns(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text else list(_SHOWN)
    for name in names:
        if name not in _COLUMNS:
            raise UserError(f"there is no column {name!r}", hint=f"columns: {', '.join(_COLUMNS)}")
    return names


def _accelerators(row: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in row["accelerators"].items()) or "-"


def _hourly(amount: int | None) -> str:
    return f"{money(amount)}/h" if amount else "-"


def _each(row: dict[str, Any]) -> str:
    return units.format_bytes(row["accelerator_memory"]) if row["accelerator_memory"] else "-"


_COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda row: row["name"],
    "provider": lambda row: row["provider"],
    "region": lambda row: row["region"],
    "instance": lambda row: row["instance"],
    "cores": lambda row: f"{row['cpu']:g}",
    "memory": lambda row: units.format_bytes(row["memory"]),
    "accelerators": _accelerators,
    "accelerator_memory": _each,
    "zones": lambda row: row["zones"],
    "price": lambda row: _hourly(row["price"]),
    "spot": lambda row: _hourly(row["spot"]),
    "as_of": lambda row: row["as_of"] + (" (old)" if row["old"] else ""),
    "source": lambda row: row["source"],
    "imported": lambda row: row["imported"],
}
_SHOWN = ("name", "region", "cores", "memory", "accelerators", "zones", "price", "spot", "as_of")
