"""The types of the fields: units, names, references to data and models, JSON literals.

Each type knows three things: how people write it (a validator), how it is written back so that
reading it again gives the same value (a serializer), and how an editor completes it (a pattern in
the JSON Schema). The kinds are built of these and of nothing of their own.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from tradewind.base.units import (
    NANODOLLARS,
    parse_bytes,
    parse_count,
    parse_duration,
    parse_money,
)
from tradewind.specs.faults import Path, fault, shown

_SIZES = (
    ("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10),
    ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("B", 1),
)  # fmt: skip
MAX_NAME = 253
MAX_DEPTH = 50
MAX_VALUES = 1_000_000
_LONGEST_QUANTITY = 100
_PRICE = "a price per hour such as $0.10/h, or $0/h"


def _quantity(value: object, parse: Callable[[Any], float], expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fault(f"expected {expected}, not {shown(value)}")
    if len(shown(value)) > 60 or (isinstance(value, str) and len(value) > _LONGEST_QUANTITY):
        raise fault(f"expected {expected}, not {shown(value)}")
    try:
        amount = parse(value)
    except ValueError as error:
        raise fault(str(error)) from None
    if amount <= 0:
        raise fault(f"expected {expected}, more than nothing")
    return amount


def _duration(value: object) -> float:
    if isinstance(value, timedelta):
        value = f"{value.total_seconds()!r}s"
    return _quantity(value, parse_duration, "a duration such as 60s, 10m, 1h30m or 2d")


def duration_text(seconds: float) -> str:
    """Seconds as people write them, exactly: `parse_duration` gives the same number back."""
    if seconds < 1 and parse_duration(f"{seconds * 1000:.0f}ms") == seconds:
        return f"{seconds * 1000:.0f}ms"
    if seconds == int(seconds) and seconds < 2**53:
        rest, text = int(seconds), ""
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            count, rest = divmod(rest, size)
            text += f"{count}{unit}" if count else ""
        return text
    return f"{seconds!r}s"


def bytes_text(count: int) -> str:
    """Bytes as people write them, exactly: `parse_bytes` gives the same number back."""
    whole = [(count // size, unit) for unit, size in _SIZES if count % size == 0]
    figure, unit = min(whole, key=lambda choice: choice[0])
    return f"{figure}{unit}"


def money_text(nanodollars: int) -> str:
    """Nanodollars as people write them, exactly: `parse_money` gives the same number back."""
    text = f"{Decimal(nanodollars) / NANODOLLARS:f}"
    return "$" + (text.rstrip("0").rstrip(".") if "." in text else text)


def _money(value: object) -> int:
    return int(_quantity(value, parse_money, "an amount of money such as $2 or $0.05"))


def _price(value: object) -> int:
    if isinstance(value, str):
        value = re.sub(r"\s*(/|per)\s*(h|hour)\s*$", "", value[: 2 * _LONGEST_QUANTITY])
        if re.fullmatch(r"\$\s*0+(\.0+)?", value):
            return 0
    return int(_quantity(value, _hourly, _PRICE))


def _hourly(text: object) -> int:
    try:
        amount = parse_money(str(text))
    except ValueError:
        raise ValueError(f"expected {_PRICE}, not {text!r}") from None
    if not amount:
        raise ValueError(f"expected $0/h or at least $0.000000001/h, not {text!r}")
    return amount


def _size(value: object) -> int:
    return int(_quantity(value, parse_bytes, "a size such as 4GiB or 500MB"))


def _count(value: object) -> int:
    return int(_quantity(value, parse_count, "a count such as 100M rows or 5000"))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault(f"expected a number such as 2 or 0.5, not {shown(value)}")
    if not (abs(value) < 2**63):
        what = "a finite" if not math.isfinite(value) else "a smaller"
        raise fault(f"expected {what} number, not {shown(value)}")
    return float(value)


def _above_zero(value: float) -> float:
    if value <= 0:
        raise fault(f"expected more than 0, not {shown(value)}")
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise fault(f"expected a whole number, not {shown(value)}")
    if abs(value) >= 2**63:
        raise fault("expected a whole number of at most 63 bits")
    return value


def _written(pattern: str, example: str, more: str) -> WithJsonSchema:
    schema = {"type": "string", "pattern": pattern, "examples": [example], "description": more}
    return WithJsonSchema(schema)


_TIME = r"^\s*(\d+(\.\d+)?([eE][+-]?\d+)?\s*[a-zA-Z]+\s*)+$"
_DOLLARS = r"^\s*(\$\s*\d+(\.\d+)?([eE][+-]?\d+)?|\d+(\.\d+)?\s*(USD|usd))\s*"

Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(duration_text, return_type=str),
    _written(_TIME, "1h30m", "A duration with its unit: ms, s, m, h, d or w."),
]
"""Written `60s`, `10m`, `1h30m`, `2d`; held as seconds."""
Money = Annotated[
    int,
    BeforeValidator(_money),
    PlainSerializer(money_text, return_type=str),
    _written(_DOLLARS + "$", "$2", "An amount of money in dollars."),
]
"""Written `$2`, `$0.05`; held as nanodollars."""
Price = Annotated[
    int,
    BeforeValidator(_price),
    PlainSerializer(lambda value: money_text(value) + "/h", return_type=str),
    _written(_DOLLARS + r"((/|per)\s*(h|hour)\s*)?$", "$0.10/h", "Dollars for one hour."),
]
"""Written `$0.10/h`; held as nanodollars for an hour."""
Bytes = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(bytes_text, return_type=str),
    WithJsonSchema({
        "type": ["string", "integer"],
        "pattern": r"^\s*\d+(\.\d+)?([eE][+-]?\d+)?\s*[a-zA-Z]*\s*$",
        "examples": ["4GiB", "500MB"],
        "description": "A size: KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000).",
    }),
]  # fmt: skip
"""Written `4GiB`, `500MB`; held as bytes."""
Count = Annotated[
    int,
    BeforeValidator(_count),
    WithJsonSchema({
        "type": ["integer", "string"],
        "examples": [5000, "100M rows"],
        "description": "A whole number: 5000, 10k, 100M rows.",
    }),
]  # fmt: skip
"""Written `5000`, `100M rows`; held as an int."""
THOUSANDTHS = 1000
# More of anything on one machine, or for one process, is a mistake.
MOST_DEVICES = 100_000


def _devices(value: object) -> int | float | str:
    if isinstance(value, str):
        return bytes_text(_size(value))
    expected = "whole devices, a part of one or its memory, such as 2, 0.5 or 6GiB"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault(f"expected {expected}, not {shown(value)}")
    if not 0 < value <= MOST_DEVICES:  # NaN is not either
        raise fault(f"expected {expected}, not {shown(value)}", f"at most {MOST_DEVICES:,}")
    if value == int(value):
        return int(value)
    if value > 1:
        hint = f"ask for {math.floor(value)} or {math.ceil(value)} of them, or for less than one"
        raise fault(f"only of a single device a part can be had, not {shown(value)}", hint)
    if round(value, 3) != value:
        near = max(1, math.floor(value * THOUSANDTHS)) / THOUSANDTHS
        raise fault(f"devices are shared in thousandths, not {shown(value)}", f"write {near}")
    return value


Devices = Annotated[
    int | float | str,
    PlainValidator(_devices),
    WithJsonSchema({
        "type": ["number", "string"],
        "exclusiveMinimum": 0,
        "pattern": r"^\s*\d+(\.\d+)?([eE][+-]?\d+)?\s*[a-zA-Z]*\s*$",
        "examples": [1, 0.5, "6GiB"],
    }),
]  # fmt: skip
"""Written `2`, `0.5`, `6GiB`: whole devices, thousandths of one, or so much memory of one, which is
a part of it where its class is known."""
_ANY_NUMBER = WithJsonSchema({"type": "number"})
Number = Annotated[float, BeforeValidator(_number), _ANY_NUMBER]
Positive = Annotated[float, BeforeValidator(lambda value: _above_zero(_number(value))), _ANY_NUMBER]
Integer = Annotated[int, BeforeValidator(_integer)]
Size = Annotated[
    int,
    BeforeValidator(lambda value: 0 if value in (0, "0", "0B") else _size(value)),
    PlainSerializer(lambda count: bytes_text(count) if count else "0B", return_type=str),
    WithJsonSchema({
        "type": ["string", "integer"],
        "pattern": r"^\s*\d+(\.\d+)?([eE][+-]?\d+)?\s*[a-zA-Z]*\s*$",
        "examples": ["64GiB", 0],
    }),
]  # fmt: skip
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]


def check_name(value: object) -> str:
    """A name of a spec or step, in Unicode's normal form; says what is wrong with it otherwise."""
    rule = "a name has lowercase letters of any script, digits, - and _"
    if not isinstance(value, str):
        quoted = isinstance(value, int | float) and f'put it in quotes: "{shown(value)}"'
        raise fault(f"expected a name, not {shown(value)}", quoted or rule)
    name = unicodedata.normalize("NFC", value)
    if not name:
        raise fault("the name is empty", rule)
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise fault(f"the name is longer than {MAX_NAME} bytes", rule)
    for index, letter in enumerate(name):
        category = unicodedata.category(letter)
        if category in ("Lu", "Lt") and letter.lower() != letter:
            suggestion = unicodedata.normalize("NFC", value.lower())
            raise fault(
                f"the name {shown(value)} has the capital letter {letter!r}",
                f"write {shown(suggestion)}",
            )
        if not (letter in "-_0123456789" or category[0] == "L" or (index and category[0] == "M")):
            raise fault(f"the name {shown(value)} holds {letter!r}", rule)
    if name[0] == "-":
        raise fault(f"the name {shown(value)} begins with '-'", rule)
    return name


