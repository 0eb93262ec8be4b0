"""One tree of errors. The branch says who must act; the hint says how.

    TradewindError
    ├── UserError            the user must change something
    │   ├── InvalidSpec      a spec does not say what we can carry out (located)
    │   ├── InvalidData      data does not fit: unreadable, wrong schema, empty (located)
    │   ├── NotFound         a name or id that does not exist
    │   ├── Conflict         it exists already, or is in a state that forbids this
    │   ├── Gone             it was there, has ended or was replaced, and does not come back
    │   ├── Refused          valid, but the objective or a limit cannot be met
    │   └── MissingExtra     an optional part must be installed
    ├── Denied               somebody with more rights must act
    │   ├── Unauthenticated  no token, or a wrong one
    │   └── NotAllowed       the token is good, the act is not allowed
    ├── TryAgain             nobody: the same call may pass later
    │   └── Unreachable      a server, node or pool does not answer
    ├── Broken               an operator must repair something (disk full, corrupt file)
    └── Bug                  we must act

The same `code` travels in the API, the CLI (as `exit_status`) and the SDK. Foreign errors are
mapped to this tree in one place per adapter and kept as the cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a user's text an error lies. Lines and columns count from 1."""

    file: str = ""
    line: int = 0
    column: int = 0
    field: str = ""

    def __bool__(self) -> bool:
        """Whether it names a place at all."""
        return bool(str(self))

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place} ({self.field})" if self.field and place else place or self.field


class TradewindError(Exception):
    """The root; never raised itself."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 70
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: Location | None = None,
        after: float | None = None,
        needs: Sequence[dict[str, Any]] = (),
    ) -> None:
        """`hint` says what to do, `where` which text is meant, `after` when to try again (s),
        `needs` which fields of the spec would do, each by itself."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.after = after
        self.needs = tuple(needs)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return "\n  ".join([text, *self.hint.splitlines()])

    def to_json(self) -> dict[str, Any]:
        """The form that crosses the wire; `from_json` is its inverse."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        if self.where:
            body["where"] = asdict(self.where)
        if self.after is not None:
            body["after"] = self.after
        if self.needs:
            body["needs"] = list(self.needs)
        return body


class UserError(TradewindError):
    code, exit_status, http_status = "user_error", 2, 400


class InvalidSpec(UserError):
    code, exit_status, http_status = "invalid_spec", 2, 422


class InvalidData(UserError):
    code, exit_status, http_status = "invalid_data", 2, 422


class NotFound(UserError):
    code, exit_status, http_status = "not_found", 2, 404


class Conflict(UserError):
    code, exit_status, http_status = "conflict", 2, 409


class Gone(UserError):
    code, exit_status, http_status = "gone", 2, 410


class Refused(UserError):
    code, exit_status, http_status = "refused", 2, 422


class MissingExtra(UserError):
    code, exit_status, http_status = "missing_extra", 2, 501


class Denied(TradewindError):
    code, exit_status, http_status = "denied", 3, 403


class Unauthenticated(Denied):
    code, exit_status, http_status = "unauthenticated", 3, 401


class NotAllowed(Denied):
    code, exit_status, http_status = "not_allowed", 3, 403


class TryAgain(TradewindError):
    code, exit_status, http_status = "try_again", 4, 503


class Unreachable(TryAgain):
    code, exit_status, http_status = "unreachable", 4, 503


class Broken(TradewindError):
    code, exit_status, http_status = "broken", 5, 500


class Bug(TradewindError):
    code, exit_status, http_status = "bug", 70, 500


def _tree(root: type[TradewindError]) -> dict[str, type[TradewindError]]:
    found = {root.code: root}
    for branch in root.__subclasses__():
        found.update(_tree(branch))
    return found


BY_CODE = _tree(TradewindError)


def from_json(body: dict[str, Any]) -> TradewindError:
    """Rebuild an error that crossed the wire; an unknown code is our bug."""
    kind = BY_CODE.get(str(body.get("code")), Bug)
    where = body.get("where") or {}
    # A newer server may say more about a place than we know of.
    known = {name: where[name] for name in Location.__dataclass_fields__ if name in where}
    return kind(
        str(body.get("message", "")),
        hint=str(body.get("hint", "")),
        where=Location(**known) if known else None,
        after=body.get("after"),
        needs=body.get("needs") or (),
    )


def missing_extra(library: str, extra: str) -> MissingExtra:
    """The one wording for an optional library that is not installed."""
    return MissingExtra(
        f"this needs {library}, which is not installed",
        hint=f"install it with: pip install 'tradewind[{extra}]'",
    )
