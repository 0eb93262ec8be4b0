"""The JSON Schema: it holds for every good example, and refuses plain slips."""

import copy
import json
from typing import Any

import pytest

from tradewind.specs import KINDS, json_schema

from .examples import ALL

SCHEMA = json_schema()


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for part in value.values() for found in references(part)]
    if isinstance(value, list):
        return [found for part in value for found in references(part)]
    return []


def test_every_kind_and_every_reference_is_there() -> None:
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert len(SCHEMA["oneOf"]) == len(KINDS)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    for reference in references(SCHEMA):
        assert reference.removeprefix("#/$defs/") in SCHEMA["$defs"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_told_by_its_constant(kind: str) -> None:
    definition = SCHEMA["$defs"][KINDS[kind].__name__]
    assert definition["properties"]["kind"]["const"] == kind
    assert definition["additionalProperties"] is False
    assert {"kind", "name"} <= set(definition["required"])
    for name, info in KINDS[kind].model_fields.items():
        assert definition["properties"][info.alias or name].get("description") or name == "kind"


def test_units_are_texts_with_examples() -> None:
    text = json.dumps(SCHEMA["$defs"]["FunctionSpec"]["properties"])
    for example in ("1h30m", "$2"):
        assert example in text


def test_making_it_leaves_no_trace() -> None:
    assert json_schema() == SCHEMA


@pytest.mark.parametrize("document", ALL, ids=lambda document: str(document["kind"]))
def test_it_holds_for_the_examples_and_refuses_slips(document: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs")
    validator = jsonschema.validator_for(SCHEMA)
    assert validator.is_valid(document), list(validator.iter_errors(document))
    for slip in ({"kind": "functoin"}, {"nmae": "x"}, {"name": 5}, {"name": "A b"}):
        assert not validator.is_valid({**copy.deepcopy(document), **slip})
