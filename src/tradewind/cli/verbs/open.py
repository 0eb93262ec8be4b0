"""Open the console in the browser, signed in by a link that works once."""

from __future__ import annotations

import argparse

from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--print", action="store_true", help="only print the link")


def main(args: argparse.Namespace, out: Out) -> None:
    """Get a link, open it."""
    with local.connect() as client:
        url = client.server.login_url()
    opened = False
    if out.text and not args.print:
        import webbrowser

        opened = webbrowser.open(url)
    if not out.text:
        out.value({"url": url})
    elif not opened:
        out.line(url)
        out.note("  open it in a browser; it works once, within two minutes")
    else:
        out.line("the console is open in the browser")
