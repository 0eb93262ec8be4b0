"""What the campaign's pods run. Every call tells a ledger outside of Tradewind and of the cluster,
and goes on once that has it."""

import json
import os
import socket
import time

ME = os.urandom(6).hex()


def tell(event: str) -> int:
    """How often the ledger has heard this of this unit by now."""
    line = {
        "event": event,
        "execution": ME,
        "placement": os.environ["TRADEWIND_PLACEMENT"],
        "run": os.environ["TRADEWIND_RUN"],
        "unit": int(os.environ["TRADEWIND_INDEX"]) + int(os.environ.get("RANK", "0")),
    }
    host, _, port = os.environ["CHAOS_LEDGER"].partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(json.dumps(line).encode() + b"\n")
        return int(connection.makefile().readline())


def work(seconds: float) -> int:
    starts = tell("start")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
    return starts


def done(value: int) -> dict[str, object]:
    tell("end")
    return {"value": value, "by": os.environ["TRADEWIND_PLACEMENT"]}


def single(seed: int, points: int) -> dict[str, object]:
    import tradewind

    for step in range(points):
        tradewind.log_metric("loss", seed + step, step=step)
        print(f"line {step}", flush=True)
    work(0.3)
    return done(seed + 7)


def flaky(seed: int) -> dict[str, object]:
    """Fails at its first try."""
    if work(0.1) < 2:
        raise RuntimeError("not yet")
    return done(seed + 9)


def part(seed: int, number: int) -> dict[str, object]:
    work(0.1 + 0.1 * number)
    return done(seed * 10 + number)


def square(number: int, seed: int) -> dict[str, object]:
    work(0.2)
    return done(seed * number * number)


def member(seed: int) -> dict[str, object]:
    work(0.4)
    return done(seed + 3)


def total(parts: list[dict[str, int]], squares: list[dict[str, int]]) -> dict[str, object]:
    work(0.1)
    return done(sum(one["value"] for one in parts) + sum(one["value"] for one in squares))
