"""The difference of two versions of a table.

With keys that name one row each, rows are added, removed or changed. Without, or where the keys are
not unique, versions are compared as multisets: a changed row counts as one removed and one added.
Columns that only one version has are part of the schema's difference, not of the rows'.

`psi` is the population stability index, the sum over bins of (p - q) ln(p / q), with p and q the
shares of the bin in the old and the new version: 10 bins of equal share in the old version for
numbers and times, the 20 most frequent old values and the rest for texts and bools, a bin for no
value in both. Below 0.1 is read as stable, above 0.25 as shifted (N. Siddiqi, Credit Risk
Scorecards, Wiley 2006, chapter 8). A share of nothing counts as 0.0001. `shift` is the difference
of the means in standard deviations of the old version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base import errors
from tradewind.data import parquet
from tradewind.data.duck import connect, quoted
from tradewind.data.profile import group
from tradewind.data.types import arrow, name_of, stored_schema

if TYPE_CHECKING:
    import pyarrow as pa

_BINS = 10
_VALUES = 20
_NOTHING = 1e-4

Files = Sequence[Path | str]


def diff(old: Files, new: Files, keys: Sequence[str] = (), samples: int = 10) -> dict[str, Any]:
    """JSON-ready: `schema` {added, removed, changed}, `rows` {old, new, added, removed, changed,
    unchanged}, `by` (the keys, or nothing: multiset), `samples` {added, removed, changed} and
    `columns` [{name, null_rate: [old, new], mean: [old, new], shift, psi}]."""
    before = stored_schema(parquet.schema_of(old))
    after = stored_schema(parquet.schema_of(new))
    for key in keys:
        for which, schema in (("old", before), ("new", after)):
            if key not in schema.names:
                raise errors.InvalidData(
                    f"the {which} version has no column {key!r}",
                    where=errors.Location(field="keys"),
                )
    shared = [one.name for one in before if one.name in after.names]
    alike = [name for name in shared if before.field(name).type == after.field(name).type]
    with connect({"old": old, "new": new}) as connection:
        columns = [_drift(connection, name, before.field(name).type) for name in alike]
        by = list(keys)
        if by and _unique(connection, by):
            rows, shown = _by_keys(connection, before, after, shared, by, samples)
        else:
            by = []
            rows, shown = _multiset(connection, before, after, shared, samples)
    return {
        "schema": _schema(before, after),
        "by": by,
        "rows": rows,
        "samples": shown,
        "columns": columns,
    }


def _schema(before: pa.Schema, after: pa.Schema) -> dict[str, Any]:
    changed = [
        {"name": one.name, "old": name_of(one.type), "new": name_of(after.field(one.name).type)}
        for one in before
        if one.name in after.names and after.field(one.name).type != one.type
    ]
    return {
        "added": [
            {"name": one.name, "type": name_of(one.type)}
            for one in after
            if one.name not in before.names
        ],
        "removed": [
            {"name": one.name, "type": name_of(one.type)}
            for one in before
            if one.name not in after.names
        ],
        "changed": changed,
    }


def _unique(connection: Any, keys: list[str]) -> bool:
    listed = ", ".join(map(quoted, keys))
    for side in ("old", "new"):
        query = f"SELECT 1 FROM {side} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1"
        if connection.execute(query).fetchall():
            return False
    return True


def _alike(name: str, before: pa.Schema, after: pa.Schema) -> tuple[str, str]:
    """The column in both versions in a type in which they can be compared."""
    column = quoted(name)
    if before.field(name).type == after.field(name).type:
        return f"old.{column}", f"new.{column}"
    return f"CAST(old.{column} AS VARCHAR)", f"CAST(new.{column} AS VARCHAR)"


def _by_keys(
    connection: Any,
    before: pa.Schema,
    after: pa.Schema,
    shared: list[str],
    keys: list[str],
    samples: int,
) -> tuple[dict[str, int], dict[str, Any]]:
    pairs = {name: _alike(name, before, after) for name in shared}
    same = " AND ".join(f"{pairs[key][0]} IS NOT DISTINCT FROM {pairs[key][1]}" for key in keys)
    others = [name for name in shared if name not in keys]
    unlike = " OR ".join(f"{pairs[name][0]} IS DISTINCT FROM {pairs[name][1]}" for name in others)
    both, unlike = f"FROM old JOIN new ON {same}", unlike or "false"
    count = connection.execute(
        f"SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM new), count(*), "
        f"count(*) FILTER (WHERE {unlike}) {both}"
    ).fetchall()[0]
    rows = {
        "old": count[0],
        "new": count[1],
        "added": count[1] - count[2],
        "removed": count[0] - count[2],
        "changed": count[3],
        "unchanged": count[2] - count[3],
    }
    only = "SELECT {}.* FROM {} WHERE NOT EXISTS (SELECT 1 FROM {} WHERE " + same + ")"
    changed = []
    picked = [
        f"{pairs[name][side]} AS c{2 * place + side}"
        for place, name in enumerate([*keys, *others])
        for side in (0, 1)
    ]
    found = _texts(connection, f"SELECT {', '.join(picked)} {both} WHERE {unlike}", samples)
    for _, values in found:
        cells = list(zip([*keys, *others], values[::2], values[1::2], strict=True))
        changed.append(
            {
                "key": {name: new for name, _, new in cells[: len(keys)]},
                "columns": {name: [o, n] for name, o, n in cells[len(keys) :] if o != n},
            }
        )
    return rows, {
        "added": _rows(connection, only.format("new", "new", "old"), samples),
        "removed": _rows(connection, only.format("old", "old", "new"), samples),
        "changed": changed,
    }


def _multiset(
    connection: Any, before: pa.Schema, after: pa.Schema, shared: list[str], samples: int
) -> tuple[dict[str, int], dict[str, Any]]:
    """Counted by grouping: at most one group per distinct row is held, and spilled."""
    pairs = [_alike(name, before, after) for name in shared]
    columns = [f"c{number}" for number in range(len(shared))] or ["c0"]
    sides = []
    for side, pick, weight in (("old", 0, -1), ("new", 1, 1)):
        cells = [f"{pair[pick]} AS {name}" for pair, name in zip(pairs, columns, strict=False)]
        chosen = ", ".join(cells) or f"'{side}' AS c0"
        sides.append(f"SELECT {chosen}, {weight} AS w FROM {side}")
    listed = ", ".join(columns)
    groups = f"SELECT {listed}, sum(w) AS w FROM ({' UNION ALL '.join(sides)}) GROUP BY {listed}"
    old, new, added, removed = connection.execute(
        "SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM new), "
        "CAST(coalesce(sum(w) FILTER (WHERE w > 0), 0) AS BIGINT), "
        f"CAST(coalesce(-sum(w) FILTER (WHERE w < 0), 0) AS BIGINT) FROM ({groups})"
    ).fetchall()[0]
    rows = {"old": old, "new": new, "added": added, "removed": removed, "changed": 0,
            "unchanged": new - added}  # fmt: skip
    shown: dict[str, Any] = {"changed": []}
    for name, sign in (("added", ">"), ("removed", "<")):
        found = _texts(connection, f"SELECT {listed} FROM ({groups}) WHERE w {sign} 0", samples)
        shown[name] = [dict(zip(shared, values, strict=False)) for _, values in found]
    return rows, shown


def _rows(connection: Any, query: str, most: int) -> list[dict[str, Any]]:
    return [
        dict(zip(labels, values, strict=True)) for labels, values in _texts(connection, query, most)
    ]


def _texts(connection: Any, query: str, most: int) -> list[tuple[list[str], list[Any]]]:
    """At most so many rows, each (names, values as text)."""
    limited = f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({query}) LIMIT {int(most)}"
    cursor = connection.execute(limited)
    labels = [one[0] for one in cursor.description]
    return [(labels, list(row)) for row in cursor.fetchall()]


def _drift(connection: Any, name: str, kind: pa.DataType) -> dict[str, Any]:
    column, sort = quoted(name), group(kind)
    number = {
        "number": f"CAST({column} AS DOUBLE)",
        "float": f"CASE WHEN isfinite({column}) AND abs({column}) < 1e150 "
        f"THEN CAST({column} AS DOUBLE) END",
        "bool": f"CAST(CAST({column} AS INT) AS DOUBLE)",
        "time": f"CAST(epoch_us(CAST({column} AS TIMESTAMP)) AS DOUBLE)",
    }.get(sort)
    if arrow().types.is_timestamp(kind) and kind.tz:
        number = f"CAST(epoch_us({column}) AS DOUBLE)"
    body: dict[str, Any] = {"name": name}
    wanted = f"count(*), count({column})"
    if number:
        wanted += f", avg({number}), stddev_samp({number})"
    one, two = (
        connection.execute(f"SELECT {wanted} FROM {side}").fetchall()[0] for side in ("old", "new")
    )
    body["null_rate"] = [1 - row[1] / row[0] if row[0] else None for row in (one, two)]
    if number and sort != "time":
        body["mean"] = [one[2], two[2]]
        if one[2] is not None and two[2] is not None and one[3]:
            body["shift"] = (two[2] - one[2]) / one[3]
    if one[0] and two[0] and sort != "other":
        bins = _value_bins if sort in ("text", "bool") else _number_bins
        body["psi"] = psi(*bins(connection, column if sort in ("text", "bool") else str(number)))
    return body


def psi(old: Sequence[int], new: Sequence[int]) -> float:
    """The population stability index of two histograms over the same bins."""
    total = 0.0
    for before, after in zip(old, new, strict=True):
        p = max(before / max(1, sum(old)), _NOTHING)
        q = max(after / max(1, sum(new)), _NOTHING)
        total += (p - q) * math.log(p / q)
    return total


def _number_bins(connection: Any, number: str) -> tuple[list[int], list[int]]:
    inner = [rank / _BINS for rank in range(1, _BINS)]
    found = connection.execute(f"SELECT quantile_disc({number}, {inner}) FROM old").fetchall()
    edges = sorted(set(found[0][0] or []))
    below = ", ".join([f"count(*) FILTER (WHERE {number} <= {edge!r})" for edge in edges] or ["0"])
    sides = []
    for side in ("old", "new"):
        query = f"SELECT count(*), count({number}), {below} FROM {side}"
        rows, count, *upto = connection.execute(query).fetchall()[0]
        steps = [0, *upto, count]
        sides.append([rows - count, *(high - low for low, high in pairwise(steps))])
    return sides[0], sides[1]


def _value_bins(connection: Any, column: str) -> tuple[list[int], list[int]]:
    query = (
        "WITH top AS (SELECT {0} AS v, count(*) AS n FROM old WHERE {0} IS NOT NULL GROUP BY 1 "
        f"ORDER BY 2 DESC, 1 LIMIT {_VALUES}) "
        "SELECT top.v, any_value(top.n), count(new.{0}) FROM top LEFT JOIN new ON new.{0} = top.v "
        "GROUP BY 1"
    ).format(column)
    found = connection.execute(query).fetchall()
    sides = []
    for side, place in (("old", 1), ("new", 2)):
        totals = f"SELECT count(*), count({column}) FROM {side}"
        rows, count = connection.execute(totals).fetchall()[0]
        counts = [row[place] for row in found]
        sides.append([rows - count, *counts, count - sum(counts)])
    return sides[0], sides[1]
