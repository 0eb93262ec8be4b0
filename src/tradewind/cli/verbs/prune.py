"""Free what nothing needs: old ended runs with their logs and results. Versions of datasets and
models, and bills, stay.

  tw prune --older-than 7d --keep 3
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.base import units
from tradewind.base.errors import UserError
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--older-than", default="30d", metavar="TIME", help="ended before: 30d")
    parser.add_argument("--keep", type=int, default=10, help="the newest of each name: 10")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask the server to."""
    try:
        seconds = units.parse_duration(args.older_than)
    except ValueError as error:
        raise UserError(f"--older-than: {error}") from None
    with local.connect() as client:
        freed = client.server.prune({"older_than": seconds, "keep": args.keep})
    if not out.text:
        out.value(freed)
        return
    told = [_told(name, value) for name, value in (freed or {}).items() if value]
    out.line(f"freed: {', '.join(told)}" if told else "there was nothing to free")


def _told(name: str, value: Any) -> str:
    if name == "bytes" and isinstance(value, int):
        return units.format_bytes(value)
    return f"{len(value) if isinstance(value, list) else value} {name}"
