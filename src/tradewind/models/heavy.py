"""numpy for this room, and the other libraries on use, with the error that names the extra."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from tradewind.base.errors import missing_extra

try:
    import numpy as np
except ModuleNotFoundError as error:
    raise missing_extra("numpy", "ml") from error

__all__ = ["Array", "Columns", "need", "np", "without"]

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


@contextlib.contextmanager
def without(*libraries: str) -> Iterator[None]:
    """For the time being these cannot be imported: for a library that loads what it may not need.

    One that is loaded already stays. Only for a process that nobody else's code runs in.
    """
    hidden = [name for name in libraries if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, sys) is None:
                del sys.modules[name]
