"""DuckDB reads an expression as it was written: nothing in it is taken apart in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.inside import ways

DATA = pa.table({"b": [True, False, None], "n": [1, 2, None], "s": ["a", "ab", None]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda t: (t.b & t.b).between(t.b & t.b, ~t.b), [False, True, None]),
        (lambda t: t.n.identical_to(t.n) == t.b, [True, False, None]),
        (lambda t: (t.b == t.b).identical_to(t.b), [True, False, True]),
        (lambda t: t.n.isin([1, 7]) == t.b, [True, True, None]),
        (lambda t: (t.b | t.b).isin([False]), [False, True, None]),
        (lambda t: t.n.isnull() == t.n.notnull(), [False, False, False]),
        (lambda t: t.s.like("a_") == t.b, [False, False, None]),
        (lambda t: ~t.b == t.b, [False, False, None]),
    ],
)
def test_a_condition_is_what_it_says(
    value: Callable[[Any], Any], expected: list[bool | None], tmp_path: Path
) -> None:
    def function(data: Any) -> Any:
        return data.select(made=value(data))

    _, (found,) = ways.carried(function, ways.written(DATA, tmp_path), "expression")
    assert found["made"].to_pylist() == expected
