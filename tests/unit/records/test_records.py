"""Records to JSON and back; what a pinned spec's parts say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.records import codec
from tradewind.records.events import Event
from tradewind.records.pinned import Pinned, difference, digest, parts
from tradewind.records.placements import Attempt, Placement
from tradewind.records.plans import Interval, Option, Plan, Quote
from tradewind.records.reports import Report
from tradewind.records.runs import Run
from tradewind.records.tasks import (
    Array,
    Entry,
    Environment,
    Gang,
    Input,
    Output,
    Replicas,
    Resources,
    Restart,
    Role,
    Task,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
st.register_type_strategy(
    Task,
    st.builds(
        Task,
        roles=st.lists(
            st.builds(
                Role,
                shape=st.builds(Gang) | st.builds(Array) | st.builds(Replicas),
                entry=st.builds(Entry),
                params=st.dictionaries(st.text(), _JSON, max_size=2),
                items=st.lists(_JSON, max_size=2).map(tuple),
                inputs=st.dictionaries(st.text(), st.builds(Input, value=_JSON, meta=st.just({}))),
                outputs=st.dictionaries(st.text(), st.builds(Output), max_size=2),
                resources=st.builds(Resources, cpu=_NUMBERS),
            ),
            min_size=1,
            max_size=2,
        ).map(tuple),
        environment=st.builds(Environment),
    ),
)
_DICTS = st.dictionaries(st.text(), _JSON, max_size=2)


def _a(kind: type[Any], **fields: Any) -> st.SearchStrategy[Any]:
    """Any record of a kind: its free documents are JSON, its numbers finite."""
    for name, field in kind.__dataclass_fields__.items():
        if "Any" in str(field.type):
            fields.setdefault(name, _DICTS)
        elif field.type == "float":
            fields.setdefault(name, _NUMBERS)
    return st.builds(kind, **fields)


_USAGE = st.dictionaries(st.text(), _NUMBERS, max_size=2)
_PLAN = st.builds(
    Plan,
    option=st.builds(Option, resources=st.builds(Resources, cpu=_NUMBERS)),
    seconds=st.none() | st.builds(Interval, p50=_NUMBERS, p90=_NUMBERS),
    price=st.none(),
)
RECORDS = st.one_of(
    _a(Run),
    _a(Event),
    _a(Report),
    _a(Attempt, usage=_USAGE),
    _a(Placement, demand=st.builds(Resources, cpu=_NUMBERS)),
    st.builds(
        Quote, plans=st.tuples(_PLAN), elsewhere=st.just(()), made=_NUMBERS, expires=_NUMBERS
    ),
    _PLAN,
)


@given(RECORDS)
def test_a_record_comes_back_as_it_went(record: Any) -> None:
    kind = type(record)
    assert codec.loads(kind, codec.dumps(record)) == record
    assert codec.from_json(kind, codec.to_json(record)) == record


def test_the_three_shapes_are_told_apart() -> None:
    for shape in (Gang(least=2, most=3), Array(count=3, at_once=2), Replicas(count=2)):
        role = Role(name="r", shape=shape, entry=Entry(kind="command", args=("true",)))
        back = codec.loads(Role, codec.dumps(role))
        assert type(back.shape) is type(shape)


@given(st.integers(1, 100), _NUMBERS.filter(lambda x: x > 0), st.floats(1, 10))
def test_pauses_never_shrink_and_have_a_ceiling(tries: int, backoff: float, factor: float) -> None:
    rule = Restart(most=5, backoff=backoff, factor=factor)
    assert rule.delay(tries) <= rule.delay(tries + 1) <= rule.ceiling
    assert rule.delay(1) == min(rule.ceiling, backoff)


BASE = Pinned(
    kind="training",
    name="fit",
    project="default",
    spec={"kind": "training", "name": "fit", "entry": "a.py:fit", "params": {"x": 1, "y": 2},
          "env": {"A": "1"}, "performance": "60s"},
    bundle="sha256:1",
    code={"a.py:fit": "sha256:2", "a.py:help": "sha256:3"},
    environment=Environment(digest="sha256:4"),
    inputs={"data": Input(kind="table", source="d@1", digest="sha256:5"),
            "n": Input(kind="value", value=3)},
)  # fmt: skip


def _with_spec(**fields: Any) -> Pinned:
    return replace(BASE, spec={**BASE.spec, **fields})


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        (_with_spec(params={"x": 1, "y": 3}), ["parameter y"]),
        (_with_spec(params={"x": 1}), ["parameter y"]),
        (_with_spec(params={"x": 1, "y": 2, "z": 0}), ["parameter z"]),
        (_with_spec(env={"A": "2"}), ["env"]),
        (_with_spec(entry="b.py:fit"), ["entry"]),
        (_with_spec(output="other"), ["output"]),
        (replace(BASE, code={**BASE.code, "a.py:help": "x"}), ["code a.py:help"]),
        (replace(BASE, code={"a.py:fit": "sha256:2"}), ["code a.py:help"]),
        (replace(BASE, environment=Environment(digest="x")), ["environment"]),
        (
            replace(BASE, inputs={**BASE.inputs, "n": Input(kind="value", value=4)}),
            ["input n"],
        ),
        (
            replace(BASE, inputs={**BASE.inputs, "data": Input(kind="table", digest="x")}),
            ["input data"],
        ),
        (replace(BASE, name="fit2"), ["output"]),
    ],
)
def test_a_difference_names_what_changed_and_nothing_else(
    changed: Pinned, names: list[str]
) -> None:
    assert difference(BASE, changed) == names
    assert digest(changed) != digest(BASE)


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, bundle="sha256:9"),
        _with_spec(performance="1s"),
        _with_spec(budget="$2", timeout="5m", retries=3, labels={"a": "b"}, queue="q", pool="p"),
        _with_spec(resources={"cpu": 4}, cache=True, description="x", consistency="soft"),
        replace(BASE, inputs={**BASE.inputs, "data": Input(kind="table", source="renamed",
                                                          digest="sha256:5")}),
    ],
)  # fmt: skip
def test_how_well_and_where_it_runs_changes_no_result(same: Pinned) -> None:
    assert difference(BASE, same) == [] and digest(same) == digest(BASE)
    assert parts(same) == parts(BASE)
