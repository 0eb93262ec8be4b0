"""How a model's bytes are written and read: one table.

A format whose files are data can be loaded from anywhere. One that executes code when it is
loaded (`python`, `sklearn`) is loaded only when the caller names the manifest's digest, which it
has from its own project's registry: a hash that travels in the folder proves nothing.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradewind.base.errors import InvalidData, Refused
from tradewind.models.heavy import Array, Columns, need, np
from tradewind.models.manifest import Manifest

# Columns in, the format's raw outputs out: {"": array} where it has but one.
Predict = Callable[[Columns], dict[str, Array]]

ROWS_FOR_THREADS = 2000  # below, starting threads costs more than they save
BLOCK = 8192  # rows side by side that stay in the cache until they are scored


@dataclass(frozen=True, slots=True)
class Format:
    """`save(payload, folder)` writes the files; `load(folder, manifest)` gives a predictor."""

    about: str
    libraries: tuple[str, ...]
    save: Callable[[Any, Path], None]
    load: Callable[[Path, Manifest], Predict]
    executes: bool = False


def matrix(columns: Columns) -> Array:
    """Columns side by side as float64; text has no place in it."""
    for name, values in columns.items():
        if values.dtype.kind in "OM":
            raise InvalidData(f"column {name!r} holds no numbers: this model needs a transformer")
    made = np.empty((len(next(iter(columns.values()), ())), len(columns)))
    for index, values in enumerate(columns.values()):
        made[:, index] = values
    return made


def _save_lightgbm(booster: Any, folder: Path) -> None:
    booster.save_model(str(folder / "model.txt"))


def _load_lightgbm(folder: Path, manifest: Manifest) -> Predict:
    booster = need("lightgbm", "ml").Booster(model_file=str(folder / "model.txt"))

    def predict(columns: Columns) -> dict[str, Array]:
        count = len(next(iter(columns.values()), ()))
        threads = 1 if count < ROWS_FOR_THREADS else 0
        made = []
        for start in range(0, count, BLOCK):
            rows = matrix({name: one[start : start + BLOCK] for name, one in columns.items()})
            made.append(booster.predict(rows, num_threads=threads))
        return {"": np.concatenate(made) if made else np.empty(0)}

    return predict


def _save_linear(payload: dict[str, Any], folder: Path) -> None:
    text = json.dumps(payload, indent=1, sort_keys=True)
    (folder / "linear.json").write_text(text + "\n", encoding="utf-8")


def _load_linear(folder: Path, manifest: Manifest) -> Predict:
    """Plain arithmetic: a filled and scaled number times its weight, a weight for each category."""
    body = json.loads((folder / "linear.json").read_text(encoding="utf-8"))
    names = list(body["numbers"])
    fill, mean, scale, weight = (
        np.array([body["numbers"][name][key] for name in names], np.float64)
        for key in ("fill", "mean", "scale", "weight")
    )
    codes = {name: np.array(weights) for name, weights in body["categories"].items()}

    def predict(columns: Columns) -> dict[str, Array]:
        rows = matrix({name: columns[name] for name in names})
        rows = np.where(np.isnan(rows), fill, rows)
        total = (rows - mean) / scale @ weight + body["intercept"]
        for name, weights in codes.items():
            total = total + weights[columns[name].astype(np.int64)]
        return {"": 1.0 / (1.0 + np.exp(-total)) if body["link"] == "logit" else total}

    return predict


def _save_onnx(payload: Any, folder: Path) -> None:
    data = payload if isinstance(payload, bytes) else payload.SerializeToString()
    (folder / "model.onnx").write_bytes(data)


def _load_onnx(folder: Path, manifest: Manifest) -> Predict:
    """One tensor of all columns, or one input a column, as the graph has it."""
    runtime = need("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    inputs, names = session.get_inputs(), [one.name for one in session.get_outputs()]

    def feed(columns: Columns) -> dict[str, Array]:
        if len(inputs) == 1 and inputs[0].name not in columns:
            return {inputs[0].name: matrix(columns).astype(_ONNX[inputs[0].type])}
        made = {}
        for one in inputs:
            values = columns[one.name].astype(_ONNX[one.type])
            made[one.name] = values.reshape(-1, 1) if len(one.shape) == 2 else values
        return made

    def predict(columns: Columns) -> dict[str, Array]:
        found = session.run(None, feed(columns))
        outputs = {name: np.asarray(one) for name, one in zip(names, found, strict=True)}
        if not manifest.answer:
            return outputs
        floats = [one for one in outputs.values() if one.dtype.kind == "f"]
        raw = floats[-1]
        return {"": raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw}

    return predict


_ONNX: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


def sklearn_to_onnx(estimator: Any, width: int) -> bytes:
    """A fitted estimator as an ONNX graph of one float tensor; Refused when it has none."""
    convert = need("skl2onnx", "onnx")
    tensor = importlib.import_module("skl2onnx.common.data_types").FloatTensorType([None, width])
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    try:
        graph = convert.convert_sklearn(
            estimator, initial_types=[("features", tensor)], options=options
        )
    except Exception as error:  # skl2onnx raises many kinds, among them bare RuntimeError
        name = type(estimator).__name__
        raise Refused(f"{name} has no ONNX form: {error}") from error
    data: bytes = graph.SerializeToString()
    return data


def _save_sklearn(estimator: Any, folder: Path) -> None:
    need("joblib", "ml").dump(estimator, folder / "model.joblib")


def _load_sklearn(folder: Path, manifest: Manifest) -> Predict:
    estimator = need("joblib", "ml").load(folder / "model.joblib")

    def predict(columns: Columns) -> dict[str, Array]:
        rows = matrix(columns)
        if hasattr(estimator, "predict_proba"):
            return {"": np.asarray(estimator.predict_proba(rows))}
        return {"": np.asarray(estimator.predict(rows))}

    return predict


def _save_python(payload: Path, folder: Path) -> None:
    """A file with a class `Predictor`, or a folder that holds `predictor.py` and what it reads."""
    if payload.is_dir():
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
        shutil.copytree(payload, folder / "predictor", ignore=ignore)
    else:
        (folder / "predictor").mkdir()
        shutil.copyfile(payload, folder / "predictor" / "predictor.py")
    if not (folder / "predictor" / "predictor.py").is_file():
        raise InvalidData(f"{payload.name} holds no predictor.py")


def _load_python(folder: Path, manifest: Manifest) -> Predict:
    home = folder / "predictor"
    name = f"tradewind_predictor_{manifest.digest[-12:]}"
    spec = importlib.util.spec_from_file_location(name, home / "predictor.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Compiled files would be strangers in the folder: its list of files is closed.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(home))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(home))
    if not hasattr(module, "Predictor"):
        raise InvalidData("predictor.py has no class Predictor with load(folder) and predict")
    predictor = module.Predictor()
    predictor.load(home)

    def predict(columns: Columns) -> dict[str, Array]:
        return {name: np.asarray(one) for name, one in predictor.predict(columns).items()}

    return predict


FORMATS: dict[str, Format] = {
    "lightgbm": Format(
        "a booster's own text", ("lightgbm", "numpy"), _save_lightgbm, _load_lightgbm
    ),
    "linear": Format(
        "weights in JSON, which numpy alone reads", ("numpy",), _save_linear, _load_linear
    ),
    "onnx": Format("a graph for ONNX Runtime", ("onnxruntime", "numpy"), _save_onnx, _load_onnx),
    "sklearn": Format(
        "a pickled estimator, for those that have no ONNX form",
        ("scikit-learn", "joblib", "numpy"), _save_sklearn, _load_sklearn, executes=True,
    ),
    "python": Format(
        "a class Predictor with load(folder) and predict(columns), and its files",
        ("numpy",), _save_python, _load_python, executes=True,
    ),
}  # fmt: skip
