"""Run a command beside a running unit and pass its output and exit status on.

tw exec RUN -- nvidia-smi
tw exec RUN --index 3 -- sh -c 'ls; df -h .'

It is killed when you go away (Ctrl-C).
"""

from __future__ import annotations

import argparse
import codecs
import sys

from tradewind.base.errors import Unreachable, UserError
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", help="a run's id, or the beginning of it")
    parser.add_argument("--role", default="", help="which role of its task; by default the first")
    parser.add_argument("--index", type=int, default=0, help="which unit of the role; by default 0")


def main(args: argparse.Namespace, out: Out) -> int:
    """Print what comes; the command's exit status."""
    if not args.rest:
        raise UserError("no command is named", hint="tw exec RUN -- COMMAND…")
    said = ""
    text = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end within a character
    with local.connect() as client:
        for part in client.runs.exec(args.run, args.rest, role=args.role, index=args.index):
            if isinstance(part, int):
                if not out.text:
                    out.value({"output": said, "exit": part})
                return part
            words = text.decode(part)
            if out.text:
                sys.stdout.write(words)
                sys.stdout.flush()
            else:
                said += words
    raise Unreachable("the connection broke before the command had ended")
