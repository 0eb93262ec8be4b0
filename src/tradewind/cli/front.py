"""From the command line to a verb and back to an exit status.

Nothing but the standard library is loaded here: `tw --help` is answered from the table alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from tradewind.cli.table import GROUPS, VERBS

if TYPE_CHECKING:
    from tradewind.cli.show import Out

EPILOG = """\
Every verb takes -o json; tw VERB --help says the rest.
Exit status: 0 done · 1 the run failed · 2 your input · 3 not allowed · 4 try again ·
5 broken, an operator must act · 70 our bug · 130 interrupted."""


def main(argv: list[str] | None = None) -> int:
    """Carry out one command; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in {"-h", "--help", "help"}:
        if len(words) > 1 and words[1] in VERBS:
            return main([words[1], "--help"])
        print(usage())
        return 0
    if words[0] in {"-V", "--version"}:
        from tradewind import __version__

        print(f"tradewind {__version__}")
        return 0
    return _guarded(words)


def usage() -> str:
    """The text of `tw --help`."""
    lines = ["Usage: tw VERB [arguments]", ""]
    for title, verbs in GROUPS.items():
        lines.append(f"{title}:")
        lines += [f"  {name:<12}{help_}" for name, (_, help_) in verbs.items()]
        lines.append("")
    return "\n".join([*lines, EPILOG])


def _guarded(words: list[str]) -> int:
    """Do it; every error becomes a message and a status here and nowhere else."""
    from tradewind.base.errors import Bug, TradewindError
    from tradewind.cli.show import Out

    out = Out(json=_wants_json(words))
    try:
        return _carry_out(words, out)
    except TradewindError as error:
        out.error(error)
        return error.exit_status
    except KeyboardInterrupt:
        out.note("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        import traceback

        text = f"{type(error).__name__}: {error}"
        hint = "please report it with the lines above and `tw doctor -o json`"
        if not out.json:
            traceback.print_exc()
        out.error(Bug(f"this is a bug of Tradewind: {text}", hint=hint))
        return Bug.exit_status


def _carry_out(words: list[str], out: Out) -> int:
    name, rest = words[0], words[1:]
    if name not in VERBS:
        _unknown(name)
    # httpx imports a command line of its own where it can, which takes longer than a verb.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from tradewind.cli.verb import load

    module = load(name)
    script: list[str] | None = None
    if "--" in rest:
        cut = rest.index("--")
        rest, script = rest[:cut], rest[cut + 1 :]
    from tradewind.cli.parsing import amounts, parser_of

    args = parser_of(name, module).parse_intermixed_args(amounts(rest))
    args.rest = script
    out.format(cast(Any, args).format)
    return module.main(args, out) or 0


def _unknown(name: str) -> None:
    from difflib import get_close_matches

    from tradewind.base.errors import UserError

    near = get_close_matches(name, VERBS, 2, 0.5)
    hint = "did you mean " + " or ".join(f"`tw {each}`" for each in near) + "?" if near else ""
    raise UserError(f"there is no verb {name!r}", hint=hint or "`tw --help` lists the verbs")


def _wants_json(words: list[str]) -> bool:
    """Whether an error is to be JSON, asked before the arguments are understood."""
    joined = " ".join(words)
    return any(
        f"{flag} json" in joined or f"{flag}json" in joined for flag in ("-o", "--format")
    ) or ("--format=json" in joined)
