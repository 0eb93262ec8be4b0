"""Differences of versions, and the statistics that they stand on."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.base import errors
from tradewind.data import diff, profile

pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


def write(folder: Path, name: str, table: Any) -> list[Path]:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, folder / name)
    return [folder / name]


def compare(old: Any, new: Any, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found = diff.diff(write(folder, "old", old), write(folder, "new", new), keys)
    json.dumps(found, allow_nan=False)
    return found


def keyed(rows: dict[int, int | None]) -> Any:
    return pa.table(
        {"k": pa.array(rows.keys(), pa.int64()), "v": pa.array(rows.values(), pa.int64())}
    )


ROWS = st.dictionaries(st.integers(0, 6), st.none() | st.integers(0, 2), max_size=6)


@settings(max_examples=12, deadline=None)
@given(old=ROWS, new=ROWS)
def test_by_keys(old: dict[int, int | None], new: dict[int, int | None]) -> None:
    found = compare(keyed(old), keyed(new), ("k",))
    both = old.keys() & new.keys()
    changed = {key for key in both if old[key] != new[key]}
    assert found["by"] == ["k"] and found["rows"] == {
        "old": len(old),
        "new": len(new),
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": len(changed),
        "unchanged": len(both) - len(changed),
    }
    assert {int(one["key"]["k"]) for one in found["samples"]["changed"]} == changed
    back = compare(keyed(new), keyed(old), ("k",))
    assert back["rows"]["added"] == found["rows"]["removed"]


@settings(max_examples=12, deadline=None)
@given(
    old=st.lists(st.none() | st.integers(0, 3), max_size=8),
    new=st.lists(st.none() | st.integers(0, 3), max_size=8),
)
def test_as_multisets(old: list[int | None], new: list[int | None]) -> None:
    one, two = (pa.table({"v": pa.array(side, pa.int64())}) for side in (old, new))
    rows = compare(one, two)["rows"]
    assert rows["added"] == (Counter(new) - Counter(old)).total()
    assert rows["removed"] == (Counter(old) - Counter(new)).total()
    assert compare(one, one)["rows"]["unchanged"] == len(old)


def test_schema_samples_and_keys_that_are_not_unique() -> None:
    old = pa.table({"k": [1, 1, 2], "gone": [1, 2, 3], "v": [1, 2, 3]})
    new = pa.table({"k": [1, 2, 2], "v": ["1", "2", "x"], "new": [True, None, False]})
    found = compare(old, new, ("k",))
    assert found["schema"] == {
        "added": [{"name": "new", "type": "bool"}],
        "removed": [{"name": "gone", "type": "int64"}],
        "changed": [{"name": "v", "old": "int64", "new": "string"}],
    }
    assert found["by"] == [] and found["rows"]["added"] == 2 == found["rows"]["removed"]
    assert {"k": "2", "v": "x"} in found["samples"]["added"]
    with pytest.raises(errors.InvalidData, match="no column 'q'"):
        compare(old, new, ("q",))
    assert compare(pa.table({"a": [1]}), pa.table({"b": [1, 2]}))["rows"]["added"] == 2


def test_drift() -> None:
    same = pa.table({"n": list(range(100)), "s": ["a", "b"] * 50})
    moved = pa.table({"n": list(range(50, 150)), "s": ["a"] * 90 + [None] * 10})
    still, drift = compare(same, same)["columns"], compare(same, moved)["columns"]
    assert [one["psi"] for one in still] == [0.0, 0.0] and still[0]["shift"] == 0.0
    assert drift[0]["mean"] == [49.5, 99.5] and 1.7 < drift[0]["shift"] < 1.8
    assert drift[0]["psi"] > 0.25 and drift[1]["psi"] > 0.25
    assert drift[1]["null_rate"] == pytest.approx([0, 0.1])
    assert diff.psi([50, 50], [25, 75]) == pytest.approx(0.2746, abs=1e-4)


def test_statistics(tmp_path: Path) -> None:
    import datetime as dt
    import decimal

    table = pa.table(
        {
            "i": [1, 2, 2, None],
            "f": [1.5, float("nan"), float("inf"), 2.5],
            "s": ["b", "a", "b", None],
            "b": [True, False, True, True],
            "t": pa.array([dt.datetime(2013, 1, 1, tzinfo=dt.UTC)] * 4, pa.timestamp("us", "UTC")),
            "d": [decimal.Decimal("1.10")] * 4,
            "l": [[1], None, [], [2]],
            "e": pa.nulls(4, pa.string()),
            "x": [1e300, -1e300, 1.0, 0.0],
        }
    )
    made = profile.profile(write(tmp_path, "t", table)).to_json()
    json.dumps(made, allow_nan=False)
    stats = {one["name"]: one for one in made["columns"]}
    assert stats["i"]["top"] == ((2, 2), (1, 1)) and stats["i"]["nulls"] == 1
    assert (stats["i"]["min"], stats["i"]["max"], stats["i"]["distinct"]) == (1, 2, 2)
    assert stats["i"]["mean"] == pytest.approx(5 / 3)
    assert stats["i"]["std"] == pytest.approx(0.57735, abs=1e-5)
    assert (stats["f"]["nan"], stats["f"]["min"], stats["f"]["mean"]) == (2, 1.5, 2.0)
    assert (stats["s"]["min"], stats["s"]["distinct"]) == ("a", 2)
    assert stats["b"]["mean"] == 0.75 and stats["t"]["min"] == "2013-01-01T00:00:00Z"
    assert stats["d"]["max"] == "1.10" and stats["l"]["count"] == 3
    assert "min" not in stats["e"] and stats["e"]["distinct"] == 0 and "std" not in stats["x"]


def test_statistics_of_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "EXACT_ROWS", 10)
    table = pa.table({"n": [number % 50 for number in range(5000)], "s": ["a", "b"] * 2500})
    first, second = profile.profile(write(tmp_path, "t", table)).columns
    assert not first.distinct_exact and 45 <= (first.distinct or 0) <= 55
    assert second.top == (("a", 2500), ("b", 2500))


def test_no_rows(tmp_path: Path) -> None:
    made = profile.profile(write(tmp_path, "t", pa.table({"a": pa.array([], pa.int64())})))
    assert made.rows == 0 and made.columns[0].count == 0
    empty = pa.table({"a": pa.array([], pa.int64())})
    assert compare(empty, empty)["rows"]["unchanged"] == 0
