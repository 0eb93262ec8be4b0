"""What a verb's file holds, and how it is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from tradewind.cli.table import VERBS

if TYPE_CHECKING:
    import argparse

    from tradewind.cli.show import Out


class Verb(Protocol):
    """What a verb's module holds."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what it takes."""

    def main(self, args: argparse.Namespace, out: Out) -> int | None:
        """Do it. None stands for 0; errors are raised."""


def load(verb: str) -> Verb:
    """The module of a verb."""
    return cast(Verb, import_module(f"tradewind.cli.verbs.{VERBS[verb][0]}"))
