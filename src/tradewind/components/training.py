"""`train`: a baseline and a gradient-boosted model of a yes or no."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from tradewind.base.errors import InvalidData, InvalidSpec, Location
from tradewind.components.arrow import pa, refuse_missing
from tradewind.components.featuring import label_of, transformer_of
from tradewind.components.measures import measure
from tradewind.models.formats import FORMATS, matrix
from tradewind.models.heavy import Array, Columns, need, np
from tradewind.models.manifest import Manifest, Signature
from tradewind.models.package import ModelArtifact
from tradewind.models.transformer import Transformer

BOOSTED: dict[str, Any] = {
    "rounds": 300, "learning_rate": 0.05, "num_leaves": 63, "min_data_in_leaf": 100,
    "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1,
    "cat_smooth": 50.0, "max_cat_to_onehot": 8,
}  # fmt: skip
BASELINE: dict[str, Any] = {"regularization": 1.0, "iterations": 300}


def train(
    rows: pa.Table,
    *,
    label: str,
    model: Path,
    algorithm: Literal["baseline", "boosted"] = "boosted",
    params: Mapping[str, Any] | None = None,
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
    seed: int = 0,
    threads: int = 0,
) -> dict[str, Any]:
    """Fit on the output of `features`, save the model into the folder `model`, give its figures.

    The threshold is the one that costs least if the scores are true probabilities.
    """
    made = fit(
        rows, label=label, algorithm=algorithm, params=params,
        threshold=false_positive_cost / (false_positive_cost + false_negative_cost),
        seed=seed, threads=threads,
    )  # fmt: skip
    made.save(model)
    return {"metrics": made.metrics, "params": made.params}


def fit(
    rows: pa.Table,
    *,
    label: str,
    algorithm: Literal["baseline", "boosted"] = "boosted",
    params: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    seed: int = 0,
    threads: int = 0,
) -> ModelArtifact:
    """The trained model, not yet saved; its metrics are those of the training rows."""
    if algorithm not in _FIT:
        raise InvalidSpec(f"unknown algorithm {algorithm!r}; there are {', '.join(_FIT)}")
    fitted = transformer_of(rows)
    refuse_missing(rows, fitted.names, "rows")
    truth = label_of(rows, label)
    if not 0 < truth.sum() < len(truth):
        raise InvalidData(f"the label {label!r} is the same in all {len(truth)} rows")
    columns = {name: rows[name].to_numpy() for name in fitted.names}
    defaults, work = _FIT[algorithm]
    chosen = {**defaults, **(params or {})}
    if algorithm == "baseline" and (odd := chosen.keys() - defaults.keys()):
        known = ", ".join(defaults)
        raise InvalidSpec(f"no parameter {min(odd)!r}; {known}", where=Location(field="params"))
    kind, payload, score = work(fitted, columns, truth, chosen, seed, threads)
    figures = measure(truth, score, threshold=threshold)
    kept = ("rows", "positive_share", "auc", "log_loss", "brier", "calibration_error")
    return ModelArtifact(
        format=kind,
        payload=payload,
        inputs=fitted.inputs,
        answer="binary",
        transformer=fitted.to_json(),
        metrics={f"train_{name}": figures[name] for name in kept},
        params={**chosen, "algorithm": algorithm, "label": label, "seed": seed,
                "threshold": threshold},
    )  # fmt: skip


def _boosted(
    fitted: Transformer,
    columns: Columns,
    truth: Array,
    params: dict[str, Any],
    seed: int,
    threads: int,
) -> tuple[str, Any, Array]:
    # Threads that spin while they wait for each other stand still when somebody else has the core:
    # on a busy machine this is three times as fast. Read once, when the library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    lightgbm = need("lightgbm", "ml")
    rows = matrix(columns)
    settings = {
        "objective": "binary", "verbosity": -1, "seed": seed, "num_threads": threads,
        # The same rows and seed give the same trees, whatever the number of threads.
        "deterministic": True, "force_row_wise": True,
        **{name: value for name, value in params.items() if name != "rounds"},
    }  # fmt: skip
    data = lightgbm.Dataset(
        rows,
        truth,
        feature_name=[f"f{index}" for index in range(rows.shape[1])],  # its names may not be any
        categorical_feature=[fitted.names.index(name) for name in fitted.categories],
        free_raw_data=False,
    )
    booster = lightgbm.train(settings, data, num_boost_round=int(params["rounds"]))
    return "lightgbm", booster, np.asarray(booster.predict(rows, num_threads=threads))


def _baseline(
    fitted: Transformer,
    columns: Columns,
    truth: Array,
    params: dict[str, Any],
    seed: int,
    threads: int,
) -> tuple[str, Any, Array]:
    """Logistic regression over scaled numbers and one weight for each category."""
    sparse = need("scipy.sparse", "ml")
    numbers = [name for name in fitted.names if name not in fitted.categories]
    scaling = {name: _scaling(columns[name]) for name in numbers}
    blocks = [sparse.csr_matrix(_scaled(columns[name], scaling[name])[:, None]) for name in numbers]
    for name, size in fitted.categories.items():
        codes = columns[name].astype(np.int64)
        place = (np.arange(len(codes)), codes)
        blocks.append(sparse.csr_matrix((np.ones(len(codes)), place), (len(codes), size)))
    model = need("sklearn.linear_model", "ml").LogisticRegression(
        C=1.0 / float(params["regularization"]), max_iter=int(params["iterations"])
    )
    model.fit(sparse.hstack(blocks, format="csr"), truth)
    weights = model.coef_[0].tolist()
    payload: dict[str, Any] = {
        "link": "logit",
        "intercept": float(model.intercept_[0]),
        "numbers": {
            name: {**scaling[name], "weight": weight}
            for name, weight in zip(numbers, weights, strict=False)
        },
        "categories": {},
    }
    start = len(numbers)
    for name, size in fitted.categories.items():
        payload["categories"][name] = weights[start : start + size]
        start += size
    return "linear", payload, _run_linear(payload, columns)


def _scaling(values: Array) -> dict[str, float]:
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else 0.0
    spread = float(known.std()) if len(known) else 0.0
    return {"fill": mean, "mean": mean, "scale": spread if spread > 1e-12 else 1.0}


def _scaled(values: Array, by: Mapping[str, float]) -> Array:
    return (np.where(np.isnan(values), by["fill"], values) - by["mean"]) / by["scale"]


def _run_linear(payload: dict[str, Any], columns: Columns) -> Array:
    """Through the format itself, so that what is measured is what will be loaded."""
    with TemporaryDirectory() as name:
        FORMATS["linear"].save(payload, Path(name))
        empty = Manifest(format="linear", files={}, signature=Signature(inputs=(), outputs=()))
        return FORMATS["linear"].load(Path(name), empty)(columns)[""]


_FIT = {"baseline": (BASELINE, _baseline), "boosted": (BOOSTED, _boosted)}
