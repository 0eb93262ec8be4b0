"""The pipelines of the campaign, and what each must have come to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tradewind.sdk import bundle

Json = dict[str, Any]

CODE = Path(__file__).parent / "code"
PARTS, ITEMS, ROWS = 4, 5, 200
# Kills end tries of the user's code as well; none of these runs may fail for want of tries.
RETRIES: Json = {"max": 60, "backoff": "0.05s", "factor": 1}


def packed() -> bytes:
    """The code that travels."""
    return bundle.pack(CODE).data


def _function(name: str, digest: str, ledger: Path, **more: Any) -> Json:
    return {
        "kind": "function",
        "name": name,
        "entry": f"steps.py:{name}",
        "bundle": digest,
        "retries": RETRIES,
        "env": {"CHAOS_LEDGER": str(ledger)},
        **more,
    }


def inner(digest: str, ledger: Path) -> Json:
    """The pipeline that the other one uses as a step."""
    first = _function("first", digest, ledger)
    second = _function("second", digest, ledger)
    return {
        "kind": "pipeline",
        "name": "inner",
        "params": {"seed": 0},
        "steps": [
            {"name": "first", "uses": first, "params": {"seed": "$params.seed"}},
            {"name": "second", "uses": second, "params": {"before": "$first"}},
        ],
        "outputs": {"second": "$second"},
    }


def outer(digest: str, ledger: Path, seed: int) -> Json:
    """One run of the load: a table made and changed, a fan-out, an array, a step that fails once,
    a step that is cached after the first run of all, and a pipeline within."""

    def of(name: str, **more: Any) -> Json:
        return _function(name, digest, ledger, **more)

    own = {"seed": "$params.seed"}
    array = of("square", items=list(range(ITEMS)), at_once=2)
    return {
        "kind": "pipeline",
        "name": "outer",
        "params": {"seed": seed},
        "steps": [
            {"name": "make", "uses": of("make", output="numbers"), "params": {**own, "rows": ROWS}},
            {
                "name": "double",
                "uses": of("double", output="doubled"),
                "input": {"numbers": "$make"},
            },
            {
                "name": "parts",
                "uses": of("part"),
                "foreach": list(range(PARTS)),
                "at_once": 3,
                "params": {**own, "number": "$item"},
            },
            {"name": "flaky", "uses": of("flaky"), "params": own},
            {"name": "square", "uses": array, "params": own},
            {"name": "constant", "uses": of("constant")},
            {"name": "inner", "uses": "pipeline/inner", "params": own},
            {
                "name": "total",
                "uses": of("total"),
                "params": {"parts": "$parts", "squares": "$square"},
            },
        ],
        "outputs": {
            "total": "$total",
            "flaky": "$flaky",
            "inner": "$inner.second",
            "constant": "$constant",
            "doubled": "$double",
        },
    }


KEYS = {
    *("make", "double", "flaky", "square", "constant", "inner", "total"),
    *(f"parts#{number}" for number in range(PARTS)),
}
INNER_KEYS = {"first", "second"}
TABLES = {"make": "numbers", "double": "doubled"}


def expected(seed: int) -> dict[str, int]:
    """The values of the run's outputs."""
    parts = sum(seed * 10 + number for number in range(PARTS))
    squares = sum(seed * number * number for number in range(ITEMS))
    return {
        "total": parts + squares,
        "flaky": seed + 7,
        "inner": (seed + 1) * 2,
        "constant": 42,
    }


def column(table: str, seed: int) -> list[int]:
    """The column `value` of a version that the run of this seed made."""
    factor = 2 if table == "doubled" else 1
    return [factor * (seed * 1000 + row) for row in range(ROWS)]


def values(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers in a run's result."""
    return {
        slot: body["value"]["value"]
        for slot, body in result.items()
        if isinstance(body.get("value"), dict) and "value" in body["value"]
    }
