"""What the pools cost, and who pays: each project what it held, idle is the rest.

tw bill                            this month so far
tw bill --from 7d
tw bill --from 2026-11-01 --until 2026-12-01
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tradewind.base import units
from tradewind.base.errors import UserError
from tradewind.cli.show import Out
from tradewind.sdk import local

Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    when = "a date (UTC), a time such as 2026-11-01T12:00, or how long ago: 7d"
    parser.add_argument("--from", default="", dest="since", metavar="WHEN",
                        help=f"{when}; left out: the first of this month")  # fmt: skip
    parser.add_argument("--until", default="", metavar="WHEN", help="the same; left out: now")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show. What is shown adds up."""
    now = time.time()
    first = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-01")
    since, until = _when(args.since or first, now, "--from"), _when(args.until, now, "--until")
    with local.connect() as client:
        pools: list[Json] = client.pools.bill(since, until)
    if not out.text:
        out.value({"since": since, "until": until, "pools": pools})
        return
    projects = sorted({project for pool in pools for project in pool["projects"]})
    who = [*projects, "(idle)"]
    # Each pool is rounded for itself: its column adds up to its own price, to the cent.
    columns = [
        units.format_parts([*(pool["projects"].get(each, 0) for each in projects), pool["idle"]])[0]
        for pool in pools
    ]
    rows = [[each, *(column[at] for column in columns)] for at, each in enumerate(who)]
    rows.append(["(all)", *(_sum(column) for column in columns)])
    table = [[*row, _sum(row[1:])] for row in rows]
    out.table(["project", *(each["pool"] for each in pools), "all"], table if pools else [],
              empty="nothing is known of any pool in that time")  # fmt: skip
    for pool in pools:
        if pool["unpriced"]:
            out.note(f"pool {pool['pool']!r} was in use for "
                     f"{units.format_duration(pool['unpriced'])} while it had no price: say one in "
                     "its spec")  # fmt: skip


def _sum(texts: list[str]) -> str:
    return f"${sum(Decimal(text.lstrip('$')) for text in texts)}"


def _when(text: str, now: float, option: str) -> float:
    """Seconds since 1970. Raises UserError."""
    if not text:
        return now
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        pass
    try:
        return now - units.parse_duration(text)
    except ValueError:
        raise UserError(
            f"{option} {text}: expected a date such as 2026-11-01, or how long ago: 7d"
        ) from None
