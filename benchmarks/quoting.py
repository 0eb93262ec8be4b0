"""Quotes and runs held to one of their plans, as the benchmarks ask for them."""

from __future__ import annotations

from typing import Any

from harness import Json, Platform

DAY = 86_400.0


def quoted(platform: Platform, spec: Json, rows: int = 0) -> tuple[Json, Json | None]:
    """The quote, and the run that measured for it. None: nothing had to be measured."""
    body: Json = {"spec": spec, "deadlines": [DAY], **({"rows": rows} if rows else {})}
    answer = platform.api.call("POST", "/quotes", body)
    if "run" not in answer:
        return answer, None
    probe = platform.api.wait(answer["run"])
    quote: Json = platform.api.call("GET", f"/quotes/{probe['result']['quote']['id']}")
    return quote, probe


def accepted(platform: Platform, spec: Json, quote: str = "", plan: int = 0) -> str:
    """The id of a run, held to a plan if there is a quote."""
    order = {"spec": spec, **({"quote": quote, "plan": plan} if quote else {})}
    return str(platform.api.call("POST", "/runs", {"runs": [order]})["runs"][0]["id"])


def size(plan: Json) -> tuple[Any, ...]:
    """What tells a plan from the others of a function."""
    option = plan["option"]
    return option["backend"], option["width"], option["parts"], option["resources"]["cpu"]


def named(plan: Json) -> str:
    """The same, for people."""
    backend, width, parts, cpu = size(plan)
    return f"{backend} {width}x{cpu:g}" + (f" in {parts} parts" if parts else "")


def cpu(run: Json) -> float:
    """CPU seconds of all its processes."""
    return float(run["memory"].get("usage", {}).get("cpu", 0.0))


def wall(run: Json) -> float:
    """Seconds from acceptance to the visible result."""
    return float(run["ended"] - run["created"])
