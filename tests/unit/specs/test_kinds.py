"""Each kind: three spellings of one object, and the faults its fields can have."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tradewind.base.errors import InvalidSpec
from tradewind.specs import (
    KINDS,
    DatasetSpec,
    FunctionSpec,
    InvalidSpecs,
    Objective,
    PoolSpec,
    Resources,
    Retries,
    ServiceSpec,
    Source,
    Spec,
    TrainingSpec,
    Width,
    digest,
    from_document,
    parse_json,
    parse_tw,
    parse_yaml,
    to_document,
    to_yaml,
)

from .examples import ALL, DIGEST, FULL

ids = [f"{document['kind']}-{index}" for index, document in enumerate(ALL)]


def problem(fields: dict[str, Any], kind: str = "function") -> InvalidSpecs:
    base = {"function": {"entry": "f.py:f"}, "service": {"model": "m"}}.get(kind, {})
    with pytest.raises(InvalidSpecs) as caught:
        from_document({"kind": kind, "name": "f", **base, **fields})
    assert len(caught.value.problems) == 1, caught.value
    return caught.value


def field(error: InvalidSpec) -> str:
    return error.where.field if error.where else ""


def test_the_examples_show_every_field_of_every_kind() -> None:
    for document in FULL:
        model = KINDS[document["kind"]]
        names = {info.alias or name for name, info in model.model_fields.items()}
        left_out = {"sql", "by", "on_error"}  # they do not go with what is shown
        shared = set() if "bundle" in names and document["kind"] != "pipeline" else names
        missing = names - left_out - set(document) - shared
        assert not missing, document["kind"]


@pytest.mark.parametrize("document", ALL, ids=ids)
def test_a_document_comes_back_as_it_was_written(document: dict[str, Any]) -> None:
    spec = from_document(document)
    assert to_document(spec) == document
    assert from_document(to_document(spec)) == spec


@pytest.mark.parametrize("document", ALL, ids=ids)
def test_all_spellings_give_the_same_object(document: dict[str, Any]) -> None:
    spec = from_document(document)
    fields = {key: value for key, value in document.items() if key != "kind"}
    assert KINDS[document["kind"]](**fields) == spec
    assert parse_yaml(to_yaml(spec)) == [spec]
    assert parse_json(json.dumps(document)) == [spec]
    body = to_yaml(spec).split("\n", 2)[2]
    lines = "".join(f"  {line}\n" for line in body.splitlines())
    text = f"import os\n\n{document['kind']}: {document['name']}\n{lines}\nx = 1\n"
    assert parse_tw(text, "f.tw").specs == [spec] or "entry" not in document


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind: str) -> None:
    for name, info in KINDS[kind].model_fields.items():
        assert info.description or name == "kind", f"{kind}.{name}"


def test_specs_are_frozen_and_digested() -> None:
    spec = FunctionSpec(name="f", entry="f.py:f", performance="60s")
    with pytest.raises(Exception, match="frozen"):
        spec.performance = 1.0  # type: ignore[misc]
    assert digest(spec) == digest(FunctionSpec(name="f", entry="f.py:f", performance="1m"))
    assert digest(spec) != digest(FunctionSpec(name="f", entry="f.py:f"))


def test_units() -> None:
    spec = FunctionSpec(
        name="f",
        entry="f.py:f",
        performance=timedelta(minutes=1),
        budget="$0.05",
        timeout="1h30m",
        resources={"cpu": 2, "memory": "4GiB"},
        retries=3,
    )
    assert (spec.performance, spec.budget, spec.timeout) == (60.0, 50_000_000, 5400.0)
    assert spec.resources == Resources(cpu=2, memory=4 * 2**30)
    assert spec.retries == Retries(max=3) and spec.retries.backoff == 1.0
    assert spec.objective == Objective(performance="60s", budget="$0.05")
    assert spec.result == "f"
    assert TrainingSpec(name="t", entry="t.py", workers="1..4").workers == Width(min=1, max=4)
    assert PoolSpec(name="p", price="$0.10 per hour").price == 100_000_000
    assert PoolSpec(name="p", price="$0/h").price == 0
    assert to_document(PoolSpec(name="p", price="$0")) == {
        "kind": "pool", "name": "p", "price": "$0/h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "written"),
    [("60s", "1m"), ("90m", "1h30m"), ("250ms", "250ms"), ("0.1234s", "0.1234s"), ("2d1s", "2d1s"),
     ("1e-9s", "1e-09s"), ("1e300s", None),
     ("1000000000h", None)],
)  # fmt: skip
def test_durations_are_written_exactly(seconds: str, written: str | None) -> None:
    if written is None:
        with pytest.raises(InvalidSpec, match="too long a time"):
            FunctionSpec(name="f", entry="f.py:f", timeout=seconds)
        return
    spec = FunctionSpec(name="f", entry="f.py:f", timeout=seconds)
    assert to_document(spec)["timeout"] == written
    assert from_document(to_document(spec)) == spec


def test_shorthands() -> None:
    assert DatasetSpec(name="d", source="a.csv").source == Source(path=("a.csv",))
    assert DatasetSpec(name="d", source=["a.csv", "b.csv"]).source == Source(
        path=["a.csv", "b.csv"]
    )
    assert DatasetSpec(name="d", keys="id").keys == ("id",)
    assert FunctionSpec(name="f", entry="f.py:f", style="group", by="id").by == ("id",)
    source = Source(path="a.csv", schema={"a": "string"})
    assert source.columns == {"a": "string"}


@pytest.mark.parametrize(
    "name", ["a", "my_logic", "清洗", "été", "2024-01", "_x", "a" * 253, "e\u0301", "हिन्दी"]
)
def test_good_names(name: str) -> None:
    DatasetSpec(name=name)


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "empty"), ("A", "capital letter"), ("a b", "holds ' '"), ("a" * 254, "longer than 253"),
     ("清" * 85, "longer than 253"), ("-a", "begins with"), ("a.b", "holds '.'"), ("a/b", "holds"),
     (5, "expected a name"), (None, "expected a name"), ("\u0301a", "holds"), ("a\n", "holds")],
)  # fmt: skip
def test_bad_names(name: object, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        from_document({"kind": "dataset", "name": name})


FAULTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("function", {"performance": 60}, "performance", "60 has no unit", ""),
    ("function", {"performance": "60x"}, "performance", "'x' is not a unit of time", ""),
    ("function", {"performance": "0s"}, "performance", "more than nothing", ""),
    ("function", {"budget": "2"}, "budget", "expected an amount of money such as $2", ""),
    ("function", {"availability": "regoin"}, "availability",
     "expected process, node, zone or region", "did you mean 'region'?"),
    ("function", {"consistency": 1}, "consistency", "expected strong or soft, not 1", ""),
    ("function", {"performence": "60s"}, "performence", "is not a field of a function",
     "did you mean 'performance'?"),
    ("function", {"resources": {"memry": "1GiB"}}, "resources.memry", "not a field of resources",
     "did you mean 'memory'?"),
    ("function", {"resources": {"memory": "4 mice"}}, "resources.memory", "not a unit of size", ""),
    ("function", {"resources": {"cpu": "2"}}, "resources.cpu", "expected a number", ""),
    ("function", {"resources": {"cpu": 0}}, "resources.cpu", "more than 0", ""),
    ("function", {"resources": {"accelerators": {"a": 0}}}, "resources.accelerators.a",
     "expected whole devices, a part of one or its memory", ""),
    ("function", {"resources": {"accelerators": {"a": -0.5}}}, "resources.accelerators.a",
     "not -0.5", ""),
    ("function", {"resources": {"accelerators": {"a": 1.5}}}, "resources.accelerators.a",
     "only of a single device", "ask for 1 or 2 of them"),
    ("function", {"resources": {"accelerators": {"a": 1 / 3}}}, "resources.accelerators.a",
     "in thousandths", "write 0.333"),
    ("function", {"resources": {"accelerators": {"a": float("nan")}}}, "resources.accelerators.a",
     "finite number", ""),
    ("function", {"resources": {"accelerators": {"a": 100_001}}}, "resources.accelerators.a",
     "not 100001", "at most 100,000"),
    ("function", {"resources": {"accelerators": {"a": True}}}, "resources.accelerators.a",
     "not true", ""),
    ("function", {"resources": {"accelerators": {"a": "0GiB"}}}, "resources.accelerators.a",
     "more than nothing", ""),
    ("function", {"resources": {"accelerators": {"a": "much"}}}, "resources.accelerators.a",
     "", ""),
    ("function", {"resources": {"accelerators": {"a": 0.5, "b": "1GiB"}}},
     "resources.accelerators.b", "of one class, not of a and b", "whole ones"),
    ("pool", {"capacity": {"accelerators": {"a": 0.5}}}, "capacity.accelerators.a",
     "a pool has whole devices, not 0.5", ""),
    ("device", {"parts": 0}, "parts", "at least 1", ""),
    ("device", {"memory": "-1GiB"}, "memory", "", ""),
    ("device", {"found": [""]}, "found.0", "", ""),
    ("device", {"shown_by": "A B"}, "shown_by", "no name of an environment variable", ""),
    ("function", {"retries": -1}, "retries", "at least 0", ""),
    ("function", {"retries": "many"}, "retries", "expected a number of retries", ""),
    ("function", {"retries": {"backoff": "1s"}}, "retries.max", "'max' is missing", ""),
    ("function", {"env": {"A B": "x"}}, "env.A B", "no name of an environment variable", ""),
    ("function", {"env": {"PORT": 8080}}, "env.PORT", "expected text", 'put it in quotes: "8080"'),
    ("function", {"cache": "yes"}, "cache", "expected true or false", ""),
    ("function", {"labels": ["a"]}, "labels", "expected a mapping", ""),
    ("function", {"bundle": "sha256:12"}, "bundle", "expected a digest", ""),
    ("function", {"dependencies": "numpy"}, "dependencies", "expected a list", "write [numpy]"),
    ("function", {"dependencies": ["numpy", "a b"]}, "dependencies.1",
     "expected a requirement", ""),
    ("function", {"dependencies": "../r.txt"}, "dependencies", "inside the bundle", ""),
    ("function", {"entry": "f"}, "entry", "expected an entry such as file.py:name", ""),
    ("function", {"entry": "/etc/f.py:f"}, "entry", "inside the bundle", ""),
    ("function", {"entry": "a/../../f.py:f"}, "entry", "inside the bundle", ""),
    ("function", {"entry": "f.py"}, "entry", "names no function", "f.py:name"),
    ("function", {"entry": "f.py:1x"}, "entry", "expected an entry", "a Python name"),
    ("function", {"entry": None}, "", "neither entry nor sql", ""),
    ("function", {"sql": "SELECT 1"}, "sql", "not both", ""),
    ("function", {"entry": None, "sql": "DROP TABLE x"}, "sql", "expected one SELECT", ""),
    ("function", {"entry": None, "sql": "SELECT 1; SELECT 2"}, "sql", "several statements", ""),
    ("function", {"entry": None, "sql": "SELECT 1", "items": [1]}, "items", "takes no items", ""),
    ("function", {"at_once": 2}, "at_once", "belongs to items", ""),
    ("function", {"style": "bach"}, "style", "expected table, expression, sql, batch, row or group",
     "did you mean 'batch'?"),
    ("function", {"style": "sql"}, "style", "'sql' does not go with an entry", "write sql: SELECT"),
    ("function", {"entry": None, "sql": "SELECT 1", "style": "row"}, "style",
     "'row' does not go with sql", "drop style"),
    ("function", {"style": "group"}, "style", "needs the columns", "write by: [column]"),
    ("function", {"style": "group", "by": []}, "style", "needs the columns", ""),
    ("function", {"style": "group", "by": ["a", "b", "a"]}, "by", "a column twice", ""),
    ("function", {"style": "group", "by": ["a", 1]}, "by.1", "expected text", ""),
    ("function", {"style": "batch", "by": "a"}, "by", "belongs to the style group", "drop by"),
    ("function", {"by": "a"}, "by", "belongs to the style group", "write style: group"),
    ("function", {"on_error": "skip"}, "on_error", "no meaning for the style 'table'", "batch"),
    ("function", {"style": "expression", "on_error": "fail"}, "on_error", "'expression'", ""),
    ("function", {"style": "row", "on_error": "skp"}, "on_error", "expected fail or skip",
     "'skip'"),
    ("function", {"style": "row", "items": [1]}, "items", "'row' takes no items", "drop one"),
    ("function", {"backend": "duckdbb"}, "backend", "expected python, duckdb", "'duckdb'"),
    ("function", {"value": "5"}, "value", "an amount of money", ""),
    ("function", {"items": 5}, "items", "expected a list", ""),
    ("function", {"items": []}, "items", "nothing to do", "leave it out"),
    ("function", {"params": {"a": float("nan")}}, "params.a", "finite", ""),
    ("function", {"params": {"a": {1: 2}}}, "params.a", "expected text as a key", 'quotes: "1"'),
    ("function", {"params": {"a": b"x"}}, "params.a", "expected a JSON value", ""),
    ("function", {"params": {"a": 2**64}}, "params.a", "64 bits", ""),
    ("function", {"params": {"a": "\ud800"}}, "params.a", "half a character", ""),
    ("function", {"input": "flights"}, "input", "expected a mapping", ""),
    ("function", {"input": {"data": "Flights"}}, "input.data", "capital letter", "write 'flights'"),
    ("function", {"input": {"data": "flights@"}}, "input.data", "no good version", ""),
    ("function", {"input": {"m": "model:m@"}}, "input.m", "no good version", ""),
    ("function", {"input": {"m": "model:A"}}, "input.m", "capital letter", "write 'a'"),
    ("training", {"entry": "t.py:f", "args": ["a"]}, "args", "plain script", ""),
    ("training", {"entry": "t.py", "workers": "4..2"}, "workers", "4..2 is empty", "write 2..4"),
    ("training", {"entry": "t.py", "workers": 0}, "workers", "at least 1", ""),
    ("training", {"entry": "t.py", "workers": "0..2"}, "workers", "at least one worker", ""),
    ("training", {}, "entry", "'entry' is missing", ""),
    ("service", {"model": "m@"}, "model", "no good version", ""),
    ("service", {"model": "m/1/2"}, "model", "no good version", "write m/3"),
    ("service", {"model": None}, "", "neither model nor entry", ""),
    ("service", {"ports": {"http": 70000}}, "ports.http", "at most 65535", ""),
    ("dataset", {"source": []}, "source", "at least one path", ""),
    ("dataset", {"source": {"path": "a", "format": "cvs"}}, "source.format",
     "expected auto", "'csv'"),
    ("dataset", {"source": {"path": "a", "delimiter": ",,"}}, "source.delimiter", "at most 1", ""),
    ("dataset", {"source": {"format": "csv"}}, "source.path", "'path' is missing", ""),
    ("dataset", {"source": {"path": "a", "schma": {}}}, "source.schma", "not a field of source",
     "did you mean 'schema'?"),
    ("dataset", {"keys": [1]}, "keys.0", "expected text", ""),
    ("model", {"alias": ["Best"]}, "alias.0", "capital letter", ""),
    ("project", {"members": {"li": "ownr"}}, "members.li", "expected owner", "'owner'"),
    ("queue", {"borrow": {"cpu": -1}}, "borrow.cpu", "0", ""),
    ("queue", {"lend": {"memory": "-1GiB"}}, "lend.memory", "expected", ""),
    ("queue", {"guarantee": {"accelerators": {"t4": float("nan")}}}, "guarantee.accelerators.t4",
     "expected a finite number", ""),
    ("device", {"name": "memory"}, "name", "memory is no class of devices", "another name"),
    ("function", {"entry": "a.py:f", "resources": {"cpu": 1e-9}}, "resources.cpu",
     "at least 0.001", ""),
    ("queue", {"guarantee": {"cpu": 1e300}}, "guarantee.cpu", "expected a smaller number", ""),
    ("queue", {"weight": 0}, "weight", "", ""),
    ("queue", {"priority": 1.5}, "priority", "expected a whole number", ""),
    ("pool", {"price": 3}, "price", "expected", ""),
    ("pool", {"production": 1}, "production", "expected true or false", ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "where", "message", "hint"), FAULTS)
def test_a_fault_names_field_expectation_and_spelling(
    kind: str, fields: dict[str, Any], where: str, message: str, hint: str
) -> None:
    error = problem(fields, kind)
    assert field(error) == where
    assert message in error.message
    assert hint in error.hint


def test_a_python_call_raises_the_same_error_with_all_faults() -> None:
    with pytest.raises(InvalidSpecs) as caught:
        FunctionSpec(name="F", entry="f.py:f", performance=60, budgt="$2")  # type: ignore[call-arg]
    fields = [problem.where.field for problem in caught.value.problems]
    assert fields == ["name", "performance", "budgt"]
    assert "also budgt" in str(caught.value)


@pytest.mark.parametrize(
    "document", [None, 3, [], "kind", {}, {"kind": None}, {"kind": "functoin"}]
)
def test_what_is_no_spec(document: object) -> None:
    with pytest.raises(InvalidSpec):
        from_document(document)


def test_a_wrong_kind_gets_the_nearest() -> None:
    with pytest.raises(InvalidSpec) as caught:
        from_document({"kind": "functoin", "name": "f"})
    assert caught.value.hint == "did you mean 'function'?"


def test_many_faults_are_cut_off_in_the_text_and_kept_in_the_value() -> None:
    fields = {f"x{index}": 1 for index in range(100)}
    with pytest.raises(InvalidSpecs) as caught:
        from_document({"kind": "pool", "name": "p", **fields})
    assert len(caught.value.problems) == 100
    assert "and 79 more" in str(caught.value)


def test_services_and_bundles() -> None:
    spec: Spec = ServiceSpec(name="s", model="m@best", replicas="0..4", bundle=DIGEST)
    assert isinstance(spec, ServiceSpec)
    assert (spec.replicas.min, spec.replicas.max) == (0, 4)


def test_a_price_may_be_nothing_and_that_is_said() -> None:
    def price(text: str) -> int | None:
        spec = from_document({"kind": "pool", "name": "p", "price": text})
        assert isinstance(spec, PoolSpec)
        return spec.price

    assert (price("$0/h"), price("$0"), price("$0.000000001/h")) == (0, 0, 1)
    for text in ("$0.0000000001/h", "-$1/h", "1/h"):
        with pytest.raises(InvalidSpec, match=r"\$0/h") as caught:
            price(text)
        assert "more than nothing" not in str(caught.value)
