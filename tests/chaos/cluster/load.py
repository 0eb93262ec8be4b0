"""What the campaign submits, and what each must have come to."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tradewind.sdk import bundle

Json = dict[str, Any]

CODE = Path(__file__).parent / "code"
PARTS, ITEMS, WORKERS, POINTS = 3, 4, 2, 5
# Kills of pods end tries as well; none of these runs may fail for want of tries.
RETRIES: Json = {"max": 20, "backoff": "0.05s", "factor": 1}
SORTS = {"single": 9, "flaky": 2, "square": 3, "member": 2, "flow": 4}
# How many units each task of that name has.
UNITS = {"square": ITEMS, "member": WORKERS}


def packed() -> bytes:
    """The code that travels."""
    return bundle.pack(CODE).data


def choose(chance: random.Random) -> str:
    """What to submit next."""
    return chance.choices(list(SORTS), list(SORTS.values()))[0]


def spec(sort: str, seed: int, digest: str, ledger: str) -> Json:
    """The document of one run."""

    def of(name: str, **more: Any) -> Json:
        document = {"kind": "function", "name": name, "entry": f"pieces.py:{name}"}
        small = {"cpu": 0.2, "memory": "128MiB"}
        env = {"CHAOS_LEDGER": ledger}
        return {
            **document,
            **{"bundle": digest, "retries": RETRIES, "env": env, "resources": small},
            **more,
        }

    own: Json = {"seed": seed}
    match sort:
        case "single":
            return of("single", params={**own, "points": POINTS})
        case "flaky":
            return of("flaky", params=own)
        case "square":
            return of("square", items=list(range(ITEMS)), at_once=3, params=own)
        case "member":
            return of("member", kind="training", workers=WORKERS, params=own)
    each: Json = {"foreach": list(range(PARTS)), "params": {**own, "number": "$item"}}
    sums: Json = {"parts": "$parts", "squares": "$square"}
    squares = of("square", items=list(range(ITEMS)), at_once=2)
    return {
        "kind": "pipeline",
        "name": "flow",
        "steps": [
            {"name": "parts", "uses": of("part"), **each},
            {"name": "square", "uses": squares, "params": own},
            {"name": "total", "uses": of("total"), "params": sums},
        ],
        "outputs": {"output": "$total"},
    }


KEYS = {"square", "total", *(f"parts#{number}" for number in range(PARTS))}


def expected(sort: str, seed: int) -> Any:
    """The value of the run's output."""
    squares = [seed * number * number for number in range(ITEMS)]
    match sort:
        case "square":
            return squares
        case "flow":
            return sum(seed * 10 + number for number in range(PARTS)) + sum(squares)
    return seed + {"single": 7, "flaky": 9, "member": 3}[sort]


def value(result: Json) -> Any:
    """The number, or numbers, in a run's result."""
    found = result.get("output", {}).get("value")
    if isinstance(found, list):
        return [each["value"] if isinstance(each, dict) else each for each in found]
    return found.get("value") if isinstance(found, dict) else found
