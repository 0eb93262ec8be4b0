"""What the campaign's pipelines run. Every call leaves a line in a ledger outside of Tradewind."""

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def note(event: str, **more: object) -> None:
    """One line, written by one call: it is there whole or not at all."""
    line = {
        "at": time.time(),
        "event": event,
        "run": os.environ["TRADEWIND_RUN"],
        "placement": os.environ["TRADEWIND_PLACEMENT"],
        "index": int(os.environ["TRADEWIND_INDEX"]),
        "attempt": int(os.environ["TRADEWIND_ATTEMPT"]),
        "pid": os.getpid(),
        "keeper": os.getppid(),
        **more,
    }
    fd = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, json.dumps(line).encode() + b"\n")
    os.close(fd)


def work(seconds: float) -> None:
    """Take a while, and be seen to."""
    note("start")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)


def done(value: object) -> dict[str, object]:
    """The result, with who made it."""
    note("end")
    return {"value": value, "by": os.environ["TRADEWIND_PLACEMENT"]}


def make(seed: int, rows: int) -> Any:
    import pyarrow

    work(0.2)
    table = pyarrow.table({"seed": [seed] * rows, "value": [seed * 1000 + i for i in range(rows)]})
    note("end")
    return table


def double(numbers: "pyarrow.Table") -> Any:
    import pyarrow

    work(0.2)
    values = [2 * value for value in numbers["value"].to_pylist()]
    note("end")
    return pyarrow.table({"seed": numbers["seed"], "value": values})


def part(seed: int, number: int) -> dict[str, object]:
    """Leaves a program behind that nobody asked for."""
    if number == 0:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    work(0.1 + 0.1 * number)
    return done(seed * 10 + number)


def flaky(seed: int) -> dict[str, object]:
    """Fails at the first try of its run."""
    run = os.environ["TRADEWIND_RUN"]
    work(0.1)
    with open(os.environ["CHAOS_LEDGER"], encoding="utf-8") as file:
        tries = sum(1 for line in file if f'"start", "run": "{run}"' in line)
    if tries < 2:
        raise RuntimeError("not yet")
    return done(seed + 7)


def square(number: int, seed: int) -> dict[str, object]:
    work(0.3)
    return done(seed * number * number)


def constant() -> dict[str, object]:
    work(0.1)
    return done(42)


def first(seed: int) -> dict[str, object]:
    work(0.3)
    return done(seed + 1)


def second(before: dict[str, object]) -> dict[str, object]:
    work(0.2)
    return done(int(str(before["value"])) * 2)


def total(parts: list[dict[str, int]], squares: list[dict[str, int]]) -> dict[str, object]:
    work(0.1)
    return done(sum(one["value"] for one in parts) + sum(one["value"] for one in squares))
