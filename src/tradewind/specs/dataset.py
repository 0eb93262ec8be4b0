"""The kind `dataset`: a named table with immutable versions, and where it is imported from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tradewind.specs.common import Frozen, Spec
from tradewind.specs.faults import fault, shown
from tradewind.specs.fields import Column, Columns, Flag, Name, Text, one_or_many

Format = Literal["auto", "csv", "parquet", "jsonl", "arrow"]


def _paths(value: object) -> object:
    if isinstance(value, list | tuple) and not value:
        raise fault("expected at least one path")
    return one_or_many(value)


class Source(Frozen):
    """Where the rows come from and how they are to be read. A bare text or list is `path`."""

    model_config = ConfigDict(serialize_by_alias=True)

    path: Annotated[
        tuple[Annotated[str, Field(strict=True, min_length=1)], ...],
        BeforeValidator(_paths),
    ] = Field(description="One path, address or glob, or several.")
    format: Format = Field(default="auto", description="auto goes by the file's name and content.")
    delimiter: Annotated[Text, Field(min_length=1, max_length=1)] | None = Field(
        default=None, description="CSV: what separates the columns. Left out: found by looking."
    )
    quote: Annotated[Text, Field(min_length=1, max_length=1)] | None = Field(
        default=None, description='CSV: what encloses a text. Left out: ".'
    )
    header: Flag = Field(default=True, description="CSV: whether the first line names the columns.")
    nulls: Annotated[tuple[Text, ...], BeforeValidator(one_or_many)] = Field(
        default=(), description="Texts that stand for no value, such as NA or -."
    )
    encoding: Annotated[Text, Field(min_length=1)] = Field(
        default="utf-8", description="The text's encoding, such as utf-8 or gb18030."
    )
    columns: dict[Column, Text] = Field(
        default_factory=dict,
        alias="schema",
        description="The type of columns that must not be guessed: {tailnum: string}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str | list | tuple):
            return {"path": data}
        if not isinstance(data, Mapping | Source):
            raise fault(f"expected a path, a list of paths, or path and options, not {shown(data)}")
        return data

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        paths = self.path[0] if len(self.path) == 1 else list(self.path)
        fields = {**handler(self), "path": paths}
        return paths if fields.keys() == {"path"} else fields

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        paths = {"type": ["string", "array"], "items": {"type": "string"}}
        return {"anyOf": [paths, handler.resolve_ref_schema(handler(core))]}


class DatasetSpec(Spec):
    """A table. Each import, and each run of the function named like it, makes a version."""

    kind: Literal["dataset"] = "dataset"
    source: Source | None = Field(
        default=None,
        description="Where it is imported from. Left out: a function or a step produces it.",
    )
    keys: Columns = Field(default=(), description="The columns that together name one row.")
    event_time: Column | None = Field(
        default=None, description="The column that says when what a row tells happened."
    )
    write_time: Column | None = Field(
        default=None,
        description="The column that says when a row became known; a point-in-time join looks "
        "at both.",
    )
    pool: Name | None = Field(default=None, description="Where it is imported: a pool's name.")
