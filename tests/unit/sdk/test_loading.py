"""From what a person names to what is sent."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk.fake import Fake
from tradewind.base.errors import InvalidSpec, NotFound, Refused, UserError
from tradewind.sdk import loading

PIPELINE = """\
kind: dataset
name: flights
source: data/flights.csv
---
kind: function
name: clean
entry: code.py:clean
input: {flights: flights}
---
kind: pipeline
name: nightly
steps:
  - name: clean
    uses: function/clean
    input: {flights: flights}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "data/flights.csv").write_text("a\n1\n")
    (work / "code.py").write_text("def clean(flights): ...")
    (work / "flow.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return work


def test_a_plain_script_needs_no_spec(folder: Path, api: Fake) -> None:
    script = folder / "My Train.py"
    script.write_text("print(1)")
    [work] = loading.load(str(script))
    client = api.client()
    document = loading.finish(client, work, {"performance": "1h", "args": ["--x"]})
    assert document.pop("bundle") in api.blobs
    assert document == {"kind": "training", "name": "my-train", "entry": "My Train.py",
                        "performance": "1h", "args": ["--x"]}  # fmt: skip


def test_a_file_of_specs(folder: Path, api: Fake) -> None:
    works = loading.load("work/flow.yaml")
    assert loading.listed(works) == "dataset/flights, function/clean, pipeline/nightly"
    chosen = loading.choose(works, "work/flow.yaml")
    assert chosen.name == "nightly"
    assert works[0].document["source"] == str(folder / "data/flights.csv")
    assert [each.name for each in loading.imports(chosen)] == ["flights"]
    document = loading.finish(api.client(), chosen)
    uses = document["steps"][0]["uses"]
    assert uses["entry"] == "code.py:clean" and uses["bundle"] in api.blobs


def test_a_model_is_named_and_no_path(folder: Path) -> None:
    named = {"one": "model:m", "two": "model:m@best", "three": "model:m/3"}
    text = ", ".join(f'{name}: "{ref}"' for name, ref in named.items())
    (folder / "score.yaml").write_text(
        f"kind: function\nname: score\nentry: code.py:clean\ninput: {{{text}}}\n"
    )
    [work] = loading.load("work/score.yaml")
    assert work.document["input"] == named


def test_one_of_a_file(folder: Path) -> None:
    [work] = loading.load("work/flow.yaml:clean")
    assert work.kind == "function"
    with pytest.raises(NotFound, match="has no 'cleen'"):
        loading.load("work/flow.yaml:cleen")


def test_several_to_choose_from(folder: Path) -> None:
    (folder / "two.py").write_text(
        "import tradewind as tw\n@tw.function\ndef a(): ...\n@tw.function\ndef b(): ...\n"
    )
    works = loading.load("work/two.py")
    with pytest.raises(UserError, match="several things") as raised:
        loading.choose(works, "work/two.py")
    assert "two.py:a" in raised.value.hint
    assert loading.load("work/two.py:b")[0].name == "b"


def test_a_file_that_cannot_be_imported_says_where(folder: Path) -> None:
    (folder / "needs.py").write_text(
        "import tradewind as tw\nimport no_such_thing\n@tw.function\ndef a(): ...\n"
    )
    with pytest.raises(UserError, match="No module named 'no_such_thing'") as raised:
        loading.load("work/needs.py")
    assert raised.value.where is not None and raised.value.where.line == 2


def test_wrong_names(folder: Path, api: Fake) -> None:
    with pytest.raises(NotFound) as raised:
        loading.load("work/flow.yml")
    assert "flow.yaml" in raised.value.hint
    with pytest.raises(NotFound, match="no function 'gone'"):
        loading.load("function/gone", api.client())
    (folder / "x.txt").write_text("")
    with pytest.raises(UserError, match="neither a spec nor"):
        loading.load("work/x.txt")


def test_a_stored_spec(folder: Path, api: Fake) -> None:
    client = api.client()
    [work] = loading.load("work/flow.yaml:clean")
    client.specs.apply([loading.finish(client, work)])
    [stored] = loading.load("function/clean", client)
    assert loading.finish(client, stored, {"params": {"a": 1}})["params"] == {"a": 1}


def test_code_that_does_not_travel_is_said_before_it_is_missed(folder: Path, api: Fake) -> None:
    (folder / ".gitignore").write_text("code.py\n")
    [work] = loading.load("work/flow.yaml:clean")
    with pytest.raises(Refused, match=r"code\.py does not travel: .gitignore"):
        loading.finish(api.client(), work)


def test_all_that_a_file_of_specs_lacks_is_told_at_once(folder: Path, api: Fake) -> None:
    text = PIPELINE.replace("data/flights.csv", "gone.csv")
    (folder / "flow.yaml").write_text(
        text.replace("flights: flights}\n---", "flights: ./no.csv}\n---")
    )
    with pytest.raises(InvalidSpec) as raised:
        loading.load("work/flow.yaml:nightly")
    said = str(raised.value)
    assert said.startswith("work/flow.yaml:3:9 (source): there is no file gone.csv")
    assert "also work/flow.yaml:8:18 (input.flights): there is no file ./no.csv" in said


def test_code_that_is_not_there_is_told_where_it_is_named(folder: Path, api: Fake) -> None:
    text = PIPELINE.replace("code.py:clean", "cod.py:clean\ndependencies: needs.txt")
    (folder / "flow.yaml").write_text(text)
    [_, _, nightly] = loading.load("work/flow.yaml")
    with pytest.raises(InvalidSpec) as raised:
        loading.finish(api.client(), nightly)
    said = str(raised.value)
    assert said.startswith("work/flow.yaml:7:8 (entry): function clean: there is no ")
    assert "also work/flow.yaml:8:15 (dependencies): function clean: there is no " in said


def test_code_of_a_spec_in_a_step_is_told_where_it_is_named(folder: Path, api: Fake) -> None:
    inline = "{kind: function, name: f, entry: cod.py:f}"
    (folder / "flow.yaml").write_text(PIPELINE.replace("function/clean", inline))
    [_, _, nightly] = loading.load("work/flow.yaml")
    with pytest.raises(NotFound) as raised:
        loading.finish(api.client(), nightly)
    assert str(raised.value.where) == "work/flow.yaml:14:44 (steps.0.uses.entry)"


TAKES = """\
import functools

def two(left, right=None): ...
def many(data, **rest): ...
@functools.cache
def cached(x): ...
def again(a): ...
def again(b): ...
def one(rows): ...
"""


def given(folder: Path, api: Fake, name: str, fields: str, changes: Any = None) -> Any:
    (folder / "takes.tw").write_text(f"{TAKES}\nfunction: {name}\n    {fields}\n")
    [work] = loading.load("work/takes.tw")
    return loading.finish(api.client(), work, changes)


@pytest.mark.parametrize(
    ("name", "fields", "words", "hint"),
    [
        ("two", "input: {lfet: a, right: b}", "input 'lfet': two has no parameter", "'left'"),
        ("two", "input: {left: a, rihgt: b}", "it takes (left, right)", "'right'"),
        ("one", "input: {rosw: a}", "input 'rosw': one has no parameter 'rosw'", "'rows'"),
        ("two", "params: {left: 1, third: 4}", "two has no parameter 'third'", "left, right"),
    ],
)  # fmt: skip
def test_what_no_parameter_is_called_like_is_refused_where_it_stands(
    folder: Path, api: Fake, name: str, fields: str, words: str, hint: str
) -> None:
    with pytest.raises(UserError) as raised:
        given(folder, api, name, fields)
    assert words in raised.value.message and hint in raised.value.hint
    assert raised.value.where is not None and raised.value.where.line == 12


def test_of_the_command_line_too(folder: Path, api: Fake) -> None:
    with pytest.raises(UserError, match="input 'rwos': one has no parameter") as raised:
        given(folder, api, "one", "performance: 1h", {"input": {"rwos": "a"}})
    assert raised.value.where is None and raised.value.hint == "did you mean 'rows'?"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("one", "input: {data: a}"),
        ("two", "input: {data: a, right: b}"),
        ("many", "input: {weather: a}"),
        ("cached", "input: {y: a}"),
        ("again", "input: {a: a}"),
    ],
)
def test_what_fits_or_may_fit_is_sent(folder: Path, api: Fake, name: str, fields: str) -> None:
    assert given(folder, api, name, fields)["entry"] == f"takes.tw:{name}"


def test_steps_are_looked_at_as_well(folder: Path, api: Fake) -> None:
    (folder / "flow.yaml").write_text(
        PIPELINE.replace(
            "uses: function/clean\n    input: {flights", "uses: function/clean\n    input: {fligths"
        )
    )
    works = loading.load("work/flow.yaml:nightly")
    with pytest.raises(UserError, match="input 'fligths': clean has no parameter") as raised:
        loading.finish(api.client(), works[0])
    assert raised.value.where is not None
    assert raised.value.where.field == "steps.0.input.fligths"
