"""The kind `function`: logic whose result becomes a version of a dataset."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tradewind.specs.common import Workload
from tradewind.specs.faults import fault, shown
from tradewind.specs.fields import DataRefs, Entry, Integer, Json, Name, Text

_SKIPPED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


def _select(value: object) -> str:
    if not isinstance(value, str):
        raise fault(f"expected one SELECT, not {shown(value)}")
    bare = _SKIPPED.sub(" ", value).strip().rstrip(";").strip()
    if ";" in bare:
        raise fault("expected one SELECT, found several statements", "write one function for each")
    first = re.match(r"[(\s]*(\w*)", bare)
    if first is None or first[1].upper() not in ("SELECT", "WITH", "FROM"):
        raise fault(
            f"expected one SELECT over the inputs, not {shown(value)}",
            "it begins with SELECT, WITH or FROM",
        )
    return value


Select = Annotated[str, BeforeValidator(_select)]


class FunctionSpec(Workload):
    """A Python function or one SELECT over its inputs."""

    kind: Literal["function"] = "function"
    entry: Entry | None = Field(
        default=None,
        description="file.py:name, the file relative to the bundle's root. In a .tw file it is "
        "the def of the same name unless said otherwise.",
    )
    sql: Select | None = Field(
        default=None, description="One SELECT over the inputs, instead of an entry."
    )
    input: dict[Text, DataRefs] = Field(
        default_factory=dict,
        description="What each parameter reads: a dataset's name, name@version, or a path.",
    )
    output: Name | None = Field(
        default=None, description="The dataset the result becomes. Left out: the function's name."
    )
    items: tuple[Json, ...] | None = Field(
        default=None,
        description="An array: the function runs once for each item, its first parameter.",
    )
    at_once: Annotated[Integer, Field(ge=1)] | None = Field(
        default=None, description="How many items may run at the same time."
    )
    backend: Name | None = Field(
        default=None, description="A pin of what carries the logic out: duckdb, partitions, …"
    )

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.entry is None and self.sql is None:
            raise fault(
                f"the function {self.name!r} has neither entry nor sql",
                "write entry: file.py:name, or sql: SELECT …",
            )
        if self.entry is not None and self.sql is not None:
            raise fault("expected entry or sql, not both", "drop one of them", ("sql",))
        if self.entry is not None and ":" not in self.entry:
            raise fault(
                f"the entry {self.entry!r} names no function",
                f"write {self.entry}:name; a plain script is a training",
                ("entry",),
            )
        if self.sql is not None and self.items is not None:
            raise fault("sql reads tables and takes no items", "drop items", ("items",))
        if self.at_once is not None and self.items is None:
            raise fault("at_once belongs to items, and there are none", "", ("at_once",))
        return self

    @property
    def result(self) -> str:
        """The dataset that the result becomes."""
        return self.output or self.name
