"""A function's style and pins, as options and tasks."""

from __future__ import annotations

from typing import Any

import pytest

from tradewind.base.errors import Refused
from tradewind.kinds.function import lower, matrix
from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Array, Gang, Input, Resources, Role
from tradewind.testing.kind_suite import pinned_of

TABLE = Input(kind="table", source="flights@1", digest="sha256:" + "3" * 64)


def pinned(**fields: Any) -> Pinned:
    body = {} if "sql" in fields else {"entry": "f.py:f"}
    return pinned_of({"kind": "function", "name": "f", **body, **fields}, {"data": TABLE})


def role(made: Pinned, option: Option) -> Role:
    plan = Plan(pool="here", engine="local", option=option)
    return lower.tasks(made, plan)[0].roles[0]


@pytest.mark.parametrize(
    ("fields", "backend"),
    [({}, "python"), ({"style": "table"}, "python"), ({"sql": "SELECT 1"}, "duckdb"),
     ({"performance": "60s"}, "python"), ({"backend": "python"}, "python")],
)  # fmt: skip
def test_what_says_no_style_is_one_option_that_nobody_changes(
    fields: dict[str, Any], backend: str
) -> None:
    (option,) = lower.options(pinned(**fields))
    assert (option.backend, option.elastic, option.parts, option.width) == (
        backend,
        "sql" in fields,
        0,
        1,
    )
    assert role(pinned(**fields), option).entry.call == {}


@pytest.mark.parametrize("style", ["batch", "row", "group"])
def test_a_style_offers_duckdb_first_and_parts_at_any_width(style: str) -> None:
    made = pinned(style=style, **({"by": "k"} if style == "group" else {}))
    first, second = lower.options(made)
    assert (first.backend, first.parts, first.width) == ("duckdb", 0, 1)
    assert (second.backend, second.parts, second.width) == ("partitions", 1, 1)
    assert first.elastic and second.elastic


def test_a_call_says_what_the_function_is_owed() -> None:
    made = pinned(style="group", by=["a", "b"], on_error="skip",
                  resources={"cpu": 1.5, "memory": "1GiB"})  # fmt: skip
    one = role(made, lower.options(made)[0])
    assert isinstance(one.shape, Gang) and one.items == ()
    assert one.entry.call == {
        "style": "group", "backend": "duckdb", "by": ["a", "b"], "on_error": "skip", "cores": 2,
        "memory": 2**30,
    }  # fmt: skip
    assert (one.outputs["output"].target, one.outputs["output"].named) == ("f", False)
    named = pinned(output="f")
    assert role(named, lower.options(named)[0]).outputs["output"].named
    items = pinned(output="f", items=[1, 2])
    assert not role(items, lower.options(items)[0]).outputs["output"].named


def test_a_process_has_as_many_threads_as_cores_and_a_probe_as_many_as_it_stands_for() -> None:
    """Several in each of several processes would spin, and be counted as work."""
    made = pinned(style="batch", env={"MINE": "1"})
    part = Option(backend="partitions", parts=2, resources=Resources(cpu=1.0), elastic=True)
    assert role(made, part).env == {"OMP_NUM_THREADS": "1", "MINE": "1"}
    wide = Option(backend="duckdb", resources=Resources(cpu=2.0), elastic=True)
    assert role(made, wide).env["OMP_NUM_THREADS"] == "2"
    assert lower.probe(made, 3.0, 0.1).roles[0].env["OMP_NUM_THREADS"] == "1"
    own = pinned(style="batch", env={"OMP_NUM_THREADS": "8"})
    assert role(own, part).env == {"OMP_NUM_THREADS": "8"}
    for free in (made, pinned()):  # a guess is no number of cores
        assert "OMP_NUM_THREADS" not in role(free, lower.options(free)[0]).env


