"""The `.tw` file: Python with declarations between.

A declaration begins at column 0 with `kind: name`; its fields are the indented YAML below it:

    def my_logic(data):
        return do_some_job(data)

    function: my_logic
        performance: 60s

The declarations become blank lines, so the Python that is left keeps its line numbers. What is
Python stays Python: a line inside a text or brackets, an annotation such as `function: int = 3`.
A line `kind: name` without fields is Python only if Python knows the name (and not as a def), since
otherwise Python would fail on it.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tradewind.base.errors import Location
from tradewind.specs.common import Spec
from tradewind.specs.documents import Placed, collect
from tradewind.specs.faults import InvalidSpecs, Problem, nearest, reject
from tradewind.specs.kinds import KINDS
from tradewind.specs.nodes import Node, clean, compose

_HEAD = re.compile(r"([^\W\d]\w*)[ ]*:(.*)")
_FIELD = re.compile(r"\s+[\"']?[^\W\d][\w-]*[\"']?\s*:(\s|$)")
_BARE = re.compile(r"[\w-]+")
_NEEDS_DEF = ("function", "training")
_MAY_NAME_DEF = (*_NEEDS_DEF, "service")
_BETWEEN = {
    tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING,
}  # fmt: skip
_END = 2**31
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_F_STRINGS = {"FSTRING_START": 1, "FSTRING_END": -1, "TSTRING_START": 1, "TSTRING_END": -1}


@dataclass(frozen=True, slots=True)
class TwFile:
    """The Python of a `.tw` file, its lines where they were, its defs, the specs it declares."""

    source: str
    placed: list[Placed]
    defs: tuple[str, ...] = ()

    @property
    def specs(self) -> list[Spec]:
        """Without where they stand."""
        return [spec for spec, _ in self.placed]


@dataclass(frozen=True, slots=True)
class _Declaration:
    """Lines `first` to `last` (from 0, `last` not included) declare `kind: name`."""

    first: int
    last: int
    kind: str
    name: str
    column: int
    has_fields: bool


@dataclass(frozen=True, slots=True)
class _Names:
    """What a module binds at its top level."""

    defs: frozenset[str]
    others: frozenset[str]
    open_ended: bool
    imported: dict[str, tuple[str, str]]
    """Name here → file and name there, of `from module import name`."""

    def knows(self, name: str) -> bool:
        name = unicodedata.normalize("NFKC", name)
        return self.open_ended or name in self.defs or name in self.others


def parse_tw(text: str, file: str = "main.tw", beside: Container[str] = ()) -> TwFile:
    """Split a `.tw` text into Python and specs, or raise InvalidSpec with every fault.

    An entry is `<file's own name>:<def>`: the root of the bundle is the file's folder. A def that
    is imported from a file `beside` it has that file's entry, as if it were said there.
    """
    text = clean(text, file)
    lines = text.split("\n")
    found = list(_declarations(lines))
    source, names, problems = _python(lines, found, file)
    if names is not None:
        annotations = [one for one in found if not one.has_fields and _is_annotation(one, names)]
        if annotations:
            found = [one for one in found if one not in annotations]
            source, names, problems = _python(lines, found, file)
    documents = []
    for declaration in found:
        node = _document(declaration, lines, file, problems)
        if node is not None:
            _resolve(node, file, names, beside, problems)
            documents.append(node)
    placed = collect(documents, file, problems)
    if problems:
        reject(problems)
    return TwFile(source, placed, tuple(sorted(names.defs)) if names is not None else ())


def _declarations(lines: list[str]) -> Iterator[_Declaration]:
    """Every declaration, told from Python by its shape and by what stands before it."""
    index, python = 0, _Statements(lines, 0)
    while index < len(lines):
        head = _HEAD.match(lines[index])
        if head is None or keyword.iskeyword(head[1]):
            index += 1
            continue
        last, fields = _block(lines, index + 1)
        if not (_declares(head, fields) and python.begins(index)):
            index += 1
            continue
        name = re.sub(r"(^|\s)#.*", "", head[2]).strip()
        column = head.start(2) + len(head[2]) - len(head[2].lstrip()) + 1
        if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
            name = name[1:-1]
        yield _Declaration(index, last, head[1], name, column, bool(fields))
        index, python = last, _Statements(lines, last)


def _block(lines: list[str], start: int) -> tuple[int, list[str]]:
    """Where the indented lines from `start` on end, and those that are no comments."""
    last, index = start, start
    fields: list[str] = []
    while index < len(lines):
        line = lines[index]
        if line[:1] in (" ", "\t") and line.strip():
            last = index + 1
            if not line.lstrip().startswith("#"):
                fields.append(line)
        elif line.strip() and not line.startswith("#"):
            break
        index += 1
    return (last if fields else start), fields


def _declares(head: re.Match[str], fields: list[str]) -> bool:
    word, rest = head[1], head[2].strip()
    if "=" in rest.partition("#")[0] or rest.endswith("\\") or _unfinished(rest):
        return False
    if word in KINDS:
        bare = rest.partition("#")[0].strip()
        return bool(fields) or not bare or _BARE.fullmatch(bare) is not None
    return bool(fields) and _FIELD.match(fields[0]) is not None


class _Statements:
    """Says which lines begin a statement, reading the Python from `start` on only once."""

    def __init__(self, lines: list[str], start: int) -> None:
        text = (lines[index] + "\n" for index in range(start, len(lines)))
        self._tokens = tokenize.generate_tokens(lambda: next(text, ""))
        self._start = start
        self._row = -1  # of the last token, counted like `lines`
        self._depth = 0
        self._open = self._before = False

    def begins(self, index: int) -> bool:
        """Whether line `index` is no part of a text, brackets or a continued line before it."""
        depth = self._depth
        while self._row < index:
            self._before = self._open or depth > 0
            try:
                token = next(self._tokens)
            except tokenize.TokenError as error:
                self._before = "EOF in multi-line" in str(error) or "triple-quoted" in str(error)
                self._row = _END
            except (StopIteration, SyntaxError, ValueError, RecursionError):
                self._before, self._row = False, _END
            else:
                depth += _DEPTH.get(token.string, 0) if token.type == tokenize.OP else 0
                depth += _F_STRINGS.get(tokenize.tok_name[token.type], 0)
                self._open = token.type not in _BETWEEN
                self._row = self._start + token.start[0] - 1
        self._depth = depth
        return not self._before


def _unfinished(line: str) -> bool:
    """Whether a line of Python leaves a text or brackets open."""
    return not _Statements([line, "x"], 0).begins(1)


def _python(
    lines: list[str], declared: list[_Declaration], file: str
) -> tuple[str, _Names | None, list[Problem]]:
    """The Python without the declarations, the names it binds, and what is wrong with it."""
    kept = list(lines)
    for one in declared:
        kept[one.first : one.last] = [""] * (one.last - one.first)
    source = "\n".join(kept)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        where = Location(file, error.lineno or 1, max(error.offset or 1, 1))
        return source, None, [Problem(f"this is not Python: {error.msg}", "", where)]
    except (ValueError, RecursionError, MemoryError) as error:
        what = "this Python is nested too deeply"
        if isinstance(error, ValueError):
            what = f"this is not Python: {error}"
        return source, None, [Problem(what, "", Location(file, 1, 1))]
    return source, _bound(tree.body), []


def _bound(body: Iterable[ast.stmt]) -> _Names:
    """The names that the statements of a module bind, those inside `if`, `try`, `with` too."""
    defs: set[str] = set()
    others: set[str] = set()
    imported: dict[str, tuple[str, str]] = {}
    open_ended = False
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defs.add(node.name)
        elif isinstance(node, ast.ClassDef):
            others.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            open_ended |= any(alias.name == "*" for alias in node.names)
            others |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                there = node.module.replace(".", "/") + ".py"
                imported |= {
                    alias.asname or alias.name: (there, alias.name) for alias in node.names
                }
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            others.add(node.id)
        elif not isinstance(node, ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return _Names(frozenset(defs), frozenset(others), open_ended, imported)


def _is_annotation(one: _Declaration, names: _Names) -> bool:
    """Whether a line without fields is Python: an annotation by something Python knows."""
    if not one.name or one.name in names.defs:
        return False
    words = [word for word in one.name.split("-") if word]
    return all(word in names.others or hasattr(builtins, word) for word in words)


def _document(
    one: _Declaration, lines: list[str], file: str, problems: list[Problem]
) -> Node | None:
    """The declaration as a document, its head as the fields `kind` and `name`."""
    line = one.first + 1
    fields = _fields(one, lines, file, problems)
    if fields is None:
        return None
    if not one.name:
        hint = f"write {one.kind}: name"
        problems.append(
            Problem("this declaration has no name", hint, Location(file, line, 1, "name"))
        )
        return None
    for key in ("kind", "name"):
        if key in fields.keys:
            message = f"the first line of a declaration says its {key} already"
            where = Location(file, *fields.keys[key], key)
            problems.append(Problem(message, "drop this line", where))
    value = {**fields.value, "kind": one.kind, "name": one.name}
    node = Node(value, line, 1, dict(fields.children), dict(fields.keys))
    node.children |= {"kind": Node(one.kind, line, 1), "name": Node(one.name, line, one.column)}
    return node


def _fields(one: _Declaration, lines: list[str], file: str, problems: list[Problem]) -> Node | None:
    if not one.has_fields:
        return Node({}, one.first + 1, 1)
    body = "\n".join(lines[one.first + 1 : one.last]) + "\n"
    try:
        found = compose(body, file, problems, one.first + 2)
    except InvalidSpecs as error:
        problems[:] = dict.fromkeys((*problems, *error.problems))
        return None
    if len(found) == 1 and isinstance(found[0].value, dict):
        return found[0]
    where = Location(file, one.first + 2, 1)
    problems.append(Problem("expected fields, one `key: value` on a line", "", where))
    return None


def _resolve(
    node: Node,
    file: str,
    names: _Names | None,
    beside: Container[str],
    problems: list[Problem],
) -> None:
    """Point the entries of a document, and of its steps' inline specs, at this file's defs."""
    document = node.value
    if document["kind"] in KINDS:
        _entry(document, node, document["name"], file, names, beside, problems)
    steps = document.get("steps")
    if document["kind"] != "pipeline" or not isinstance(steps, list):
        return
    for index, step in enumerate(steps):
        uses = step.get("uses") if isinstance(step, dict) else None
        if isinstance(uses, dict):
            place = node.children["steps"].children[index].children["uses"]
            name = uses.get("name", step.get("name"))
            _entry(uses, place, name, file, names, beside, problems)


def _entry(
    document: dict[str, Any],
    node: Node,
    name: object,
    file: str,
    names: _Names | None,
    beside: Container[str],
    problems: list[Problem],
) -> None:
    """Fill in or complete the `entry` of one document; a def that is missing is a fault."""
    kind, said = document.get("kind"), document.get("entry")
    if kind not in _MAY_NAME_DEF:
        return
    if said is None and kind in _NEEDS_DEF and document.get("sql") is None:
        said, field = name, "name"
    elif isinstance(said, str) and said.isidentifier():
        field = "entry"
    else:
        return
    if not isinstance(said, str):
        return
    if names is not None and not names.knows(said):
        hint = nearest(said, sorted(names.defs)) or f"write def {said}(…): above it"
        where = node.location(file, (field,))
        problems.append(Problem(f"there is no def {said!r} in this file", hint, where))
        # The fault is told; the rest of the spec is checked with a stand-in.
        said = "missing"
    document["entry"] = ":".join(_home(said, file, names, beside))


def _home(said: str, file: str, names: _Names | None, beside: Container[str]) -> tuple[str, str]:
    """The file that has this def, and its name there."""
    if names is not None and said in names.imported and said not in names.defs:
        home = names.imported[said]
        if home[0] in beside:
            return home
    return PurePosixPath(file.replace(chr(92), "/")).name, said
