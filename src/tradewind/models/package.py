"""Save a trained model as a folder, and load it where it shall answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tradewind
from tradewind.base.errors import Conflict, InvalidData, MissingExtra, NotAllowed, Refused
from tradewind.models import columns as tables
from tradewind.models import transformer as transformers
from tradewind.models.formats import FORMATS, Predict, sklearn_to_onnx
from tradewind.models.heavy import Array, Columns, np
from tradewind.models.manifest import (
    NAME,
    Answer,
    Column,
    Manifest,
    OutputColumn,
    Signature,
    list_files,
    read,
    verify,
)

# Digests of models that this process may execute, separated by commas: set by whoever took them
# from the project's registry.
TRUSTED = "TRADEWIND_TRUSTED_MODELS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArtifact:
    """A trained model before it has a folder: what a train step returns.

    `payload` is what the format saves (a booster, ONNX bytes, an estimator, a path). Without a
    transformer the inputs go to the model as they are.
    """

    format: str
    payload: Any
    inputs: tuple[Column, ...]
    answer: Answer = ""
    outputs: tuple[OutputColumn, ...] = ()
    transformer: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> Manifest:
        """Write the model to an empty or new folder."""
        return save(self, folder)


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. It is safe to call from several threads."""

    manifest: Manifest
    transformer: transformers.Transformer | None
    run: Predict
    notes: tuple[str, ...] = ()

    def predict(self, columns: Columns) -> dict[str, Array]:
        """The outputs of the signature for columns that `validate` or `from_table` made."""
        if self.transformer is not None:
            columns = self.transformer.apply(columns)
        return _answer(self.manifest, self.run(columns))

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Check JSON rows against the signature, then predict."""
        return self.predict(tables.validate(self.manifest.signature, rows))

    def predict_table(self, table: Any) -> dict[str, Array]:
        """Predict for an Arrow table; columns that the model does not know are left aside."""
        return self.predict(tables.from_table(self.manifest.signature, table))


def save(artifact: ModelArtifact, folder: Path) -> Manifest:
    """Write files and manifest. What was just saved is loaded once, so that it can be loaded."""
    if artifact.format not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidData(f"unknown model format {artifact.format!r}; there are {known}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty: a model version is never overwritten")
    artifact = _prefer_onnx(artifact)
    FORMATS[artifact.format].save(artifact.payload, folder)
    manifest = Manifest(
        format=artifact.format,
        files=list_files(folder),
        signature=Signature(inputs=artifact.inputs, outputs=artifact.outputs or _outputs(artifact)),
        answer=artifact.answer,
        transformer=artifact.transformer,
        requires=_requires(FORMATS[artifact.format].libraries),
        metrics=artifact.metrics,
        params=artifact.params,
        tradewind=tradewind.__version__,
    )
    # Written last: a folder without it is no model.
    (folder / NAME).write_text(manifest.text(), encoding="utf-8")
    return manifest


def load(folder: Path, *, trusted: Collection[str] | None = None) -> Model:
    """Check every hash, then load. `trusted` holds digests of manifests that may execute code."""
    folder = Path(folder)
    manifest = read(folder)
    kind = FORMATS.get(manifest.format)
    if kind is None:
        raise InvalidData(f"unknown model format {manifest.format!r}: made by a newer Tradewind?")
    verify(folder, manifest)
    if kind.executes:
        if trusted is None:
            trusted = os.environ.get(TRUSTED, "").split(",")
        if manifest.digest not in trusted:
            raise NotAllowed(
                f"a {manifest.format} model runs code when it is loaded, and nobody vouches for it",
                hint="deploy it from this project's registry, or export it to ONNX",
            )
    fitted = transformers.from_json(manifest.transformer) if manifest.transformer else None
    return Model(manifest, fitted, kind.load(folder, manifest), differences(manifest))


def differences(manifest: Manifest) -> tuple[str, ...]:
    """Where this environment is not the one in which the model was saved, in words."""
    here = _requires(tuple(name for name in manifest.requires if name != "python"))
    return tuple(
        f"{name} is {here.get(name, 'missing')}; the model was saved with {version}"
        for name, version in manifest.requires.items()
        if here.get(name) != version
    )


def sklearn(estimator: Any, inputs: tuple[Column, ...], **rest: Any) -> ModelArtifact:
    """A fitted scikit-learn estimator or pipeline over these columns; saved as ONNX if it can."""
    kind = getattr(estimator, "_estimator_type", "") or _sklearn_kind(estimator)
    if kind == "classifier":
        classes = [one.item() if hasattr(one, "item") else one for one in estimator.classes_]
        rest.setdefault("answer", "binary" if len(classes) == 2 else "multiclass")
        rest["params"] = {"classes": classes, **rest.get("params", {})}
    elif kind == "regressor":
        rest.setdefault("answer", "regression")
    return ModelArtifact(format="sklearn", payload=estimator, inputs=inputs, **rest)


def _sklearn_kind(estimator: Any) -> str:
    if hasattr(estimator, "classes_"):
        return "classifier"
    return "regressor" if hasattr(estimator, "predict") else ""


def _prefer_onnx(artifact: ModelArtifact) -> ModelArtifact:
    """An estimator as ONNX, when the converter is there, knows it, and gives the same numbers."""
    if artifact.format != "sklearn":
        return artifact
    width = len(artifact.transformer.get("names", ())) or len(artifact.inputs)
    try:
        graph = sklearn_to_onnx(artifact.payload, width)
        onnx = replace(artifact, format="onnx", payload=graph)
        same = _same(artifact, onnx, width)
    except (MissingExtra, Refused):
        return artifact
    return onnx if same else artifact


def _same(one: ModelArtifact, other: ModelArtifact, width: int) -> bool:
    """Both give the same on rows that the estimator has never seen."""
    rows = np.random.default_rng(0).normal(size=(64, width)).astype(np.float32)
    columns = {f"c{index}": rows[:, index].astype(np.float64) for index in range(width)}
    first, second = (_trial(artifact, columns) for artifact in (one, other))
    return bool(np.allclose(first, second, rtol=1e-3, atol=1e-4))


def _trial(artifact: ModelArtifact, columns: Columns) -> Array:
    kind = FORMATS[artifact.format]
    with TemporaryDirectory() as name:
        kind.save(artifact.payload, Path(name))
        manifest = Manifest(
            format=artifact.format,
            files={},
            signature=Signature(inputs=(), outputs=()),
            answer=artifact.answer,
        )
        return kind.load(Path(name), manifest)(columns)[""]


def _outputs(artifact: ModelArtifact) -> tuple[OutputColumn, ...]:
    classes = artifact.params.get("classes", [])
    match artifact.answer:
        case "binary":
            label = _label_type(classes)
            return (
                OutputColumn(name="score", type="float64"),
                OutputColumn(name="label", type=label),
            )
        case "multiclass":
            return (
                OutputColumn(name="scores", type="float64", width=len(classes)),
                OutputColumn(name="label", type=_label_type(classes)),
            )
        case "regression":
            return (OutputColumn(name="value", type="float64"),)
    raise InvalidData("a model without an answer kind must say what its outputs are")


def _label_type(classes: Sequence[Any]) -> Any:
    if not classes or all(isinstance(one, bool) for one in classes):
        return "bool"
    return "string" if isinstance(classes[0], str) else "int64"


def _answer(manifest: Manifest, raw: dict[str, Array]) -> dict[str, Array]:
    if not manifest.answer:
        return {one.name: raw[one.name] for one in manifest.signature.outputs}
    found, classes = raw[""], manifest.params.get("classes") or [False, True]
    if manifest.answer == "regression":
        return {"value": found}
    if manifest.answer == "multiclass":
        return {"scores": found.astype(np.float64), "label": _take(classes, found.argmax(axis=1))}
    score = (found[:, 1] if found.ndim == 2 else found).astype(np.float64)
    above = score >= float(manifest.params.get("threshold", 0.5))
    return {"score": score, "label": _take(classes, above.astype(np.int64))}


def _take(classes: Sequence[Any], codes: Array) -> Array:
    made: Array = np.array(classes, object if isinstance(classes[0], str) else None)[codes]
    return made


def _requires(libraries: Sequence[str]) -> dict[str, str]:
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
