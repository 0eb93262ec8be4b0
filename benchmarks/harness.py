"""What the benchmarks share: a platform of their own, its processes, medians, tables, results.

A figure is a median over repeats. Beside it stands its repeat error: half the distance between the
quartiles, in percent of the median. The machine has one too: a fixed loop and the start of a bare
interpreter, timed before and after, say how far two equal measurements differ here and now.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tradewind.sdk import bundle, local

RESULTS = Path(__file__).parent / "results"
LIVE = "accepted,pinned,planned,probing,queued,placed,running,stopping"
TICK = os.sysconf("SC_CLK_TCK")
Json = dict[str, Any]


# --- figures -------------------------------------------------------------------------------------


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which this part of the values lies (0.95: the 95th percentile)."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * part
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(values: Sequence[float]) -> float:
    """The repeat error: half the distance between the quartiles, in percent of the median."""
    middle = statistics.median(values)
    if len(values) < 2 or not middle:
        return 0.0
    return 50.0 * (percentile(values, 0.75) - percentile(values, 0.25)) / abs(middle)


@dataclass
class Figure:
    """One line of a table. `target` is an upper bound in the same unit; 0: none was set."""

    name: str
    value: float
    unit: str
    target: float = 0.0
    error: float = 0.0
    """The repeat error in percent."""
    repeats: int = 1
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if not self.target:
            return ""
        return "ok" if self.value <= self.target else "MISSED"


def median(
    name: str, values: Sequence[float], unit: str, target: float = 0.0, note: str = ""
) -> Figure:
    """The median of these values as a figure."""
    middle = statistics.median(values)
    return Figure(name, middle, unit, target, spread(values), len(values), note)


def repeat(call: Callable[[], float], count: int, warm_up: int = 1) -> list[float]:
    """What `call` gives, `count` times, after some that do not count."""
    for _ in range(warm_up):
        call()
    return [call() for _ in range(count)]


def timed(call: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


# --- the machine ---------------------------------------------------------------------------------


def _loop() -> None:
    total = 0
    for i in range(1_000_000):
        total += i & 7


def _spawn() -> None:
    subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)


class Machine:
    """The machine's own repeat error: the same two things, timed before and after."""

    def __init__(self) -> None:
        self.loop = repeat(lambda: timed(_loop), 9)
        self.spawn = repeat(lambda: timed(_spawn), 9)
        self._steal = _steal()

    def finish(self) -> Json:
        """Measure again; everything that says how quiet it was."""
        self.loop += repeat(lambda: timed(_loop), 9)
        self.spawn += repeat(lambda: timed(_spawn), 9)
        return {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "loop_ms": round(statistics.median(self.loop) * 1e3, 2),
            "loop_error": round(spread(self.loop), 1),
            "loop_best_ms": round(min(self.loop) * 1e3, 2),
            "spawn_ms": round(statistics.median(self.spawn) * 1e3, 2),
            "spawn_error": round(spread(self.spawn), 1),
            "load": round(os.getloadavg()[0], 1),
            "stolen_seconds": round(_steal() - self._steal, 1),
        }


def _steal() -> float:
    """Core-seconds that the host gave to others."""
    with contextlib.suppress(OSError, IndexError), open("/proc/stat") as file:
        return int(file.readline().split()[8]) / TICK
    return 0.0


# --- processes -----------------------------------------------------------------------------------


def _stats() -> dict[int, list[bytes]]:
    """Pid → the fields of /proc/PID/stat behind the name; index 0 is the state."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                found[int(name)] = file.read().rpartition(b")")[2].split()
    return found


def tree(*roots: int) -> list[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    stats = _stats()
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    line = [pid for pid in roots if pid in stats]
    for pid in line:
        line += [child for child in children.get(pid, ()) if child not in line]
    return line


def core_seconds(pids: Sequence[int], *, waited: bool = True) -> float:
    """User and system time of these processes and, if `waited`, of the children they reaped."""
    stats = _stats()
    last = 15 if waited else 13
    return sum(
        sum(int(each) for each in stats[pid][11:last]) for pid in pids if pid in stats
    ) / TICK  # fmt: skip


def memory(pids: Sequence[int]) -> float:
    """Proportional memory (PSS) in MB: shared pages count once over all who share them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total * 1024 / 1e6


def mentioning(text: str) -> list[int]:
    """Live processes, except this one, whose command line or working folder holds `text`."""
    found = []
    for pid, fields in _stats().items():
        if pid == os.getpid() or fields[0] == b"Z":
            continue
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if text in line or text in os.readlink(f"/proc/{pid}/cwd"):
                found.append(pid)
    return found


