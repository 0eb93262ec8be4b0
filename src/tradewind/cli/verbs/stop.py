"""Stop runs. They end a moment later; --wait waits for that."""

from __future__ import annotations

import argparse

from tradewind.cli import follow
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", nargs="+", help="runs' ids, or beginnings of them")
    parser.add_argument("--wait", action="store_true", help="until they have ended")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask each."""
    with local.connect() as client:
        bodies = [client.runs.stop(run) for run in args.run]
        if args.wait:
            follow.patiently(client, out)
            bodies = [client.runs.wait(body["id"]) for body in bodies]
    if not out.text:
        out.value(bodies)
        return
    for body in bodies:
        asked = "" if body["state"] in {"succeeded", "failed", "stopped"} else ": asked to stop"
        out.line(follow.headline(body) + asked)
