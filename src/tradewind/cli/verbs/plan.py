"""Where and how it would be carried out, and why. For a run: how it was.

tw plan flow.yaml
tw plan RUN
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tradewind.base import units
from tradewind.cli import target
from tradewind.cli.parsing import target_arguments
from tradewind.cli.show import Out
from tradewind.cli.verbs.quote import interval, money
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    target_arguments(parser, "a spec, FILE:NAME, a Python file, a stored spec, or a run's id")


def main(args: argparse.Namespace, out: Out) -> None:
    """The first plan of a quote, or the plan of a run."""
    with local.connect() as client:
        if _is_run(args.target):
            plan = client.runs.get(args.target).get("plan") or {}
        else:
            work = target.work_of(args, client)
            document = target.document(args, client, work)
            with target.located(work, document):
                plan = client.quotes.ask(document)["plans"][0]
    if not out.text:
        out.value(plan)
    elif not plan:
        out.note("there is no plan: this kind only steers other runs, or it has not come so far")
    else:
        out.facts(facts(plan))


def _is_run(text: str) -> bool:
    return "/" not in text and "." not in text and not Path(text.partition(":")[0]).exists()


def facts(plan: dict[str, Any]) -> list[tuple[str, Any]]:
    """A plan for people."""
    option = plan.get("option") or {}
    resources = option.get("resources") or {}
    memory = resources.get("memory")
    return [
        ("pool", plan.get("pool")),
        ("engine", plan.get("engine")),
        ("backend", option.get("backend")),
        ("processes", option.get("width")),
        ("parts", option.get("parts") or None),
        ("layout", option.get("layout")),
        ("cores each", resources.get("cpu")),
        ("CPU time", interval(plan["cpu"], units.format_duration) if plan.get("cpu") else None),
        ("memory each", units.format_bytes(memory) if memory else "no limit of its own"),
        ("memory expected", _expected(plan)),
        ("accelerators", ", ".join(f"{n}: {c}" for n, c in _accelerators(resources).items())),
        ("time", interval(plan.get("seconds"), units.format_duration)),
        ("price", money(plan)),
        ("known from", plan.get("basis")),
        ("because", plan.get("chosen_because")),
        ("not given", plan.get("not_given")),
    ]


def _expected(plan: dict[str, Any]) -> str | None:
    memory = (plan.get("grounds") or {}).get("memory")
    return f"about {units.format_bytes(int(memory))}" if memory else None


def _accelerators(resources: dict[str, Any]) -> dict[str, int]:
    return dict(resources.get("accelerators") or {})
