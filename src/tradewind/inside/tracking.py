"""What user code may say and ask while it runs: metrics, parameters, artifacts, progress.

Offered to users as `tradewind.log_metric(…)` and so on, in an environment with Tradewind and in one
without. It holds no state: the way to the supervisor stands in the process's environment, so it is
found from any copy of this module and from programs that a `command` starts. Outside a run every
function does nothing, and says so once.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import stat
import sys
import threading
import time
from typing import Any

from . import wire

_CHANNEL = "TRADEWIND_CHANNEL"
_PROGRESS_EVERY = 0.1
# Set in a process that saves its work, or looks whether it is to stop.
_SAVES = "TRADEWIND_SAVES"
# Seconds in which one that has just begun may look for the first time.
_LOOKS = 1.0
_noted = False
_stopping = False
_last_progress = 0.0


def announce(channel: int) -> None:
    """Let this process, and what it executes, find the channel."""
    os.set_inheritable(channel, True)
    os.environ[_CHANNEL] = f"{channel}:{os.fstat(channel).st_ino}"


def post(message: dict[str, Any]) -> bool:
    """Tell the supervisor one fact; False when there is none, or it is gone."""
    fd = _channel()
    if fd < 0:
        return False
    data = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(data) > wire.PACKET:
        raise ValueError(f"too long to report: {len(data)} bytes, at most {wire.PACKET}")
    try:
        os.write(fd, data)
    except OSError:
        return False
    return True


def _channel() -> int:
    """The descriptor, if it still is the socket it was: user code may have closed everything."""
    number, _colon, inode = os.environ.get(_CHANNEL, "").partition(":")
    try:
        state = os.fstat(int(number))
    except (ValueError, OSError):
        return -1
    return int(number) if stat.S_ISSOCK(state.st_mode) and str(state.st_ino) == inode else -1


def _note_absence() -> None:
    global _noted
    if not _noted and not in_run():
        _noted = True
        print("tradewind: not inside a run, so nothing is recorded", file=sys.stderr)


def in_run() -> bool:
    """Whether this process belongs to a run."""
    return bool(os.environ.get("TRADEWIND_RUN"))


def run_info() -> dict[str, Any]:
    """Ids and place of this process: run, task, role, index, attempt, epoch. Empty outside one."""
    if not in_run():
        return {}
    names = ("run", "task", "role", "index", "attempt", "epoch", "placement")
    found = {name: os.environ.get("TRADEWIND_" + name.upper(), "") for name in names}
    whole = ("index", "attempt", "epoch")
    return {name: int(text or 0) if name in whole else text for name, text in found.items()}


def log_metric(name: str, value: Any, step: int | None = None) -> None:
    """Record one number of this run. A value that is not finite is kept as text."""
    number = float(value)
    finite = number == number and abs(number) != float("inf")
    body = {"kind": "metric", "name": str(name), "value": number if finite else str(number)}
    if step is not None:
        body["step"] = int(step)
    if not post(body):
        _note_absence()


def log_metrics(values: dict[str, Any], step: int | None = None) -> None:
    """Record several numbers of one step."""
    for name, value in values.items():
        log_metric(name, value, step)


def log_param(name: str, value: Any) -> None:
    """Record one parameter of this run."""
    plain = value if isinstance(value, (str, int, bool, type(None))) else _text(value)
    if not post({"kind": "param", "name": str(name), "value": plain}):
        _note_absence()


def log_params(values: dict[str, Any]) -> None:
    """Record several parameters."""
    for name, value in values.items():
        log_param(name, value)


def _text(value: Any) -> Any:
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return str(value)


def log_artifact(path: str | os.PathLike[str], name: str = "") -> None:
    """Keep a file or folder of this run: it is copied now, stored when the run succeeds."""
    source = pathlib.Path(path)
    label = name or source.name
    if not in_run():
        _note_absence()
        return
    if not label or label.startswith("/") or ".." in pathlib.PurePosixPath(label).parts:
        raise ValueError(f"an artifact's name is a relative path without '..', not {label!r}")
    import shutil

    target = pathlib.Path(os.environ["TRADEWIND_OUT"], "artifacts", label)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        if target.exists():
            shutil.rmtree(str(target))
        shutil.copytree(str(source), str(target))
    else:
        shutil.copyfile(str(source), str(target))
    post({"kind": "artifact", "name": label})


def progress(done: float, total: float = 0.0) -> None:
    """Say how far this run is. Cheap: at most ten a second travel."""
    global _last_progress
    now = time.monotonic()
    if now - _last_progress < _PROGRESS_EVERY and not (total and done >= total):
        return
    _last_progress = now
    if not post({"kind": "progress", "done": float(done), "total": float(total)}):
        _note_absence()


def checkpoint_dir() -> pathlib.Path | None:
    """A folder that survives retries of this task, or None outside a run."""
    folder = os.environ.get("TRADEWIND_CHECKPOINTS", "")
    if not folder:
        _note_absence()
        return None
    os.environ[_SAVES] = "1"
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path


def output_dir(slot: str) -> pathlib.Path:
    """The folder whose content becomes the output `slot` (kinds `folder` and `model`)."""
    if not in_run():
        _note_absence()
        return pathlib.Path(slot)
    path = pathlib.Path(os.environ["TRADEWIND_OUT"], slot)
    path.mkdir(parents=True, exist_ok=True)
    return path


def params() -> dict[str, Any]:
    """The run's parameters, for scripts and commands (a function gets them as arguments)."""
    found: dict[str, Any] = json.loads(os.environ.get("TRADEWIND_PARAMS", "{}"))
    return found


def inputs() -> dict[str, Any]:
    """The run's inputs, for scripts and commands: name → value, path, or list of Parquet paths."""
    found: dict[str, Any] = json.loads(os.environ.get("TRADEWIND_INPUTS", "{}"))
    return found


def stop_requested() -> bool:
    """Whether this run was asked to write a checkpoint and end (way of stopping `checkpoint`)."""
    os.environ[_SAVES] = "1"
    return _stopping or os.environ.get("TRADEWIND_STOPPING") == "1"


def note_stop(_signal: int, _frame: Any) -> None:
    """The signal handler behind `stop_requested`. Whoever works alone and has never asked that, nor
    where checkpoints go, has nothing to save: to wait for it would hold others up in vain."""
    global _stopping
    _stopping = True
    os.environ["TRADEWIND_STOPPING"] = "1"
    leave = threading.Timer(_LOOKS, _leave)
    leave.daemon = True
    leave.start()


def _leave() -> None:
    if _SAVES not in os.environ and os.environ.get("WORLD_SIZE", "1") == "1" and _childless():
        os._exit(128 + signal.SIGTERM)


def _childless() -> bool:
    """Whether there is no process of this one's that may have something to save."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
