"""What may stand next on a command line. Asks the server only if one runs, and never fails."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable

from tradewind.base.errors import TradewindError
from tradewind.cli.parsing import parser_of
from tradewind.cli.table import NOUNS, VERBS
from tradewind.cli.verb import load
from tradewind.sdk import local
from tradewind.sdk.client import Client

_OF_RUN = frozenset({"logs", "attach", "wait", "stop", "events", "describe", "delete", "plan"})
_OF_STORED = frozenset({"run", "quote", "plan", "render", "describe", "delete"})
_MOST = 40


def candidates(words: list[str]) -> list[str]:
    """The last word is the one being written; the first is the verb."""
    *before, last = words or [""]
    if not before:
        return _fitting((*VERBS, "--help", "--version"), last)
    verb = before[0]
    if verb not in VERBS:
        return []
    parser = parser_of(verb, load(verb))
    if last.startswith("-"):
        options = [name for action in parser._actions for name in action.option_strings]
        return _fitting(options, last)
    if choices := _choices(parser, before[-1]):
        return _fitting(choices, last)
    if before[-1].startswith("-") and before[-1] != "--data" and _takes_value(parser, before[-1]):
        return []
    if verb == "get":
        return _fitting(NOUNS, last)
    with contextlib.suppress(TradewindError, OSError), local.connect(start=False) as client:
        return _fitting(_names(client, verb, before[-1]), last)
    return []


def _choices(parser: argparse.ArgumentParser, option: str) -> list[str]:
    for action in parser._actions:
        if option in action.option_strings and action.choices:
            return [str(choice) for choice in action.choices if choice]
    return []


def _takes_value(parser: argparse.ArgumentParser, option: str) -> bool:
    return any(option in action.option_strings and action.nargs != 0 for action in parser._actions)


def _names(client: Client, verb: str, before: str) -> Iterable[str]:
    if before == "--data":
        yield from (str(each["name"]) for each in client.datasets.list())
        return
    if verb in _OF_RUN:
        yield from (str(each["id"]) for each in client.runs.list(limit=_MOST))
    if verb in _OF_STORED:
        yield from (f"{each['kind']}/{each['name']}" for each in client.specs.list())
    if verb == "describe":
        yield from (f"dataset/{each['name']}" for each in client.datasets.list())
        yield from (f"model/{each['name']}" for each in client.models.list())


def _fitting(words: Iterable[str], begin: str) -> list[str]:
    return [word for word in words if word.startswith(begin)]
