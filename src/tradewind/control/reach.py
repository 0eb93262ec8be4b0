"""Which code an entry can reach, statement by statement, from its text alone: nothing is executed.

From `file.py:name` the names used are followed through top-level functions, classes and
assignments, and through imports of other files of the bundle. What runs when a module is imported
counts too. Where a text cannot be followed (`exec`, `importlib`, `import *`), more is counted
rather than less: a needless run costs time, a needed one that is left out gives a wrong result.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tradewind.base.errors import InvalidSpec
from tradewind.base.ids import digest_bytes
from tradewind.specs import parse_tw

PYTHON = (".py", ".tw")
_EVERYTHING = frozenset({"exec", "eval", "compile", "__import__"})
_LOADERS = frozenset({"importlib", "runpy", "pkgutil"})
_WHOLE_FILE = frozenset({"globals", "vars", "locals"})
_OPENERS = frozenset({"open", "Path", "PurePath", "glob", "iglob", "listdir", "scandir", "walk"})
_BODY = "<module>"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of reached code. `lines` are its first and last lines, as pairs; empty: the file."""

    file: str
    digest: str
    lines: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class _Module:
    """One Python file: what binds each of its top-level names, and what runs when it loads."""

    path: str
    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    starred: list[str] = field(default_factory=list)
    ours: set[str] = field(default_factory=set)
    body: list[ast.stmt] = field(default_factory=list)
    broken: bool = False


def reach(files: Mapping[str, bytes], entry: str) -> dict[str, Part]:
    """Every part that the entry can reach, by a name such as `flows.py:clean`, `train.py` or
    `query.sql`. Empty when the entry is none of these files."""
    name, _, target = entry.partition(":")
    path = name if name in files else _Walk(files, "").find(name)
    if not path:
        return {}
    walk = _Walk(files, str(PurePosixPath(path).parent))
    if target:
        walk.load(path)
        walk.use(path, target.partition(".")[0])
    else:
        walk.whole(path)
    walk.finish()
    return walk.parts()


class _Walk:
    """One search. `home` is the folder of the entry, which is on the path like the root."""

    def __init__(self, files: Mapping[str, bytes], home: str) -> None:
        self._files = files
        self._homes = ("", "" if home == "." else f"{home}/")
        self._modules: dict[str, _Module] = {}
        self._used: set[tuple[str, str]] = set()
        self._whole: set[str] = set()
        self._waiting: list[tuple[str, ast.AST]] = []
        self._texts: set[str] = set()
        self._any_file = False

    # --- what is reached ---------------------------------------------------------------------

    def load(self, path: str) -> _Module:
        """A module that is imported: what runs then is reached."""
        module = self._modules.get(path)
        if module is None:
            module = self._modules[path] = _read(path, self._files[path], self)
            if module.broken:
                self.whole(path)
            self._waiting += [(path, each) for each in module.loose]
            for other, _ in module.imported.values():
                self._enter(other)
        return module

    def _enter(self, path: str) -> None:
        """Import a module, and with it the packages above."""
        for parent in PurePosixPath(path).parents:
            package = f"{parent}/__init__.py"
            if package in self._files and package not in self._modules:
                self.load(package)
        self.load(path)

    def use(self, path: str, name: str) -> None:
        """A name of a module is used."""
        module = self.load(path)
        if (path, name) in self._used:
            return
        self._used.add((path, name))
        if name in module.imported:
            other, attribute = module.imported[name]
            if attribute:
                self.use(other, attribute)
            return
        found = module.bound.get(name, [])
        self._waiting += [(path, each) for each in found]
        if not found:
            sub = self.find(_dotted(path) + "." + name) if path.endswith("__init__.py") else ""
            if sub:
                self._enter(sub)
            for star in module.starred:
                self.use(star, name)

    def whole(self, path: str) -> None:
        """All of a file is used."""
        if path in self._whole:
            return
        self._whole.add(path)
        module = self.load(path)
        self._waiting += [(path, each) for each in module.body]

    def finish(self) -> None:
        """Follow what is reached until nothing new comes."""
        while self._waiting:
            path, node = self._waiting.pop()
            _Uses(self, self._modules[path]).visit(node)

    def everything(self) -> None:
        """Nobody can tell what is used."""
        for path in self._files:
            if path.endswith(PYTHON):
                self.whole(path)

    def text(self, text: str) -> None:
        """A text stands in reached code: it may name a file."""
        self._texts.add(text)

    def any_file(self) -> None:
        """Reached code opens a file whose name it makes up."""
        self._any_file = True

    # --- where modules are -------------------------------------------------------------------

    def find(self, dotted: str) -> str:
        """The file of a module of the bundle, or nothing."""
        if not dotted or dotted.startswith("."):
            return ""
        inner = dotted.replace(".", "/")
        for home in self._homes:
            for path in (f"{home}{inner}.py", f"{home}{inner}/__init__.py"):
                if path in self._files:
                    return path
        return ""

    # --- the answer --------------------------------------------------------------------------

    def parts(self) -> dict[str, Part]:
        """What was reached, each part with its digest."""
        found: dict[str, Part] = {}
        for path in sorted(self._whole):
            module = self._modules[path]
            digest = (
                digest_bytes(self._files[path])
                if module.broken
                else _digest(module.body, module.ours)
            )
            found[path] = Part(path, digest)
        for path, module in sorted(self._modules.items()):
            if path in self._whole:
                continue
            if module.loose:
                found[f"{path}:{_BODY}"] = _part(module, module.loose)
            for name in sorted(module.bound):
                if (path, name) in self._used:
                    found[f"{path}:{name}"] = _part(module, module.bound[name])
        for path in self._files:
            if not path.endswith(PYTHON) and self._names(path):
                found[path] = Part(path, digest_bytes(self._files[path]))
        return found

    def _names(self, path: str) -> bool:
        pure = PurePosixPath(path)
        word = re.compile(rf"(?<![\w-]){re.escape(pure.stem)}(?![\w-])")
        return self._any_file or any(pure.name in text or word.search(text) for text in self._texts)


