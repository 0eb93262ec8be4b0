"""Files of specs: which reader reads what. Called by the CLI, the SDK and the API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from tradewind.base.errors import InvalidSpec, Location, NotFound
from tradewind.specs.common import Spec
from tradewind.specs.documents import Placed, collect
from tradewind.specs.faults import Problem, nearest, reject
from tradewind.specs.nodes import Node, clean, compose, compose_json, place_of
from tradewind.specs.tw import TwFile, parse_tw

SUFFIXES = (".yaml", ".yml", ".tw", ".json")


def parse_yaml(text: str, file: str = "") -> list[Spec]:
    """The specs of a YAML text, one for each document in it."""
    return _plain(_yaml(text, file))


def parse_json(text: str, file: str = "") -> list[Spec]:
    """The specs of a JSON text: one object, or a list of objects."""
    return _plain(_json(text, file))


def _yaml(text: str, file: str) -> list[Placed]:
    problems: list[Problem] = []
    found = compose(clean(text, file), file, problems)
    return _specs([node for node in found if node.value is not None], file, problems)


def _json(text: str, file: str) -> list[Placed]:
    problems: list[Problem] = []
    return _specs(compose_json(clean(text, file), file, problems), file, problems)


def _plain(placed: list[Placed]) -> list[Spec]:
    return [spec for spec, _ in placed]


def _specs(found: list[Node], file: str, problems: list[Problem]) -> list[Placed]:
    specs = collect(found, file, problems)
    if not specs and not problems:
        hint = "write kind: function, name: …"
        problems.append(Problem("there is no spec in this file", hint, Location(file, 1, 1)))
    if problems:
        reject(problems)
    return specs


def read(path: str | os.PathLike[str]) -> list[Spec]:
    """The specs of a file, by its suffix: .yaml, .yml, .tw or .json."""
    return _plain(read_placed(path))


def read_placed(path: str | os.PathLike[str]) -> list[Placed]:
    """The same, each with what says where its fields stand."""
    file = os.fspath(path)
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        hint = nearest(suffix, SUFFIXES)
        raise InvalidSpec(
            f"a file of specs ends in {', '.join(SUFFIXES)}, not in {suffix or 'nothing'}",
            hint=hint if hint.startswith("did") else "",
            where=Location(file=file),
        )
    text = _text(file)
    if suffix == ".tw":
        found = parse_tw(text, file, _Beside(Path(file).absolute().parent))
        return found.placed or _nothing_declared(found, file)
    return _json(text, file) if suffix == ".json" else _yaml(text, file)


def _nothing_declared(found: TwFile, file: str) -> NoReturn:
    name = found.defs[-1] if found.defs else "NAME"
    hint = f"a .tw file is Python with declarations: write function: {name}"
    if not found.defs:
        hint += " and its def NAME(data): above it"
    reject([Problem("there is no spec in this file", hint, Location(file, 1, 1))])


class _Beside:
    """The files of a folder, looked for when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name != "" and (self._folder / name).is_file()


def _text(file: str) -> str:
    try:
        data = Path(file).read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidSpec(f"cannot be read: {reason}", where=Location(file=file)) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        where = Location(file, *place_of(before, len(before)))
        raise InvalidSpec("the text is not UTF-8", hint="save it as UTF-8", where=where) from None
