"""What runs use now. In a terminal it goes on until Ctrl-C; elsewhere it is said once."""

from __future__ import annotations

import argparse
import time
from typing import Any

from tradewind.base import units
from tradewind.cli.show import Out
from tradewind.sdk import local

Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--once", action="store_true", help="say it once")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")


def main(args: argparse.Namespace, out: Out) -> int:
    """Once, or again and again in the same place."""
    with local.connect() as client:
        if not out.text:
            out.value(client.server.top())
            return 0
        while True:
            rows = rows_of(client.server.top())
            again = out.live and not args.once
            if again:
                out.line("\x1b[2J\x1b[H" + time.strftime("%H:%M:%S") + "  (Ctrl-C leaves)\n")
            out.table(
                ["run", "name", "unit", "state", "cpu", "memory", "since"], rows, "nothing runs"
            )
            if not again:
                return 0
            try:
                time.sleep(max(0.1, args.every))
            except KeyboardInterrupt:
                return 0


def rows_of(body: Any) -> list[list[Any]]:
    """One row for each unit that runs."""
    units_: list[Json] = body if isinstance(body, list) else list(body.get("units") or ())
    return [_row(each) for each in units_]


def _row(each: Json) -> list[Any]:
    usage = each.get("usage") or each
    begun = each.get("started") or 0
    cpu, memory = usage.get("cpu"), usage.get("memory")
    unit = f"{each.get('role', '')}[{each['index']}]" if "index" in each else each.get("role", "")
    return [each.get("run"), each.get("name", ""), unit, each.get("state", ""),
            f"{cpu:.2f}" if isinstance(cpu, int | float) else "-",
            units.format_bytes(int(memory)) if memory else "-",
            units.format_duration(max(0.0, time.time() - begun)) if begun else "-"]  # fmt: skip
