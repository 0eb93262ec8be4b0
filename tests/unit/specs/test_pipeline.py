"""The graph: its questions, its faults, and the language of references."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.base.errors import InvalidData, InvalidSpec
from tradewind.specs import (
    Condition,
    FunctionSpec,
    InvalidSpecs,
    PipelineSpec,
    Reference,
    Step,
    fill,
    from_document,
    graph,
    parse_reference,
    to_document,
)

F = {"kind": "function", "entry": "f.py:f"}


def pipeline(*steps: dict[str, Any], **fields: Any) -> PipelineSpec:
    document = {"kind": "pipeline", "name": "p", "steps": list(steps), **fields}
    spec = from_document(document)
    assert isinstance(spec, PipelineSpec)
    return spec


def faults(*steps: dict[str, Any], **fields: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidSpecs) as caught:
        pipeline(*steps, **fields)
    return [(p.where.field, p.message, p.hint) for p in caught.value.problems]


def one(*steps: dict[str, Any], **fields: Any) -> tuple[str, str, str]:
    found = faults(*steps, **fields)
    assert len(found) == 1, found
    return found[0]


def test_order_edges_dependents() -> None:
    spec = pipeline(
        {"name": "c", "uses": F, "input": {"x": "$a"}, "params": {"y": [{"z": "$b.output.n"}]}},
        {"name": "a", "uses": F},
        {"name": "b", "uses": F, "after": ["a"]},
    )
    assert spec.order() == ("a", "b", "c")
    assert spec.edges() == (("a", "c"), ("b", "c"), ("a", "b"))
    assert spec.dependents() == {"c": (), "a": ("c", "b"), "b": ("c",)}
    assert spec.step("b").needs() == ("a",)
    with pytest.raises(KeyError):
        spec.step("d")


def test_steps_from_python_equal_those_from_a_document() -> None:
    step = Step(name="a", uses=FunctionSpec(name="a", entry="f.py:f"), when="$b.output.n > 3")
    spec = PipelineSpec(name="p", steps=[Step(name="b", uses=F | {"name": "b"}), step])
    assert from_document(to_document(spec)) == spec
    assert spec == pipeline(
        {"name": "b", "uses": F}, {"name": "a", "uses": F, "when": "$b.output.n > 3"}
    )


def test_caching_is_on_for_steps_unless_somebody_says_no() -> None:
    spec = pipeline(
        {"name": "a", "uses": F},
        {"name": "b", "uses": {**F, "cache": False}},
        {"name": "c", "uses": {**F, "cache": False}, "cache": True},
        {"name": "d", "uses": "function/x", "cache": False},
    )
    assert [step.cached for step in spec.steps] == [True, False, True, False]


@pytest.mark.parametrize("said", [{"availability": "process"}, {"consistency": "strong"}])
def test_what_a_step_says_of_its_own_is_kept_where_it_is_what_others_mean(said: Any) -> None:
    uses = {"kind": "function", "sql": "select 1", **said}
    flow = {"kind": "pipeline", "name": "p", "steps": [{"name": "a", "uses": uses}]}
    [step] = to_document(from_document(flow))["steps"]
    assert said.items() <= step["uses"].items()


def test_a_cycle_is_named() -> None:
    field, message, _ = one(
        {"name": "x", "uses": F, "after": ["b"]},
        {"name": "a", "uses": F, "input": {"x": "$c"}},
        {"name": "b", "uses": F, "input": {"x": "$a"}},
        {"name": "c", "uses": F, "input": {"x": "$b"}},
    )
    assert "b → c → a → b" in message and field == "steps.2"
    assert "a → a" in one({"name": "a", "uses": F, "after": ["a"]})[1]


CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"input": {"x": "$laod"}}, "input.x", "there is no step 'laod'", "did you mean '$load'?"),
    ({"after": ["laod"]}, "after.0", "there is no step 'laod'", "did you mean 'load'?"),
    ({"params": {"a": {"b": ["$params.yeer"]}}}, "params.a.b.0", "no parameter 'yeer'", "'year'"),
    ({"params": {"a": "$params"}}, "params.a", "names no parameter", "$params.name"),
    ({"params": {"a": "$"}}, "params.a", "is no reference", "$$"),
    ({"params": {"a": "$a b"}}, "params.a", "is no reference", ""),
    ({"params": {"a": "$item"}}, "params.a", "only in a step with foreach", ""),
    ({"foreach": "$item"}, "foreach", "cannot be nested", ""),
    ({"foreach": []}, "foreach", "no items", ""),
    ({"foreach": "load"}, "foreach", "expected a reference or a list", ""),
    ({"at_once": 2}, "at_once", "belongs to foreach", ""),
    ({"input": {"x": "$load.model"}}, "input.x", "no output 'model'", "$load.output.model"),
    ({"input": {"x": 5}}, "input.x", "expected a dataset", "params"),
    ({"input": {"x": ["a", 5]}}, "input.x.1", "expected a dataset", "params"),
    ({"input": {"x": "$maybe"}}, "input.x", "may not exist", "`$maybe | null`"),
    ({"when": "$load.output.n > 3 and $load.output.n < 5"}, "when", "expected one literal", ""),
    ({"when": "$load.output.n > $load.output.m"}, "when", "not with a second reference", ""),
    ({"when": "$load.output.n"}, "when", "one output compared with one literal", "=="),
    ({"when": True}, "when", "one output compared with one literal", ""),
    ({"when": "load > 3"}, "when", "expected a reference", "$load"),
    ({"when": "$load.output.n == ready"}, "when", "expected one literal", '"ready"'),
    ({"when": "$load.output.n < null"}, "when", "no meaning for null", "=="),
    ({"when": "$load.output.n < [1]"}, "when", "one literal", ""),
    ({"when": "$load.output.n < NaN"}, "when", "one literal", ""),
    ({"when": "$fan.output.n < 3"}, "when", "its output is a list", ""),
    ({"foreach": [1], "when": "$item > 3"}, "when", "not about one item", ""),
    ({"until": {"condition": "$me.output.n > 3"}}, "until.max", "'max' is missing", ""),
    ({"until": {"condition": "$load.output.n > 3", "max": 3}}, "until.condition", "does not change",
     "$me.output"),
    ({"until": {"condition": "$me.n > 3", "max": 3}}, "until.condition",
     "no output 'n'", "output.n"),
    ({"until": {"condition": "$me.output > 3", "max": 0}}, "until.max", "at least 1", ""),
    ({"until": {"condition": "$me.output > 3", "max": 3}, "foreach": [1]}, "until", "not both", ""),
    ({"uses": "load"}, "uses", "expected kind/name", "function/load"),
    ({"uses": "f.py:f"}, "uses", "expected kind/name", "{kind: function, entry: f.py:f}"),
    ({"uses": "fucntion/f"}, "uses", "cannot use the kind", "did you mean 'function'?"),
    ({"uses": "queue/f"}, "uses", "cannot use the kind", ""),
    ({"uses": "function/F"}, "uses", "capital", ""),
    ({"uses": {"entry": "f.py:f"}}, "uses", "has no kind", ""),
    ({"uses": {"kind": "fucntion"}}, "uses.kind", "cannot hold", "did you mean 'function'?"),
    ({"uses": {"kind": "pipeline"}}, "uses.kind", "cannot hold", "uses: pipeline/name"),
    ({"uses": {"kind": ["x"]}}, "uses.kind", "cannot hold", ""),
    ({"uses": {**F, "timeot": "3s"}}, "uses.timeot", "not a field of a function", "'timeout'"),
    ({"uses": 3}, "uses", "expected kind/name", ""),
    ({"name": "load"}, "name", "two steps named 'load'", ""),
    ({"name": "item"}, "name", "no step may be named 'item'", ""),
    ({"retires": 3}, "retires", "not a field of step", "did you mean 'retries'?"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "where", "message", "hint"), CASES)
def test_faults(fields: dict[str, Any], where: str, message: str, hint: str) -> None:
    found = one(
        {"name": "load", "uses": F},
        {"name": "maybe", "uses": F, "when": "$load.output.n > 3"},
        {"name": "fan", "uses": F, "foreach": "$load"},
        {"name": "me", "uses": F, **fields},
        params={"year": 2013},
    )
    assert found[0] == f"steps.3.{where}"
    assert message in found[1]
    assert hint in found[2]


def test_no_steps_and_bad_outputs() -> None:
    assert "expected 1 to" in one()[1]
    assert one({"name": "a", "uses": F}, outputs={"m": "$b"})[0] == "outputs.m"


def test_an_optional_output_may_be_read_as_null_or_under_the_same_condition() -> None:
    spec = pipeline(
        {"name": "a", "uses": F},
        {"name": "b", "uses": F, "when": "$a.output.n > 3"},
        {"name": "c", "uses": F, "input": {"x": "$b"}, "when": "$a.output.n > 3"},
        {"name": "d", "uses": F, "input": {"x": "$c.output | null"}},
        outputs={"r": "$b|null"},
    )
    assert parse_reference("$c.output | null").optional
    assert spec.order() == ("a", "b", "c", "d")


def test_references_and_filling() -> None:
    assert parse_reference("$a") == Reference("a")
    assert parse_reference("$a.model.x") == Reference("a", ("model", "x"))
    assert (Reference("a").output, Reference("params", ("x",)).step) == ("output", None)
    assert str(Reference("a", ("b",), optional=True)) == "$a.b | null"
    value = {"a": ["$x.output", "$$5", 3], "b": {"c": "$params.y"}}
    filled = fill(value, lambda reference: reference.root.upper())
    assert filled == {"a": ["X", "$5", 3], "b": {"c": "PARAMS"}}


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [("$a.b >= 0.6", 0.6, True), ("$a.b>0.6", 0.6, False), ("$a.b == 'x y'", "x y", True),
     ('$a.b != "x"', "x", False), ("$a.b == null", None, True), ("$a.b < 3", None, False),
     ("$a.b == true", True, True), ('$a.b < "m"', "k", True), ("$a | null == null", None, True)],
)  # fmt: skip
def test_conditions(text: str, value: object, holds: bool) -> None:
    condition = Condition.model_validate(text)
    assert condition.holds(value) is holds
    assert Condition.model_validate(condition.model_dump()) == condition


@pytest.mark.parametrize("value", ["x", True, [1], {"a": 1}])
def test_a_comparison_without_meaning_is_the_data_s_fault(value: object) -> None:
    with pytest.raises(InvalidData):
        Condition.model_validate("$a.b < 3").holds(value)


@given(st.dictionaries(st.integers(0, 30), st.lists(st.integers(0, 30), max_size=4), max_size=30))
def test_any_graph(raw: dict[int, list[int]]) -> None:
    needs = {str(n): [str(o) for o in other if o in raw] for n, other in raw.items()}
    order, cycle = graph.order(needs), graph.cycle(needs)
    assert bool(cycle) == (len(order) < len(needs))
    for name in order:
        assert all(order.index(other) < order.index(name) for other in needs[name])
    for one, two in pairwise(cycle):
        assert two in needs[one]
    assert not cycle or cycle[0] == cycle[-1]


def test_a_long_chain_is_no_matter() -> None:
    steps: list[dict[str, Any]] = [{"name": "s0", "uses": "function/f"}]
    steps += [
        {"name": f"s{n}", "uses": "function/f", "after": [f"s{n - 1}"]} for n in range(1, 3000)
    ]
    assert len(pipeline(*steps).order()) == 3000
    steps[0]["after"] = ["s2999"]
    with pytest.raises(InvalidSpec, match="wait for each other"):
        pipeline(*steps)
