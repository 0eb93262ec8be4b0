"""Start the local server if none runs. Other verbs do so by themselves.

tw up --port 7000
"""

from __future__ import annotations

import argparse
import time

from tradewind.base import units
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--host", help="listen here; off loopback it needs TLS or --behind-proxy")
    parser.add_argument("--port", type=int, help="listen on this port")
    parser.add_argument(
        "--name", action="append", metavar="HOST", help="answer to requests under this name too"
    )
    parser.add_argument("--behind-proxy", action="store_true", help="a proxy in front ends TLS")
    parser.add_argument("--tls-cert", metavar="FILE")
    parser.add_argument("--tls-key", metavar="FILE")
    parser.add_argument("--store", metavar="URL", help="postgresql+psycopg://… instead of SQLite")
    parser.add_argument("--no-local", action="store_true", help="run no tasks on this machine")
    parser.add_argument("--blobs", metavar="DIR", help="what servers of one database share")


def main(args: argparse.Namespace, out: Out) -> None:
    """Start, wait until it is ready."""
    folder = local.data_folder()
    words: list[str] = []
    for name in ("host", "port", "tls_cert", "tls_key", "store", "blobs"):
        if (value := getattr(args, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for host in args.name or ():
        words += ["--name", host]
    for name in ("behind_proxy", "no_local"):
        if getattr(args, name):
            words.append(f"--{name.replace('_', '-')}")
    started: list[float] = []
    begin = time.monotonic()
    address = local.ensure_server(folder, arguments=words, on_start=lambda: started.append(begin))
    seconds = time.monotonic() - begin
    if not out.text:
        out.value({"url": address.url, "data": str(folder), "started": bool(started)})
        return
    if started:
        out.line(f"the server is ready at {address.url} ({units.format_duration(seconds)})")
    else:
        out.line(f"the server runs at {address.url}")
        if words:
            out.note(
                "  it was running already, so its settings stay; `tw down` first to change them"
            )
    out.note(f"  data: {folder}   next: tw run FILE, tw open, tw down")
