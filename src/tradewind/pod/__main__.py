"""`python -m tradewind.pod stage|run`: the two containers of a pod, one after the other. `beside`
is what `tw exec` begins in the second one.

Standard output belongs to the user's process alone, and we write on neither stream: what happened
to us stands in the termination message.
"""

from __future__ import annotations

import os
import signal
import sys

from tradewind.pod import place


def main(argv: list[str]) -> None:
    """Does not return: the status says whether the unit is worth another try (`ending`)."""
    # The first process of a container does not hear what it has no handler for; until there is more
    # to be said (`ending`), whoever asks for the end has it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: os._exit(143))
    # httpx imports a command line of its own where it can, which takes as long as all the rest.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    here = place.find()
    if argv[1:] == ["stage"]:
        from tradewind.pod import stage

        os._exit(stage.main(here))
    if argv[1:] == ["run"]:
        from tradewind.pod import run

        os._exit(run.main(here))
    if argv[1:3] == ["beside", "--"]:
        from tradewind.pod import beside

        os._exit(beside.main(here, argv[3:]))
    sys.exit("usage: python -m tradewind.pod stage|run|beside -- COMMAND")


if __name__ == "__main__":
    main(sys.argv)