def _reference(value: object, what: str, forms: str) -> str:
    if not isinstance(value, str):
        raise fault(f"expected {what} ({forms}), not {shown(value)}")
    if not value or value != value.strip() or len(value) > 4096 or not value.isprintable():
        raise fault(f"expected {what} ({forms}), not {shown(value)}")
    return value


# Before a model's reference where otherwise a dataset's stands.
A_MODEL = "model:"


def is_path(text: str) -> bool:
    """Whether a reference to data is a path or address and no dataset's name."""
    return "/" in text or "." in text or "\\" in text


def check_data(value: object) -> str:
    """A dataset's `name`, a `name@version`, a path; or `model:` before a model's reference."""
    text = _reference(value, "a dataset", "name, name@version or a path such as ./data.csv")
    if text.startswith(A_MODEL):
        return A_MODEL + check_model(text.removeprefix(A_MODEL))
    if is_path(text):
        return text
    name, at, version = text.partition("@")
    _check_version(text, at, version, "name@3")
    return check_name(name) + at + version


def check_model(value: object) -> str:
    """A model's `name`, a `name@alias` or a `name/version`."""
    text = _reference(value, "a model", "name, name@alias or name/version")
    match = re.fullmatch(r"([^@/]*)(?:([@/])(.*))?", text)
    if match is None:
        raise fault(f"expected name, name@alias or name/version, not {shown(text)}")
    name, mark, rest = match[1], match[2] or "", match[3] or ""
    _check_version(text, mark, rest, f"{name[:40]}{mark}3")
    return check_name(name) + mark + rest


