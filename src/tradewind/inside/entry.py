"""Load the entry point, call it with its inputs, keep its result, and tell how it ended."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import runpy
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict

from . import inputs, outputs, profiling, tracking

Exit = Dict[str, Any]
_LONGEST = 20_000


class Failure(Exception):
    """An end that is not the user's exception: which `reason` of an exit it is, and what to do."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.exit = {"reason": reason, "message": message, "hint": hint}


def carry_out(start: dict[str, Any]) -> int:
    """Run the entry to its end, report it, and return the exit status."""
    phases: dict[str, float] = {}
    stored: dict[str, Any] = {}
    try:
        _run(start, phases, stored)
        ended: Exit = {"reason": "ok"}
    except (Failure, outputs.Unstorable, inputs.Unreadable) as error:
        ended = error.exit
        print("tradewind: " + ended["message"], file=sys.stderr)
    except SystemExit as leaving:
        ended = _of_system_exit(leaving)
    except BaseException as error:
        ended = _of_exception(error, start)
    status = ended.get("status", 0 if ended["reason"] == "ok" else 1)
    _leave()
    _tell(ended, phases, stored)
    return int(status)


def _tell(ended: Exit, phases: dict[str, float], stored: dict[str, Any]) -> None:
    """One packet if it fits; otherwise each output travels in its own."""
    rounded = {name: round(seconds, 6) for name, seconds in phases.items()}
    last = {"kind": "end", "exit": ended, "phases": rounded, "outputs": stored}
    try:
        tracking.post(last)
    except ValueError:
        for slot, output in stored.items():
            tracking.post({"kind": "output", "slot": slot, "output": output})
        tracking.post({**last, "outputs": {}})


def _leave() -> None:
    """What the interpreter would do at its end, short of tearing itself down."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        # It may be closed, or replaced by something that cannot be flushed.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _run(start: dict[str, Any], phases: dict[str, float], stored: dict[str, Any]) -> None:
    kind = start["entry"]["kind"]
    if kind == "command":
        _execute(start["entry"]["args"])
    elif kind == "script":
        _script(start, phases)
    elif kind == "service":
        from . import serving  # on use: a server's modules would weigh in every interpreter

        serving.serve(load(start), start)
    else:
        _call(start, phases, stored)


def _execute(args: list[str]) -> None:
    try:
        os.execvp(args[0], args)
    except FileNotFoundError:
        raise Failure("error", f"there is no command {args[0]!r} on the path") from None
    except OSError as error:
        raise Failure("error", f"the command {args[0]!r} cannot start: {error}") from None


def _script(start: dict[str, Any], phases: dict[str, float]) -> None:
    target = start["entry"]["target"]
    path = os.path.join(start["bundle"], target)
    if not os.path.exists(path):
        raise Failure("error", f"the bundle has no file {target!r}")
    sys.argv = [target, *start["entry"]["args"]]
    sys.path.insert(0, os.path.dirname(path))
    began = time.perf_counter()
    try:
        with profiling.watching(start["bundle"], tracking.post):
            runpy.run_path(path, run_name="__main__")
    finally:
        phases["call"] = time.perf_counter() - began


def _call(start: dict[str, Any], phases: dict[str, float], stored: dict[str, Any]) -> None:
    began = time.perf_counter()
    function = load(start)
    loaded = time.perf_counter()
    phases["import"] = loaded - began
    if start["entry"].get("call"):
        from . import probing, styles  # on use: most are called once, with whole tables

        if "probe" in start["entry"]["call"]:
            stored.update(probing.carry_out(function, start, phases))
            return
        with profiling.watching(start.get("bundle", ""), tracking.post):
            stored.update(styles.carry_out(function, start, phases))
        return
    args, kwargs = inputs.bind(function, start)
    bound = time.perf_counter()
    phases["inputs"] = bound - loaded
    try:
        with profiling.watching(start.get("bundle", ""), tracking.post):
            result = function(*args, **kwargs)
    finally:
        called = time.perf_counter()
        phases["call"] = called - bound
    stored.update(outputs.keep(result, start))
    phases["outputs"] = time.perf_counter() - called


def load(start: dict[str, Any]) -> Callable[..., Any]:
    """The function that the entry names, without the decorator that a Tradewind wraps around it."""
    target = start["entry"]["target"]
    place, _colon, name = target.rpartition(":")
    if not place:
        raise Failure("error", f"the entry {target!r} should read FILE.py:NAME or MODULE:NAME")
    if start["entry"]["kind"] == "module":
        found: Any = importlib.import_module(place)
    else:
        found = _import_file(os.path.join(start["bundle"], place), place)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [key for key in vars(found) if callable(getattr(found, key)) and key[0] != "_"]
            hint = "it has: " + ", ".join(sorted(names)[:20]) if names else ""
            raise Failure("error", f"{place} has no function {name!r}", hint)
        found = getattr(found, part)
    found = inspect.unwrap(found)
    if not callable(found):
        raise Failure("error", f"{name} in {place} is not a function")
    function: Callable[..., Any] = found
    return function


def _import_file(path: str, place: str) -> Any:
    if not os.path.exists(path):
        raise Failure("error", f"the bundle has no file {place!r}")
    folder = os.path.dirname(path)
    stem, suffix = os.path.splitext(os.path.basename(path))
    if suffix == ".py" and os.path.exists(os.path.join(folder, "__init__.py")):
        return _import_member(folder, stem)
    sys.path.insert(0, folder)
    name = stem if stem.isidentifier() and stem not in sys.modules else "tradewind_user_" + stem
    # Said, since the loader is guessed by the suffix and the Python of a `.tw` file is as good.
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise Failure("error", f"{place!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_member(folder: str, stem: str) -> Any:
    """A file of a package is imported as a member of it, so that its relative imports work."""
    names = [] if stem == "__init__" else [stem]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        names.insert(0, package)
    sys.path.insert(0, folder)
    return importlib.import_module(".".join(names))


def _of_system_exit(leaving: SystemExit) -> Exit:
    if leaving.code is None or leaving.code == 0:
        return {"reason": "ok"}
    if isinstance(leaving.code, int):
        status = leaving.code & 0xFF  # as the kernel keeps it: 256 is 0
        if not status:
            return {"reason": "ok"}
        return {"reason": "error", "status": status, "message": f"exit status {status}"}
    print(leaving.code, file=sys.stderr)
    return {"reason": "error", "status": 1, "message": str(leaving.code)[:_LONGEST]}


def _of_exception(error: BaseException, start: dict[str, Any]) -> Exit:
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
    ended["message"] = _message(error)
    place = getattr(error, "tradewind_place", "")
    if place:  # `failing`: the row, batch or group that it was raised for
        ended["message"] = f"{ended['message']} (at {place})"
        ended["hint"] = getattr(error, "tradewind_hint", "")
    if ours:
        ended.update(_ours_said(error))
    elif isinstance(error, MemoryError):
        ended["reason"] = "memory"
        if not str(error):
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


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2000] or type(error).__qualname__
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
