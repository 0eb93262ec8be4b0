"""The command `tw`: a table of verbs. A verb's file loads when it is called, and not before."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Carry out one command; the exit status."""
    from tradewind.cli.front import main as front

    return front(argv)
