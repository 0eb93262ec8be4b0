"""`model.json`: what a model folder says of itself. Light, so that the server may read it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ValidationError

from tradewind.base.errors import Broken, InvalidData
from tradewind.base.ids import digest_bytes
from tradewind.records import codec

NAME = "model.json"

Type = Literal["bool", "int64", "float64", "string", "timestamp"]
Answer = Literal["binary", "multiclass", "regression", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input column. With `categories`, no other value is taken."""

    name: str
    type: Type
    nullable: bool = False
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputColumn:
    """One output; `width` values for each row (0: as many as it likes)."""

    name: str
    type: Type
    width: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes and gives."""

    inputs: tuple[Column, ...]
    outputs: tuple[OutputColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of the folder."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Nothing here changes between two equal trainings: no clock, no machine, no path.

    `answer` says how the raw output is read: `binary` gives score and label, `multiclass` scores
    and label, `regression` value; empty leaves the format's own outputs. `requires` has exact
    versions of what loaded it where it was made.
    """

    format: str
    files: dict[str, File]
    signature: Signature
    answer: Answer = ""
    transformer: dict[str, Any] = field(default_factory=dict)
    requires: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    tradewind: str = ""
    version: int = 1

    def text(self) -> str:
        """The bytes of `model.json`: equal manifests give equal text."""
        return json.dumps(codec.to_json(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """Names the whole model: the manifest holds the hash of every other file."""
        return digest_bytes(self.text().encode())


def read(folder: Path) -> Manifest:
    """The manifest of a model folder; nothing else is read."""
    try:
        manifest = codec.loads(Manifest, (folder / NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidData(f"{folder.name} is not a model: it has no {NAME}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field_ = ".".join(str(part) for part in first["loc"])
        raise InvalidData(f"{NAME} is not a model's manifest: {field_}: {first['msg']}") from error
    for name in manifest.files:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or str(parts) in {".", NAME}:
            raise InvalidData(f"{NAME} names a file outside its folder: {name!r}")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Every file is there, is what the manifest says, and no other is."""
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    } - {NAME}
    if unlisted := sorted(there - set(manifest.files)):
        raise Broken(f"the model holds {unlisted[0]!r}, which its manifest does not name")
    for name, file in manifest.files.items():
        if name not in there:
            raise Broken(f"the model's file {name!r} is missing")
        if _hash(folder / name) != file:
            raise Broken(
                f"the model's file {name!r} is not the one that its manifest names",
                hint="it was changed or damaged; fetch the model version again",
            )


def list_files(folder: Path) -> dict[str, File]:
    """The hashes of all files below a folder, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _hash(path) for path in files if path.name != NAME}


def _hash(path: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(sha256=digest, size=path.stat().st_size)
