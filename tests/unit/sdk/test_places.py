"""Where a wrong spec stands in a file: the same for Python as for YAML and `.tw`."""

from pathlib import Path

import pytest

from tests.unit.sdk.fake import Fake
from tradewind.base.errors import InvalidSpec, NotFound, TradewindError
from tradewind.sdk import loading, places

PYTHON = """import tradewind as tw

@tw.function(
    performance="60s",
    timeout="soon",
    resources={
        "cpu": 1,
        "memory": "much",
    },
)
def clean(flights): ...

@tw.function(retries=2)
def other(flights): ...

@tw.pipeline(budget="dear")
def nightly():
    a = clean(1)
    other.step(
        retries="no",
    )(a)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(api: Fake, target: str, changes: dict[str, str] | None = None) -> str:
    """All of an error, as people read it."""
    with pytest.raises(TradewindError) as raised:
        works = loading.load(target)
        loading.finish(api.client(), loading.choose(works, target), changes)
    return str(raised.value)


def test_a_bad_value_of_a_decorator_is_located(folder: Path, api: Fake) -> None:
    (folder / "flow.py").write_text(PYTHON)
    text = said(api, "flow.py:clean")
    assert text.startswith("flow.py:5:13 (timeout): ")
    assert "also flow.py:8:19 (resources.memory): " in text


def test_so_are_those_of_a_pipeline_and_its_steps(folder: Path, api: Fake) -> None:
    (folder / "flow.py").write_text(PYTHON)
    text = said(api, "flow.py:nightly")
    for place in ("flow.py:5:13 (steps.0.uses.timeout)", "flow.py:16:21 (budget)",
                  "flow.py:20:17 (steps.1.retries)"):  # fmt: skip
        assert place in text


def test_what_the_command_line_says_stands_in_no_file(folder: Path, api: Fake) -> None:
    (folder / "flow.py").write_text(PYTHON)
    text = said(api, "flow.py:other", {"timeout": "later"})
    assert text.startswith("timeout: ") and "flow.py" not in text


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("@tw.function(timeut='1h')\ndef f(): ...", "flow.py:3:21 (timeut)"),
        ("@tw.function(name='Ä/1')\ndef f(): ...", "flow.py:3:19 (name)"),
        ("@tw.function\ndef f_2(): ...\nlambda_ = tw.training(lambda: 1)", "flow.py:5"),
        ("@tw.function\ndef f(): ...\n\n@tw.pipeline\ndef p():\n    if f():\n        f()",
         "flow.py:8"),
        ("@tw.function\ndef f(): ...\n\n@tw.pipeline\ndef p():\n    f.step(nme=1)()",
         "flow.py:8:16 (nme)"),
        ("@tw.pipeline\ndef p():\n    tw.sql('SELECT 1',\n      name='a', timeout='x')()",
         "flow.py:6:25 (steps.0.uses.timeout)"),
    ],
)  # fmt: skip
def test_every_error_that_a_line_of_the_file_leads_to_names_it(
    folder: Path, api: Fake, line: str, place: str
) -> None:
    (folder / "flow.py").write_text(f"import tradewind as tw\n\n{line}\n")
    assert said(api, "flow.py").startswith(f"{place}: ")


def test_a_place_without_a_text_is_the_line() -> None:
    assert str(places.Place("<stdin>", 3).of(("timeout",))) == "<stdin>:3 (timeout)"


YAML = """kind: dataset
name: nix
source: nix.csv
---
kind: function
name: f
entry: f.py:f
input:
  a: flights
  b: not/there.csv
"""


def test_a_file_that_is_not_there_is_located_in_its_spec(folder: Path) -> None:
    spec = folder / "flow.yaml"
    spec.write_text(YAML)
    with pytest.raises(InvalidSpec, match=r"no file nix\.csv") as both:
        loading.load("flow.yaml")
    assert str(both.value.where) == "flow.yaml:3:9 (source)"
    assert "also flow.yaml:10:6 (input.b)" in str(both.value)
    (folder / "nix.csv").write_text("a\n1\n")
    with pytest.raises(NotFound) as raised:
        loading.load("flow.yaml")
    assert str(raised.value.where) == "flow.yaml:10:6 (input.b)"
    spec.write_text("kind: dataset\nname: d\nsource:\n  path: [nix.csv, no.csv]\n  header: false\n")
    with pytest.raises(NotFound) as raised:
        loading.load("flow.yaml")
    assert str(raised.value.where) == "flow.yaml:4:19 (source.path.1)"
    (folder / "flow.tw").write_text("dataset: d\n    source: no.csv\n")
    with pytest.raises(NotFound) as raised:
        loading.load("flow.tw")
    assert str(raised.value.where).startswith("flow.tw:2:13")
