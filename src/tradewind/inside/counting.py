"""How often the user's function is called, and for how long: what a call takes whatever its rows
(a request to a server, a pause) is paid again by each."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable

from . import convert, groups, inputs, measure, styles


class Counted:
    """A function that counts its calls; `told` says how many there were and what they took."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """`call` stands for the function."""
        self._told = {"times": 0, "inside": 0.0, "inside_cpu": 0.0}

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began, cpu = time.perf_counter(), measure.cpu_seconds()
            try:
                return function(*args, **kwargs)
            finally:
                self._told["times"] += 1
                self._told["inside"] += time.perf_counter() - began
                self._told["inside_cpu"] += measure.cpu_seconds() - cpu

        self.call = call

    def told(self) -> dict[str, float]:
        """`times`, and of them all `inside` (seconds) and `inside_cpu`; from now on it counts
        anew."""
        found = dict(self._told)
        self._told.update(times=0, inside=0.0, inside_cpu=0.0)
        return found


def times(function: Callable[..., Any], start: dict[str, Any], found: list[groups.Group]) -> int:
    """How often a run calls a function of the style batch or table for these row groups."""
    if start["entry"]["call"]["style"] != "batch":
        return 1
    hint = inputs.hints_of(function).get(styles.streamed(function, start))
    most = styles.DICTS if convert.wanted(hint) == "rows" else groups.ROWS
    return sum(-(-group.rows // groups.batch_rows(group, most)) for group in found)