def _check_version(text: str, mark: str, version: str, example: str) -> None:
    if mark and not re.fullmatch(r"[\w:-][\w.:-]*", version):
        raise fault(f"{shown(text)} has no good version after {mark!r}", f"write {example}")


_NAME_PATTERN = r"^[^\sA-Z!-,./:-@\[-\^`{-~-][^\sA-Z!-,./:-@\[-\^`{-~]*$"
Name = Annotated[
    str,
    BeforeValidator(check_name),
    WithJsonSchema({
        "type": "string", "pattern": _NAME_PATTERN, "minLength": 1, "maxLength": MAX_NAME,
        "description": "Lowercase letters of any script, digits, - and _; at most 253 bytes.",
    }),
]  # fmt: skip


def _data_refs(value: object) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple) and value:
        return tuple(check_data(part) for part in value)
    return check_data(value)


DataRefs = Annotated[
    str | tuple[str, ...],
    PlainValidator(_data_refs),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"},
                    "examples": ["flights", "flights@3", "./flights.csv", "model:flights"]}),
]  # fmt: skip
"""One dataset, version, path or model, or several that are read as one."""
ModelRef = Annotated[str, BeforeValidator(check_model)]


def check_values(value: object) -> None:
    """Refuse what no spelling can carry: odd text, keys, numbers, and values without an end."""
    left = [MAX_VALUES]
    _check(value, (), left)


