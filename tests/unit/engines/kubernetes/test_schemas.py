"""Every object is one that Kubernetes takes: by its own schemas, with no field it does not know."""

from __future__ import annotations

from dataclasses import replace

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engines.kubernetes.cases import CONTEXT, ENTRY, REQUESTS, placement
from tradewind.engines.kubernetes.render import render
from tradewind.records.tasks import (
    Array,
    Gang,
    Readiness,
    Replicas,
    Resources,
    Restart,
    Role,
    Stop,
)

# The newest three; per-index back-off and the pod failure policy are stable in all of them.
VERSIONS = ("1.35", "1.36", "1.37")


def check(value: dict[str, object], version: str = VERSIONS[-1]) -> None:
    kubernetes_validate.validate(value, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", REQUESTS)
def test_the_official_schemas_take_every_object(case: str, version: str) -> None:
    for value in REQUESTS[case]["objects"]:
        check(value, version)


def test_the_schemas_refuse_what_they_do_not_know() -> None:
    for value in REQUESTS["gang-elastic"]["objects"]:
        with pytest.raises(kubernetes_validate.ValidationError):
            check({**value, "unheard": 1})


TEXTS = st.text(max_size=300)
FLOATS = st.floats(0, 2.0**63)
SHAPES = st.one_of(
    st.builds(Gang, least=st.integers(1, 100), most=st.integers(1, 100)),
    st.builds(Array, count=st.integers(0, 10**6), at_once=st.integers(1, 10**6)),
    st.builds(Replicas, count=st.integers(0, 1000)),
)
ROLES = st.builds(
    Role,
    name=TEXTS,
    shape=SHAPES,
    entry=st.just(ENTRY),
    resources=st.builds(Resources, cpu=FLOATS, memory=st.integers(0, 2**60)),
    ports=st.lists(TEXTS, max_size=4).map(tuple),
    readiness=st.none() | st.builds(Readiness, path=st.just("/up"), timeout=FLOATS),
    restart=st.builds(Restart, most=st.integers(0, 2**63)),
    stop=st.builds(Stop, way=st.sampled_from(["kill", "drain", "checkpoint"]), grace=FLOATS),
)


@settings(max_examples=25)
@given(TEXTS, TEXTS, st.lists(ROLES, max_size=2, unique_by=lambda role: role.name))
def test_whatever_the_task_its_objects_are_valid(task: str, pool: str, roles: list[Role]) -> None:
    request = render(placement(*roles, task=task), replace(CONTEXT, pool=pool))
    for value in request["objects"]:
        check(value)
    found = [(value["kind"], value["metadata"]["name"]) for value in request["objects"]]
    assert len(set(found)) == len(found)
