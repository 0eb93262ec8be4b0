"""What is wrong with a spec, in words for whoever wrote it.

Pydantic finds the faults; this module says each one as message, hint and place, and raises them
together as one `InvalidSpec`. Every reader (Python call, YAML, `.tw`, JSON) ends here, so that the
same mistake reads the same in all spellings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from tradewind.base.errors import InvalidSpec, Location, UserError

Path = tuple[str | int, ...]
Where = Callable[[Path, bool], Location]
"""Finds the place of a path; True asks for the key's own place instead of its value's."""


class Written(Protocol):
    """What a document was read from, or written as."""

    def location(self, file: str, path: Path, key: bool = False) -> Location:
        """The place of a path, as near as it was written; of the key itself if it is asked for."""


_LISTED = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: what is wrong, what to do, and where it stands."""

    message: str
    hint: str = ""
    where: Location = field(default_factory=Location)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if str(self.where) else self.message
        return f"{text} ({self.hint})" if self.hint else text


class InvalidSpecs(InvalidSpec):
    """An `InvalidSpec` that carries every fault found, in `problems`; it reads as the first.

    The others follow in `hint`, so that they cross the wire too.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        first, others = problems[0], problems[1 : 1 + _LISTED]
        lines = [first.hint] if first.hint else []
        lines += [f"also {problem}" for problem in others]
        if len(problems) > 1 + _LISTED:
            lines.append(f"and {len(problems) - 1 - _LISTED} more")
        place = first.where if str(first.where) else None
        super().__init__(first.message, hint="\n".join(lines), where=place)
        self.problems = tuple(problems)


def reject(problems: Iterable[Problem]) -> NoReturn:
    """Raise all `problems` as one error, in the order of the text; of one value the first, since
    the others are of what was read in its place."""
    found: dict[object, Problem] = {}
    for problem in sorted(problems, key=lambda p: (p.where.line, p.where.column)):
        found.setdefault(problem.where if problem.where.line else problem, problem)
    raise InvalidSpecs([*found.values()])


def together(errors: Sequence[UserError]) -> UserError:
    """The only one, or one that says all of them."""
    if len(errors) == 1:
        return errors[0]
    problems: list[Problem] = []
    for error in errors:
        if isinstance(error, InvalidSpecs):
            problems += error.problems
        else:
            problems.append(Problem(error.message, error.hint, error.where or Location()))
    return InvalidSpecs(list(dict.fromkeys(problems)))


def fault(message: str, hint: str = "", path: Path = ()) -> PydanticCustomError:
    """One fault for a validator to raise; `path` leads on from the value under validation."""
    return faults([(message, hint, path)])


def faults(found: Sequence[tuple[str, str, Path]]) -> PydanticCustomError:
    """Several faults, each (message, hint, path), raised by one validator."""
    context = {"message": found[0][0], "faults": tuple(found)}
    return PydanticCustomError("tradewind", "{message}", context)


def words(error: PydanticCustomError) -> tuple[str, str]:
    """Message and hint of a fault, to raise it again at another path."""
    context = error.context or {}
    message, hint, _ = context["faults"][0]
    return message, hint


def shown(value: object) -> str:
    """A value as an error quotes it: short, whatever it is."""
    if isinstance(value, BaseModel):
        return f"a {type(value).__name__}"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**64:
        return "a huge number"
    words = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 60 else text[:56] + "…" + text[-1]
    return f"a Python {type(value).__name__}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` when a known spelling is near, otherwise the list of them."""
    spellings = list(known)
    close = difflib.get_close_matches(word.lower()[:100], spellings, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not spellings:
        return ""
    more = ", …" if len(spellings) > 30 else ""
    return "known: " + ", ".join(spellings[:30]) + more


def from_validation(
    error: ValidationError, model: type[BaseModel], document: object, where: Where
) -> list[Problem]:
    """The problems in a failed validation of `document` by `model`."""
    found: list[Problem] = []
    for detail in error.errors(include_url=False):
        loc: Path = detail["loc"]
        kind = detail["type"]
        if kind == "tradewind":
            for message, hint, path in detail["ctx"]["faults"]:
                found.append(_problem(message, hint, loc + tuple(path), kind, document, where))
            continue
        message, hint = _explain(kind, loc, detail, model)
        found.append(_problem(message, hint, loc, kind, document, where))
    return found


def _problem(
    message: str, hint: str, loc: Path, kind: str, document: object, where: Where
) -> Problem:
    path = _written(loc, document, keep_last=kind == "missing")
    return Problem(message, hint, where(path, kind == "extra_forbidden"))


def _written(loc: Path, document: object, keep_last: bool) -> Path:
    """`loc` as far as the user wrote it: without union tags and what a shorthand stands for."""
    path: list[str | int] = []
    parts = [part for part in loc if not _is_tag(part)]
    for index, part in enumerate(parts):
        if isinstance(document, Mapping) and part in document:
            document = document[part]
        elif isinstance(document, list | tuple) and part in range(len(document)):
            document = document[int(part)]
        elif isinstance(document, BaseModel) and isinstance(part, str) and hasattr(document, part):
            document = getattr(document, part)
        else:
            if keep_last and index == len(parts) - 1 and isinstance(document, Mapping):
                path.append(part)
            break
        path.append(part)
    return tuple(path)


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (part[:1] + part[-1:] == "<>" or part == "[key]")


_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _explain(kind: str, loc: Path, detail: Any, model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint for one of pydantic's own kinds of error."""
    value = detail.get("input")
    last = str(loc[-1]) if loc else ""
    if kind == "missing":
        return f"the field {last!r} is missing", ""
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        owner = _model_at(model, loc[:-1])
        return f"{last!r} is not a field of {title(owner)}", nearest(last, field_names(owner))
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        choice = " or ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))
        hint = nearest(value, allowed) if isinstance(value, str) else ""
        return f"expected {choice}, not {shown(value)}", hint if hint[:3] == "did" else ""
    if kind == "string_too_short":
        return f"expected at least {detail['ctx']['min_length']} character, not {shown(value)}", ""
    if kind == "string_too_long":
        return f"expected at most {detail['ctx']['max_length']} character, not {shown(value)}", ""
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"expected {words} {detail['ctx'][name]}, not {shown(value)}", ""
    if kind in _EXPECTED:
        hint = ""
        if kind == "string_type" and isinstance(value, int | float) and shown(value)[0] != "a":
            hint = f'put it in quotes: "{shown(value)}"'
        return f"expected {_EXPECTED[kind]}, not {shown(value)}", hint
    if kind == "value_error":
        return str(detail["ctx"]["error"]), ""
    return str(detail["msg"]), ""


def title(model: type[BaseModel]) -> str:
    """How an error names a model: `function`, or `resources` for a part of a spec."""
    kind = model.model_fields.get("kind")
    if kind is not None and isinstance(kind.default, str):
        return f"a {kind.default}"
    return model.__name__.removesuffix("Spec").lower()


def field_names(model: type[BaseModel]) -> list[str]:
    """The fields of a model as they are spelled in a document."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], loc: Path) -> type[BaseModel]:
    """The model that validates what stands at `loc` inside `model`."""
    choices: list[type[BaseModel]] = [model]
    for part in loc:
        if _is_tag(part):
            tagged = [choice for choice in choices if f"<{title(choice)[2:]}>" == part]
            choices = tagged or choices
        elif isinstance(part, str):
            for name, field in choices[0].model_fields.items():
                if part == (field.alias or name):
                    choices = _models_in(field.annotation) or choices
                    break
    return choices[0]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
