"""The small language between the steps of a pipeline: references and conditions.

    $clean                       the output of the step `clean`
    $split.test                  the output named `test` of the step `split`
    $train.output.metrics.auc    a value inside an output
    $train.output | null         null where the step was skipped by its `when`
    $params.year                 a parameter of the pipeline
    $item, $item.path            the item of the step's own `foreach`
    $$5                          the text `$5`, no reference

A condition compares ONE reference with ONE literal: `$train.output.metrics.auc >= 0.6`. What needs
more is a step of its own. `steer` uses `fill` and `Condition.holds` while a pipeline runs.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from tradewind.base.errors import InvalidData
from tradewind.specs.common import Frozen
from tradewind.specs.faults import Path, fault, shown, words
from tradewind.specs.fields import Json, check_data, check_name

RESERVED = ("params", "item")
_REFERENCE = re.compile(r"\$([^\s.|$]+)((?:\.[^\s.|$]+)*)(\s*\|\s*null)?")
_FORMS = "write $step, $step.output, $step.output.metrics.auc, $params.name or $item"
_CONDITION = re.compile(
    r"\s*([^\s=!<>|]+(?:\s*\|\s*null)?)\s*(==|!=|<=|>=|<|>)\s*(.*?)\s*", re.DOTALL
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """`root` is a step's name, `params` or `item`; `path` leads into it."""

    root: str
    path: tuple[str, ...] = ()
    optional: bool = False

    @property
    def step(self) -> str | None:
        """The step that is meant, unless it is a parameter or the item."""
        return None if self.root in RESERVED else self.root

    @property
    def output(self) -> str:
        """The name of the step's output that is meant."""
        return self.path[0] if self.path else "output"

    def __str__(self) -> str:
        return "$" + ".".join((self.root, *self.path)) + (" | null" if self.optional else "")


def is_reference(value: object) -> bool:
    """Whether a value is meant as a reference: it begins with one `$`."""
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$")


def parse_reference(text: str) -> Reference:
    """Read one reference; a text that is none is a fault."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise fault(f"{shown(text)} is no reference", f"{_FORMS}; $$ stands for the sign itself")
    root = match[1] if match[1] in RESERVED else check_name(match[1])
    path = tuple(match[2].split(".")[1:])
    if root == "params" and len(path) != 1:
        raise fault(f"{shown(text)} names no parameter", "write $params.name")
    return Reference(root, path, match[3] is not None)


def references(value: object, path: Path = ()) -> Iterator[tuple[Path, Reference]]:
    """Every reference inside a JSON value that has been checked, with its path."""
    if is_reference(value):
        yield path, parse_reference(str(value))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from references(part, (*path, key))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from references(part, (*path, index))


def fill(value: Any, lookup: Callable[[Reference], Any]) -> Any:
    """The value with what `lookup` says in the place of each reference."""
    if is_reference(value):
        return lookup(parse_reference(value))
    if isinstance(value, str):
        return value[1:] if value.startswith("$$") else value
    if isinstance(value, dict):
        return {key: fill(part, lookup) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [fill(part, lookup) for part in value]
    return value


def _checked(value: Any, path: Path = ()) -> Any:
    """Refuse texts that look like references and are none, wherever they stand."""
    if is_reference(value):
        try:
            parse_reference(value)
        except PydanticCustomError as error:
            message, hint = words(error)
            raise fault(message, hint, path) from None
    elif isinstance(value, dict):
        for key, part in value.items():
            _checked(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _checked(part, (*path, index))
    return value


def _reference(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("$"):
        hint = f"write ${value[:60]}" if isinstance(value, str) and value.isidentifier() else _FORMS
        raise fault(f"expected a reference such as $step.output, not {shown(value)}", hint)
    parse_reference(value)
    return value


def _data(value: object) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [_one_data(part, (index,)) for index, part in enumerate(value)]
    return _one_data(value, ())


def _one_data(value: object, path: Path) -> str:
    if is_reference(value):
        return str(_checked(value, path))
    try:
        return check_data(value)
    except PydanticCustomError as error:
        message, hint = words(error)
        hint = hint or "a value goes into params, not into input"
        raise fault(message, hint, path) from None


ReferenceText = Annotated[
    str,
    BeforeValidator(_reference),
    WithJsonSchema({"type": "string", "pattern": r"^\$", "examples": ["$train.output"]}),
]
WithReferences = Annotated[Json, BeforeValidator(_checked)]
"""A JSON literal in which texts may be references."""
StepInput = Annotated[
    Any,
    BeforeValidator(_data),
    WithJsonSchema({
        "type": ["string", "array"],
        "items": {"type": "string"},
        "examples": ["$clean.output", "flights", "flights@3", "./flights.csv"],
    }),
]  # fmt: skip
"""A reference, a dataset or a path, or a list of them."""


class Condition(Frozen):
    """One reference compared with one literal. Written as text: `$train.output.auc >= 0.6`."""

    left: ReferenceText
    compare: str
    right: Json

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        if isinstance(data, Condition):
            return data
        expected = "expected one output compared with one literal, such as $train.output.auc >= 0.6"
        match = _CONDITION.fullmatch(data[:5000]) if isinstance(data, str) else None
        if match is None:
            raise fault(f"{expected}, not {shown(data)}", "compare with == != < <= > or >=")
        left, compare, literal = match.groups()
        right = _literal(literal)
        if compare not in ("==", "!=") and (right is None or isinstance(right, bool)):
            raise fault(f"{compare} has no meaning for {literal}", "write == or !=")
        return {"left": _reference(left), "compare": compare, "right": right}

    @model_serializer(mode="plain")
    def _write(self) -> str:
        return f"{self.left} {self.compare} {json.dumps(self.right, ensure_ascii=False)}"

    @property
    def reference(self) -> Reference:
        """What is compared."""
        return parse_reference(self.left)

    def holds(self, value: object) -> bool:
        """Whether the condition holds for the value that `left` has."""
        if self.compare in ("==", "!="):
            return _COMPARE[self.compare](value, self.right)
        if value is None:
            return False
        numbers = isinstance(value, int | float) and isinstance(self.right, int | float)
        if isinstance(value, bool) or not (numbers or isinstance(value, type(self.right))):
            raise InvalidData(
                f"{self.left} is {shown(value)} and cannot be compared "
                f"with {shown(self.right)} by {self.compare}"
            )
        return _COMPARE[self.compare](value, self.right)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": r"^\s*\$\S+\s*(==|!=|<=|>=|<|>)\s*\S",
            "examples": ["$train.output.metrics.auc >= 0.6"],
            "description": "One output compared with one literal.",
        }


def _literal(text: str) -> Any:
    if is_reference(text):
        raise fault(
            "a condition compares with a literal, not with a second reference",
            "compute the comparison in a step and compare its output with true",
        )
    if len(text) >= 2 and text[0] == text[-1] == "'" and "'" not in text[1:-1]:
        return text[1:-1]
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        hint = "numbers, true, false, null, or a text in quotes; one comparison and no more"
        if re.fullmatch(r"[\w.-]+", text):
            hint = f'put the text in quotes: "{text}"'
        raise fault(f"expected one literal, not {shown(text)}", hint) from None
    if isinstance(value, list | dict):
        raise fault(f"expected one literal, not {shown(value)}", "compare with one number or text")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)