def _check(value: object, path: Path, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise fault(f"this holds more than {MAX_VALUES} values")
    if len(path) > MAX_DEPTH:
        raise fault(f"this is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                hint = f'put it in quotes: "{shown(key)}"' if isinstance(key, int | float) else ""
                raise fault(f"expected text as a key, not {shown(key)}", hint, path)
            _check_text(key, path)
            _check(part, (*path, key), left)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _check(part, (*path, index), left)
    elif isinstance(value, float) and not math.isfinite(value):
        raise fault("expected a finite number", path=path)
    elif isinstance(value, int) and abs(value) >= 2**64:
        raise fault("expected a whole number of at most 64 bits", path=path)


def _check_text(text: str, path: Path) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise fault(f"{shown(text)} holds half a character", "", path) from None
    if "\0" in text:
        raise fault(f"{shown(text)} holds a NUL character", "", path)


def _json(value: object) -> Any:
    check_values(value)
    return _plain(value, ())


def _plain(value: object, path: Path) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(part, (*path, key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, (*path, index)) for index, part in enumerate(value)]
    hint = "JSON has text, numbers, true, false, null, lists and mappings"
    what = "a spec" if isinstance(value, BaseModel) else shown(value)
    raise fault(f"expected a JSON value, not {what}", hint, path)


Json = Annotated[Any, BeforeValidator(_json), WithJsonSchema({})]
"""A JSON literal: text, finite number, true, false, null, list, mapping."""


def one_or_many(value: object) -> object:
    """One text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _variable(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise fault(
            f"{shown(value)} is no name of an environment variable",
            "letters, digits and _, not beginning with a digit",
        )
    return value


def check_requirement(value: object, path: Path = ()) -> str:
    """One PEP 508 requirement."""
    text = " ".join(value.split()) if isinstance(value, str) and len(value) < 2000 else ""
    if not _PEP508.fullmatch(text):
        raise fault(
            f"expected a requirement such as 'numpy>=2' or 'pandas[parquet]==2.2.*', "
            f"not {shown(value)}",
            path=path,
        )
    return text


_PEP508 = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?\s*"
    r"(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    r"(?:@\s*[^\s;]+|\(?\s*(?:(?:===|~=|==|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+"
    r"(?:\s*,\s*(?:===|~=|==|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+)*)?\s*\)?)"
    r"\s*(?:;.+)?"
)
Variable = Annotated[str, BeforeValidator(_variable)]


# What ships with Tradewind is a module of the environment, not a file of the bundle.
_COMPONENT_ENTRY = re.compile(r"tradewind(\.[a-z_]+)+:[a-z_]\w*")


def check_entry(value: object) -> str:
    """`file.py:name` or a plain script `file.py`, relative to the bundle's root; or a component
    such as `tradewind.components:split`."""
    expected = "expected an entry such as file.py:name"
    if not isinstance(value, str):
        raise fault(f"{expected}, not {shown(value)}")
    file, colon, name = value.partition(":")
    if _COMPONENT_ENTRY.fullmatch(value):
        return value
    steps = file.split("/")
    if not file.endswith((".py", ".tw")) or not file.isprintable() or len(value) > 4096:
        raise fault(f"{expected}, not {shown(value)}", "the file is Python: .py or .tw")
    if "\\" in file or "" in steps or ".." in steps or "~" in steps[0]:
        raise fault(
            f"the file of {shown(value)} must lie inside the bundle",
            "write it relative to the folder that travels, with /",
        )
    if colon and not all(part.isidentifier() for part in name.split(".")):
        raise fault(f"{expected}, not {shown(value)}", "after the colon stands a Python name")
    return value


Entry = Annotated[
    str,
    BeforeValidator(check_entry),
    WithJsonSchema({"type": "string", "pattern": r"^([^:]+\.(py|tw)(:.+)?|tradewind\.[^:]+:.+)$"}),
]


def _digest(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("sha256:[0-9a-f]{64}", value):
        raise fault(f"expected a digest, sha256: and 64 hex digits, not {shown(value)}")
    return value


Digest = Annotated[
    str,
    BeforeValidator(_digest),
    WithJsonSchema({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
]


Column = Annotated[str, Field(strict=True, min_length=1)]
Columns = Annotated[tuple[Column, ...], BeforeValidator(one_or_many)]
