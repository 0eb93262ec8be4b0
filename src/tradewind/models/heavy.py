"""numpy for this room, and the other libraries on use, with the error that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from tradewind.base.errors import missing_extra

try:
    import numpy as np
except ModuleNotFoundError as error:
    raise missing_extra("numpy", "ml") from error

__all__ = ["Array", "Columns", "need", "np"]

Array = np.ndarray[Any, Any]
# One array a column. Numbers are float64 (NaN: null) or int64, truth values bool, text an object
# array (None: null), times datetime64[us] in UTC (NaT: null).
Columns = dict[str, Array]


def need(library: str, extra: str) -> Any:
    """The module, or the error that says what to install."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name is None or not library.startswith(error.name):
            raise
        raise missing_extra(library.partition(".")[0], extra) from error
