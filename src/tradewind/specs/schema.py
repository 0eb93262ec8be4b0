"""The JSON Schema of all kinds, so that editors complete fields and mark slips while one types.

`tw schema` prints it. It is a help: what is more than a field's form (references, cycles, one of
two fields) only the reader checks.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from tradewind.specs.kinds import KINDS

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """One JSON Schema (draft 2020-12) that holds for a document of any kind."""
    _, schema = models_json_schema(
        [(model, "validation") for model in KINDS.values()], ref_template="#/$defs/{model}"
    )
    definitions = schema["$defs"]
    choices = {}
    for kind, model in KINDS.items():
        definition = definitions[model.__name__]
        required = ["kind", "name", *definition.get("required", [])]
        definition["required"] = list(dict.fromkeys(required))
        choices[kind] = {"$ref": f"#/$defs/{model.__name__}"}
    uses = definitions["Step"]["properties"]["uses"]
    uses.pop("discriminator", None)
    for kind in ("function", "training", "service"):
        # A step's inline spec takes the step's name.
        inline = dict(definitions[KINDS[kind].__name__])
        inline["required"] = [name for name in inline["required"] if name != "name"]
        definitions[f"Inline{KINDS[kind].__name__}"] = inline
    uses["oneOf"] = [_inline(choice) for choice in uses["oneOf"]]
    return {
        "$schema": DRAFT,
        "title": "Tradewind spec",
        "description": "What a user writes: kind, name, then the fields of that kind.",
        "type": "object",
        "required": ["kind", "name"],
        "properties": {"kind": {"enum": list(KINDS)}},
        "oneOf": list(choices.values()),
        "$defs": definitions,
    }


def _inline(choice: dict[str, Any]) -> dict[str, Any]:
    reference = choice.get("$ref")
    if reference is None:
        return choice
    return {"$ref": reference.replace("#/$defs/", "#/$defs/Inline")}
