"""The kind `function`: logic whose result becomes a version of a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tradewind.specs.common import Workload
from tradewind.specs.faults import Path, fault, faults, shown
from tradewind.specs.fields import Columns, DataRefs, Entry, Integer, Json, Name, Text

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


# What is given a table piece by piece, and what reads no items.
BY_ROWS = ("batch", "row", "group")
_STREAMED = ("expression", *BY_ROWS)

Style = Literal["table", "expression", "sql", "batch", "row", "group"]
Backend = Literal["python", "duckdb", "partitions", "spark"]
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
        description="What each parameter reads: a dataset's name, name@version, a path, or "
        "model:NAME for a model's folder.",
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
    style: Style | None = Field(
        default=None,
        description="How it is written: over whole tables, as an expression of Ibis tables, as "
        "SQL; or called with some rows at a time (batch), one row, or all rows of one key (group). "
        "Left out: sql if it is given, else table.",
    )
    by: Columns | None = Field(
        default=None, description="Of the style group: the columns whose values are the key."
    )
    on_error: Literal["fail", "skip"] | None = Field(
        default=None,
        description="Of the styles batch, row and group, when the function raises. fail (also if "
        "left out): the run fails and names the row. skip: rows (of group: groups) that raise are "
        "left out and counted.",
    )
    backend: Backend | None = Field(
        default=None,
        description="A pin of what carries the logic out. Not every one can carry out every style.",
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
        if self.items is not None and not self.items:
            raise fault("items is empty: there is nothing to do", "leave it out", ("items",))
        if found := [*self._style_faults()]:
            raise faults(found)
        if self.at_once is not None and self.items is None:
            raise fault("at_once belongs to items, and there are none", "", ("at_once",))
        return self

    def _style_faults(self) -> Iterator[tuple[str, str, Path]]:
        style = self.style or ("sql" if self.sql is not None else "table")
        if (style == "sql") != (self.sql is not None):
            what = "sql" if self.sql is not None else "an entry"
            hint = "drop style" if self.sql is not None else "write sql: SELECT …, or drop style"
            yield f"the style {style!r} does not go with {what}", hint, ("style",)
        if self.items is not None and style in _STREAMED:
            hint = "drop one of them: a style is given the rows of a table, not items"
            yield f"the style {style!r} takes no items", hint, ("items",)
        if style == "group" and not self.by:
            text = "the style 'group' needs the columns whose values are the key"
            yield text, "write by: [column]", ("style",)
        if style != "group" and self.by is not None:
            yield "by belongs to the style group", "write style: group, or drop by", ("by",)
        if len(set(self.by or ())) < len(self.by or ()):
            yield "by names a column twice", "", ("by",)
        if self.on_error is not None and style not in BY_ROWS:
            hint = "write style: batch, row or group; a function of another style fails as a whole"
            yield f"on_error has no meaning for the style {style!r}", hint, ("on_error",)

    @property
    def result(self) -> str:
        """The dataset that the result becomes."""
        return self.output or self.name
