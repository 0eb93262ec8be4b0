"""The native requests that a run would send to its engine. Nothing is sent.

tw render train.yaml
tw render flow.yaml --pool NAME        objects as YAML, one document each
"""

from __future__ import annotations

import argparse

from tradewind.cli import target
from tradewind.cli.parsing import target_arguments
from tradewind.cli.show import Out
from tradewind.sdk import local


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    target_arguments(parser, "a spec, FILE:NAME, a Python file, or a stored spec")


def main(args: argparse.Namespace, out: Out) -> None:
    """Ask, print: objects as their own tools read them, any other request as JSON."""
    with local.connect() as client:
        work = target.work_of(args, client)
        document = target.document(args, client, work)
        found = client.quotes.rendering(document, args.pool or "")
    requests = list(found["requests"])
    if not out.text:
        out.value(requests)
        return
    objects = [each for request in requests for each in request.get("objects") or ()]
    if objects:
        import yaml

        out.line(yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True).rstrip())
    others = [request for request in requests if not request.get("objects")]
    if others:
        out.value(others if len(others) > 1 else others[0])
    for step, why in (found.get("later") or {}).items():
        out.note(f"  not shown: {step}: {why}")
