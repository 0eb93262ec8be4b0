"""The parser of one verb, and what several verbs take."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from tradewind.base.errors import UserError
from tradewind.cli.table import VERBS

if TYPE_CHECKING:
    from tradewind.cli.verb import Verb

FORMATS = ("json", "yaml")
_BELOW = re.compile(r"-\$?\s*[\d.]")


class Parser(argparse.ArgumentParser):
    """Raises our error instead of leaving."""

    def error(self, message: str) -> NoReturn:
        """A command line that makes no sense is the user's to mend."""
        hint = f"`{self.prog} --help` says what it takes"
        word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
        if word != message and word.startswith("-"):
            known = [name for action in self._actions for name in action.option_strings]
            if near := get_close_matches(word, known, 1, 0.75):
                hint = f"did you mean {near[0]}?"
            elif any(action.dest == "args" for action in self._actions):
                hint = f"what is meant for the script stands behind --: -- {word} …"
        raise UserError(message, hint=hint)


def amounts(words: list[str]) -> list[str]:
    """An amount below nothing belongs to the option before it, whose reader refuses it; argparse
    would take it for an option of its own."""
    found: list[str] = []
    for word in words:
        option = found[-1] if found else ""
        if option.startswith("--") and "=" not in option and _BELOW.match(word):
            found[-1] = f"{option}={word}"
        else:
            found.append(word)
    return found


def parser_of(name: str, module: Verb) -> Parser:
    """The parser of one verb."""
    parser = Parser(
        prog=f"tw {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.arguments(parser)
    formats = ("json",) if VERBS[name][0] not in {"get", "describe"} else FORMATS
    parser.add_argument(
        "-o", "--format", choices=formats, default="", help="print this instead of text"
    )
    return parser


def pairs(given: list[str] | None, what: str, example: str) -> dict[str, str]:
    """`name=value` arguments as a mapping."""
    found: dict[str, str] = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UserError(f"{what} {text!r} has no name", hint=f"write it as in {example}")
        found[name] = value
    return found


def literal(text: str) -> Any:
    """A parameter's value: JSON where it is JSON, else the text."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def target_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """What `run`, `quote`, `plan` and `render` have in common: what, how well, from what."""
    parser.add_argument("target", metavar="FILE|KIND/NAME", help=what)
    parser.add_argument("args", nargs="*", metavar="ARG", help="a plain script's arguments")
    well = parser.add_argument_group("how well")
    well.add_argument("--performance", metavar="TIME", help="visible result within: 60s, 1h")
    well.add_argument("--budget", metavar="MONEY", help="the most it may cost: $2")
    well.add_argument("--availability", choices=("process", "node", "zone", "region"))
    well.add_argument("--consistency", choices=("strong", "soft"))
    given = parser.add_argument_group("from what")
    given.add_argument(
        "--data", action="append", metavar="[NAME=]DATASET_OR_PATH", help="an input (repeatable)"
    )
    given.add_argument(
        "--param", action="append", metavar="NAME=VALUE", help="a parameter; JSON (repeatable)"
    )
    given.add_argument("--output", metavar="DATASET", help="the dataset the result becomes")
    place = parser.add_argument_group("as what and where")
    place.add_argument("--name", help="another name for the run")
    place.add_argument("--pool", help="pin the place")
    place.add_argument("--queue", help="wait in this queue")
    place.add_argument("--priority", type=int, help="before the lower ones of its queue")
    place.add_argument("--root", metavar="DIR", help="the folder that travels; see tw bundle")
