"""Tables from a seed, and some dozens of live functions over them, for the benchmarks of quotes.

`flights` is the large table, `few` a sixteenth of it for what goes row by row, `part` a quarter of
it (a quote for as many rows as `flights` has is then one for a hundred times its largest sample),
`customers` what it is joined with. All of them have row groups of 131,072 rows, as imports have.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import Json, Platform

ROWS = 13_200_000
GROUP = 131_072
SEED = 2026
CODE = Path(__file__).with_name("quoted.py")

_CARRIERS = pa.array(["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS"])
_ORIGINS = pa.array(["JFK", "LGA", "EWR"])
_WORDS = pa.array(["late", "gate", "crew", "storm", "fuel", "slot", "wind", "fog", "snow", "cat"])


@dataclass(frozen=True)
class Case:
    """One function: its mix, what it reads, and the fields of its spec."""

    name: str
    mix: str
    data: tuple[str, ...] = ("flights",)
    fields: Json = field(default_factory=dict)
    entry: str = ""

    def spec(self, bundle: str, **more: Any) -> Json:
        """Its document; `more` goes before what it says itself."""
        document: Json = {"kind": "function", "name": self.name.replace("_", "-"), "cache": False}
        document["input"] = {self._slot(name): name for name in self.data}
        if "sql" not in self.fields:
            document |= {"entry": f"quoted.py:{self.entry or self.name}", "bundle": bundle}
        return {**document, **self.fields, **more}

    def _slot(self, name: str) -> str:
        if self.fields.get("style") == "row":
            return "row"
        return "flights" if name in ("few", "part") else name


def _sql(name: str, mix: str, query: str, *more: str, **fields: object) -> Case:
    return Case(name, mix, ("flights", *more), {"sql": query, **fields})


def _streamed(name: str, mix: str, style: str, data: str = "flights", **fields: object) -> Case:
    pinned = {"backend": "partitions"} if name.endswith("_parts") else {}
    made = {"style": style, **pinned, **fields}
    return Case(name, mix, (data,), made, name.removesuffix("_parts"))


_EXPRESSION = {"style": "expression"}
CASES = (
    _sql("scan_math", "scan", "SELECT id, sqrt(abs(dep_delay)) * ln(1 + distance) + sin(air_time)"
         " + cos(f0) * exp(f1 / 10) AS score FROM flights"),
    _sql("scan_text", "scan", "SELECT id, replace(upper(note), 'A', '4') AS word, length(note) AS n"
         " FROM flights"),
    _sql("scan_md5", "scan", "SELECT max(md5(note)) AS m, min(md5(tailnum)) AS n FROM flights"),
    _sql("wide_copy", "wide", "SELECT * REPLACE (f0 + f1 AS f0) FROM flights WHERE"
         " distance % 4 = 0"),
    _sql("wide_sums", "wide", "SELECT sum(COLUMNS('(f[0-7])')) AS 'sum_\\1',"
         " stddev(COLUMNS('(f[0-7])')) AS 'spread_\\1',"
         " avg(COLUMNS('(.*_delay|fare)')) AS 'avg_\\1' FROM flights"),
    _sql("filter_regex", "filter", "SELECT id, note FROM flights WHERE"
         " regexp_matches(note, 'storm.*(fog|cat)')"),
    _sql("filter_few", "filter", "SELECT * FROM flights WHERE md5(note) LIKE '00%'"),
    _sql("totals", "group", "SELECT avg(fare) AS a, corr(dep_delay, arr_delay) AS c,"
         " approx_quantile(fare, 0.9) AS q, count(DISTINCT tailnum) AS n FROM flights"),
    _sql("group_low", "group", "SELECT carrier, origin, count(*) AS n, median(dep_delay) AS m,"
         " stddev(fare) AS s FROM flights GROUP BY ALL"),
    _sql("group_high", "group", "SELECT customer, count(*) AS n, sum(fare) AS s, max(note) AS m"
         " FROM flights GROUP BY customer"),
    _sql("group_text", "group", "SELECT note, count(*) AS n FROM flights GROUP BY note"),
    _sql("group_skew", "skewed", "SELECT skewed, count(DISTINCT customer) AS n, avg(fare) AS a"
         " FROM flights GROUP BY skewed"),
    _sql("distinct", "group", "SELECT DISTINCT customer, carrier FROM flights"),
    _sql("join_small", "join", "SELECT f.id, c.segment, f.fare * c.rate AS paid FROM flights f"
         " JOIN (SELECT * FROM customers WHERE customer < 1000) c ON f.customer % 1000 ="
         " c.customer", "customers"),
    _sql("join_large", "join", "SELECT f.id, c.segment, f.fare * c.rate AS paid FROM flights f"
         " JOIN customers c USING (customer)", "customers"),
    _sql("join_semi", "join", "SELECT id, note FROM flights WHERE customer IN (SELECT customer"
         " FROM flights GROUP BY customer HAVING count(*) > 20)"),
    _sql("join_skew", "skewed", "SELECT a.skewed, count(*) AS n, sum(a.fare * b.fare) AS s FROM"
         " flights a JOIN (SELECT skewed, avg(fare) AS fare FROM flights GROUP BY skewed) b"
         " USING (skewed) GROUP BY a.skewed"),
    _sql("sort_text", "sort", "SELECT id, note FROM flights ORDER BY note, id"),
    _sql("sort_number", "sort", "SELECT id, fare, dep_delay FROM flights ORDER BY fare, id"),
    _sql("top", "sort", "SELECT * FROM flights ORDER BY md5(note) DESC LIMIT 1000"),
    _sql("window_rank", "window", "SELECT id, row_number() OVER (PARTITION BY customer ORDER BY"
         " minute) AS n FROM flights"),
    _sql("window_lag", "window", "SELECT id, fare - lag(fare) OVER (PARTITION BY tailnum ORDER BY"
         " id) AS d, avg(fare) OVER (PARTITION BY tailnum ORDER BY id ROWS 10 PRECEDING) AS m"
         " FROM flights"),
    _sql("spill", "spill", "SELECT id, note, tailnum, fare, minute FROM flights ORDER BY note, id",
         resources={"memory": "600MB"}),
    Case("e_mutate", "filter", ("flights",), _EXPRESSION),
    Case("e_group", "group", ("flights",), _EXPRESSION),
    Case("e_join", "join", ("flights", "customers"), _EXPRESSION),
    Case("e_window", "window", ("flights",), _EXPRESSION),
    _streamed("b_arrow", "batch", "batch"),
    _streamed("b_polars", "batch", "batch"),
    _streamed("b_pandas", "batch", "batch"),
    _streamed("b_python", "batch", "batch"),
    _streamed("b_arrow_parts", "fan-out", "batch"),
    _streamed("b_pandas_parts", "fan-out", "batch"),
    _streamed("b_model_parts", "fan-out", "batch"),
    _streamed("r_score", "row", "row", "few"),
    _streamed("r_score_parts", "fan-out", "row", "few"),
    _streamed("g_pandas", "per group", "group", "few", by=["tailnum"]),
    _streamed("g_pandas_parts", "per group", "group", "few", by=["tailnum"]),
    _streamed("g_arrow", "skewed", "group", "few", by=["skewed"]),
)  # fmt: skip
QUICK = ("scan_math", "filter_regex", "group_high", "join_large", "sort_number", "b_arrow",
         "b_pandas_parts", "g_pandas")  # fmt: skip


def cases(quick: bool) -> list[Case]:
    """All, or one of each mix."""
    return [case for case in CASES if not quick or case.name in QUICK]


# --- the tables ----------------------------------------------------------------------------------


def write(folder: Path, rows: int) -> dict[str, Path]:
    """The tables by name, the same for the same seed."""
    paths = {name: folder / f"{name}.parquet" for name in ("flights", "few", "part", "customers")}
    people = max(1000, rows // 13)
    sizes = {"flights": rows, "few": rows // 16, "part": rows // 4}
    writers: dict[str, pq.ParquetWriter] = {}
    done = 0
    for table in _flights(rows, people):
        for name, size in sizes.items():
            if done < size:
                if name not in writers:
                    writers[name] = pq.ParquetWriter(paths[name], table.schema)
                writers[name].write_table(table.slice(0, size - done), row_group_size=GROUP)
        done += table.num_rows
    for writer in writers.values():
        writer.close()
    random = np.random.default_rng(SEED + 1)
    customers = pa.table({
        "customer": random.permutation(people),
        "segment": pa.array(random.choice(["home", "work", "club", "crew"], people)),
        "rate": random.uniform(0.5, 1.5, people),
    })  # fmt: skip
    pq.write_table(customers, paths["customers"], row_group_size=GROUP)
    return paths


def _flights(rows: int, people: int) -> Iterator[pa.Table]:
    random = np.random.default_rng(SEED)
    for start in range(0, rows, 8 * GROUP):
        yield _chunk(random, start, min(8 * GROUP, rows - start), people)


def _chunk(random: np.random.Generator, start: int, rows: int, people: int) -> pa.Table:
    delay = random.normal(8, 35, rows)
    lost = random.random(rows) < 0.03
    distance = random.integers(80, 2600, rows)
    columns = {
        "id": np.arange(start, start + rows),
        "minute": random.integers(0, 1440, rows),
        "carrier": _CARRIERS.take(random.integers(0, len(_CARRIERS), rows)),
        "origin": _ORIGINS.take(random.integers(0, 3, rows)),
        "tailnum": _text(["N", random.integers(0, 4000, rows)], ""),
        "customer": random.integers(0, people, rows),
        "skewed": _text(["k", np.minimum(random.zipf(1.3, rows), 50_000)], ""),
        "dep_delay": pa.array(delay, mask=lost),
        "arr_delay": pa.array(delay + random.normal(0, 12, rows), mask=lost),
        "distance": distance,
        "air_time": distance / 7.0 + random.normal(20, 4, rows),
        "fare": np.round(random.gamma(3, 60, rows), 2),
        "note": _text(
            [*map(_WORDS.take, random.integers(0, len(_WORDS), (3, rows))),
             random.integers(0, 100_000, rows)], " "
        ),
    }  # fmt: skip
    columns |= {f"f{n}": random.normal(0, 1, rows) for n in range(8)}
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _text(parts: list[Any], between: str) -> pa.Array:
    texts = [part if isinstance(part, str) else pc.cast(pa.array(part), pa.string())
             for part in parts]  # fmt: skip
    return pc.binary_join_element_wise(*texts, between)


def load(platform: Platform, rows: int, names: tuple[str, ...] = ()) -> dict[str, Path]:
    """Write the tables and import them; where their files lie."""
    folder = platform.top / "tables"
    folder.mkdir()
    begin = time.perf_counter()
    paths = write(folder, rows)
    for name in names or tuple(paths):
        platform.api.run({"kind": "dataset", "name": name, "source": str(paths[name])})
    print(f"  {rows:,} rows made and imported in {time.perf_counter() - begin:.0f} s",
          file=sys.stderr)  # fmt: skip
    return paths


def bundle(platform: Platform) -> str:
    """The functions' code, sent."""
    return platform.code(quoted=CODE.read_text())
