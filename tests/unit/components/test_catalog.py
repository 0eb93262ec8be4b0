"""The table of components says what the functions say; extract, deploy and the workflow."""

import inspect
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

import tradewind.components
from tradewind.base.errors import InvalidData, InvalidSpec, UserError
from tradewind.components import COMPONENTS, deploy, extract
from tradewind.components.workflow import workflow
from tradewind.specs import PipelineSpec, TrainingSpec, from_document, to_document


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_table_is_the_signature(name: str) -> None:
    component = COMPONENTS[name]
    function = getattr(tradewind.components, name)
    assert component.load() is function
    parameters = inspect.signature(function).parameters
    folders = {slot for slot, kind in component.outputs.items() if kind == "model"}
    named = {*component.inputs, *component.options, *folders}
    assert set(parameters) == named
    for parameter, one in parameters.items():
        assert one.annotation is not one.empty
        options = parameter in component.options or parameter in folders
        assert (one.kind is one.KEYWORD_ONLY) == options


def test_an_unknown_component() -> None:
    with pytest.raises(AttributeError, match="there are extract"):
        _ = tradewind.components.nothing


TABLE = pa.table({"a": ["1", "2", "x"], "b": [1, 2, 3], "c": [None, "y", "z"]})


def test_extract() -> None:
    found = extract(
        TABLE,
        where="b < 3 AND c IS NOT NULL",
        columns=["b", "a"],
        rename={"b": "count"},
        cast={"a": "int64", "count": "float64"},
    )
    assert found.to_pylist() == [{"count": 2.0, "a": 2}]
    assert extract(TABLE, limit=1).num_rows == 1
    stamped = extract(pa.table({"t": ["2026-01-02T03:04:05"]}), cast={"t": "timestamp[us]"})
    assert stamped["t"].to_pylist() == [datetime(2026, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"columns": ["aa"]}, InvalidData, "no column 'aa'"),
        ({"cast": {"a": "int64"}}, InvalidData, "row 2, 'a': 'x' is not a int64"),
        ({"cast": {"a": "integer"}}, InvalidSpec, "not an Arrow type"),
        ({"where": "d = 1"}, InvalidSpec, "d = 1"),
        ({"where": "1=1); SELECT (1"}, InvalidSpec, "SELECT"),
        ({"where": "b IN (SELECT 1 FROM read_csv('/etc/passwd'))"}, InvalidSpec, "read_csv"),
        ({"rename": {"a": "b"}}, InvalidSpec, "two columns would be named 'b'"),
    ],
)
def test_extract_refuses(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        extract(TABLE, **options)


def test_deploy_gives_a_service() -> None:
    document = deploy(model="churn", version=3, replicas="1..4", performance="30s")
    assert document["model"] == "churn/3"
    assert from_document(document).name == "churn"
    assert deploy(model="churn", version="best", name="live")["model"] == "churn@best"
    with pytest.raises(UserError):
        deploy(model="Churn!")


def test_the_workflow_is_a_pipeline_of_known_steps() -> None:
    spec = workflow(
        name="churn",
        dataset="customers",
        label="left",
        declared=[{"op": "number", "column": "age"}],
        where="age > 17",
        time="seen",
        cuts=["2026-01-01"],
        profiles=[
            {"dataset": "plans", "keys": ["id"]},
            {"dataset": "calls", "keys": ["id"], "profile_time": "at", "tolerance": "3d"},
        ],
        at_least=0.7,
        performance="10m",
    )
    assert isinstance(spec, PipelineSpec)
    assert spec.order()[:5] == ("extract", "join-1", "join-2", "split", "features")
    assert spec.order()[-1] == "deploy"
    assert from_document(to_document(spec)) == spec
    for step in spec.steps:
        target = step.uses.entry if isinstance(step.uses, TrainingSpec) else step.uses
        if isinstance(target, str):
            component = COMPONENTS[target.partition(":")[2]]
            assert set(step.input) == set(component.inputs)
            assert set(step.params) <= set(component.options)
        for _, reference in step.references():
            assert reference.output in slots(spec, reference.root)
    assert "time" not in spec.step("join-1").params
    assert spec.step("join-2").params["time"] == "seen"


def slots(spec: PipelineSpec, name: str) -> set[str]:
    uses = spec.step(name).uses
    if isinstance(uses, str):
        return set(COMPONENTS[uses.partition(":")[2]].outputs)
    return {"output", "model"}


def test_the_workflow_refuses() -> None:
    known: dict[str, Any] = {"name": "c", "dataset": "d", "label": "l", "declared": []}
    with pytest.raises(InvalidSpec, match="unknown metric"):
        workflow(**known, metric="beauty")
    with pytest.raises(InvalidSpec, match="profile_join has no option 'key'"):
        workflow(**known, profiles=[{"dataset": "p", "key": ["id"]}])
    assert workflow(**known).step("split").params == {"how": "random", "test": 0.2}
