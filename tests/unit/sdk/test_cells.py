"""Functions of a notebook: their text and what it needs."""

import linecache
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tradewind.base.errors import UserError
from tradewind.sdk.cells import Cell, in_session
from tradewind.sdk.code import plain

SETUP = """
import json as js, math
from os import path
import tradewind as tw

RATE = 0.5
NAMES = {"a": [1, (2, 3)]}
handle = open(__FILE__)

class Base:
    kind = NAMES

class Point(Base):  # of a line
    def __init__(self, x): self.x = x * RATE

def helper(x):
    return Point(math.sqrt(x)).x

@tw.function(performance="60s")
def decorated(x):
    return helper(x) + 1

@tw.function
def score(x: float, log=js.dumps) -> str:
    "Has a text."
    values = [helper(v) for v in (x, x)]  # both
    def inner(y):
        return y + decorated(y) + len(path.join("a", "b"))
    return log(values + [inner(x)])

def reads(x):
    return handle.read()

def undefined(x):
    return nowhere(x)

def recursive(n):
    return 1 if n == 0 else n * recursive(n - 1)

anonymous = lambda x: x
"""


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a session holds after this cell was run."""
    name = "/tmp/ipykernel_1/123.py"
    source = SETUP.replace("__FILE__", repr(__file__))
    lines = source.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, name, (len(source), None, lines, name))
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), scope)
    main = type(sys)("__main__")
    main.__dict__.update(scope)
    monkeypatch.setitem(sys.modules, "__main__", main)
    yield scope
    scope["handle"].close()


def run(text: str, call: str, tmp_path: Path) -> str:
    (tmp_path / "cell.py").write_text(text)
    code = f"import cell; print(cell.{call})"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_cell_brings_what_it_needs_and_no_more(cell: dict[str, Any], tmp_path: Path) -> None:
    function = cell["score"].function
    assert in_session(function)
    text = Cell(function, plain).text
    assert "tradewind" not in text and "tw" not in text
    assert "recursive" not in text and "handle" not in text
    assert "RATE = 0.5" in text and "import math" in text
    assert run(text, "score(4.0)", tmp_path) == "[1.0, 1.0, 9.0]"


def test_the_text_stays_as_it_was_written(cell: dict[str, Any]) -> None:
    """`tw cost` shows it with the price of each line."""
    text = Cell(cell["score"].function, plain).text
    assert '    "Has a text."\n    values = [helper(v) for v in (x, x)]  # both\n' in text
    assert "class Point(Base):  # of a line\n    def __init__(self, x): self.x = x * RATE" in text
    assert "def decorated(x):\n    return helper(x) + 1" in text and "@" not in text


def test_recursion(cell: dict[str, Any], tmp_path: Path) -> None:
    assert run(Cell(cell["recursive"], plain).text, "recursive(5)", tmp_path) == "120"


def test_what_lives_in_the_session_only_is_named(cell: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"reads uses the variable handle \(TextIOWrapper\)"):
        Cell(cell["reads"], plain)
    with pytest.raises(UserError, match="undefined uses nowhere, which is not defined"):
        Cell(cell["undefined"], plain)


def test_a_function_of_a_file_is_no_cell() -> None:
    assert not in_session(run)
