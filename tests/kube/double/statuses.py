"""Failures as the API words them: a Status object for each."""

import json
from typing import Any

from tests.kube.double.objects import Object
from tests.kube.double.resources import Resource


class Refusal(Exception):
    """An answer that is no success; `body` is the Status that goes over the wire."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        retry_after: int = 0,
        metadata: Object | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.retry_after = retry_after
        self.details, self.metadata = details, metadata or {}

    @property
    def body(self) -> Object:
        body: Object = {
            "kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        }  # fmt: skip
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body


def about(resource: Resource, name: str = "", *, kind: str = "") -> Object:
    """The details of a Status: a name, a group, what kind of thing."""
    found = {"name": name, "group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in found.items() if value}


def success(resource: Resource, name: str, uid: str) -> Object:
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {**about(resource, name), "uid": uid},
    }  # fmt: skip


def not_found(resource: Resource, name: str) -> Refusal:
    message = f'{resource.qualified} "{name}" not found'
    return Refusal(404, "NotFound", message, details=about(resource, name))


def already_exists(resource: Resource, name: str) -> Refusal:
    message = f'{resource.qualified} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details=about(resource, name))


def modified(resource: Resource, name: str) -> Refusal:
    return conflict(
        resource, name, "the object has been modified; please apply your changes to the latest"
        " version and try again",
    )  # fmt: skip


def conflict(resource: Resource, name: str, why: str) -> Refusal:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=about(resource, name))


def wrong_precondition(resource: Resource, name: str, why: str) -> Refusal:
    """This one names the kind where all others name the resource."""
    message = f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}'
    details = about(resource, name, kind=resource.kind)
    return Refusal(409, "Conflict", message, details=details)


def forbidden(
    resource: Resource, name: str, why: str, *, causes: list[Object] | None = None
) -> Refusal:
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    details = about(resource, name) | ({"causes": causes} if causes else {})
    return Refusal(403, "Forbidden", f"{what} is forbidden: {why}", details=details)


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> Refusal:
    message = "the server does not allow this method on the requested resource"
    return Refusal(405, "MethodNotAllowed", message, details={})


def not_modelled(what: str) -> Refusal:
    """Says loudly that a test asked for what the double does not know."""
    return Refusal(501, "NotImplemented", f"the double does not model {what}", details={})


def expired(message: str, *, token: str = "") -> Refusal:
    return Refusal(410, "Expired", message, metadata={"continue": token} if token else None)


def too_large(asked: int, current: int) -> Refusal:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return Refusal(
        504, "Timeout", f"Timeout: Too large resource version: {asked}, current: {current}",
        details={"causes": [cause], "retryAfterSeconds": 1}, retry_after=1,
    )  # fmt: skip


_CAUSES = {
    "invalid": ("FieldValueInvalid", "Invalid value"),
    "required": ("FieldValueRequired", "Required value"),
    "forbidden": ("FieldValueForbidden", "Forbidden"),
    "unsupported": ("FieldValueNotSupported", "Unsupported value"),
    "too long": ("FieldValueTooLong", "Too long"),
    "duplicate": ("FieldValueDuplicate", "Duplicate value"),
    "not found": ("FieldValueNotFound", "Not found"),
}


class Faults:
    """Gathers what is invalid in an object; `settle` raises them all as one 422."""

    def __init__(self, resource: Resource, name: str) -> None:
        self.resource, self.name = resource, name
        self.causes: list[Object] = []

    def add(self, sort: str, field: str, why: str = "", value: Any = None) -> None:
        reason, words = _CAUSES[sort]
        shown = "" if value is None else f": {_shown(value)}"
        message = f"{words}{shown}" + (f": {why}" if why else "")
        self.causes.append({"reason": reason, "message": message, "field": field})

    def settle(self, *, kind: str = "") -> None:
        if not self.causes:
            return
        # The same said twice is one line, and two causes.
        lines = list(dict.fromkeys(f"{one['field']}: {one['message']}" for one in self.causes))
        text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
        kind = kind or self.resource.kind
        details = about(self.resource, self.name, kind=kind)
        what = f"{kind}.{self.resource.group}" if self.resource.group else kind
        raise Refusal(
            422, "Invalid", f'{what} "{self.name}" is invalid: {text}',
            details=details | {"causes": self.causes},
        )  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    return f'"{value}"' if isinstance(value, str) else str(value)
