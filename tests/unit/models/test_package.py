"""Save, load, predict: equal within tolerance; a folder that was touched is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import ensemble, linear_model, pipeline, preprocessing

from tradewind.base.errors import Broken, Conflict, InvalidData, NotAllowed
from tradewind.models import manifest as manifests
from tradewind.models.formats import BLOCK
from tradewind.models.manifest import Column, OutputColumn
from tradewind.models.package import TRUSTED, ModelArtifact, load, sklearn

CHANCE = np.random.default_rng(0)
X = CHANCE.normal(size=(200, 3))
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)
INPUTS = tuple(Column(name=name, type="float64") for name in "abc")
ROWS = [dict(zip("abc", map(float, row), strict=True)) for row in X[:50]]

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: linear_model.LogisticRegression().fit(X, Y),
    "pipeline": lambda: pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression()
    ).fit(X, Y),
    "forest": lambda: ensemble.RandomForestClassifier(10, random_state=0).fit(X, Y),
    "three": lambda: linear_model.LogisticRegression().fit(X, Y + (X[:, 2] > 1)),
    "regression": lambda: linear_model.LinearRegression().fit(X, X[:, 0] * 2),
}


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    payload = {
        "link": "logit",
        "intercept": 0.5,
        "numbers": {"a": {"fill": 0.0, "mean": 0.0, "scale": 1.0, "weight": 2.0}},
        "categories": {},
    }
    made = ModelArtifact(format="linear", payload=payload, inputs=INPUTS[:1], answer="binary")
    made.save(tmp_path / "linear")
    return tmp_path / "linear"


def expected(estimator: Any) -> Any:
    plain = np.array([[row[name] for name in "abc"] for row in ROWS])
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(plain)
    found = estimator.predict_proba(plain)
    return found[:, 1] if found.shape[1] == 2 else found


def first(outputs: dict[str, Any]) -> Any:
    return next(iter(outputs.values()))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_travels_as_onnx(tmp_path: Path, name: str) -> None:
    pytest.importorskip("skl2onnx", reason="exporting needs skl2onnx")
    pytest.importorskip("onnxruntime", reason="loading needs onnxruntime")
    estimator = ESTIMATORS[name]()
    assert sklearn(estimator, INPUTS).save(tmp_path / "m").format == "onnx"
    outputs = load(tmp_path / "m").predict_rows(ROWS)
    np.testing.assert_allclose(first(outputs), expected(estimator), rtol=1e-4, atol=1e-5)
    if "label" in outputs:
        np.testing.assert_array_equal(outputs["label"], estimator.predict(X[:50]))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_pickle_is_loaded_for_those_who_vouch_for_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.models.package._prefer_onnx", lambda artifact: artifact)
    estimator = ESTIMATORS[name]()
    manifest = sklearn(estimator, INPUTS).save(tmp_path / "m")
    assert manifest.format == "sklearn"
    with pytest.raises(NotAllowed, match="runs code when it is loaded"):
        load(tmp_path / "m")
    outputs = load(tmp_path / "m", trusted=[manifest.digest]).predict_rows(ROWS)
    np.testing.assert_allclose(first(outputs), expected(estimator))
    monkeypatch.setenv(TRUSTED, f"sha256:0,{manifest.digest}")
    assert load(tmp_path / "m").manifest == manifest


def test_a_booster(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(X, Y), 10
    )
    ModelArtifact(format="lightgbm", payload=booster, inputs=INPUTS, answer="binary").save(
        tmp_path / "m"
    )
    model = load(tmp_path / "m")
    np.testing.assert_allclose(model.predict_rows(ROWS)["score"], booster.predict(X[:50]))
    assert model.predict_rows([])["score"].shape == (0,)
    many = np.tile(X, (101, 1))  # more than one block
    columns = {one.name: many[:, place] for place, one in enumerate(INPUTS)}
    assert len(many) > 2 * BLOCK and len(many) % BLOCK
    np.testing.assert_array_equal(model.predict(columns)["score"], booster.predict(many))
    assert model.manifest.requires["lightgbm"] == lightgbm.__version__


PREDICTOR = """
import json

class Predictor:
    def load(self, folder):
        self.factor = json.loads((folder / "factor.json").read_text())

    def predict(self, columns):
        return {"double": columns["a"] * self.factor}
"""


def test_a_predictor_of_ones_own(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    (home / "predictor.py").write_text(PREDICTOR)
    (home / "factor.json").write_text("2")
    outputs = (OutputColumn(name="double", type="float64"),)
    made = ModelArtifact(format="python", payload=home, inputs=INPUTS[:1], outputs=outputs)
    manifest = made.save(tmp_path / "m")
    with pytest.raises(NotAllowed):
        load(tmp_path / "m")
    for _ in range(2):  # loading leaves no compiled files behind, so it can be loaded again
        model = load(tmp_path / "m", trusted=[manifest.digest])
        assert model.predict_rows([{"a": 1.5}])["double"].tolist() == [3.0]


def test_a_touched_folder_is_refused(linear: Path, tmp_path: Path) -> None:
    assert load(linear).predict_rows([{"a": 1.0}])["label"].tolist() == [True]
    for name, touch in TOUCHES.items():
        copy = tmp_path / name
        shutil.copytree(linear, copy)
        touch(copy)
        with pytest.raises((Broken, InvalidData)):
            load(copy)


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    body = json.loads((folder / "model.json").read_text())
    change(body)
    (folder / "model.json").write_text(json.dumps(body))


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/etc/hosts")


TOUCHES: dict[str, Callable[[Path], Any]] = {
    "changed": lambda f: (f / "linear.json").write_text("{}"),
    "longer": lambda f: (f / "linear.json").write_text((f / "linear.json").read_text() + " "),
    "gone": lambda f: (f / "linear.json").unlink(),
    "another": lambda f: (f / "more.py").write_text("print()"),
    "no-manifest": lambda f: (f / "model.json").unlink(),
    "not-json": lambda f: (f / "model.json").write_text("{"),
    "outside": lambda f: _edit(f, lambda b: b["files"].update({"../x": b["files"]["linear.json"]})),
    "absolute": lambda f: _edit(f, lambda b: b["files"].update({"/etc/passwd": {}})),
    "unknown-format": lambda f: _edit(f, lambda b: b.update(format="pickle")),
    "unknown-field": lambda f: _edit(f, lambda b: b["signature"]["inputs"][0].update(type="text")),
    "link": lambda f: _link(f / "linear.json"),
}


def test_the_manifest_is_its_own_name(linear: Path) -> None:
    manifest = manifests.read(linear)
    assert (linear / "model.json").read_text() == manifest.text()
    assert manifest.digest.startswith("sha256:")
    assert load(linear).notes == ()


def test_versions_are_never_overwritten(linear: Path) -> None:
    made = ModelArtifact(format="linear", payload={}, inputs=INPUTS, answer="binary")
    with pytest.raises(Conflict):
        made.save(linear)
    with pytest.raises(InvalidData, match="unknown model format"):
        ModelArtifact(format="h5", payload=None, inputs=INPUTS).save(linear)


def test_another_environment_is_said_aloud(linear: Path) -> None:
    _edit(linear, lambda body: body["requires"].update(numpy="1.0", nosuch="2.0"))
    notes = load(linear).notes
    assert any("numpy is" in note and "1.0" in note for note in notes)
    assert "nosuch is missing; the model was saved with 2.0" in notes
