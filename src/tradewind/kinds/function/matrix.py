"""What carries out which style of a function: styles by backends, as data. docs/backends.md is
generated from it, and tests hold it against what works.

`yes`; `notyet`: meant to come; `notimpl`: it could be, and nobody has planned it; `never`: it would
mean nothing. What is not `yes` has a reason, the end of a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tradewind.base.errors import Refused

State = Literal["yes", "notyet", "notimpl", "never"]

# In the order in which they are tried: the first that can is the one of a plan without objective.
BACKENDS = {
    "python": "one process, called once with whole tables",
    "duckdb": "one process; DuckDB carries out queries and puts groups together, rows stream",
    "partitions": "an array of processes, each with a share of the row groups, or of the keys",
    "spark": "a Spark of its own: in one process, or in several of one machine",
}
STYLES = {
    "table": "whole tables",
    "expression": "Ibis tables in, an Ibis table out",
    "sql": "one SELECT",
    "batch": "some rows at a time",
    "row": "one row at a time",
    "group": "all rows of one key at once",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Whether a backend carries out a style, and if not, why."""

    state: State
    why: str = ""


_YES = Cell("yes")
_WHOLE = Cell("never", "a function over whole tables is called once, with all of them")
_STREAMS = Cell("never", "one process streams it, which is the backend duckdb")
_QUERY = Cell("never", "a query is carried out by an engine, and Python is none")
_SPLIT = Cell("notimpl", "a query may need all rows, and is not taken apart")

MATRIX: dict[str, dict[str, Cell]] = {
    "table": {"python": _YES, "duckdb": _WHOLE, "partitions": _WHOLE, "spark": _WHOLE},
    "expression": {
        "python": _QUERY,
        "duckdb": _YES,
        "partitions": _SPLIT,
        "spark": _YES,
    },
    "sql": {
        "python": _QUERY,
        "duckdb": _YES,
        "partitions": _SPLIT,
        "spark": Cell("never", "the SQL is DuckDB's, and the same words mean other things there"),
    },
    "batch": {"python": _STREAMS, "duckdb": _YES, "partitions": _YES, "spark": _YES},
    "row": {"python": _STREAMS, "duckdb": _YES, "partitions": _YES, "spark": _YES},
    "group": {"python": _STREAMS, "duckdb": _YES, "partitions": _YES, "spark": _YES},
}


def able(style: str) -> Sequence[str]:
    """The backends that carry out a style."""
    return [name for name in BACKENDS if MATRIX[style][name].state == "yes"]


def chosen(style: str, pin: str | None) -> Sequence[str]:
    """The same, or only the one that is pinned. Refused if that one cannot, with what can."""
    can = able(style)
    if not pin:
        return can
    if pin in can:
        return [pin]
    cell = MATRIX[style][pin]
    yet = "not yet" if cell.state == "notyet" else cell.state.replace("notimpl", "no")
    raise Refused(
        f"the backend {pin!r} does not carry out the style {style!r} ({yet}): {cell.why}",
        hint=f"what can: {', '.join(can)}; write backend: {can[0]}, or leave it out",
    )
