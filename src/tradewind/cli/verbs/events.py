"""What happened, and with -f what happens.

tw events RUN -f
tw events --after 1200
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from tradewind.cli import follow
from tradewind.cli.show import Out, moment
from tradewind.records.events import Event
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", nargs="?", default="", help="of this run and its steps only")
    parser.add_argument("-f", "--follow", action="store_true", help="go on")
    parser.add_argument("--after", type=int, default=0, metavar="SEQ", help="behind this one")
    parser.add_argument("--project", default="")


def main(args: argparse.Namespace, out: Out) -> None:
    """One line for each, oldest first; with -o json one object a line."""
    with local.connect() as client:
        if args.follow:
            follow.patiently(client, out)
        run = client.runs.get(args.run)["id"] if args.run else ""
        for event in client.events.stream(
            after=args.after, run=run, project=args.project, follow=args.follow
        ):
            if out.text:
                out.line(_line(event, out))
                sys.stdout.flush()
            else:
                out.record(asdict(event))


def _line(event: Event, out: Out) -> str:
    body = json.dumps(event.body, ensure_ascii=False) if event.body else ""
    state = event.type.rpartition(".")[2]
    kind = event.type.replace(state, out.state(state))
    subject = event.subject if event.subject == event.run else f"{event.subject} {event.run}"
    return (
        f"{event.seq:>6}  {moment(event.at)}  {kind}  {subject}  {out.style(body, 'dim')}".rstrip()
    )
