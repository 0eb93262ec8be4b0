"""YAML and JSON text → plain values that remember where they stood.

Values follow YAML 1.2's core schema: `no` and `12:30` are text, `true` and `12` are not. Built from
the parser's events with a depth and a size limit, so that no text can exhaust memory or the stack;
anchors work, but expand into at most `MAX_NODES`. Called by `files` and `tw`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from tradewind.base.errors import InvalidSpec, Location
from tradewind.specs.faults import Path, Problem, reject, shown
from tradewind.specs.fields import MAX_DEPTH, MAX_VALUES

MAX_TEXT = 1_000_000
MAX_JSON = 64_000_000
MAX_NODES = 100_000
_MARKED_JSON = 200_000

NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Node:
    """A value, its place, and the places of what it holds. Lines and columns count from 1."""

    value: Any
    line: int
    column: int
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1

    def location(self, file: str, path: Path, key: bool = False) -> Location:
        """The place of `path` below this node, as near as it was written."""
        node, place = self, (self.line, self.column)
        for index, part in enumerate(path):
            if key and index == len(path) - 1 and part in node.keys:
                place = node.keys[str(part)]
                break
            if part not in node.children:
                break
            node = node.children[part]
            place = (node.line, node.column)
        return Location(file, *place, ".".join(map(str, path)))


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet."""

    node: Node
    key: str | None = None
    anchor: str | None = None


def clean(text: str, file: str) -> str:
    """The text without byte order mark, with `\\n` for every line end; half characters refused."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > MAX_JSON:
        reject(
            [Problem(f"the file is larger than {MAX_JSON // 10**6} MB", "", Location(file, 1, 1))]
        )
    bad = re.search("[\ud800-\udfff\0]", text)
    if bad is not None:
        what = "a NUL character" if bad[0] == "\0" else "half a character"
        where = place_of(text, bad.start())
        reject([Problem(f"the text holds {what}", "save it as UTF-8", Location(file, *where))])
    return text


def place_of(text: str, index: int) -> tuple[int, int]:
    """Line and column of a position in a text."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


