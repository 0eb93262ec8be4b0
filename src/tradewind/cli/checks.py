"""What `tw doctor` looks at."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

from tradewind import __version__
from tradewind.base import units
from tradewind.base.errors import TradewindError
from tradewind.sdk import local

LEAST_DISK = 2**30
ENOUGH_DISK = 10 * 2**30
CLOCK_SECONDS = 5.0
PORT = 7433

# Extra of the package → what it must be able to import.
EXTRAS = {
    "data": ("pyarrow", "duckdb", "deltalake"),
    "ml": ("lightgbm", "sklearn", "numpy", "pandas"),
    "pandas": ("pandas",),
    "polars": ("polars",),
    "ibis": ("ibis",),
    "plot": ("matplotlib",),
    "notebook": ("ipykernel", "jupyter_client"),
    "postgres": ("psycopg",),
}

Level = Literal["good", "note", "broken"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `note` is worth knowing and stops nothing."""

    name: str
    level: Level
    said: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `-o json`."""
        return asdict(self)


def all_checks() -> list[Check]:
    """Every check, in reading order."""
    folder = local.data_folder()
    found = [_python(), _system(), _folder(folder), _disk(folder), _token(folder), _uv()]
    found += [*_server(folder), *_extras()]
    return found


def _python() -> Check:
    said = f"{platform.python_version()} at {sys.executable}"
    return Check("python", "good", f"{said}; Tradewind {__version__}")


def _system() -> Check:
    said = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    if platform.system() != "Linux":
        return Check("system", "note", said, "only Linux is tested")
    return Check("system", "good", said)


def _folder(folder: Path) -> Check:
    there = folder
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            "data folder", "broken", f"{folder} cannot be written",
            "set TRADEWIND_HOME to a folder of your own",
        )  # fmt: skip
    return Check("data folder", "good", f"{folder}{'' if folder.exists() else ' (not made yet)'}")


def _disk(folder: Path) -> Check:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    said = f"{units.format_bytes(free)} free"
    if free < LEAST_DISK:
        return Check("disk", "broken", said, "`tw prune` frees what nothing needs")
    if free < ENOUGH_DISK:
        return Check("disk", "note", said, "environments and tables may need more")
    return Check("disk", "good", said)


def _token(folder: Path) -> Check:
    if not (folder / "token").exists():
        return Check("token", "good", "none yet; `tw up` makes one")
    try:
        local.read_token(folder)
    except TradewindError as error:
        return Check("token", "broken", error.message, error.hint)
    return Check("token", "good", "readable by you only")


def _uv() -> Check:
    beside = Path(sys.executable).with_name("uv")
    path = str(beside) if beside.exists() else shutil.which("uv")
    if path is None:
        return Check(
            "uv", "broken", "not found: dependencies of runs cannot be installed", "pip install uv"
        )
    return Check("uv", "good", path)


def _extras() -> Iterator[Check]:
    there: list[str] = []
    missing: list[str] = []
    for extra, modules in EXTRAS.items():
        whole = all(importlib.util.find_spec(module) is not None for module in modules)
        (there if whole else missing).append(extra)
    if there:
        yield Check("extras", "good", ", ".join(there))
    if missing:
        named = ",".join(missing)
        yield Check(
            "extras missing", "note", ", ".join(missing), f"pip install 'tradewind[{named}]'"
        )


def _server(folder: Path) -> Iterator[Check]:
    named = os.environ.get("TRADEWIND_URL")
    here = local.running(folder)
    if not named and here is None:
        yield _port()
        yield Check("server", "good", "none runs; the first verb that needs one starts it")
        return
    try:
        with local.connect(start=False) as client:
            status = client.server.status()
            date = client.http.date()
    except TradewindError as error:
        log = folder / "server.log"
        yield Check("server", "broken", error.message, error.hint or f"see {log}")
        return
    yield _version(str(status.get("version")), client.url)
    yield from _node(status.get("node") or {})
    yield _clock(date)


def _port() -> Check:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", PORT))
        except OSError:
            return Check("port", "note", f"{PORT} is taken", "the server will take a free one")
    return Check("port", "good", f"{PORT} is free")


def _version(version: str, url: str) -> Check:
    said = f"{version} at {url}"
    if version != __version__:
        hint = f"this is {__version__}: `tw down`, then `tw up` starts the new one"
        return Check("server", "note", said, hint)
    return Check("server", "good", said)


def _node(node: dict[str, Any]) -> Iterator[Check]:
    """What the node says of its limits: what holds, and how."""
    limits = node.get("limits")
    if isinstance(limits, dict):
        said = "\n".join(
            f"{name}: {how if isinstance(how, str) else json.dumps(how)}"
            for name, how in limits.items()
        )
        yield Check("limits", "good", said)
    elif limits:
        yield Check("limits", "good", str(limits))


def _clock(date: str) -> Check:
    try:
        apart = abs(parsedate_to_datetime(date).timestamp() - time.time())
    except (TypeError, ValueError):
        return Check("clock", "note", "the server says no time")
    if apart > CLOCK_SECONDS:
        said = f"{units.format_duration(apart)} apart from the server's"
        return Check("clock", "note", said, "times shown here are wrong by that much")
    return Check("clock", "good", "agrees with the server's")
