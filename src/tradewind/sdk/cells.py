"""A function that stands in no file: written in a notebook's cell, or at a prompt.

Its source is taken together with what it needs of the session: modules are imported again,
functions and classes of the session come along, small constants are written out. Whatever else it
uses lives in this session only, and is refused by name.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import json
import linecache
import symtable
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tradewind.base.errors import UserError

CONSTANT_LIMIT = 64 * 1024
_SITE = ("site-packages", "dist-packages")


def in_session(function: Callable[..., Any]) -> bool:
    """Whether this function stands in no file."""
    file = inspect.getsourcefile(function) or ""
    code = getattr(function, "__code__", None)
    name = code.co_filename if code is not None else file
    return _is_cell(name) or not Path(name).is_file()


class Cell:
    """The text of a module that holds a function of the session and all that it needs."""

    def __init__(self, function: Callable[..., Any], unwrap: Callable[[Any], Any]) -> None:
        """`unwrap` gives the plain function behind one that is decorated by us."""
        self.local_modules: set[str] = set()
        self._unwrap = unwrap
        self._imports: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._open: set[str] = set()
        self._future = False
        self._name = function.__name__
        self._define(function.__name__, function)

    @property
    def text(self) -> str:
        """The module."""
        future = ["from __future__ import annotations"] if self._future else []
        blocks = [
            "\n".join([*future, *sorted(self._imports.values())]),
            "\n".join(self._constants.values()),
            "\n\n\n".join(self._definitions.values()),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def _define(self, name: str, thing: Any) -> None:
        """Take the source of a function or class under this name, after what it needs."""
        if name in self._definitions or name in self._open:
            return
        self._open.add(name)
        source = self._source(thing)
        node = ast.parse(source).body[0]
        scope = _globals_of(thing)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            ours = [each for each in node.decorator_list if _ours(each, scope)]
            defined = node.name
        else:
            raise UserError(
                f"{name} is not written with `def`, so its source cannot be taken",
                hint="write it as a function of its own",
            )
        if isinstance(thing, types.FunctionType):
            self._future |= bool(thing.__code__.co_flags & __future__.annotations.compiler_flag)
        source = _without(source, ours)
        for used in _free_names(source):
            if used != defined and used in scope:
                self._need(used, scope[used])
            elif used != defined and not hasattr(builtins, used):
                raise UserError(
                    f"{name} uses {used}, which is not defined in this session",
                    hint="run the cell that defines it first",
                )
        if defined != name:
            source += f"\n\n{name} = {defined}"
        self._definitions[name] = source

    def _source(self, thing: Any) -> str:
        if isinstance(thing, type) and (text := _class_text(thing)):
            return text
        try:
            return textwrap.dedent(inspect.getsource(thing))
        except (OSError, TypeError) as error:
            raise UserError(
                f"the source of {getattr(thing, '__name__', thing)!s} cannot be found",
                hint="define it in a cell or in a file",
            ) from error

    def _need(self, name: str, value: Any) -> None:
        """Make this global of the session be there in the module."""
        value = self._unwrap(value)
        if isinstance(value, types.ModuleType):
            self._import_module(name, value)
        elif (module := _home(value)) is not None:
            source, found = module
            renamed = "" if found == name else f" as {name}"
            self._imports[name] = f"from {source} import {found}{renamed}"
            self._note(source)
        elif isinstance(value, types.FunctionType | type):
            self._define(name, value)
        elif (text := _literal(value)) is not None:
            self._constants[name] = f"{name} = {text}"
        else:
            kind = type(value).__name__
            raise UserError(
                f"{self._name} uses the variable {name} ({kind}), which lives in this session only",
                hint=f"make it a parameter: {self._name}.run({name}={name}), or compute it inside",
            )

    def _import_module(self, name: str, module: types.ModuleType) -> None:
        source = module.__name__
        if source == "__main__":
            raise UserError(
                f"{self._name} uses the session itself ({name})", hint="name what it needs"
            )
        renamed = "" if source == name else f" as {name}"
        self._imports[name] = f"import {source}{renamed}"
        self._note(source)

    def _note(self, module: str) -> None:
        """Remember a module that is a file of the user's: it has to travel."""
        top = sys.modules.get(module.partition(".")[0])
        file = getattr(top, "__file__", None)
        if file and not any(part in file for part in _SITE) and not _shipped_with_python(file):
            self.local_modules.add(file)