# --- a platform of our own -----------------------------------------------------------------------


class Api:
    """One kept connection to a server: JSON in, JSON out, nothing in between."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._used = 0.0

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, or RuntimeError with what the server said."""
        if time.monotonic() - self._used > 3.0:  # the server closes what is silent for 5 s
            self._connection.close()
        text = None if body is None else json.dumps(body)
        self._connection.request(method, "/api/v1" + path, text, self._headers)
        response = self._connection.getresponse()
        data = response.read()
        self._used = time.monotonic()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {data.decode()[:500]}")
        return json.loads(data) if data else None

    def stream(self, path: str) -> http.client.HTTPResponse:
        """The open answer of a GET."""
        self._connection.request("GET", "/api/v1" + path, headers=self._headers)
        return self._connection.getresponse()

    def create(self, specs: Sequence[Json]) -> list[Json]:
        """Accept these runs in one request."""
        runs: list[Json] = self.call("POST", "/runs", {"runs": [{"spec": s} for s in specs]})[
            "runs"
        ]
        return runs

    def wait(self, run: str) -> Json:
        """The run as it ended; RuntimeError if it failed."""
        while True:
            found: Json = self.call("GET", f"/runs/{run}/wait?timeout=30")
            if found["state"] == "succeeded":
                return found
            if found["state"] in ("failed", "stopped"):
                raise RuntimeError(f"run {run} {found['state']}: {found['error']}")

    def run(self, spec: Json) -> Json:
        """Accept one and wait for its end."""
        return self.wait(self.create([spec])[0]["id"])

    def close(self) -> None:
        self._connection.close()