class _Uses(ast.NodeVisitor):
    """What one reached statement uses."""

    def __init__(self, walk: _Walk, module: _Module) -> None:
        self._walk = walk
        self._module = module

    def visit_Name(self, node: ast.Name) -> None:
        self._name(node.id)

    def _name(self, name: str) -> None:
        module, walk = self._module, self._walk
        if name in _EVERYTHING:
            walk.everything()
        elif name in _WHOLE_FILE:
            walk.whole(module.path)
        elif name == "__file__":
            walk.any_file()
        target = module.imported.get(name)
        if target is not None and not target[1]:
            walk.whole(target[0])  # the module itself goes somewhere as a value
        walk.use(module.path, name)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node)
        target = self._module.imported.get(chain[0]) if chain else None
        if target is None or target[1]:
            self.generic_visit(node)
            return
        path = target[0]
        self._walk.use(self._module.path, chain[0])
        for name in chain[1:]:
            sub = self._walk.find(f"{_dotted(path)}.{name}")
            if not path.endswith("__init__.py") or not sub:
                self._walk.use(path, name)
                return
            self._walk._enter(sub)
            path = sub
        self._walk.whole(path)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._walk.text(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        constant = all(isinstance(each, ast.Constant) for each in node.args)
        if name in _OPENERS and not constant:
            self._walk.any_file()
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.partition(".")[0] in _LOADERS:
                self._walk.everything()
        self._local(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if (node.module or "").partition(".")[0] in _LOADERS and not node.level:
            self._walk.everything()
        self._local(node)

    def _local(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import inside a function: its names are taken for names of the module, which at worst
        reaches too much."""
        probe = _Module(self._module.path)
        _imports(node, probe, self._walk)
        for star in probe.starred:
            self._walk.whole(star)
        for name, (path, attribute) in probe.imported.items():
            self._walk._enter(path)
            if attribute:
                self._walk.use(path, attribute)
            known = self._module.imported.setdefault(name, (path, attribute))
            if known != (path, attribute) and not attribute:
                self._walk.whole(path)

    def _annotation(self, node: ast.expr | None) -> None:
        for each in ast.walk(node) if node is not None else ():
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                for word in re.findall(r"[^\W\d]\w*", each.value):
                    self._name(word)

    def visit_arg(self, node: ast.arg) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)


def _read(path: str, data: bytes, walk: _Walk) -> _Module:
    module = _Module(path)
    try:
        text = data.decode("utf-8-sig")
        tree = ast.parse(parse_tw(text, path).source if path.endswith(".tw") else text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, InvalidSpec):
        module.broken = True
        return module
    module.body = [each for each in tree.body if not _is_docstring(each)]
    for statement in module.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            _imports(statement, module, walk)
    # Local imports of compound statements bind names of the module as well.
    for statement in module.body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for inner in ast.walk(statement):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    _imports(inner, module, walk)
    for statement in module.body:
        _bind(statement, module)
    return module


def _bind(statement: ast.stmt, module: _Module) -> None:
    names: list[str] = []
    match statement:
        case ast.Import() | ast.ImportFrom():
            if any(alias.name.partition(".")[0] in _LOADERS for alias in statement.names):
                module.loose.append(statement)
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            names = [statement.name]
            if any(_registers(each, module) for each in statement.decorator_list):
                module.loose.append(statement)
                names = []
        case ast.Assign():
            names = [n for target in statement.targets for n in _targets(target)]
        case ast.AnnAssign() | ast.AugAssign():
            names = list(_targets(statement.target))
        case ast.If() if _is_main_guard(statement.test):
            return
    for name in names:
        module.bound.setdefault(name, []).append(statement)
    if not names:
        module.loose.append(statement)


def _registers(decorator: ast.expr, module: _Module) -> bool:
    """Whether a decorator is the bundle's own: it may note the function somewhere."""
    chain = _chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return bool(chain) and (chain[0] in module.bound or chain[0] in module.imported)


def _imports(node: ast.Import | ast.ImportFrom, module: _Module, walk: _Walk) -> None:
    """Note which names an import binds to files of the bundle."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            _note_ours(alias.asname or alias.name, alias.name, module)
            dotted = alias.name if alias.asname else alias.name.partition(".")[0]
            path = walk.find(alias.name) and walk.find(dotted)
            if path:
                module.imported[alias.asname or dotted] = (path, "")
        return
    base = _base(node, module.path)
    for alias in node.names:
        local = alias.asname or alias.name
        _note_ours(local, base, module)
        home = walk.find(base)
        if alias.name == "*":
            module.starred += [home] if home else []
        elif sub := walk.find(f"{base}.{alias.name}" if base else alias.name):
            module.imported[local] = (sub, "")
        elif home:
            module.imported[local] = (home, alias.name)


def _note_ours(local: str, source: str, module: _Module) -> None:
    if source.partition(".")[0] == "tradewind":
        module.ours.add(local.partition(".")[0])


def _base(node: ast.ImportFrom, path: str) -> str:
    if not node.level:
        return node.module or ""
    above = PurePosixPath(path).parents
    folder = above[min(node.level, len(above)) - 1]
    start = "" if str(folder) == "." else str(folder).replace("/", ".")
    return ".".join(part for part in (start, node.module or "") if part)


def _dotted(path: str) -> str:
    return path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")


def _chain(node: ast.expr) -> list[str]:
    """`a.b.c` as its names; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _targets(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Tuple | ast.List):
        for each in node.elts:
            yield from _targets(each)
    elif isinstance(node, ast.Starred):
        yield from _targets(node.value)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_main_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and "__name__" in ast.dump(test.left)


def _part(module: _Module, statements: list[ast.stmt]) -> Part:
    lines = tuple((_first(each), each.end_lineno or each.lineno) for each in statements)
    return Part(module.path, _digest(statements, module.ours), lines)


def _first(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min(node.lineno, *(int(each.lineno) for each in decorators), node.lineno)


def _digest(statements: list[ast.stmt], ours: set[str]) -> str:
    return digest_bytes("\n".join(_dump(each, ours) for each in statements).encode())


def _dump(statement: ast.stmt, ours: set[str]) -> str:
    """Without places, and without our own decorators: how well a function shall run is in its spec
    and changes no result."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        kept = [each for each in statement.decorator_list if not _is_ours(each, ours)]
        if len(kept) != len(statement.decorator_list):
            fields = {name: getattr(statement, name) for name in statement._fields}
            statement = type(statement)(**{**fields, "decorator_list": kept})
    return ast.dump(statement)


def _is_ours(decorator: ast.expr, ours: set[str]) -> bool:
    chain = _chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return bool(chain) and chain[0] in ours
