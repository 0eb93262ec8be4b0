"""Decorated functions: still functions, and specs, and runs."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

import tradewind as tw
from tests.unit.sdk import flow
from tests.unit.sdk.fake import Fake
from tradewind import specs
from tradewind.base.errors import NotFound, Refused, UserError
from tradewind.sdk.handles import RunFailed

FILE = "tests/unit/sdk/flow.py"


def files(fake: Fake, digest: str) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(fake.blobs[digest])) as tar:
        return tar.getnames()


def test_calling_it_calls_it() -> None:
    assert flow.square(3) == 9
    assert flow.square.__name__ == "square"  # type: ignore[attr-defined]


def test_a_run_sends_the_code_and_the_spec(api: Fake) -> None:
    handle = flow.clean.run(tw.dataset("flights", 3), limit=5)
    document = api.runs[handle.id]["spec"]
    bundle = document.pop("bundle")
    assert document == {
        "kind": "function", "name": "clean", "entry": f"{FILE}:clean", "performance": "1m",
        "retries": 2, "input": {"flights": "flights@3"}, "params": {"limit": 5},
    }  # fmt: skip
    assert FILE in files(api, bundle)
    assert handle.result() == 42
    assert handle.ended
    assert handle.status().name == "clean"


def test_a_text_is_a_dataset_only_where_a_table_is_expected(api: Fake) -> None:
    run = api.runs[flow.clean.run("flights").id]["spec"]
    assert run["input"] == {"flights": "flights"}
    run = api.runs[flow.square.run("flights").id]["spec"]
    assert run["params"] == {"x": "flights"}


def test_files_frames_and_runs_become_inputs(api: Fake, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "d.csv"
    path.write_text("a\n1\n")
    assert api.runs[flow.clean.run(path).id]["spec"]["input"] == {"flights": str(path)}
    with pytest.raises(NotFound):
        flow.clean.run(tmp_path / "absent.csv")
    frame = pandas.DataFrame({"a": [1]})
    first, again = (api.runs[flow.clean.run(frame).id]["spec"]["input"] for _ in "12")
    assert first == again
    assert pandas.read_parquet(first["flights"]).equals(frame)
    api.result = {"output": {"kind": "dataset", "name": "clean", "version": 4}}
    handle = flow.clean.run(flow.clean.run("flights"))
    assert api.runs[handle.id]["spec"]["input"] == {"flights": "clean@4"}
    api.result = {"output": {"kind": "json", "value": 1}}
    with pytest.raises(Refused, match="no dataset"):
        flow.clean.run(flow.square.run(1))


def test_map_is_one_run(api: Fake) -> None:
    handle = flow.square.map([1, 2, 3], at_once=2)
    assert len(api.runs) == 1
    document = api.runs[handle.id]["spec"]
    assert (document["items"], document["at_once"]) == ([1, 2, 3], 2)
    with pytest.raises(UserError):
        flow.square.map([])


def test_what_cannot_be_sent_is_named(api: Fake) -> None:
    with pytest.raises(UserError, match="x is a object"):
        flow.square.run(object())
    with pytest.raises(UserError, match="unexpected keyword"):
        flow.square.run(y=1)


def test_fields_are_checked_when_they_are_written() -> None:
    with pytest.raises(UserError) as raised:
        tw.function(perfomance="60s")
    assert raised.value.hint == "did you mean 'performance'?"
    with pytest.raises(UserError, match="needs a name"):
        tw.function(lambda x: x)
    with pytest.raises(UserError, match="decorated twice"):
        tw.training(flow.square)


def test_values_are_checked_by_the_specs_room(api: Fake) -> None:
    @tw.function(performance="soon")
    def late() -> None: ...

    with pytest.raises(UserError, match="soon"):
        late.run()
    assert api.runs == {}


def test_a_failed_run_raises_what_happened(api: Fake) -> None:
    error = {"code": "user_error", "message": "division by zero", "type": "ZeroDivisionError",
             "traceback": "Traceback …"}  # fmt: skip
    api.outcome = lambda document: {"state": "failed", "error": error}
    handle = flow.square.run(1)
    with pytest.raises(RunFailed, match="ZeroDivisionError: division by zero") as raised:
        handle.result()
    assert raised.value.traceback == "Traceback …"
    assert "failed" in handle._repr_html_()


def test_a_call_of_a_service_that_does_not_run(api: Fake) -> None:
    with pytest.raises(NotFound, match="no service 'predict'"):
        flow.predict.remote(1)
    with pytest.raises(UserError, match="running service"):
        flow.square.remote(1)


def test_a_function_inside_a_function_brings_its_text(api: Fake) -> None:
    factor = 3

    @tw.function
    def times(x: int) -> int:
        return x * factor

    handle = times.run(2)
    document = api.runs[handle.id]["spec"]
    assert document["entry"] == "times_cell.py:times"
    [name] = files(api, document["bundle"])
    assert name == "times_cell.py"


# Pipelines.


def test_a_pipeline_is_drawn() -> None:
    document = flow.nightly.document()
    spec = specs.from_document(document)
    assert isinstance(spec, specs.PipelineSpec)
    steps = {step["name"]: step for step in document["steps"]}
    assert list(steps) == ["clean", "split", "late", "square", "square-2", "square-3"]
    assert steps["clean"]["input"] == {"flights": "flights"}
    assert steps["clean"]["params"] == {"limit": "$params.year"}
    assert steps["split"]["uses"] == "tradewind.components:split"
    assert steps["split"]["input"] == {"table": "$clean"}
    assert steps["split"]["params"] == {"by": "$$time"}
    assert steps["late"]["input"] == {"table": "$split.train"}
    assert steps["late"]["after"] == ["clean"]
    assert steps["square"]["foreach"] == [1, 2]
    assert steps["square"]["params"] == {"x": "$item"}
    assert steps["square-2"]["when"] == "$late.output.metrics.auc >= 0.6"
    assert steps["square-2"]["params"] == {"x": "$late.output.metrics.auc"}
    assert steps["square-3"]["until"] == {"condition": "$square-3.output.loss < 0.1", "max": 9}
    assert document["outputs"] == {"model": "$late.model", "squares": "$square"}
    assert document["params"] == {"year": 2013}


def test_a_pipeline_runs_with_the_code_of_each_step(api: Fake) -> None:
    handle = flow.nightly.run(year=2014)
    document = api.runs[handle.id]["spec"]
    assert document["params"] == {"year": 2014}
    inline = [step["uses"] for step in document["steps"] if isinstance(step["uses"], dict)]
    assert inline and all(uses["bundle"] in api.blobs for uses in inline)


def test_a_pipeline_without_a_value_for_a_parameter() -> None:
    with pytest.raises(UserError, match="needs a value for n"):
        flow.wants.document()
    assert flow.wants.document(n=3)["params"] == {"n": 3}


def branch(handle: Any) -> None:
    if handle:
        pass


def compare(handle: Any) -> None:
    if handle.auc > 1:
        pass


MISUSES = {
    "branch": branch,
    "compare": compare,
    "iterate": lambda handle: list(handle),
    "length": len,
    "add": lambda handle: handle + 1,
    "radd": lambda handle: 1 + handle,
    "negate": lambda handle: -handle,
    "contain": lambda handle: 1 in handle,
    "call": lambda handle: handle(),
    "text": lambda handle: f"{handle}",
    "float": float,
    "int": int,
    "cut": lambda handle: handle[1:2],
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_what_needs_a_value_is_refused_while_drawing(misuse: Any) -> None:
    @tw.pipeline
    def wrong() -> None:
        misuse(flow.square(1))

    with pytest.raises(UserError, match="not known while the pipeline is drawn"):
        wrong.document()


def body_of(draw: Any) -> Any:
    @tw.pipeline
    def wrong() -> Any:
        return draw()

    return wrong


def nested_when() -> None:
    made: Any = flow.square(1)
    with tw.when(made > 1), tw.when(made > 2):
        pass


def two_in_a_foreach() -> None:
    def both(item: Any) -> Any:
        flow.square(item)
        return flow.square(item)

    tw.foreach([1], both)


WRONG = {
    "a when inside a when": nested_when,
    "a foreach holds one step": two_in_a_foreach,
    "cannot be nested": lambda: tw.foreach([1], lambda i: tw.foreach([2], flow.square)),
    "takes a decorated function": lambda: tw.foreach([1], lambda item: item),
    "takes one call": lambda: tw.until(lambda: 1, lambda made: made > 1, max=2),
    "is a comparison": lambda: tw.until(
        lambda: flow.square(1), lambda made: True, max=2  # type: ignore[arg-type, return-value]
    ),
    "compares with a literal": lambda: flow.square(1) == flow.square(2),
    "gives back a tuple": lambda: (flow.square(1), flow.square(2)),
    "while a pipeline is drawn": lambda: flow.square.run(1),
    "pipeline inside a pipeline": lambda: flow.wants(1),
}  # fmt: skip


@pytest.mark.parametrize(("message", "draw"), WRONG.items(), ids=WRONG)
def test_wrong_graphs_are_refused(message: str, draw: Any) -> None:
    with pytest.raises(UserError, match=message):
        body_of(draw).document()


def test_helpers_outside_a_pipeline() -> None:
    with pytest.raises(UserError, match="only in the body of a pipeline"):
        tw.foreach([1], flow.square)
    with pytest.raises(UserError, match="body of a pipeline"):
        flow.split(table=1)


def test_what_has_no_code_of_its_own_is_a_step_and_a_run(api: Fake) -> None:
    late = tw.sql("SELECT * FROM flights WHERE late", name="late-ones")

    @tw.pipeline
    def whole() -> Any:
        rows = late(flights=tw.dataset("flights"))
        model: Any = flow.train(rows)
        tw.deploy(model.model, replicas=2)
        return rows

    steps = {each["name"]: each for each in whole.document()["steps"]}
    assert steps["late-ones"]["uses"]["sql"].startswith("SELECT")
    assert steps["late-ones"]["input"] == {"flights": "flights"}
    assert steps["deploy"]["uses"] == {
        "kind": "service",
        "name": "late",
        "model": "late",
        "replicas": 2,
    }
    assert steps["deploy"]["input"] == {"model": "$late.model"}

    handle = late.run(flights=tw.dataset("flights", 3))
    assert api.runs[handle.id]["spec"]["input"] == {"flights": "flights@3"}
    handle = tw.deploy("flights@production")
    assert api.runs[handle.id]["spec"]["name"] == "flights"
    assert api.runs[handle.id]["spec"]["model"] == "flights@production"
    with pytest.raises(UserError, match="no field"):
        tw.deploy("flights", replica=2)


def test_a_class_is_no_function() -> None:
    with pytest.raises(UserError, match="Greeter is a class"):

        @tw.service
        class Greeter:
            pass
