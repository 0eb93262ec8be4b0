"""Records to JSON and back, in one place, so that no room invents its own form."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter

Value = TypeVar("Value")


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def to_json(value: Any) -> dict[str, Any]:
    """A record as a JSON-ready dict."""
    body: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")
    return body


def from_json(kind: type[Value], body: Any) -> Value:
    """The record of this type that `to_json` wrote. Raises pydantic.ValidationError otherwise."""
    made: Value = _adapter(kind).validate_python(body)
    return made


def dumps(value: Any) -> str:
    """A record as JSON text."""
    return _adapter(type(value)).dump_json(value).decode()


def loads(kind: type[Value], text: str | bytes) -> Value:
    """The inverse of `dumps`."""
    made: Value = _adapter(kind).validate_json(text)
    return made
