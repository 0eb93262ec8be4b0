"""The server process: `python -m tradewind.cli.serve --data DIR`. Everything else starts it so.

One server per data folder (a lock on a file, freed by the kernel when the process dies). It writes
`server.json` when it can be reached and takes it away when it ends; runs go on without it.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import uvicorn

from tradewind import specs
from tradewind.api.app import create_app
from tradewind.api.guard import Keys
from tradewind.base.errors import Broken, Conflict, Refused, TradewindError
from tradewind.control.assemble import Settings, assemble

PORT = 7433
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

log = logging.getLogger("tradewind.server")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    data: Path
    host: str
    port: int | None
    store: str
    names: tuple[str, ...]
    behind_proxy: bool
    tls_cert: str
    tls_key: str
    local: bool = True
    pools: tuple[Path, ...] = ()
    blobs: Path | None = None

    def url(self, port: int) -> str:
        """Its own address, as seen from this machine."""
        host = self.host if self.host not in {"0.0.0.0", "::"} else "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls_cert else 'http'}://{shown}:{port}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until asked to stop; the exit status of the error tree."""
    options = _parse(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        _check_open(options)
        options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(options.data)
        try:
            asyncio.run(_serve(options, _token(options.data)))
        finally:
            lock.close()
    except TradewindError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tradewind.cli.serve")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help=f"default {PORT}, or a free one if it is taken")
    parser.add_argument("--store", default=os.environ.get("TRADEWIND_STORE", ""),
                        help="postgresql+psycopg://… instead of SQLite")  # fmt: skip
    parser.add_argument("--name", action="append", default=[],
                        help="another host name under which it may be addressed")  # fmt: skip
    parser.add_argument("--behind-proxy", action="store_true",
                        help="a proxy in front ends TLS; any address is allowed")  # fmt: skip
    parser.add_argument("--tls-cert", default="")
    parser.add_argument("--tls-key", default="")
    parser.add_argument("--no-local", action="store_true",
                        help="run no tasks on this machine")  # fmt: skip
    parser.add_argument("--pools", action="extend", nargs="+", type=Path, metavar="FILE",
                        default=_paths("TRADEWIND_POOLS"),
                        help="pool specs that are applied at the start (repeatable)")  # fmt: skip
    parser.add_argument("--blobs", type=Path, metavar="DIR", default=_path("TRADEWIND_BLOBS"),
                        help="a blob folder that servers of one database share")  # fmt: skip
    given = parser.parse_args(arguments)
    return Options(
        data=given.data.absolute(),
        host=given.host,
        port=given.port,
        store=given.store,
        names=tuple(given.name),
        behind_proxy=given.behind_proxy,
        tls_cert=given.tls_cert,
        tls_key=given.tls_key,
        local=not given.no_local,
        pools=tuple(given.pools),
        blobs=given.blobs.absolute() if given.blobs else None,
    )


def _paths(variable: str) -> list[Path]:
    return [Path(each) for each in os.environ.get(variable, "").split(os.pathsep) if each]


def _path(variable: str) -> Path | None:
    return next(iter(_paths(variable)), None)


def _pools(files: Sequence[Path]) -> Iterator[specs.PoolSpec]:
    """The pool specs of these files. Raises InvalidSpec, and Refused for any other kind."""
    for file in files:
        for spec in specs.read(file):
            if not isinstance(spec, specs.PoolSpec):
                raise Refused(f"{file}: {spec.kind}/{spec.name} is no pool")
            yield spec


def _check_open(options: Options) -> None:
    if options.host not in _LOOPBACK and not (options.behind_proxy or options.tls_cert):
        raise Refused(
            f"{options.host} can be reached by others, and the token would travel in the clear",
            hint="give --tls-cert and --tls-key, or --behind-proxy if a proxy in front ends TLS",
        )


def _lock(data: Path) -> TextIO:
    file = (data / "server.lock").open("a+", encoding="ascii")  # the lock lives as long as it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise Conflict(
            f"a server uses {data} already (process {holder})",
            hint="`tw status` shows it, `tw down` ends it; or name another folder "
            "with TRADEWIND_HOME",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _token(data: Path) -> str:
    """The token of this folder, made once, readable by its owner only."""
    path = data / "token"
    if not path.exists():
        fresh = path.with_suffix(".new")  # whole or not at all: this process may be killed here
        fresh.unlink(missing_ok=True)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
        fresh.replace(path)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    token = path.read_text("ascii").strip()
    if len(token) < 20:
        raise Broken(f"{path} holds no token", hint="delete the file; a new one is made")
    return token


def _bind(options: Options) -> socket.socket:
    """The listening socket. A port that was asked for is that port or an error."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    wanted = [options.port] if options.port is not None else [*_last_port(options.data), PORT, 0]
    for port in wanted:
        # With the protocol named, asyncio turns Nagle's algorithm off; without, each answer waits
        # 40 ms for the acknowledgement of its own headers.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((options.host, port))
            # Bound and not listening, it would not keep another server from the same port.
            sock.listen(2048)
        except OSError as error:
            sock.close()
            if port == wanted[-1]:
                raise Conflict(
                    f"cannot listen on {options.host}:{port}: {error.strerror}",
                    hint="name another with --port, or none: then a free one is taken",
                ) from error
            continue
        return sock
    raise AssertionError("unreachable")


def _last_port(data: Path) -> list[int]:
    """Where the folder's last server listened: tasks on other machines still ask there."""
    try:
        return [int((data / "port").read_text("ascii"))]
    except (OSError, ValueError):
        return []


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again when it has closed, which would end the
    process before the assembly is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(options: Options, token: str) -> None:
    sock = _bind(options)
    port = sock.getsockname()[1]
    # Where others reach it is for those to say who put it there.
    url = os.environ.get("TRADEWIND_URL", "").rstrip("/") or options.url(port)
    settings = Settings(
        data=options.data,
        store=options.store,
        pools=tuple(_pools(options.pools)),
        local=options.local,
        blobs=options.blobs,
        url=url,
    )
    assembly = assemble(settings)
    keys = Keys(token, time.time)
    names = {"127.0.0.1", "localhost", "::1", options.host, *options.names}
    names.add(urlsplit(url).hostname or options.host)

    def stop() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        create_app(assembly, keys, frozenset(names), stop),
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=3,
        proxy_headers=options.behind_proxy,
        ssl_certfile=options.tls_cert or None,
        ssl_keyfile=options.tls_key or None,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    assembly.start()
    # What was imported stays: the collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    told = _announce(options, port)
    log.info("serving %s", json.loads(told.read_text())["url"])
    try:
        await server.serve(sockets=[sock])
    finally:
        try:
            await assembly.close()
        finally:  # until then the next one could not have the folder
            told.unlink(missing_ok=True)


def _announce(options: Options, port: int) -> Path:
    """Write `server.json`, whole or not at all."""
    body = {
        "url": options.url(port),
        "pid": os.getpid(),
        "started": _start_ticks(),
        "boot": _boot(),
    }
    (options.data / "port").write_text(str(port), "ascii")
    path = options.data / "server.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(body), encoding="utf-8")
    fresh.replace(path)
    return path


def _start_ticks() -> int:
    try:
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