class _Builder:
    """Turns the events of one YAML text into nodes. Collects faults; stops at the fatal ones."""

    def __init__(self, file: str, first_line: int, problems: list[Problem]) -> None:
        self.file, self.first_line, self.problems = file, first_line, problems
        self.roots: list[Node] = []
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.count = 0

    def place(self, mark: Any) -> tuple[int, int]:
        return mark.line + self.first_line, mark.column + 1

    def note(self, mark: Any, message: str, hint: str = "") -> None:
        names = [str(part.key) for part in self.open if part.key is not None]
        where = Location(self.file, *self.place(mark), ".".join(names))
        self.problems.append(Problem(message, hint, where))

    def stop(self, mark: Any, message: str, hint: str = "") -> NoReturn:
        self.note(mark, message, hint)
        reject(self.problems)

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.DocumentStartEvent):
            self.anchors.clear()
        elif isinstance(event, yaml.ScalarEvent):
            self.scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self.begin(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self.open.pop()
            if done.anchor is not None:
                self.anchors[done.anchor] = done.node
            self.add(done.node, mark)

    def begin(self, event: Any) -> None:
        mark = event.start_mark
        if len(self.open) >= MAX_DEPTH:
            self.stop(mark, f"this is nested deeper than {MAX_DEPTH} levels")
        if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
            self.note(mark, f"the tag {shown(event.tag)} has no meaning here", "write plain YAML")
        mapping = isinstance(event, yaml.MappingStartEvent)
        if self.open and isinstance(self.open[-1].node.value, dict) and self.open[-1].key is None:
            self.stop(mark, "expected text as a key, not a mapping or list")
        node = Node({} if mapping else [], *self.place(mark))
        self.open.append(_Open(node, anchor=event.anchor))
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)

    def alias(self, event: Any) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            inside = any(part.anchor == event.anchor for part in self.open)
            what = "contains itself" if inside else "has no anchor"
            self.stop(event.start_mark, f"the alias *{event.anchor} {what}")
        self.add(node, event.start_mark)

    def scalar(self, event: Any) -> None:
        value = self.resolve(event)
        node = Node(value, *self.place(event.start_mark))
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self.add(node, event.start_mark)

    def add(self, node: Node, mark: Any) -> None:
        """Hang a finished value into the collection that is open, or among the documents."""
        if not self.open:
            self.count += node.size
            self.limit(mark, self.count)
            self.roots.append(node)
            return
        parent = self.open[-1]
        container = parent.node.value
        if isinstance(container, dict) and parent.key is None:
            parent.key = self.as_key(parent, node, mark)
            return
        parent.node.size += node.size
        self.limit(mark, parent.node.size)
        if isinstance(container, list):
            parent.node.children[len(container)] = node
            container.append(node.value)
            return
        key, parent.key = parent.key or "", None
        container[key] = node.value
        parent.node.children[key] = node

    def limit(self, mark: Any, size: int) -> None:
        if size > MAX_NODES:
            self.stop(mark, f"this holds more than {MAX_NODES} values", "are there many aliases?")

    def as_key(self, parent: _Open, node: Node, mark: Any) -> str:
        key = node.value
        if not isinstance(key, str):
            scalar = isinstance(key, int | float) or key is None
            hint = f'put it in quotes: "{shown(key)}"' if scalar and key is not None else ""
            self.stop(mark, f"expected text as a key, not {shown(key)}", hint)
        if key == "<<":
            self.note(mark, "merge keys (<<) are not part of a spec", "write the fields out")
        elif key in parent.node.keys:
            line = parent.node.keys[key][0]
            self.note(mark, f"the key {shown(key)} stands here a second time",
                      f"the first is in line {line}")  # fmt: skip
        parent.node.keys[key] = self.place(mark)
        return key

    def resolve(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag in ("!", _TAG + "str") or (tag is None and event.style is not None):
            return text
        core = {_TAG + name for name in ("null", "bool", "int", "float")}
        if tag is not None and tag not in core:
            self.note(event.start_mark, f"the tag {shown(tag)} has no meaning here",
                      "write plain YAML")  # fmt: skip
            return text
        if NULL.fullmatch(text):
            return None
        if BOOL.fullmatch(text):
            return text.lower() == "true"
        if INT.fullmatch(text):
            if len(text) > 30:
                self.note(event.start_mark, "expected a whole number of at most 64 bits")
                return 0
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            return int(text[2:] if base != 10 else text, base)
        if FLOAT.fullmatch(text):
            number = math.nan if text[-1].isalpha() else float(text)
            if not math.isfinite(number):
                self.note(event.start_mark, f"expected a finite number, not {text[:40]}")
                return 0.0
            return number
        return text


def compose(text: str, file: str, problems: list[Problem], first_line: int = 1) -> list[Node]:
    """The documents of a YAML text. Small faults are added to `problems`, fatal ones raised."""
    if len(text) > MAX_TEXT:
        where = Location(file, first_line, 1)
        problems.append(Problem(f"the YAML is larger than {MAX_TEXT // 1000} kB", "", where))
        reject(problems)
    builder = _Builder(file, first_line, problems)
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line, column = place_of(text, error.position)
        where = Location(file, line + first_line - 1, column)
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else "odd"
        problems.append(Problem(f"the text holds the unprintable character {character}", "", where))
        reject(problems)
    try:
        while loader.check_event():
            builder.take(loader.get_event())  # type: ignore[no-untyped-call]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        message = error.problem or error.context or "this is not YAML"
        hint = ""
        if "\\t" in message or "'\t'" in message:
            message, hint = "a tab stands where only blanks may", "indent with blanks, not tabs"
        builder.stop(mark, f"this is not YAML: {message}" if not hint else message, hint)
    except (ValueError, OverflowError, IndexError) as error:
        # PyYAML lets a few of Python's own errors through, e.g. for "\U00110000".
        builder.stop(loader.get_mark(), f"this is not YAML: {str(error)[:200]}")
    finally:
        loader.dispose()
    return builder.roots


def compose_json(text: str, file: str, problems: list[Problem]) -> list[Node]:
    """The specs of a JSON text: one object, or a list of objects."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in found]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            place = place_of(text, max(text.rfind(json.dumps(twice)), 0))
            message = f"the key {shown(twice)} stands twice in one object"
            problems.append(Problem(message, "", Location(file, *place, twice)))
        return dict(found)

    def constant(name: str) -> NoReturn:
        where = Location(file, *place_of(text, max(text.find(name), 0)))
        reject([*problems, Problem(f"expected a finite number, not {name}", "", where)])

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        where = Location(file, error.lineno, error.colno)
        reject([*problems, Problem(f"this is not JSON: {error.msg}", "", where)])
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        message = "this is nested too deeply" if deep else "a number has too many digits"
        reject([*problems, Problem(message, "", Location(file, 1, 1))])
    marked = _marks(text, file)
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_VALUES:
        reject([*problems, Problem("too many specs in one file", "", Location(file, 1, 1))])
    nodes = [marked.children.get(index) for index in range(len(values))] if marked else []
    if marked and not isinstance(value, list):
        nodes = [marked]
    return [
        Node(part, node.line, node.column, node.children, node.keys) if node else Node(part, 1, 1)
        for part, node in zip(values, nodes or [None] * len(values), strict=True)
    ]


def _marks(text: str, file: str) -> Node | None:
    """JSON is nearly YAML, whose parser knows places; where it does not cope, there are none."""
    if len(text) > _MARKED_JSON:
        return None
    try:
        found = compose(text.replace("\t", " "), file, [])
    except InvalidSpec:
        return None
    return found[0] if len(found) == 1 else None
