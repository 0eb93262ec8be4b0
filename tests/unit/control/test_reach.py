"""Which code an entry reaches: what it uses, wherever that lies, and nothing else."""

from __future__ import annotations

import pytest

from tradewind.control.reach import reach

FLOWS = '''"""Flows."""
import os
from helpers import scale
import helpers as h
import pkg.deep
from pkg import other

LIMIT = 3
UNUSED = 4

class Base:
    x = 1

class Model(Base):
    def fit(self):
        return scale(LIMIT)

def clean(data):
    return Model().fit()

def through_module(data):
    return h.shift(data)

def deep(data):
    return pkg.deep.dive(data)

def lazy(data):
    from late import thing
    return thing(data)

def unused(data):
    return UNUSED
'''
FILES = {
    "flows.py": FLOWS,
    "helpers.py": "K = 2\ndef scale(x):\n    return x * K\ndef shift(x):\n    return x + 1\n",
    "late.py": "def thing(x):\n    return x\ndef nothing():\n    pass\n",
    "pkg/__init__.py": "",
    "pkg/deep.py": "from . import other\ndef dive(x):\n    return other.swim(x)\n",
    "pkg/other.py": "def swim(x):\n    return x\ndef fly(x):\n    return x\n",
    "README.md": "hello",
    "data/query.sql": "select 1",
}


def reached(entry: str, files: dict[str, str] | None = None) -> set[str]:
    return set(found(entry, files))


def found(entry: str, files: dict[str, str] | None = None) -> dict[str, str]:
    texts = {**FILES, **(files or {})}
    parts = reach({name: text.encode() for name, text in texts.items()}, entry)
    return {name: part.digest for name, part in parts.items()}


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ("flows.py:unused", {"flows.py:unused", "flows.py:UNUSED"}),
        (
            "flows.py:clean",
            {"flows.py:clean", "flows.py:Model", "flows.py:Base", "flows.py:LIMIT",
             "helpers.py:scale", "helpers.py:K"},
        ),
        ("flows.py:through_module", {"flows.py:through_module", "helpers.py:shift"}),
        ("flows.py:deep", {"flows.py:deep", "pkg/deep.py:dive", "pkg/other.py:swim"}),
        ("flows.py:lazy", {"flows.py:lazy", "late.py:thing"}),
        ("tradewind.components:split", set()),
        ("missing.py:x", set()),
    ],
)  # fmt: skip
def test_names_are_followed_through_files(entry: str, parts: set[str]) -> None:
    assert reached(entry) == parts


def test_a_script_is_whole_with_what_it_imports() -> None:
    script = "from helpers import scale\nprint(scale(1))\n"
    assert reached("train.py", {"train.py": script}) == {
        "train.py", "helpers.py:scale", "helpers.py:K",
    }  # fmt: skip


def test_comments_blanks_and_our_own_decorators_do_not_count() -> None:
    other = (
        FLOWS.replace("def clean(data):", "# why\n\n@tw.function(retries=3)\ndef clean( data ):")
        .replace("import os", "import os\nimport tradewind as tw")
        .replace("LIMIT = 3", "LIMIT = 3  # enough")
    )
    assert found("flows.py:clean", {"flows.py": other}) == found("flows.py:clean")


def test_a_decorator_of_the_bundles_own_counts() -> None:
    text = "REG = []\ndef note(f):\n    REG.append(f)\n    return f\n"
    text += "@note\ndef a():\n    return 1\ndef go():\n    return [f() for f in REG]\n"
    before = found("m.py:go", {"m.py": text})
    assert before != found("m.py:go", {"m.py": text.replace("return 1", "return 2")})


@pytest.mark.parametrize(
    "line", ["exec(x)", "eval(x)", "__import__(x)", "import importlib; importlib.import_module(x)"]
)
def test_what_cannot_be_followed_reaches_everything(line: str) -> None:
    parts = reached("m.py:go", {"m.py": f"def go(x):\n    {line}\ndef other(): pass\n"})
    assert {"m.py", "flows.py", "helpers.py", "pkg/other.py"} <= parts


def test_a_star_import_reaches_the_whole_file() -> None:
    parts = reached("m.py:go", {"m.py": "from late import *\ndef go(x):\n    return thing(x)\n"})
    assert "late.py:thing" in parts
    text = "def go(x):\n    return globals()['f'](x)\ndef f(x): return x\n"
    assert reached("m.py:go", {"m.py": text}) == {"m.py"}


def test_a_module_that_goes_somewhere_as_a_value_is_whole() -> None:
    text = "import late\ndef go(x):\n    return getattr(late, x)\n"
    assert reached("m.py:go", {"m.py": text}) == {"m.py:go", "late.py"}


def test_code_that_runs_on_import_counts_and_the_main_guard_does_not() -> None:
    text = "import side\ndef go():\n    return 1\nif __name__ == '__main__':\n    go()\n"
    files = {"m.py": text, "side.py": "print('hi')\ndef f(): pass\n"}
    assert reached("m.py:go", files) == {"m.py:go", "side.py:<module>"}


@pytest.mark.parametrize("text", ["data/query.sql", "query", "a query.sql b"])
def test_a_file_that_a_text_names_counts(text: str) -> None:
    body = f"def go(x):\n    return load({text!r})\n"
    assert reached("m.py:go", {"m.py": body}) == {"m.py:go", "data/query.sql"}
    other = "def go(x):\n    return load('queryable')\n"
    assert reached("m.py:go", {"m.py": other}) == {"m.py:go"}


@pytest.mark.parametrize("line", ["open(x)", "Path(__file__).parent", "glob.glob(x + '*')"])
def test_a_file_whose_name_is_made_up_may_be_any(line: str) -> None:
    parts = reached("m.py:go", {"m.py": f"def go(x):\n    return {line}\n"})
    assert parts == {"m.py:go", "README.md", "data/query.sql"}


def test_a_tw_file_is_followed_too() -> None:
    text = "def do(x):\n    return x\n\ndef logic(data):\n    return do(data)\n\n"
    text += "function: logic\n    performance: 60s\n"
    assert reached("main.tw:logic", {"main.tw": text}) == {"main.tw:logic", "main.tw:do"}
    faster = text.replace("60s", "10s")
    assert found("main.tw:logic", {"main.tw": faster}) == found("main.tw:logic", {"main.tw": text})


def test_a_syntax_error_counts_the_whole_file() -> None:
    assert reached("m.py:go", {"m.py": "def go(:\n"}) == {"m.py"}
    text = "import bad\ndef go():\n    return bad.x\n"
    assert reached("m.py:go", {"m.py": text, "bad.py": "x ="}) == {"m.py:go", "bad.py"}


def test_the_folder_of_the_entry_is_on_the_path() -> None:
    files = {"jobs/m.py": "import near\ndef go():\n    return near.f()\n", "jobs/near.py":
             "def f():\n    return 1\n"}  # fmt: skip
    assert reached("jobs/m.py:go", files) == {"jobs/m.py:go", "jobs/near.py:f"}
