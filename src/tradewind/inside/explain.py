"""What DuckDB will do for a query or an expression: its operators, and their family."""

from __future__ import annotations

import json
from typing import Any, Callable, Iterator, Sequence

from . import expression, tables

_SORTS = ("ORDER_BY", "WINDOW")
_HASHES = ("JOIN", "GROUP_BY", "CROSS_PRODUCT", "DISTINCT")
_STYLES = {"batch": "stream", "row": "stream", "group": "group"}


def of(function: Callable[..., Any], start: dict[str, Any]) -> tuple[list[str], str]:
    """Operators, outermost first, and the family that predictions go by: `sort`, `hash`, `stream`,
    `group`, `table`. Raises Unreadable where a Spark that is pinned would refuse it."""
    style = start["entry"]["call"]["style"]
    if style == "sql":
        found = _of_sql(start)
    elif style == "expression":
        found = _of_expression(function, start)
    else:
        return [], _STYLES.get(style, "table")
    return found, family(found)


def family(operators: Sequence[str]) -> str:
    """That of the operator which takes most when there is more data."""
    if any(name in _SORTS for name in operators):
        return "sort"
    if any(part in name for name in operators for part in _HASHES):
        return "hash"
    return "stream"


def _of_sql(start: dict[str, Any]) -> list[str]:
    connection = tables.use("duckdb").connect()
    given = {key: value for key, value in start["params"].items() if key != "sql"}
    try:
        for name, slot in start["inputs"].items():
            if slot["kind"] == "table":
                connection.read_parquet(slot["files"]).create_view(name)
            else:
                given[name] = slot.get("value")
        query = start["params"]["sql"]
        wanted = connection.extract_statements(query)[0].named_parameters
        given = {name: value for name, value in given.items() if name in wanted}
        return _explained(connection, query, given)
    finally:
        connection.close()


def _of_expression(function: Callable[..., Any], start: dict[str, Any]) -> list[str]:
    with expression.Lazily(start) as lazily:
        made = lazily.made(function)
        if start["entry"]["call"].get("pinned") == "spark":
            from . import spark  # on use: it imports all that Spark's workers need

            spark.check(made)
        query = str(tables.use("ibis").to_sql(made, dialect="duckdb"))
        return _explained(lazily.connection.con, query, {})


def _explained(connection: Any, query: str, given: dict[str, Any]) -> list[str]:
    text = f"EXPLAIN (FORMAT JSON) {query}"
    row = (connection.execute(text, given) if given else connection.execute(text)).fetchone()
    return list(_names(json.loads(row[1])))


def _names(plan: Any) -> Iterator[str]:
    for node in plan if isinstance(plan, list) else [plan]:
        yield str(node.get("name", "")).strip()
        yield from _names(node.get("children", []))
