"""A table that a function has already written itself, file by file: what streams returns this.

`outputs` knows it by its mark and not by its type: it may come from another copy of this file.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any


def staging() -> pathlib.Path:
    """A new empty folder in the run's staging place, to write into."""
    out = os.environ["TRADEWIND_OUT"]
    os.makedirs(out, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix="staged-", dir=out))


class Table:
    """Parquet files, in order of rows. What is not told is found out when they are kept."""

    tradewind_staged = "table"

    def __init__(self, files: Sequence[pathlib.Path], **told: Any) -> None:
        """`told`: any of `rows`, `schema`, `stats`, `digest`."""
        self.files = [os.fspath(path) for path in files]
        self.told = told
