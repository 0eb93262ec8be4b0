"""What a run said.

tw logs RUN -f
tw logs RUN --index 3        item 3 of an array
"""

from __future__ import annotations

import argparse
import sys

from tradewind.cli import follow
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", help="a run's id, or the beginning of it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it has ended")
    parser.add_argument("--task", default="", help="of this task")
    parser.add_argument("--role", default="", help="of this role")
    parser.add_argument("--index", type=int, help="of this item, worker or replica")


def main(args: argparse.Namespace, out: Out) -> None:
    """The bytes as they are; with -o json one object a line."""
    with local.connect() as client:
        if args.follow:
            follow.patiently(client, out)
        run = client.runs.get(args.run)["id"]
        chunks = client.runs.logs(
            run, task=args.task, role=args.role, index=args.index, follow=args.follow
        )
        if out.text:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            return
        rest = b""
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                out.record({"line": line.decode(errors="replace")})
        if rest:
            out.record({"line": rest.decode(errors="replace")})
