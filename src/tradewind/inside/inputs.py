"""Bind a run's inputs, parameters and item to a function's parameters, by name."""

from __future__ import annotations

import inspect
import json
import os
import pathlib
import typing
from typing import Any, Callable, Iterable

from . import tables

# What an input is called that was given without a name.
NAMELESS = "data"


class Unreadable(Exception):
    """The function cannot be called with what the run has."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.exit = {"reason": "input", "message": message, "hint": hint}


def bind(function: Callable[..., Any], start: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of the call.

    Inputs and parameters go to the parameter of their name. An item (of an array) goes to the first
    parameter that is still free. So does an input named `data`, as one without a name is, if no
    parameter has that name; but never past a parameter that another input has. A parameter with the
    name of a `folder` or `model` output gets the folder to write into.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return _positional(start), {}
    hints = hints_of(function) if start.get("inputs") else {}
    named, anything = _parameters(signature)
    # `**tables: list[Path]` says how every input without a parameter of its own is wanted.
    kinds = inspect.Parameter
    rest = [p.name for p in signature.parameters.values() if p.kind is kinds.VAR_KEYWORD]
    others = hints.get(rest[0]) if rest else None
    given: dict[str, Any] = {}
    slots = dict(start.get("inputs", {}))
    given.update(start.get("params", {}))
    for slot, output in start.get("outputs", {}).items():
        if output["kind"] in ("folder", "model") and slot in named and slot not in slots:
            given[slot] = _folder(start, slot)
    free = [name for name in named if name not in given and name not in slots]
    if "item" in start:
        if not free:
            raise Unreadable("the function has no parameter left for the item of the array")
        given[free.pop(0)] = start["item"]
    if NAMELESS in slots and NAMELESS not in named and not anything:
        first = next((name for name in named if name not in given), "")
        if first and first not in slots:
            slots[first] = slots.pop(NAMELESS)
    for what, names in (("input", slots), ("parameter", start.get("params", {}))):
        if not anything:
            _known(what, names, named)
    for name, slot in slots.items():
        given[name] = read(slot, hints.get(name, others), name)
    return _arranged(signature, given, named)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations, resolved where they can be; otherwise as they are written."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        return dict(getattr(function, "__annotations__", {}))


def takes(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """The names of its parameters in their order, and whether it takes any other name too."""
    try:
        return _parameters(inspect.signature(function))
    except (TypeError, ValueError):  # a builtin without a signature
        return [], True


def _parameters(signature: inspect.Signature) -> tuple[list[str], bool]:
    kinds = inspect.Parameter
    named = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    anything = any(p.kind is kinds.VAR_KEYWORD for p in signature.parameters.values())
    return named, anything


def _known(what: str, names: Iterable[str], named: list[str]) -> None:
    """Refuse what would be bound to no parameter: a name that is spelt wrong."""
    unknown = [name for name in names if name not in named]
    if not unknown:
        return
    import difflib  # on use: it would weigh in every interpreter

    near = difflib.get_close_matches(unknown[0].lower(), named, n=1)
    words = ", ".join(map(repr, unknown))
    text = f"the function has no parameter {words}; it takes ({', '.join(named)})"
    hint = "params are named after its parameters: --param NAME=VALUE"
    if what == "input":
        text = f"input {words}: {text}"
        hint = "name the input after a parameter: --data NAME=DATASET"
    raise Unreadable(text, f"did you mean {near[0]!r}?" if near else hint)


def _arranged(
    signature: inspect.Signature, given: dict[str, Any], named: list[str]
) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    for name, parameter in signature.parameters.items():
        needed = parameter.default is inspect.Parameter.empty and name in named
        if needed and name not in given:
            raise Unreadable(
                f"the function needs {name!r}, and the run has no input or parameter of that name",
                f"bind it: --data {name}=DATASET, or give the parameter a default",
            )
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and name in given:
            args.append(given.pop(name))
    return args, given


def _positional(start: dict[str, Any]) -> list[Any]:
    slots = [read(slot, None, name) for name, slot in start.get("inputs", {}).items()]
    item = [start["item"]] if "item" in start else []
    return slots + list(start.get("params", {}).values()) + item


def _folder(start: dict[str, Any], slot: str) -> pathlib.Path:
    path = pathlib.Path(start["out"], slot)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _is_path(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, pathlib.PurePath)


def read(slot: dict[str, Any], hint: Any, name: str) -> Any:
    """One input as the parameter's annotation wants it."""
    kind = slot["kind"]
    if kind == "value":
        return slot.get("value")
    if kind in ("file", "folder"):
        path = slot["path"]
        if slot.get("json") and not _is_path(hint):
            with open(path, encoding="utf-8", errors="replace") as file:
                return json.load(file)  # a value, too long to travel in the report
        return os.fspath(path) if hint is str else pathlib.Path(path)
    try:
        return tables.read(slot["files"], hint)
    except tables.NoLibrary as error:
        raise Unreadable(
            "the table {!r} cannot be read here: {}".format(slot.get("source") or name, error),
            error.hint,
        ) from None
