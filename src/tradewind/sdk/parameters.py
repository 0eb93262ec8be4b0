"""Whether what a document gives a function has a parameter to go to, told from the function's text.

Only what is certain is refused here: a function that is decorated, imported or bound twice may take
other parameters than its `def` says. In the task every name is looked at again.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import Location, UserError
from tradewind.inside.inputs import NAMELESS

if TYPE_CHECKING:
    from tradewind.sdk.loading import Work

Json = dict[str, Any]
At = tuple[str | int, ...]
_CALLED = ("function", "training")


def refuse_misnamed(document: Json, work: Work) -> None:
    """Raise UserError for what is given to a function whose text is here, and that no parameter of
    it is called like: with where it stands in the file of `work`, if it stands there."""
    found: list[tuple[At, str, str, str, tuple[str, ...]]] = []
    for at, given, spec, owner in _given(document, work):
        folder, entry = owner.root or owner.folder, str(spec.get("entry", ""))
        takes = _parameters(folder, entry) if folder and spec["kind"] in _CALLED else None
        if takes is not None:
            name = entry.rpartition(":")[2]
            found += [(at, field, key, name, takes) for field, key in _strangers(given, takes)]
    if found:
        from tradewind.specs.faults import together  # on use: a plain script needs no specs

        raise together([_fault(name, takes, field, key, _where(work, at, field, key))
                        for at, field, key, name, takes in found])  # fmt: skip


def _fault(
    name: str, takes: tuple[str, ...], field: str, key: str, where: Location | None
) -> UserError:
    from tradewind.specs.faults import nearest

    text = f"{name} has no parameter {key!r}; it takes ({', '.join(takes)})"
    if field == "input":
        text = f"input {key!r}: {text}"
    return UserError(text, hint=nearest(key, takes), where=where)


def _given(document: Json, work: Work) -> Iterator[tuple[At, Json, Json, Work]]:
    """Where something is given, what, to which spec, and whose code that has."""
    yield (), document, document, work
    for index, step in enumerate(document.get("steps", ())):
        uses = step.get("uses")
        if isinstance(uses, dict):
            yield ("steps", index), step, uses, work
            yield ("steps", index, "uses"), uses, uses, work
        for other in work.siblings:
            if uses == f"{other.kind}/{other.name}":
                yield ("steps", index), step, other.document, other


def _strangers(given: Json, takes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for field in ("input", "params"):
        for key in given.get(field) or {}:
            nameless = field == "input" and key == NAMELESS and takes
            if key not in takes and not nameless:
                yield field, key


def _where(work: Work, at: At, field: str, key: str) -> Location | None:
    """None for what was given on the command line."""
    if not at and key not in (work.document.get(field) or {}):
        return None
    return work.where((*at, field, key))


def _parameters(folder: Path, entry: str) -> tuple[str, ...] | None:
    """What the only def of this name takes; None if that is not certain, or anything goes."""
    file, _, name = entry.partition(":")
    path = folder / file
    try:
        return _defs(path, path.stat().st_mtime_ns).get(name)
    except OSError:
        return None


@lru_cache(maxsize=8)
def _defs(path: Path, _changed: int) -> dict[str, tuple[str, ...] | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(_python(path))
    except (ValueError, SyntaxError, RecursionError, UserError):
        return {}  # whoever compiles it says so, and where
    found: dict[str, tuple[str, ...] | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            again = node.name in found
            found[node.name] = None if again or node.decorator_list else _taken(node.args)
        else:
            for name in _bound(node):
                found[name] = None
    return found


def _python(path: Path) -> str | bytes:
    if path.suffix.lower() != ".tw":
        return path.read_bytes()
    from tradewind.specs import parse_tw

    return parse_tw(path.read_text("utf-8-sig"), path.name).source


def _taken(args: ast.arguments) -> tuple[str, ...] | None:
    if args.kwarg is not None:
        return None
    return tuple(each.arg for each in (*args.posonlyargs, *args.args, *args.kwonlyargs))


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module may bind, or more."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
