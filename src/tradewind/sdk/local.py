"""Finding a server, and starting the local one when none runs.

`TRADEWIND_URL` and `TRADEWIND_TOKEN` name a server. Otherwise it is the one of the data folder
(`TRADEWIND_HOME`, by default `~/.tradewind`), which keeps there:

- `server.json`: `url`, `pid`, `started`, `boot` of the server that runs, or ran last;
- `token`: readable by its owner only;
- `server.log`: what the server process said.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import Broken, NotAllowed, Unauthenticated, Unreachable

if TYPE_CHECKING:
    from tradewind.sdk.client import Client

START_SECONDS = 30.0
STOP_SECONDS = 20.0
LOG_LINES = 15
_POLL_SECONDS = 0.02


def data_folder() -> Path:
    """Where the local server keeps everything."""
    named = os.environ.get("TRADEWIND_HOME")
    return Path(named).expanduser().absolute() if named else Path.home() / ".tradewind"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and what opens it. `local` when it belongs to this data folder."""

    url: str
    token: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """What `server.json` says of a server whose process is alive."""

    url: str
    pid: int


def read_token(folder: Path) -> str:
    """The token of this data folder. One that others can read is refused: it may be known."""
    path = folder / "token"
    try:
        with open(path, encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().strip()
    except FileNotFoundError:
        raise Unauthenticated(
            f"there is no token in {folder}", hint="`tw up` starts a server, which writes one"
        ) from None
    except PermissionError:
        raise NotAllowed(
            f"{path} belongs to another user", hint="set TRADEWIND_HOME to a folder of your own"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise NotAllowed(
            f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}), so it is refused",
            hint=f"`tw down`, delete it, `tw up`: a new one is made; or, if nobody has read it: "
            f"chmod 600 {path}",
        )
    return text


