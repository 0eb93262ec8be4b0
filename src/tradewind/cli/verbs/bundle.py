"""Which files would travel, which would not, and why. Nothing is sent.

tw bundle                 the current folder
tw bundle train.py        what travels with this file
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tradewind.base import units
from tradewind.base.errors import NotFound
from tradewind.cli.show import Out
from tradewind.sdk import bundle
from tradewind.sdk.loading import SPEC_SUFFIXES


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("path", nargs="?", default=".", help="a folder, a script or a spec")
    parser.add_argument("--root", metavar="DIR", help="the folder that travels")


def main(args: argparse.Namespace, out: Out) -> None:
    """List, sum."""
    path = Path(args.path)
    only: tuple[str, ...] = ()
    root = Path(args.root) if args.root else path
    if path.is_file():
        if path.suffix in SPEC_SUFFIXES and not args.root:
            root = path.absolute().parent
            only = bundle.only_of(root, [path.absolute()])
        else:
            code = bundle.code_of(path, args.root)
            root, only = code.root, code.only
    elif not path.is_dir():
        raise NotFound(f"there is no file or folder {path}")
    found = bundle.listing(root, only)
    packed = bundle.pack(root, only) if found.size <= bundle.LIMIT else None
    if not out.text:
        out.value(
            {
                "root": str(found.root),
                "digest": packed.digest if packed else "",
                "size": found.size,
                "limit": bundle.LIMIT,
                "travels": [{"path": each.path, "size": each.size} for each in found.travels],
                "stays": [{"path": each.path, "reason": each.reason} for each in found.stays],
            }
        )
        return
    out.line(out.style(f"from {found.root} travel:", "bold"))
    for item in found.travels:
        out.line(f"  {units.format_bytes(item.size):>10}  {item.path}")
    if found.stays:
        out.line(out.style("and these stay:", "bold"))
        for item in found.stays:
            out.line(f"  {item.path}  {out.style(item.reason, 'dim')}")
    limit = units.format_bytes(bundle.LIMIT)
    out.line(f"{len(found.travels)} files, {units.format_bytes(found.size)} (limit {limit})")
    if packed is None:
        out.line(out.style("over the limit: name what the code does not need in .gitignore", "red"))
    else:
        out.line(f"{packed.digest}, {units.format_bytes(len(packed.data))} packed")
