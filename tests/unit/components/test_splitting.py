"""split: reproducible, and nothing on both sides."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import InvalidData, InvalidSpec
from tradewind.components import split
from tradewind.components.hashing import hash_rows, share

ROWS = 2000


def rows(count: int = ROWS) -> pa.Table:
    start = datetime(2026, 1, 1)
    return pa.table(
        {
            "id": list(range(count)),
            "group": [f"g{one % 97}" for one in range(count)],
            "label": [one % 10 == 0 for one in range(count)],
            "at": [start + timedelta(hours=one // 3) for one in range(count)],
        }
    )


def ids(part: pa.Table) -> set[int]:
    return set(part["id"].to_pylist())


WAYS: list[dict[str, Any]] = [
    {"how": "random"},
    {"how": "random", "key": ["id"]},
    {"how": "stratified", "by": "label"},
    {"how": "grouped", "by": "group"},
    {"how": "time", "by": "at"},
]


@pytest.mark.parametrize("way", WAYS)
def test_every_row_once_whatever_the_order(way: dict[str, Any]) -> None:
    table = rows()
    parts = split(table, **way, test=0.25, validation=0.15, seed=3)
    assert sum(part.num_rows for part in parts.values()) == ROWS
    assert ids(parts["train"]) | ids(parts["test"]) | ids(parts["validation"]) == ids(table)
    for name, expected in (("test", 0.25), ("validation", 0.15)):
        assert parts[name].num_rows / ROWS == pytest.approx(expected, abs=0.06)
    mixed = table.take(pa.array(np.random.default_rng(1).permutation(ROWS)))
    again = split(mixed, **way, test=0.25, validation=0.15, seed=3)
    assert {name: ids(part) for name, part in again.items()} == {
        name: ids(part) for name, part in parts.items()
    }
    if way["how"] != "time":
        assert ids(split(table, **way, test=0.25, seed=4)["test"]) != ids(parts["test"])


@given(st.lists(st.integers(0, 30), min_size=30, max_size=60), st.integers(0, 20))
def test_a_group_is_never_on_both_sides(groups: list[int], seed: int) -> None:
    table = pa.table({"g": groups})
    try:
        parts = split(table, how="grouped", by="g", test=0.4, validation=0.2, seed=seed)
    except InvalidData:  # all groups fell to one side, and it says so
        return
    sides = [set(part["g"].to_pylist()) for part in parts.values()]
    assert sum(map(len, sides)) == len(set(groups))


def test_strata_keep_their_shares_exactly() -> None:
    parts = split(rows(), how="stratified", by="label", test=0.2)
    assert sum(parts["test"]["label"].to_pylist()) == 40
    assert parts["test"].num_rows == 400


def test_more_rows_never_move_old_ones() -> None:
    before, after = (split(rows(count), key=["id"])["test"] for count in (1000, 2000))
    assert ids(before) == {one for one in ids(after) if one < 1000}


def test_cuts_by_time() -> None:
    parts = split(rows(), how="time", by="at", cuts=["2026-01-10", "2026-01-20T00:00:00"])
    assert max(parts["train"]["at"].to_pylist()) < datetime(2026, 1, 10)
    assert min(parts["validation"]["at"].to_pylist()) == datetime(2026, 1, 10)
    assert min(parts["test"]["at"].to_pylist()) == datetime(2026, 1, 20)


def test_equal_times_stay_together() -> None:
    parts = split(rows(), how="time", by="at", test=0.3)
    assert max(parts["train"]["at"].to_pylist()) < min(parts["test"]["at"].to_pylist())


def test_hashes_know_values_and_not_their_dress() -> None:
    plain = pa.table({"a": pa.array([1, None, 3], pa.int32()), "b": ["x", "y", None]})
    dressed = pa.table(
        {"a": pa.array([1, None, 3], pa.int64()), "b": plain["b"].dictionary_encode()}
    )
    one, other = (hash_rows(table, ["a", "b"], seed=1).tolist() for table in (plain, dressed))
    assert one == other
    assert len(set(one)) == 3
    # A hash is for ever: a new release that moved rows between sides would spoil every comparison.
    assert hash_rows(pa.table({"a": [7]}), ["a"], seed=0).tolist() == [FOREVER]
    shares = share(hash_rows(rows(), ["id"], seed=0))
    assert 0 <= shares.min() < 0.01 < 0.99 < shares.max() < 1


FOREVER = 2424547228776807427


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"how": "sideways"}, "unknown split"),
        ({"how": "grouped"}, "needs a column"),
        ({"test": 1.5}, "leave something"),
        ({"cuts": ["2026-01-01"]}, "only a split by time"),
        ({"how": "time", "by": "at", "cuts": ["soon"]}, "'soon' is not a time"),
        ({"how": "time", "by": "at", "cuts": ["2026-02-01", "2026-01-01"]}, "in order"),
    ],
)
def test_wrong_options(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        split(rows(), **wrong)


def test_wrong_data() -> None:
    with pytest.raises(InvalidData, match="no column 'grp'"):
        split(rows(), how="grouped", by="grp")
    with pytest.raises(InvalidData, match="not a time"):
        split(rows(), how="time", by="id")
    with pytest.raises(InvalidData, match="no row of 0 falls to 'train'"):
        split(rows(0))
    with pytest.raises(InvalidData, match="have no time"):
        split(pa.table({"at": pa.array([None], pa.timestamp("s"))}), how="time", by="at")
