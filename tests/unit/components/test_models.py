"""train and predict on made-up rows with a known answer; measures against scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tradewind.base.errors import InvalidData, InvalidSpec
from tradewind.components import features, predict, split, train
from tradewind.components.measures import auc, best_threshold, calibration, log_loss, measure
from tradewind.components.training import fit
from tradewind.models.package import load

DECLARED = [
    {"op": "number", "column": "x"},
    {"op": "number", "column": "noise"},
    {"op": "category", "column": "kind"},
]


def rows(count: int = 3000, seed: int = 0) -> pa.Table:
    chance = np.random.default_rng(seed)
    x, noise = chance.normal(size=count), chance.normal(size=count)
    kind = chance.choice(["a", "b", "c"], count)
    odds = 1.5 * x + np.where(kind == "a", 1.0, -0.5)
    late = chance.random(count) < 1 / (1 + np.exp(-odds))
    noise = pa.array(np.where(chance.random(count) < 0.1, np.nan, noise), from_pandas=True)
    return pa.table({"x": x, "noise": noise, "kind": kind.tolist(), "late": late})


@pytest.mark.parametrize(("algorithm", "kind"), [("baseline", "linear"), ("boosted", "lightgbm")])
def test_train_save_load_predict(tmp_path: Path, algorithm: Any, kind: str) -> None:
    parts = split(rows(), test=0.3)
    table = features(parts["train"], declared=DECLARED, label="late")
    params = {"rounds": 40, "num_leaves": 7} if algorithm == "boosted" else None
    made = train(
        table, label="late", model=tmp_path / "m", algorithm=algorithm, params=params, threads=1
    )
    assert load(tmp_path / "m").manifest.format == kind
    found = predict(parts["test"], tmp_path / "m", label="late", keep=["kind"])
    assert 0.75 < found["metrics"]["auc"] <= made["metrics"]["train_auc"] + 0.05
    assert found["metrics"]["calibration_error"] < 0.1
    assert found["scores"].column_names == ["kind", "late", "score", "label"]
    assert found["scores"].num_rows == parts["test"].num_rows


def test_the_threshold_follows_the_costs(tmp_path: Path) -> None:
    table = features(rows(), declared=DECLARED, label="late")
    train(table, label="late", model=tmp_path / "m", algorithm="baseline", false_negative_cost=3.0)
    found = predict(rows(seed=1), tmp_path / "m", label="late", false_negative_cost=3.0)["metrics"]
    assert found["threshold"] == 0.25
    assert found["best_cost"] <= found["cost"] < found["cost_of_never"]
    assert found["best_threshold"] == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("algorithm", ["baseline", "boosted"])
def test_equal_trainings_give_equal_models(tmp_path: Path, algorithm: Any) -> None:
    table = features(rows(), declared=DECLARED, label="late")
    params = {"rounds": 10} if algorithm == "boosted" else None
    digests = [
        fit(table, label="late", algorithm=algorithm, params=params, threads=1)
        .save(tmp_path / name)
        .digest
        for name in "ab"
    ]
    assert digests[0] == digests[1]


def test_what_cannot_be_learned_from(tmp_path: Path) -> None:
    table = features(rows(), declared=DECLARED, label="late")
    alike = table.set_column(3, "late", pa.array(np.ones(table.num_rows, np.int8)))
    with pytest.raises(InvalidData, match="the same in all 3000 rows"):
        fit(alike, label="late")
    with pytest.raises(InvalidData, match="no column 'lat'"):
        fit(table, label="lat")
    with pytest.raises(InvalidSpec, match="unknown algorithm"):
        fit(table, label="late", algorithm="deep")  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="no parameter 'depth'"):
        fit(table, label="late", algorithm="baseline", params={"depth": 3})


SCORED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0])),
    min_size=2,
    max_size=40,
)


@given(SCORED)
def test_measures_are_those_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    truth = np.array([one[0] for one in pairs], float)
    score = np.array([one[1] for one in pairs])
    found = measure(truth, score, threshold=0.5)
    if 0 < truth.sum() < len(truth):
        assert auc(truth, score) == pytest.approx(reference.roc_auc_score(truth, score))
        assert log_loss(truth, score) == pytest.approx(
            reference.log_loss(truth, np.clip(score, 1e-15, 1 - 1e-15)), rel=1e-6
        )
    else:
        assert found["auc"] is None
    assert found["brier"] == pytest.approx(reference.brier_score_loss(truth, score, pos_label=1))
    matrix = reference.confusion_matrix(truth, score >= 0.5, labels=[0, 1])
    names = ("true_negative", "false_positive", "false_negative", "true_positive")
    assert [found["confusion"][name] for name in names] == matrix.ravel().tolist()


@given(SCORED, st.integers(1, 5), st.integers(1, 5))
def test_no_threshold_costs_less(pairs: list[tuple[bool, float]], wrong: int, missed: int) -> None:
    truth = np.array([one[0] for one in pairs], float)
    score = np.array([one[1] for one in pairs])

    def cost(at: float) -> float:
        said = score >= at
        return float(wrong * (said & (truth == 0)).sum() + missed * (~said & (truth == 1)).sum())

    threshold, best = best_threshold(truth, score, wrong, missed)
    assert threshold is not None and best is not None
    assert best * len(truth) == pytest.approx(cost(threshold))
    assert best * len(truth) <= min(cost(at) for at in (*score, 2.0)) + 1e-9


def test_calibration_counts_every_row() -> None:
    table, gap = calibration(np.array([0.0, 1.0, 1.0, 1.0]), np.full(4, 0.75), 2)
    assert [one["rows"] for one in table] == [2, 2]
    assert gap == pytest.approx(0.25)
    assert measure(np.empty(0), np.empty(0), threshold=0.5)["auc"] is None
