"""What it would cost and take: the plans worth choosing between.

tw quote flow.yaml
tw run flow.yaml --quote ID        holds us to it until it expires
"""

from __future__ import annotations

import argparse
from typing import Any

from tradewind.base import units
from tradewind.cli import target
from tradewind.cli.parsing import target_arguments
from tradewind.cli.show import Out, moment
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    target_arguments(parser, "a spec, FILE:NAME, a Python file, or a stored spec")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, show."""
    with local.connect() as client:
        work = target.work_of(args, client)
        quote = client.quotes.ask(target.document(args, client, work))
    if not out.text:
        out.value(quote)
        return
    out.facts([("quote", quote["id"]), ("holds until", moment(quote["expires"]))])
    out.line()
    rows = [_row(str(number), plan) for number, plan in enumerate(quote["plans"])]
    rows += [_row("-", plan) for plan in quote.get("elsewhere") or ()]
    out.table(["plan", "pool", "backend", "width", "time", "price", "known from"], rows)
    if quote.get("elsewhere"):
        out.note("plans without a number are estimates for other machines")


def _row(number: str, plan: dict[str, Any]) -> list[str]:
    option = plan["option"]
    basis = str(plan.get("basis") or "")
    if plan.get("estimate_only") and not basis.startswith("estimate"):
        basis = f"estimate: {basis}"
    return [number, plan["pool"], option["backend"], str(option.get("width", 1)),
            interval(plan.get("seconds"), units.format_duration),
            interval(plan.get("price"), lambda amount: units.format_money(int(amount))),
            basis]  # fmt: skip


def interval(figure: dict[str, float] | None, text: Any) -> str:
    """A figure with its spread."""
    if figure is None:
        return "unknown"
    low, high = text(figure["p50"]), text(figure["p90"])
    return str(low) if low == high else f"{low} ≤ {high}"
