"""Beside user code: carry out a function that is one SELECT. Runs in our environment, on DuckDB."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from tradewind.data import frames
from tradewind.inside import measure
from tradewind.inside.staged import Table, staging


def run_sql(sql: str, **inputs: list[Path]) -> Table:
    """The rows of the SELECT, streamed to Parquet. Inputs are lists of Parquet files; what is no
    list of paths is a parameter of the query (`$name`). It works on the cores that its plan holds;
    less than one is a guess, and leaves them to DuckDB. What does not fit its memory is spilled."""
    tables: dict[str, list[Path]] = {}
    params: dict[str, Any] = {}
    for name, value in inputs.items():
        is_table = isinstance(value, list) and value and isinstance(value[0], Path)
        (tables if is_table else params)[name] = value
    cores = float(os.environ.get("TRADEWIND_CPU") or 0)
    threads = math.ceil(cores) if cores >= 1 else 0
    limits = {"threads": threads, "memory": measure.spare(threads)}
    made = frames.sql(sql, tables, staging(), params=params, **limits)
    # How much it is decides how it is committed.
    return Table(made.files, rows=made.rows, schema=made.schema)
