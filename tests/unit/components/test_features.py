"""features: the same numbers when they are learned from and when they are served."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tradewind.base.errors import InvalidData, InvalidSpec, NotAllowed
from tradewind.components import features
from tradewind.components.featuring import transformer_of
from tradewind.models import columns, transformer
from tradewind.models.manifest import Signature

DECLARED: list[dict[str, Any]] = [
    {"op": "number", "column": "x"},
    {"op": "number", "column": "flag"},
    {"op": "time", "column": "at", "parts": ["year", "month", "day", "yearday", "weekday", "hour"]},
    {"op": "cyclic", "column": "at", "part": "hour"},
    {"op": "cyclic", "column": "x", "period": 10, "name": "round"},
    {"op": "ratio", "columns": ["x", "y"]},
    {"op": "bins", "column": "x", "count": 4},
    {"op": "bins", "column": "y", "edges": [0, 2]},
    {"op": "frequency", "column": "city"},
    {"op": "target", "columns": ["city", "flag"], "smoothing": 2},
    {"op": "missing", "column": "y"},
    {"op": "category", "column": "city", "most": 2},
]


def rows(count: int = 60) -> pa.Table:
    start = datetime(2026, 2, 27, 22, tzinfo=UTC)
    return pa.table(
        {
            "x": [float(one % 7) for one in range(count)],
            "y": [None if one % 5 == 0 else one % 3 for one in range(count)],
            "flag": [one % 2 == 0 for one in range(count)],
            "city": [None if one % 11 == 0 else "abcd"[one % 4] for one in range(count)],
            "at": [start + timedelta(hours=5 * one) for one in range(count)],
            "late": [one % 3 == 0 for one in range(count)],
        }
    )


def served(table: pa.Table, lines: list[dict[str, Any]]) -> dict[str, list[float]]:
    """As a replica has it: the transformer out of JSON, the rows out of JSON."""
    fitted = transformer.from_json(json.loads(json.dumps(transformer_of(table).to_json())))
    found = columns.validate(Signature(inputs=fitted.inputs, outputs=()), lines)
    return {name: values.tolist() for name, values in fitted.apply(found).items()}


def test_serving_computes_what_training_saw() -> None:
    table = rows()
    made = features(table, declared=DECLARED, label="late")
    names = ["x", "y", "flag", "city", "at"]
    lines = json.loads(json.dumps(table.select(names).to_pylist(), default=datetime.isoformat))
    again = served(made, lines)
    assert list(again) == made.column_names[:-1]
    for name, values in again.items():
        if name != "city_flag_target":  # of the training rows it is made from the other folds
            np.testing.assert_array_equal(made[name].to_numpy(), values, err_msg=name)


def test_values_by_hand() -> None:
    made = features(rows(), declared=DECLARED, label="late")
    line = {"x": 3.0, "y": 2, "flag": True, "city": "a", "at": "2026-03-01T23:30:00+01:00"}
    found = {name: values[0] for name, values in served(made, [line]).items()}
    assert found["at_year"] == 2026 and found["at_month"] == 3 and found["at_day"] == 1
    assert found["at_yearday"] == 60 and found["at_weekday"] == 6 and found["at_hour"] == 22
    assert found["x_per_y"] == 1.5 and found["y_bin"] == 2 and found["y_missing"] == 0
    assert found["round_sin"] == pytest.approx(np.sin(2 * np.pi * 0.3))
    assert found["city_code"] in (0, 1, 2)


def test_the_unseen_and_the_missing() -> None:
    made = features(rows(), declared=DECLARED, label="late", nullable=["x", "at", "flag"])
    line = {"x": None, "y": None, "flag": None, "city": "new", "at": None}
    found = {name: values[0] for name, values in served(made, [line]).items()}
    assert found["city_frequency"] == 0 and found["city_code"] == 2
    assert found["city_flag_target"] == pytest.approx(1 / 3)
    assert found["y_missing"] == 1
    assert np.isnan([found["x"], found["at_hour"], found["x_per_y"], found["x_bin"]]).all()


def test_a_rows_own_label_does_not_shine_through() -> None:
    """A key that occurs once says nothing of its row, whatever its label."""
    keys = pa.table({"id": [f"k{one}" for one in range(200)], "late": [True, False] * 100})
    one = {"op": "target", "column": "id", "smoothing": 0}
    made = features(keys, declared=[one], label="late")
    encoded = made["id_target"].to_numpy()
    # Of each fold it is the others' mean, and not the row's own label.
    assert len(set(encoded.tolist())) <= 5
    assert np.abs(encoded - 0.5).max() < 0.1


def test_the_transformer_survives_parquet(tmp_path: Any) -> None:
    made = features(rows(), declared=DECLARED, label="late")
    pq.write_table(made, tmp_path / "features.parquet")
    again = pq.ParquetFile(tmp_path / "features.parquet").read()
    assert transformer_of(again).to_json() == transformer_of(made).to_json()
    with pytest.raises(InvalidData, match="how its features were made"):
        transformer_of(rows())


def test_what_is_known_later_is_refused_by_name() -> None:
    with pytest.raises(NotAllowed, match="reads 'y', which is known only after"):
        features(rows(), declared=DECLARED, label="late", known_after=["y"])
    with pytest.raises(NotAllowed, match="reads 'late'"):
        features(rows(), declared=[{"op": "number", "column": "late"}], label="late")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"op": "magic", "column": "x"}, "unknown op 'magic'"),
        ({"op": "number"}, "needs one column"),
        ({"op": "number", "column": "x", "size": 3}, "no option 'size'"),
        ({"op": "ratio", "columns": ["x"]}, "two columns"),
        ({"op": "time", "column": "at", "parts": ["era"]}, "unknown part 'era'"),
        ({"op": "cyclic", "column": "x"}, "period above 0"),
        ({"op": "number", "column": "city"}, "no number in it"),
        ({"op": "time", "column": "x", "parts": ["hour"]}, "part of a timestamp"),
        ({"op": "target", "column": "city"}, "needs a label"),
    ],
)
def test_wrong_declarations(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        features(rows(), declared=[wrong])


def test_two_features_of_one_name() -> None:
    twice = [{"op": "number", "column": "x"}, {"op": "number", "column": "y", "name": "x"}]
    with pytest.raises(InvalidSpec, match=r"made by features\[0\] already"):
        features(rows(), declared=twice)


def test_labels() -> None:
    one = [{"op": "number", "column": "x"}]
    for values, words in (
        ([1, 2], "is 2 in some row"),
        ([None, 1], "have no"),
        (["a", "b"], "nei"),
    ):
        with pytest.raises(InvalidData, match=words):
            features(pa.table({"x": [1, 2], "late": values}), declared=one, label="late")