def test_parts_are_an_array_that_publishes_nothing_by_itself() -> None:
    made = pinned(style="row")
    option = Option(backend="partitions", width=2, parts=5, resources=Resources(cpu=1.0))
    several = role(made, option)
    assert several.shape == Array(count=5, at_once=2)
    assert several.items == tuple({"part": part, "of": 5} for part in range(5))
    assert several.outputs["output"].target == "" and several.entry.call["backend"] == "partitions"


@pytest.mark.parametrize("fields", [{"dependencies": ["pyspark>=4"]}, {"backend": "spark"}])
def test_spark_is_offered_where_the_environment_has_it(fields: dict[str, Any]) -> None:
    *_others, option = lower.options(pinned(style="row", **fields))
    assert (option.backend, option.width, option.elastic) == ("spark", 1, True)
    others = pinned(style="row", dependencies=["pyspark-client", "pandas"])
    assert [each.backend for each in lower.options(others)] == ["duckdb", "partitions"]


def test_spark_with_less_memory_than_its_java_is_refused_or_not_offered() -> None:
    little = {"cpu": 1.0, "memory": "512MiB"}
    with pytest.raises(Refused, match="'spark' needs 1 GiB of memory for its Java") as caught:
        lower.options(pinned(style="row", backend="spark", resources=little))
    assert "resources.memory is 512 MiB" in caught.value.message
    assert caught.value.hint.startswith("write memory: 1.5GiB, leave it out")
    others = pinned(style="row", dependencies=["pyspark>=4"], resources=little)
    assert [each.backend for each in lower.options(others)] == ["duckdb", "partitions"]


def test_spark_of_several_processes_is_a_gang_that_publishes_once() -> None:
    made = pinned(style="row", backend="spark")
    option = Option(backend="spark", width=3, resources=Resources(cpu=2.0))
    several = role(made, option)
    assert several.shape == Gang(least=3, most=3) and several.items == ()
    assert several.entry.call == {"style": "row", "backend": "spark", "cores": 2, "width": 3}
    assert several.outputs["output"].target == "f"


def test_a_pin_is_kept_or_refused_with_what_can() -> None:
    (option,) = lower.options(pinned(style="row", backend="partitions"))
    assert option.backend == "partitions"
    with pytest.raises(Refused, match="does not carry out the style 'table'") as caught:
        lower.options(pinned(backend="duckdb"))
    assert "called once, with all of them" in caught.value.message
    assert caught.value.hint == "what can: python; write backend: python, or leave it out"


def test_a_probe_is_one_process_that_publishes_nothing() -> None:
    made = pinned(style="group", by="k", retries=3, timeout="1s")
    task = lower.probe(made, 3.0, 0.03)
    (one,) = task.roles
    assert task.name == "probe" and isinstance(one.shape, Gang) and one.inputs == made.inputs
    assert one.entry.call == {
        "style": "group", "backend": "duckdb", "by": ["k"], "cores": 1,
        "probe": {"seconds": 3.0, "share": 0.03},
    }  # fmt: skip
    assert one.outputs["output"].target == "" and one.restart.most == 0 and one.timeout > 3.0
    query = lower.probe(pinned(sql="SELECT 1"), 3.0, 0.03).roles[0]
    assert query.params == {"sql": "SELECT 1"} and query.entry.call["style"] == "sql"
    spark = lower.probe(pinned(style="expression", backend="spark"), 3.0, 0.03).roles[0]
    assert (spark.entry.call["backend"], spark.entry.call["pinned"]) == ("duckdb", "spark")
    each = lower.probe(pinned(items=[7, 8]), 3.0, 0.03).roles[0]
    assert each.items == () and each.entry.call["probe"]["item"] == 7


def test_the_matrix_is_whole_and_every_gap_has_a_reason() -> None:
    assert set(matrix.MATRIX) == set(matrix.STYLES)
    for style, cells in matrix.MATRIX.items():
        assert set(cells) == set(matrix.BACKENDS) and matrix.able(style), style
        for cell in cells.values():
            assert (cell.state == "yes") == (not cell.why)
