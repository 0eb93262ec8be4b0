"""How a pod ends: the termination message, which is all that the engine reads, and the status."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import Any, NoReturn

Ending = dict[str, Any]
# By the status the pod's owner decides whether to try again: a loss does not count.
STATUS = {"succeeded": 0, "failed": 1, "stopped": 143, "lost": 75}
STOPS = (signal.SIGTERM, signal.SIGINT)
# The message is cut by whoever reads it, a little above this.
MOST = 3800


def made(state: str, reason: str, message: str, hint: str = "") -> Ending:
    """An end that the unit itself did not tell."""
    ended = {"reason": reason, "message": message}
    if hint:
        ended["hint"] = hint
    return {"state": state, "at": time.time(), "exit": ended}


def told(report: dict[str, Any]) -> Ending:
    """The end that stands in the journal: of the unit, or if it never began, of all."""
    body = dict(report["body"])
    if "exit" not in body:
        body["exit"] = body.pop("reason", {})
    return {"state": body.pop("state"), "at": report["at"], **body}


def encode(ending: Ending) -> bytes:
    """As it is written."""
    return json.dumps(ending, separators=(",", ":")).encode()


def fits(ending: Ending) -> bool:
    """Whether it can be the message as it is."""
    return len(encode(ending)) <= MOST


def short(ending: Ending, digest: str = "") -> Ending:
    """What is told of an end that is too long; the whole of it is the blob of this digest."""
    words = str(ending["exit"].get("message", ""))
    made = {"state": ending["state"], "at": ending["at"]}
    made["exit"] = {"reason": ending["exit"].get("reason", "error"), "message": words}
    if digest:
        made["body"] = digest
    while not fits(made):
        words = words[: len(words) // 2]
        made["exit"]["message"] = words + " …"
    return made


def stop_at_once(path: str) -> None:
    """Until a unit has begun, whoever asks for its end has it at once, and it says so here."""

    def leave(_signal: int, _frame: object) -> NoReturn:
        os._exit(write(path, made("stopped", "stopped", "stopped on request, before it began")))

    for number in STOPS:
        signal.signal(number, leave)


def write(path: str, ending: Ending) -> int:
    """Write the message, in one go; the process's status."""
    data = encode(ending if fits(ending) else short(ending))
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.write(fd, data)
        os.close(fd)
    return STATUS.get(ending["state"], STATUS["lost"])
