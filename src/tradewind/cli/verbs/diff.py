"""What `tw apply` would change, field by field. Nothing is stored.

tw diff pipeline.yaml
tw diff dataset/flights 1 2        two versions of a dataset
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.base.errors import UserError
from tradewind.cli.show import Out, count
from tradewind.cli.verbs import apply
from tradewind.sdk import local
from tradewind.sdk.client import Client

# A population stability index below this is read as stable (see `data.diff`).
DRIFT = 0.1


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
        works, documents = apply.read(args.thing, client, args.root)
        with apply.located(works):
            changes = client.specs.apply(documents, dry_run=True)
        apply.show(changes, out)


def _versions(client: Client, words: list[str], out: Out) -> None:
    if len(words) != 3 or not all(word.isdigit() for word in words[1:]):
        raise UserError("which two versions?", hint="tw diff dataset/NAME 1 2")
    found = client.datasets.diff(words[0].partition("/")[2], int(words[1]), int(words[2]))
    if not out.text:
        out.value(found)
        return
    rows, schema = found["rows"], found["schema"]
    counted = ", ".join(f"{count(rows[how])} {how}" for how in ("added", "removed", "changed"))
    out.line(f"rows    {count(rows['old'])} → {count(rows['new'])}: {counted}")
    for line in _columns(schema) or ["the same columns"]:
        out.line(f"schema  {line}")
    for how, rows_of in found["samples"].items():
        for row in rows_of:
            out.line(f"{how:<7} {_changed(row) if how == 'changed' else _row(row)}")
    moved = [each for each in found["columns"] if each["psi"] >= DRIFT]
    out.line()
    out.table(
        ("column", "drift", "nulls", "mean"),
        [(each["name"], f"{each['psi']:.2f}", _pair(each["null_rate"]), _pair(each.get("mean")))
         for each in moved],
        empty="no column's distribution has moved",
    )  # fmt: skip


def _columns(schema: dict[str, Any]) -> list[str]:
    """One line for each column that came, went or has another type."""
    signs = (("+", "added"), ("-", "removed"))
    lines = [f"{sign} {each['name']} {each['type']}" for sign, how in signs for each in schema[how]]
    return lines + [f"~ {one['name']} {one['old']} → {one['new']}" for one in schema["changed"]]


def _changed(row: dict[str, Any]) -> str:
    cells = ", ".join(f"{name} {old} → {new}" for name, (old, new) in row["columns"].items())
    return f"{_row(row['key'])}: {cells}"


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items())


def _pair(values: list[float] | None) -> str:
    return " → ".join(f"{value:.4g}" for value in values) if values else "-"
