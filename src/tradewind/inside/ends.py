"""How the user's code ended, in words: the exit that a report carries."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
from typing import Any, Dict

Exit = Dict[str, Any]
_LONGEST = 20_000


def of_system_exit(leaving: SystemExit) -> Exit:
    """For `sys.exit`, with whatever it was given."""
    if leaving.code is None or leaving.code == 0:
        return {"reason": "ok"}
    if isinstance(leaving.code, int):
        status = leaving.code & 0xFF  # as the kernel keeps it: 256 is 0
        if not status:
            return {"reason": "ok"}
        return {"reason": "error", "status": status, "message": f"exit status {status}"}
    print(leaving.code, file=sys.stderr)
    return {"reason": "error", "status": 1, "message": str(leaving.code)[:_LONGEST]}


def of_function_that_left(leaving: SystemExit, start: dict[str, Any]) -> Exit:
    """For `sys.exit` in place of a result: where one is to be kept, there is none."""
    ended = of_system_exit(leaving)
    kept = any(output.get("named") for output in start.get("outputs", {}).values())
    if ended["reason"] == "ok" and (kept or start["entry"].get("call")):
        ended = {
            "reason": "error",
            "status": 1,
            "message": "sys.exit was called before the function returned what is to be kept",
            "hint": "return a result; raise an exception where there is none",
        }
    return ended


def of_exception(error: BaseException, start: dict[str, Any]) -> Exit:
    """For an exception that the user's code let go, which is printed as the user should see it."""
    kind = type(error)
    ours = any(base.__module__ == "tradewind.base.errors" for base in kind.__mro__)
    told = ours and str(start["entry"].get("target", "")).startswith("tradewind.kinds.")
    # Of work that is ours, what is wrong with the user's data is all that the user can use.
    text = f"{error}\n" if told and getattr(error, "code", "") != "bug" else _trimmed(error, start)
    with contextlib.suppress(OSError, ValueError):  # closed: the exit carries the text
        sys.stderr.write(text)
    known = kind.__module__ in ("builtins", "__main__")
    name = kind.__qualname__ if known else kind.__module__ + "." + kind.__qualname__
    ended = {"reason": "error", "status": 1, "type": name, "traceback": text[-_LONGEST:]}
    ended["message"] = text_of(error) or kind.__qualname__
    place = getattr(error, "tradewind_place", "")
    if place:  # `failing`: the row, batch or group that it was raised for
        ended["message"] = f"{ended['message']} (at {place})"
        ended["hint"] = getattr(error, "tradewind_hint", "")
    if ours:
        ended.update(_ours_said(error))
    elif isinstance(error, MemoryError):
        ended["reason"] = "memory"
        if not text_of(error):
            at = f" (at {place})" if place else ""
            ended["message"] = "there was no memory left for it" + at
        ended["hint"] = "raise resources.memory or read the data in parts"
    elif isinstance(error, ModuleNotFoundError) and error.name:
        ended["hint"] = "add {!r} to the dependencies".format(error.name.partition(".")[0])
    return ended


def _ours_said(error: Any) -> dict[str, Any]:
    """An error of our own tree says in its parts who must act, and what to do."""
    where = f"{error.where}: " if error.where else ""
    said = {"code": error.code, "message": (where + error.message)[:2000]}
    return {**said, "hint": error.hint, "type": type(error).__qualname__}


def text_of(error: BaseException) -> str:
    """What it says; the code that says it is the user's, too."""
    try:
        return str(error)[:2000]
    except Exception:
        return "(its message could not be printed)"


def _trimmed(error: BaseException, start: dict[str, Any]) -> str:
    """The traceback without our own frames, and with the bundle's files as the user knows them."""
    whole = traceback.TracebackException(type(error), error, error.__traceback__)
    seen: list[int] = []
    todo: list[traceback.TracebackException | None] = [whole]
    while todo:
        part = todo.pop()
        if part is None or id(part) in seen:
            continue
        seen.append(id(part))
        part.stack[:] = [frame for frame in part.stack if not _ours(frame.filename)]
        todo += [part.__cause__, part.__context__]
    text = "".join(whole.format())
    return text.replace(start["bundle"] + os.sep, "") if start.get("bundle") else text


def _ours(filename: str) -> bool:
    here, runners = os.path.dirname(__file__), ("<frozen runpy>", "<frozen importlib")
    return filename.startswith((here + os.sep, *runners)) or filename == runpy.__file__
