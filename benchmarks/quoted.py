"""The functions whose quotes, plans and deadlines are measured: what people write over tables.

Sent to the server as it is; `suite.py` says how each is called.
"""

from __future__ import annotations

from typing import Any

import ibis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

# --- expressions: Ibis tables in, an Ibis table out ----------------------------------------------


def e_mutate(flights: Any) -> Any:
    """Filter, project, two computed columns."""
    late = flights.filter(flights.dep_delay > 5)
    return late.select(
        "id", "carrier", speed=late.distance / (late.air_time + 1), word=late.note.upper()
    )


def e_group(flights: Any) -> Any:
    """A group by two columns."""
    return flights.group_by(["tailnum", "origin"]).agg(
        n=flights.count(), late=flights.dep_delay.mean(), far=flights.distance.max(),
        spread=flights.arr_delay.std(),
    )  # fmt: skip


def e_join(flights: Any, customers: Any) -> Any:
    """A join with a large table, then a group."""
    both = flights.join(customers, "customer")
    return both.group_by(["segment", "carrier"]).agg(n=both.count(), paid=both.fare.sum())


def e_window(flights: Any) -> Any:
    """The mean of each tail number beside each row."""
    mean = flights.dep_delay.mean().over(ibis.window(group_by="tailnum"))
    return flights.select("id", "tailnum", above=flights.dep_delay - mean)


# --- some rows at a time -------------------------------------------------------------------------


def b_arrow(flights: pa.RecordBatch) -> Any:
    """Arrow's own kernels."""
    delay = pc.fill_null(flights["dep_delay"], 0.0)
    score = pc.add(pc.sqrt(pc.abs(delay)), pc.ln(pc.add(flights["distance"], 1)))
    return pa.table({"id": flights["id"], "score": score, "word": pc.utf8_upper(flights["note"])})


def b_polars(flights: pl.DataFrame) -> Any:
    """A frame of polars."""
    return flights.select(
        "id",
        pl.col("note").str.to_uppercase().str.replace_all("A", "4").alias("word"),
        (pl.col("dep_delay") * 2 + pl.col("arr_delay").fill_null(0)).sin().alias("x"),
    )


def b_pandas(flights: pd.DataFrame) -> Any:
    """A frame of pandas."""
    kept = flights[flights["dep_delay"] > 0]
    return pd.DataFrame(
        {"id": kept["id"], "hour": kept["minute"] // 60, "ratio": kept["fare"] / kept["distance"]}
    )


def b_python(flights: pa.RecordBatch) -> Any:
    """A loop in Python over one column."""
    words = [sum(map(ord, text)) % 97 for text in flights["note"].to_pylist()]
    return pa.table({"id": flights["id"], "checked": pa.array(words)})


def b_model(flights: pa.RecordBatch) -> Any:
    """A small network in numpy."""
    columns = [f"f{number}" for number in range(8)]
    x = np.column_stack([flights[name].to_numpy(zero_copy_only=False) for name in columns])
    weights = np.random.default_rng(1).normal(size=(8, 64)), np.ones((64, 1)) / 64
    hidden = np.tanh(x @ weights[0])
    return pa.table({"id": flights["id"], "score": (hidden @ weights[1])[:, 0]})


# --- a row, a group ------------------------------------------------------------------------------


def r_score(row: dict[str, Any]) -> Any:
    """One dict at a time; a third of the rows is dropped."""
    if row["dep_delay"] is None or row["dep_delay"] < 0:
        return None
    return {"id": row["id"], "score": row["dep_delay"] * 2 + row["distance"] / 100}


def g_pandas(flights: pd.DataFrame) -> Any:
    """A frame of pandas for each key."""
    ordered = flights.sort_values("minute")
    return pd.DataFrame(
        {
            "key": [str(flights.iloc[0]["tailnum"])],
            "rows": [len(flights)],
            "rise": [float(ordered["fare"].diff().abs().mean())],
        }
    )


def g_arrow(flights: pa.Table) -> Any:
    """Arrow for each key, of which a few have most of the rows."""
    ordered = flights.sort_by("minute")
    return ordered.select(["id", "skewed", "fare"]).append_column(
        "total", pc.cumulative_sum(ordered["fare"])
    )