def running(folder: Path) -> Running | None:
    """The server of this data folder, if its process is alive."""
    try:
        body = json.loads((folder / "server.json").read_text(encoding="utf-8"))
        found = Running(str(body["url"]), int(body["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _same_process(found.pid, body) else None


def _same_process(pid: int, body: dict[str, Any]) -> bool:
    """Whether the process that wrote the file is alive: this boot, this pid, started then."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    if boot and body.get("boot") and str(body["boot"]) != boot:
        return False
    if not _alive(pid):
        return False
    ticks = _start_ticks(pid)
    started = body.get("started")
    # Only a start time in the kernel's own form can be compared exactly.
    return not (ticks and isinstance(started, int) and started != ticks)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return not fields or fields[0] != "Z"


def _start_ticks(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def find() -> Address | None:
    """The server that is meant, if one is named or runs. Starts nothing."""
    folder = data_folder()
    url = os.environ.get("TRADEWIND_URL", "").rstrip("/")
    if url:
        token = os.environ.get("TRADEWIND_TOKEN", "")
        here = running(folder)
        if not token and here is not None and here.url.rstrip("/") == url:
            token = read_token(folder)
        return Address(url, token)
    here = running(folder)
    return Address(here.url, read_token(folder), local=True) if here else None


def connect(*, start: bool = True) -> Client:
    """A client of the server that is meant. The local one is started when none runs."""
    from tradewind.sdk.client import Client

    address = find()
    if address is None or (address.local and not _answers(address.url)):
        if not start:
            raise Unreachable("no server runs", hint="start one with `tw up`")
        address = ensure_server()
    return Client(address.url, address.token)


def ensure_server(
    folder: Path | None = None,
    *,
    arguments: Sequence[str] = (),
    timeout: float = START_SECONDS,
    on_start: Callable[[], None] | None = None,
) -> Address:
    """The server of this data folder, started if none runs. However many call this at once, one
    server starts. `arguments` are for the server process; `on_start` is called before a start."""
    folder = folder or data_folder()
    here = running(folder)
    if here is not None and _answers(here.url):
        return Address(here.url, read_token(folder), local=True)
    _make_folder(folder)
    with _lock(folder / "start.lock", timeout):
        here = _wait_ready(folder, None, timeout)
        if here is None:
            if on_start:
                on_start()
            here = _start(folder, arguments, timeout)
    return Address(here.url, read_token(folder), local=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Broken(
            f"the data folder {folder} cannot be made: {error.strerror}",
            hint="set TRADEWIND_HOME to a folder that you may write",
        ) from error


@contextmanager
def _lock(path: Path, timeout: float) -> Iterator[None]:
    """One holder among all processes; the kernel frees it when the holder dies."""
    until = time.monotonic() + timeout
    with open(path, "a", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Unreachable(
                        "another process has been starting the server for too long",
                        hint=f"it holds {path}; see {path.parent / 'server.log'}",
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield


def server_command(folder: Path, arguments: Sequence[str] = ()) -> list[str]:
    """How the server process is started."""
    return [sys.executable, "-m", "tradewind.cli.serve", "--data", str(folder), *arguments]


def _start(folder: Path, arguments: Sequence[str], timeout: float) -> Running:
    log = folder / "server.log"
    command = server_command(folder, arguments)
    with open(log, "ab") as out:
        begin = out.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            start_new_session=True,
        )
    ready = _wait_ready(folder, process, timeout, log, begin)
    assert ready is not None
    return ready


def _wait_ready(
    folder: Path,
    process: subprocess.Popen[bytes] | None,
    timeout: float,
    log: Path | None = None,
    begin: int = 0,
) -> Running | None:
    """The server once it answers. None: there is none, or it died before it was ready."""
    until = time.monotonic() + timeout
    while True:
        here = running(folder)
        if here is None and process is None:
            return None
        if here is not None and _answers(here.url):
            if process is not None:
                process.returncode = 0  # it stays; nobody waits for it
            return here
        status = process.poll() if process else None
        said = _tail(log, begin) if log else ""
        if status is not None:
            raise Broken(
                f"the server ended while it started (exit status {status})",
                hint=f"it said:\n{said}" if said else f"it said nothing; see {log}",
            )
        if time.monotonic() > until:
            raise Unreachable(
                f"the server is not ready after {timeout:.0f} s",
                hint=f"it said:\n{said}" if said else f"see {folder / 'server.log'}",
            )
        time.sleep(_POLL_SECONDS)


def _tail(log: Path, begin: int) -> str:
    """The last lines that the server wrote since its start."""
    with open(log, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(begin, end - 8192))
        text = file.read().decode(errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-LOG_LINES:])


def _answers(url: str) -> bool:
    """Whether a ready server is there. Asked before every verb, so the standard library does."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "https":
        import ssl

        # It is our own process on this machine; its certificate names another host.
        trust = ssl._create_unverified_context()
        connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=5, context=trust)
    else:
        connection = HTTPConnection(host, parts.port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def stop_server(
    folder: Path | None = None, *, stop_runs: bool = False, timeout: float = STOP_SECONDS
) -> dict[str, Any] | None:
    """Ask the local server to end and wait until it has. None if none ran; else what goes on."""
    folder = folder or data_folder()
    here = running(folder)
    if here is None:
        return None
    answer: dict[str, Any] = {"going_on": []}
    try:
        from tradewind.sdk.client import Client

        with Client(here.url, read_token(folder)) as client:
            answer = client.server.shutdown(stop_runs=stop_runs) or answer
    except Unreachable:
        _signal(here.pid)
    until = time.monotonic() + timeout
    while running(folder) == here:
        if time.monotonic() > until:
            raise Broken(
                f"the server (process {here.pid}) did not end within {timeout:.0f} s",
                hint=f"see {folder / 'server.log'}; `kill -9 {here.pid}` ends it: nothing is lost",
            )
        time.sleep(_POLL_SECONDS)
    return answer


def _signal(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
