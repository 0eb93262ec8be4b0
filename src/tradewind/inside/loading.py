"""Find the function that an entry names: in a file of the bundle, or in a module."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from typing import Any, Callable


class Failure(Exception):
    """An end that is not the user's exception: which `reason` of an exit it is, and what to do."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.exit = {"reason": reason, "message": message, "hint": hint}


def load(start: dict[str, Any]) -> Callable[..., Any]:
    """The function that the entry names, without the decorator that a Tradewind wraps around it."""
    target = start["entry"]["target"]
    place, _colon, name = target.rpartition(":")
    if not place:
        raise Failure("error", f"the entry {target!r} should read FILE.py:NAME or MODULE:NAME")
    if start["entry"]["kind"] == "module":
        found: Any = importlib.import_module(place)
    else:
        found = _import_file(os.path.join(start["bundle"], place), place)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [key for key in vars(found) if callable(getattr(found, key)) and key[0] != "_"]
            hint = "it has: " + ", ".join(sorted(names)[:20]) if names else ""
            raise Failure("error", f"{place} has no function {name!r}", hint)
        found = getattr(found, part)
    found = inspect.unwrap(found)
    if not callable(found):
        raise Failure("error", f"{name} in {place} is not a function")
    function: Callable[..., Any] = found
    return function


def _import_file(path: str, place: str) -> Any:
    if not os.path.exists(path):
        raise Failure("error", f"the bundle has no file {place!r}")
    folder = os.path.dirname(path)
    stem, suffix = os.path.splitext(os.path.basename(path))
    if suffix == ".py" and os.path.exists(os.path.join(folder, "__init__.py")):
        return _import_member(folder, stem)
    sys.path.insert(0, folder)
    name = stem if stem.isidentifier() and stem not in sys.modules else "tradewind_user_" + stem
    # Said, since the loader is guessed by the suffix and the Python of a `.tw` file is as good.
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise Failure("error", f"{place!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_member(folder: str, stem: str) -> Any:
    """A file of a package is imported as a member of it, so that its relative imports work."""
    names = [] if stem == "__init__" else [stem]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        names.insert(0, package)
    sys.path.insert(0, folder)
    return importlib.import_module(".".join(names))
