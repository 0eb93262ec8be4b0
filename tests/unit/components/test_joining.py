"""profile_join against an oracle that looks at every pair."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import InvalidData, InvalidSpec
from tradewind.components import profile_join
from tradewind.components.hashing import hash_rows

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = st.one_of(st.none(), st.integers(0, 12))
KEYS = st.sampled_from(["a", "b", None])
ROWS = st.lists(st.tuples(KEYS, TIMES), max_size=25)
PROFILE = st.lists(st.tuples(KEYS, TIMES, TIMES, st.integers(0, 3)), max_size=25)


def moment(hour: int | None) -> datetime | None:
    return None if hour is None else START + timedelta(hours=hour)


def table(columns: dict[str, list[Any]]) -> pa.Table:
    kinds = {"k": pa.string(), "value": pa.int64()}
    stamp = pa.timestamp("s", "UTC")
    return pa.table({n: pa.array(v, kinds.get(n, stamp)) for n, v in columns.items()})


def tables(rows: Any, profile: Any) -> tuple[pa.Table, pa.Table]:
    left = table({"k": [one[0] for one in rows], "t": [moment(one[1]) for one in rows]})
    right = table(
        {
            "k": [one[0] for one in profile],
            "at": [moment(one[1]) for one in profile],
            "written": [moment(one[2]) for one in profile],
            "value": [one[3] for one in profile],
        }
    )
    return left, right


def oracle(left: pa.Table, right: pa.Table, written: bool, most: timedelta | None) -> list[Any]:
    """O(rows x records), written from the words of the promise alone."""
    hashes, found = hash_rows(right, right.column_names, seed=0).tolist(), []
    records = right.to_pylist()
    for row in left.to_pylist():
        known = [
            (one["at"], one["written"] if written else one["at"], tie, one["value"])
            for one, tie in zip(records, hashes, strict=True)
            if None not in (row["k"], row["t"], one["at"])
            and one["k"] == row["k"]
            and one["at"] <= row["t"]
            and (not written or (one["written"] is not None and one["written"] <= row["t"]))
            and (most is None or row["t"] - one["at"] <= most)
        ]
        found.append(max(known)[3] if known else None)
    return found


@given(ROWS, PROFILE, st.booleans(), st.sampled_from(["", "2h", "5h"]), st.integers(0, 9))
def test_it_is_the_newest_value_known(
    rows: Any, profile: Any, written: bool, tolerance: str, shuffle: int
) -> None:
    left, right = tables(rows, profile)
    most = timedelta(hours=int(tolerance[0])) if tolerance else None
    expected = oracle(left, right, written, most)
    order = list(range(right.num_rows))
    random.Random(shuffle).shuffle(order)
    joined = profile_join(
        left,
        right.take(pa.array(order, pa.int64())),
        keys=["k"],
        time="t",
        profile_time="at",
        profile_write_time="written" if written else "",
        tolerance=tolerance,
        columns=["value"],
    )
    assert joined["value"].to_pylist() == expected
    assert joined.select(["k", "t"]).equals(left)


def test_a_value_written_late_is_not_known_earlier() -> None:
    left, right = tables([("a", 5), ("a", 9)], [("a", 1, 1, 10), ("a", 4, 8, 20)])
    joined = profile_join(
        left, right, keys=["k"], time="t", profile_time="at", profile_write_time="written"
    )
    assert joined["value"].to_pylist() == [10, 20]


def test_an_old_value_written_late_never_replaces_a_newer_one() -> None:
    left, right = tables([("a", 9)], [("a", 6, 6, 20), ("a", 2, 8, 10)])
    joined = profile_join(
        left, right, keys=["k"], time="t", profile_time="at", profile_write_time="written"
    )
    assert joined["value"].to_pylist() == [20]


def test_several_keys_and_integer_widths() -> None:
    left = pa.table({"a": pa.array([1, 1, 2], pa.int64()), "b": ["x", "y", "x"]})
    right = pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["y", "x"], "v": [1.0, 2.0]})
    joined = profile_join(left, right, keys=["a", "b"], prefix="p_")
    assert joined["p_v"].to_pylist() == [None, 1.0, 2.0]


def test_a_profile_without_times_must_be_unique() -> None:
    left, right = pa.table({"k": ["a"]}), pa.table({"k": ["b", "a", "a"], "v": [0, 1, 2]})
    with pytest.raises(InvalidData, match="2 records for k='a'"):
        profile_join(left, right, keys=["k"])
    with pytest.raises(InvalidData, match="no column 'key'"):
        profile_join(left, right, keys=["key"])
    with pytest.raises(InvalidData, match="string here and int64"):
        profile_join(left, right.select(["v"]).rename_columns(["k"]), keys=["k"])
    with pytest.raises(InvalidSpec, match="needs the row's time"):
        profile_join(left, right, keys=["k"], tolerance="1h")


def test_names_must_not_collide() -> None:
    left = pa.table({"k": ["a"], "v": [1]})
    with pytest.raises(InvalidSpec, match="both tables have a column 'v'"):
        profile_join(left, left, keys=["k"])
    assert profile_join(left, left, keys=["k"], prefix="old_")["old_v"].to_pylist() == [1]


def test_empty_tables() -> None:
    left, right = tables([], [])
    assert profile_join(left, right, keys=["k"], columns=["value"]).num_rows == 0
    left, _ = tables([("a", 1)], [])
    joined = profile_join(left, right, keys=["k"], time="t", profile_time="at", columns=["value"])
    assert joined["value"].to_pylist() == [None]
