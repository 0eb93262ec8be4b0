"""Load the entry point, call it with its inputs, keep its result, and tell how it ended."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import sys
import threading
import time
import traceback
from typing import Any

from . import inputs, outputs, profiling, tracking, wire
from .ends import Exit, of_exception, of_function_that_left
from .loading import Failure, load

# Of a text in a packet: what JSON puts before quotes may double it.
_PIECE = wire.PACKET // 3


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
        ended = of_function_that_left(leaving, start)
    except BaseException as error:
        ended = of_exception(error, start)
    status = ended.get("status", 0 if ended["reason"] == "ok" else 1)
    _leave()
    _tell(ended, phases, stored)
    return int(status)


def _tell(ended: Exit, phases: dict[str, float], stored: dict[str, Any]) -> None:
    """One packet if it fits; otherwise each output travels in its own, or in several: a table of
    thousands of columns has much to tell of them."""
    rounded = {name: round(seconds, 6) for name, seconds in phases.items()}
    last = {"kind": "end", "exit": ended, "phases": rounded, "outputs": stored}
    try:
        tracking.post(last)
    except ValueError:
        for slot, output in stored.items():
            text = json.dumps(output, separators=(",", ":"), allow_nan=False)
            for begin in range(0, len(text), _PIECE):
                part, whole = text[begin : begin + _PIECE], begin + _PIECE >= len(text)
                tracking.post({"kind": "output", "slot": slot, "text": part, "whole": whole})
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
    if start["entry"].get("call", {}).get("probe", {}).get("against"):
        from . import versions  # before anything is imported: each version does that by itself

        stored.update(versions.carry_out(start, phases))
        return
    began = time.perf_counter()
    function = load(start)
    loaded = time.perf_counter()
    phases["import"] = loaded - began
    if start["entry"].get("call"):
        from . import probing, spark, styles  # on use: most are called once, with whole tables

        if "probe" in start["entry"]["call"]:
            stored.update(probing.carry_out(function, start, phases))
            return
        on_spark = start["entry"]["call"].get("backend") == "spark"
        carry_out = spark.carry_out if on_spark else styles.carry_out
        with profiling.watching(start.get("bundle", ""), tracking.post):
            stored.update(carry_out(function, start, phases))
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