class Platform:
    """A server with a data folder of its own, and everything that it starts. Leaves nothing."""

    def __init__(self, before: Callable[[Path], None] | None = None) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
        self.folder = self.top / "data"
        self._before = before

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(mode=0o700)
            if self._before is not None:
                self._before(self.folder)
            address = local.ensure_server(self.folder)
        except BaseException:
            shutil.rmtree(self.top, ignore_errors=True)
            raise
        self.url, self.token = address.url, address.token
        self.api = self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.api.close()
        if error is not None:
            with contextlib.suppress(OSError):
                print((self.folder / "server.log").read_text()[-3000:], file=sys.stderr)
        end(self.folder)
        left = gone(str(self.folder))
        shutil.rmtree(self.top, ignore_errors=True)
        if left and error is None:
            raise RuntimeError(f"processes were left behind: {left}")

    def connect(self) -> Api:
        """Another connection, for another thread."""
        return Api(self.url, self.token)

    def code(self, **files: str) -> str:
        """The digest of these modules (name → text), sent to the server."""
        packed = bundle.pack_files({f"{k}.py": v.encode() for k, v in files.items()})
        from tradewind.sdk.client import Client

        with Client(self.url, self.token) as client:
            return str(client.blobs.put(packed.data))

    def command(self) -> tuple[list[str], dict[str, str]]:
        """The console script, and the environment in which it means this platform."""
        return [str(Path(sys.executable).parent / "tw")], self.environment(self.folder)

    @staticmethod
    def environment(folder: Path) -> dict[str, str]:
        """Ours, less what would point at another server."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")}
        return {**kept, "TRADEWIND_HOME": str(folder)}

    @property
    def server(self) -> int:
        """The pid of the server."""
        return int(json.loads((self.folder / "server.json").read_text())["pid"])

    @property
    def node(self) -> int:
        """The pid of the node; 0 before there is one."""
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads((self.folder / "node" / "node.json").read_text())["pid"])
        return int(self.api.call("GET", "/status")["node"]["pid"])

    def processes(self) -> list[int]:
        """Every process of this platform."""
        return tree(self.server, self.node)

    def used(self) -> dict[str, float]:
        """Core-seconds so far, by part. What a process used is its parent's once it is reaped, so
        call it when nothing runs."""
        server, node = self.server, self.node
        below = tree(node)[1:]
        warm = [pid for pid in below if _is_warm(pid, node)]
        inside = [pid for pid in tree(*warm) if pid not in warm]
        rest = [pid for pid in below if pid not in warm and pid not in inside]
        return {
            "server": core_seconds([server]),
            "node": core_seconds([node], waited=False),
            "supervisors": core_seconds([node]) - core_seconds([node], waited=False)
            + core_seconds(rest),
            "warm interpreter": core_seconds(warm, waited=False),
            "keepers and tasks": core_seconds(warm) - core_seconds(warm, waited=False)
            + core_seconds(inside),
        }  # fmt: skip

    def busy(self) -> bool:
        """Whether a run has not ended yet."""
        return bool(self.api.call("GET", f"/runs?state={LIVE}&limit=1")["items"])


def _is_warm(pid: int, node: int) -> bool:
    """A warm interpreter; what it forks has its command line too, but another parent."""
    with contextlib.suppress(OSError, KeyError):
        parent = _stats()[pid][1]
        return int(parent) == node and b"\0zygote\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def end(folder: Path) -> None:
    """End the server of a data folder, what it runs, and its node."""
    from tradewind.engines.local import LocalEngine

    with contextlib.suppress(Exception):
        local.stop_server(folder, stop_runs=True)
    with contextlib.suppress(Exception):
        asyncio.run(LocalEngine(folder).shutdown(stop=True))


def gone(text: str, patience: float = 10.0) -> list[str]:
    """What still mentions `text` after a while; it is killed then."""
    until = time.monotonic() + patience
    while (left := mentioning(text)) and time.monotonic() < until:
        time.sleep(0.05)
    names = [f"{pid} {_name(pid)}" for pid in left]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return names


# --- tables and results --------------------------------------------------------------------------


@dataclass
class Result:
    """What one benchmark found."""

    name: str
    quick: bool
    rows: int = 0
    """Of the tables, where a benchmark makes its own."""
    figures: list[Figure] = field(default_factory=list)
    peers: list[Figure] = field(default_factory=list)
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    """Where something goes: title → part → amount."""
    notes: list[str] = field(default_factory=list)

    def add(self, *figures: Figure) -> None:
        """Ours."""
        self.figures += figures

    def peer(self, *figures: Figure) -> None:
        """Theirs, from the same run."""
        self.peers += figures

    def note(self, text: str) -> None:
        """Something to know; printed at once."""
        self.notes.append(text)
        print(f"  note: {text}", file=sys.stderr)


def show(value: float) -> str:
    """Three digits, no more than anybody reads."""
    if value and abs(value) < 0.1:
        return f"{value:.3g}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def _rows(figures: Sequence[Figure]) -> Iterator[tuple[str, ...]]:
    for each in figures:
        yield (
            each.name,
            f"{show(each.value)} {each.unit}",
            f"±{each.error:.0f} %" if each.repeats > 1 else "",
            f"≤ {show(each.target)}" if each.target else "",
            each.verdict,
            each.note,
        )


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _print(result: Result, machine: Json) -> None:
    print(f"\n{result.name}{' (quick)' if result.quick else ''}")
    _table([("figure", "value", "error", "target", "", ""), *_rows(result.figures)])
    if result.peers:
        _table([("peer", "value", "error", "", "", ""), *_rows(result.peers)])
    for title, parts in result.parts.items():
        print(f"  {title}: " + " · ".join(f"{name} {show(v)}" for name, v in parts.items()))
    print(
        f"  machine: {machine['cores']} cores, load {machine['load']}; the same loop "
        f"{machine['loop_ms']} ms ±{machine['loop_error']} %, a bare interpreter "
        f"{machine['spawn_ms']} ms ±{machine['spawn_error']} %"
    )


def bench(
    name: str, about: str | None, body: Callable[[Result], None], *, cluster: bool = False,
    rows: int = 0,
) -> None:  # fmt: skip
    """The `main` of a benchmark: `--quick`, `--no-peers`, the table, `results/NAME.json`; with
    `rows`, which is how many there are, `--rows`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller amounts")
    parser.add_argument("--no-peers", action="store_true", help="leave Ray and Prefect out")
    if cluster:
        parser.add_argument("--kubeconfig", default="", help="a real cluster without nodes")
    if rows:
        parser.add_argument("--rows", type=int, help="of the largest table")
    given = parser.parse_args()
    if cluster and given.kubeconfig:
        name = f"{name}-real"
        os.environ["TRADEWIND_BENCH_KUBECONFIG"] = given.kubeconfig
    os.environ["TRADEWIND_BENCH_PEERS"] = "" if given.no_peers else "1"
    machine, result, begin = Machine(), Result(name, given.quick), time.time()
    if rows:
        result.rows = given.rows or (rows // 8 if given.quick else rows)
    body(result)
    facts = machine.finish()
    _print(result, facts)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}{'-quick' if given.quick else ''}.json"
    path.write_text(
        json.dumps(
            {"at": begin, "seconds": round(time.time() - begin, 1), "machine": facts}
            | asdict(result),
            indent=1,
        )
        + "\n"
    )
