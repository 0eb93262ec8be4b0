"""What a query of several seconds takes through Tradewind, against the engine alone.

    .venv/bin/python benchmarks/bench_overhead.py [--quick] [--no-peers] [--rows N]

Claim: a query over 100 million rows, with the start of its process, staging and commit, takes at
most 5 % more than the same query in plain DuckDB: one process, the same files, the same cores, its
result written to Parquet with the same compression and flushed to disk. Wall time and CPU seconds;
the runs alternate, so that both meet the same neighbours, and the difference is the median over
pairs. Beside them polars, and Dask and PySpark if they are installed, each in a process of its own
on the same files.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import peers
import quoting
from harness import Figure, Json, Platform, Result, bench, core_seconds, median

ROWS = 100_000_000
TABLE = """
COPY (SELECT (hash(i) % 5000)::INT AS k, (hash(i + 1) % 365)::SMALLINT AS day,
             round((hash(i + 2) % 100000) / 7.0, 2) AS fare
      FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 131072)
"""
# Results of one and of many million rows that have to be staged and committed, and a small one of
# a query that is over before it is one of several seconds: what it takes is told, and no claim.
QUERIES = {
    "group": "SELECT k, day, count(*) AS n, avg(fare) AS a, stddev(fare) AS s, max(fare) AS m"
    " FROM data GROUP BY k, day",
    "filter": "SELECT k, day, sqrt(fare) * ln(1 + fare) AS x FROM data WHERE sin(fare) > 0.9",
    "short": "SELECT k, count(*) AS n, avg(fare) AS a, stddev(fare) AS s, max(day) AS d"
    " FROM data GROUP BY k",
}
SEVERAL = ("group", "filter")
CORES = 2

DUCKDB = """
import duckdb, glob
c = duckdb.connect(); c.execute("SET threads = {cores}; SET enable_progress_bar = false")
c.execute("CREATE VIEW data AS SELECT * FROM read_parquet({files})")
c.execute("COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
"""
FLUSH = """
import os
if os.path.isfile("{out}"):
    with open("{out}") as file:
        os.fsync(file.fileno())
"""
POLARS = {
    "group": """
import polars as pl
pl.scan_parquet({files}).group_by("k", "day").agg(n=pl.len(), a=pl.col("fare").mean(),
    s=pl.col("fare").std(), m=pl.col("fare").max()).sink_parquet("{out}")
""",
    "short": """
import polars as pl
pl.scan_parquet({files}).group_by("k").agg(n=pl.len(), a=pl.col("fare").mean(),
    s=pl.col("fare").std(), d=pl.col("day").max()).sink_parquet("{out}")
""",
    "filter": """
import polars as pl
pl.scan_parquet({files}).filter(pl.col("fare").sin() > 0.9).select("k", "day",
    x=pl.col("fare").sqrt() * pl.col("fare").log1p()).sink_parquet("{out}")
""",
}
DASK = {
    "group": """
import dask.dataframe as dd
g = dd.read_parquet({files}).groupby(["k", "day"]).agg({{"fare": ["count", "mean", "std", "max"]}})
g.columns = ["n", "a", "s", "m"]; g.reset_index().to_parquet("{out}")
""",
    "short": """
import dask.dataframe as dd
g = dd.read_parquet({files}).groupby("k").agg({{"fare": ["count", "mean", "std"], "day": "max"}})
g.columns = ["n", "a", "s", "d"]; g.reset_index().to_parquet("{out}")
""",
    "filter": """
import dask.dataframe as dd, numpy as np
d = dd.read_parquet({files}); d = d[np.sin(d.fare) > 0.9]
d.assign(x=np.sqrt(d.fare) * np.log1p(d.fare))[["k", "day", "x"]].to_parquet("{out}")
""",
}
SPARK = """
import os, tempfile
from tradewind.inside import session
os.environ["JAVA_HOME"] = session.java_home(tempfile.mkdtemp(dir="{folder}"))
from pyspark.sql import SparkSession
s = (SparkSession.builder.master("local[{cores}]").config("spark.driver.memory", "8g")
     .config("spark.ui.enabled", "false").getOrCreate())
s.read.parquet(*{files}).createOrReplaceTempView("data")
s.sql({query!r}).write.parquet("{out}")
"""
Took = tuple[float, float]


def body(result: Result) -> None:
    """Every query, in turn with DuckDB alone."""
    with Platform() as platform:
        path = platform.top / "data.parquet"
        duckdb.sql(TABLE.format(rows=result.rows, path=path))
        platform.api.run({"kind": "dataset", "name": "data", "source": str(path)})
        path.unlink()
        files = [str(p) for p in _largest(platform.folder)]
        for name, query in QUERIES.items():
            _compare(result, platform, name, query, files)
        result.note(f"{result.rows:,} rows in {len(files)} file(s), {_megabytes(files):,} MB")


def _largest(folder: Path) -> list[Path]:
    """The files of the imported table."""
    found = [p for p in folder.rglob("*") if p.is_file() and _parquet(p)]
    unique = {p.stat().st_ino: p for p in found}
    return sorted(unique.values())


def _parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _megabytes(files: list[str]) -> int:
    return sum(os.path.getsize(each) for each in files) // 10**6


def _compare(
    result: Result, platform: Platform, name: str, query: str, files: list[str]
) -> None:  # fmt: skip
    spec: Json = {"kind": "function", "name": name, "sql": query, "input": {"data": "data"},
                  "cache": False, "resources": {"cpu": CORES}}  # fmt: skip
    plain = {"query": query, "files": files, "cores": CORES}
    ours: list[Took] = []
    alone: list[Took] = []
    theirs: dict[str, list[Took]] = {}
    repeats = 2 if result.quick else 7
    for number in range(repeats + 1):  # the first pair warms up
        first = number % 2
        pair = [lambda: _through(platform, spec), lambda: _alone(platform.top, DUCKDB, plain)]
        took = [pair[first](), pair[1 - first]()]
        one, other = took if not first else reversed(took)
        if number:
            ours.append(one)
            alone.append(other)
    for peer, python, text in _peers(result, name):
        theirs[peer] = [_alone(platform.top, text, plain, python) for _ in range(2)]
    for place, unit in ((0, "wall"), (1, "CPU")):
        mine, bare = [each[place] for each in ours], [each[place] for each in alone]
        more = [100 * (one / other - 1) for one, other in zip(mine, bare, strict=True)]
        plainly = sorted(more)[len(more) // 2]
        note = f"median of {len(more)} pairs, {min(more):+.0f} to {max(more):+.0f}"
        result.add(
            median(f"{name}: {unit} s through Tradewind", mine, "s"),
            Figure(f"{name}: {unit} more than DuckDB alone", plainly, "%",
                   5.0 if name in SEVERAL else 0.0, note=f"{note}; load {os.getloadavg()[0]:.0f}"),
        )  # fmt: skip
        result.peer(median(f"{name}: {unit} s, DuckDB alone", bare, "s"))
        for peer, each in theirs.items():
            if (peer, unit) == ("pyspark", "CPU"):
                continue  # its Java is nobody's child when it ends
            result.peer(median(f"{name}: {unit} s, {peer}", [one[place] for one in each], "s"))


def _peers(result: Result, name: str) -> Iterator[tuple[str, str, str]]:
    """Name, interpreter and program of each one that is there."""
    if not os.environ.get("TRADEWIND_BENCH_PEERS"):
        return
    yield "polars", sys.executable, POLARS[name]
    if python := peers.python(result, "dask"):
        yield "dask", str(python), DASK[name]
    if importlib.util.find_spec("pyspark"):
        yield "pyspark", sys.executable, SPARK
    elif name == "group":
        result.note("pyspark is not installed here")


def _through(platform: Platform, spec: Json) -> Took:
    """From the request to the visible result; CPU seconds of all processes of the platform."""
    before, begin = _used(platform), time.perf_counter()
    run = platform.api.wait(quoting.accepted(platform, spec))
    wall = time.perf_counter() - begin
    print(f"  {run['name']}: {wall:.1f} s, in its task {quoting.cpu(run):.1f} CPU s",
          file=sys.stderr)  # fmt: skip
    return wall, _used(platform) - before


def _used(platform: Platform) -> float:
    time.sleep(0.1)  # until what ended is reaped
    return core_seconds([platform.server]) + sum(
        value for part, value in platform.used().items() if part != "server"
    )


def _alone(folder: Path, text: str, given: Json, python: str = sys.executable) -> Took:
    out = folder / f"out-{time.time_ns()}.parquet"
    program = (text + FLUSH).format(**given, out=out, folder=folder)
    env = {**os.environ, "POLARS_MAX_THREADS": str(CORES)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run([python, "-c", program], timeout=600, env=env, capture_output=True)
    assert not done.returncode, done.stderr.decode()[-2000:]
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if out.is_file():
        out.unlink()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  alone: {wall:.1f} s, {used:.1f} CPU s", file=sys.stderr)
    return wall, used


if __name__ == "__main__":
    bench("overhead", __doc__, body, rows=ROWS)