def _class_text(thing: type) -> str:
    """The text of a class of the session: Python keeps none for it, so the cells are searched, the
    one of its methods first."""
    codes = [getattr(each, "__code__", None) for each in vars(thing).values()]
    files = [code.co_filename for code in codes if code is not None]
    files += [name for name in reversed(list(linecache.cache)) if _is_cell(name)]
    for file in dict.fromkeys(files):
        text = "".join(linecache.getlines(file))
        try:
            body = ast.parse(text).body
        except SyntaxError:  # a cell with a magic command
            continue
        for node in reversed(body):
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return ""


def _without(source: str, decorators: list[ast.expr]) -> str:
    """The text as it was written, comments and all, but for these decorators."""
    gone = {line for each in decorators for line in range(each.lineno, (each.end_lineno or 0) + 1)}
    lines = source.rstrip().splitlines()
    return "\n".join(text for line, text in enumerate(lines, 1) if line not in gone)


def _is_cell(name: str) -> bool:
    # Kernels write cells to files of their own, named after the process.
    return name.startswith("<") or "ipykernel_" in name


def _shipped_with_python(file: str) -> bool:
    return any(file.startswith(root + "/lib/python") for root in (sys.prefix, sys.base_prefix))


def _globals_of(thing: Any) -> dict[str, Any]:
    """What names mean to this function or class: its module's globals, and its closure's cells."""
    if isinstance(thing, types.FunctionType):
        held = inspect.getclosurevars(thing).nonlocals if thing.__closure__ else {}
        return {**thing.__globals__, **held}
    module = sys.modules.get(thing.__module__)
    return dict(vars(module)) if module else {}


def _free_names(source: str) -> list[str]:
    """The names that this text takes from around it, in the order of their scopes."""
    table = symtable.symtable(source, "<cell>", "exec")
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}
    own |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_namespace()}
    found: dict[str, None] = {}
    for symbol in _symbols(table):
        if symbol.get_name() not in own:
            found[symbol.get_name()] = None
    return list(found)


def _symbols(table: symtable.SymbolTable) -> Iterator[symtable.Symbol]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol
    for child in table.get_children():
        yield from _symbols(child)


def _ours(decorator: ast.expr, scope: dict[str, Any]) -> bool:
    """Whether this decorator is one of Tradewind's: it does its work here, not over there."""
    root = decorator
    while isinstance(root, ast.Call | ast.Attribute):
        root = root.func if isinstance(root, ast.Call) else root.value
    value = scope.get(root.id) if isinstance(root, ast.Name) else None
    owner = value.__name__ if isinstance(value, types.ModuleType) else None
    owner = owner or getattr(value, "__module__", None) or ""
    return owner.partition(".")[0] == "tradewind"


def _home(value: Any) -> tuple[str, str] | None:
    """The module and name under which this value can be imported again."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    loaded = sys.modules.get(module)
    found = getattr(loaded, name, None) if loaded is not None else None
    return (module, name) if found is value else None


def _literal(value: Any) -> str | None:
    """A small JSON-like constant as Python text."""
    try:
        text = json.dumps(value, allow_nan=False)
        written = repr(value)
        same = ast.literal_eval(written) == value
    except (TypeError, ValueError, SyntaxError, RecursionError):
        return None
    plain = type(value) in (type(None), bool, int, float, str, list, dict, tuple)
    return written if plain and same and len(text) <= CONSTANT_LIMIT else None
