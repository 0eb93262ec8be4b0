"""Stop the local server. Runs go on without it and are taken up by the next one; --stop-runs stops
them as well.
"""

from __future__ import annotations

import argparse

from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--stop-runs", action="store_true", help="stop what runs as well")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask it to end, say what goes on."""
    if args.stop_runs and (local.data_folder() / "token").exists():
        local.ensure_server()  # an earlier `tw down` may have left runs that go on
    answer = local.stop_server(stop_runs=args.stop_runs)
    if not out.text:
        out.value({"was_running": answer is not None, **(answer or {"going_on": []})})
        return
    if answer is None:
        out.line("no server runs")
        return
    out.line("the server has ended")
    going_on = answer.get("going_on") or []
    if going_on:
        out.line(f"{len(going_on)} runs go on without it:")
        for run in going_on[:10]:
            out.line(f"  {run['id']}  {run['kind']} {run['name']}  {run['state']}")
        if len(going_on) > 10:
            out.line("  …")
        out.note("the next `tw up` takes them up; `tw down --stop-runs` stops them")
