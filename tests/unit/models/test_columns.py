"""validate: rows become columns, or a located error."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import InvalidData
from tradewind.models.columns import from_table, infer, validate, validate_columns
from tradewind.models.manifest import Column, Signature

SIGNATURE = Signature(
    inputs=(
        Column(name="whole", type="int64"),
        Column(name="real", type="float64", nullable=True),
        Column(name="yes", type="bool"),
        Column(name="text", type="string", nullable=True),
        Column(name="kind", type="string", categories=("a", "b")),
        Column(name="at", type="timestamp"),
    ),
    outputs=(),
)
GOOD: dict[str, Any] = {
    "whole": 3,
    "real": 1.5,
    "yes": True,
    "text": "hello",
    "kind": "a",
    "at": "2026-03-01T10:00:00+02:00",
}


def test_good_rows() -> None:
    found = validate(SIGNATURE, [GOOD, {**GOOD, "real": None, "text": None, "whole": 4.0}])
    assert found["whole"].tolist() == [3, 4]
    assert found["real"][0] == 1.5 and np.isnan(found["real"][1])
    assert found["text"].tolist() == ["hello", None]
    assert found["at"][0] == np.datetime64("2026-03-01T08:00:00")


def test_what_may_be_null_may_be_left_out() -> None:
    found = validate(SIGNATURE, [{k: v for k, v in GOOD.items() if k not in ("real", "text")}])
    assert np.isnan(found["real"][0]) and found["text"][0] is None


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"whole": None}, "row 1, 'whole': expected int64, got null", "rows[1].whole"),
    ({"whole": 1.5}, "expected int64, got 1.5", "rows[1].whole"),
    ({"whole": True}, "expected int64, got True", "rows[1].whole"),
    ({"whole": 2**63}, "expected int64", "rows[1].whole"),
    ({"real": "7"}, "expected float64 or null, got text '7'", "rows[1].real"),
    ({"real": float("inf")}, "an infinite number", "rows[1].real"),
    ({"real": 10**400}, "a number out of range", "real"),
    ({"yes": 1}, "expected bool, got 1", "rows[1].yes"),
    ({"text": 5}, "expected string or null, got 5", "rows[1].text"),
    ({"text": ["x"]}, "got a list", "rows[1].text"),
    ({"kind": "c"}, "expected one of a, b, got text 'c'", "rows[1].kind"),
    ({"at": "yesterday"}, "expected timestamp such as", "rows[1].at"),
    ({"at": 17}, "expected timestamp such as", "rows[1].at"),
    ({"hole": 1}, "no such column (did you mean 'whole'?)", "rows[1].hole"),
]


@pytest.mark.parametrize(("change", "words", "field"), WRONG)
def test_wrong_rows(change: dict[str, Any], words: str, field: str) -> None:
    with pytest.raises(InvalidData) as caught:
        validate(SIGNATURE, [GOOD, {**GOOD, **change}])
    assert words in caught.value.message
    assert caught.value.where is not None and caught.value.where.field == field


def test_missing_and_misshapen() -> None:
    with pytest.raises(InvalidData, match="row 0, 'yes': expected bool, got nothing"):
        validate(SIGNATURE, [{k: v for k, v in GOOD.items() if k != "yes"}])
    with pytest.raises(InvalidData, match="row 0: expected an object"):
        validate(SIGNATURE, [[1, 2]])  # type: ignore[list-item]
    with pytest.raises(InvalidData, match="and 7 more"):
        validate(SIGNATURE, [{**GOOD, "yes": "?"}] * 12)
    with pytest.raises(InvalidData, match="expected 2 values, got 1"):
        validate_columns(SIGNATURE, {k: [v, v] if k != "yes" else [v] for k, v in GOOD.items()})
    with pytest.raises(InvalidData, match="'yes': expected bool, got nothing"):
        validate_columns(SIGNATURE, {k: [v] for k, v in GOOD.items() if k != "yes"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(list(GOOD)), JSON) | JSON, max_size=3))
def test_anything_gives_columns_or_an_error_of_ours(rows: list[Any]) -> None:
    try:
        found = validate(SIGNATURE, [{**GOOD, **r} if isinstance(r, dict) else r for r in rows])
    except InvalidData:
        return
    assert {len(values) for values in found.values()} == {len(rows)}


def test_a_table_and_its_rows_are_the_same_columns() -> None:
    table = pa.table(
        {
            "whole": pa.array([1, 2], pa.int16()),
            "real": [1.5, None],
            "yes": [True, False],
            "text": pa.array(["x", None]).dictionary_encode(),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 2),
            "day": [date(2026, 1, 1), date(2026, 1, 2)],
            "more": [[1], [2]],
        }
    )
    names = ["whole", "real", "yes", "text", "at", "day"]
    inputs = infer(table, names)
    assert [one.type for one in inputs] == [
        "int64", "float64", "bool", "string", "timestamp", "timestamp",
    ]  # fmt: skip
    assert [one.nullable for one in inputs] == [False, True, False, True, False, False]
    assert inputs[3].categories == ("x",)
    signature = Signature(inputs=inputs, outputs=())
    one = from_table(signature, table)
    other = validate(signature, table.select(names).to_pylist())
    for name in names:
        np.testing.assert_array_equal(one[name], other[name])
    with pytest.raises(InvalidData, match="type list"):
        infer(table, ["more"])
    with pytest.raises(InvalidData, match="no column 'whole'"):
        from_table(signature, table.drop_columns(["whole"]))
    with pytest.raises(InvalidData, match="row 0, 'whole': expected int64, got null"):
        from_table(signature, table.set_column(0, "whole", pa.array([None, 1], pa.int64())))
    with pytest.raises(InvalidData, match="column 'yes': expected bool, got string"):
        from_table(signature, table.set_column(2, "yes", pa.array(["a", "b"])))
