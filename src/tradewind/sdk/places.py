"""Where in a user's Python something stands: what a wrong spec of a decorator is said with.

Only when something is wrong is the file read, and the line of the field looked up in it. Standard
library only.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tradewind.base.errors import Location, TradewindError

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Lines that a user may read and did not write: ours, Python's own, and what is installed beside it.
_OTHERS = (_OURS, os.path.dirname(os.path.abspath(os.__file__)) + os.sep, "<frozen ")

Path = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, in which something was said in a call."""

    file: str = ""
    line: int = 0

    def of(self, path: Path) -> Location:
        """Where a field of that call stands, as near as it was written there."""
        node = self._keyword(str(path[0])) if path else None
        for part in path[1:]:
            inner = _inside(node, part)
            if inner is None:
                break
            node = inner
        field = ".".join(map(str, path))
        if node is None:
            return Location(_shown(self.file), self.line, field=field)
        text = linecache.getline(self.file, node.lineno).encode()[: node.col_offset].decode()
        return Location(_shown(self.file), node.lineno, len(text) + 1, field)

    def _keyword(self, name: str) -> ast.expr | None:
        """What a call that goes on in this line gives for this name; of several the innermost."""
        linecache.checkcache(self.file)  # it may have been mended since, in a session that lasts
        try:
            tree = ast.parse("".join(linecache.getlines(self.file)))
        except (SyntaxError, ValueError):
            return None
        found = [
            (len(ast.dump(node)), keyword.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and node.lineno <= self.line <= (node.end_lineno or 0)
            for keyword in node.keywords
            if keyword.arg == name
        ]
        return min(found, key=lambda each: each[0])[1] if found else None


def here() -> Place:
    """The line of the user's that is being carried out."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


@contextmanager
def told() -> Iterator[None]:
    """Say with an error that names no place which line of the user's led to it."""
    try:
        yield
    except TradewindError as error:
        step, found = error.__traceback__, Place()
        while step is not None:
            if not step.tb_frame.f_code.co_filename.startswith(_OTHERS):
                found = Place(step.tb_frame.f_code.co_filename, step.tb_lineno)
            step = step.tb_next
        if error.where is None and found.line:
            error.where = found.of(())
        raise


class Placed(dict[str, Any]):
    """A part of a document that remembers where it was said."""

    def __init__(self, document: dict[str, Any], place: Place) -> None:
        """Made where the user's line is being carried out."""
        super().__init__(document)
        self.place = place


def _inside(node: ast.expr | None, part: str | int) -> ast.expr | None:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == part:
                return value
    elif isinstance(node, ast.List | ast.Tuple) and isinstance(part, int):
        return node.elts[part] if part < len(node.elts) else None
    return None


def _shown(file: str) -> str:
    """As one would name it from where one stands."""
    beside = os.getcwd() + os.sep
    return file.removeprefix(beside)
