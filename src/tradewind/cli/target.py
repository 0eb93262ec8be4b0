"""From a command line to a document: what `run`, `quote`, `plan` and `render` share."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tradewind.base.errors import Location, TradewindError, UserError
from tradewind.cli.parsing import literal, pairs
from tradewind.sdk import binding, loading

if TYPE_CHECKING:
    from tradewind.sdk.client import Client
    from tradewind.sdk.loading import Work

Json = dict[str, Any]

_FIELDS = (
    "performance",
    "budget",
    "availability",
    "consistency",
    "output",
    "name",
    "pool",
    "queue",
    "priority",
)


def work_of(args: argparse.Namespace, client: Client) -> Work:
    """The one spec that the command line means."""
    return loading.choose(loading.load(args.target, client, args.root), args.target)


def document(args: argparse.Namespace, client: Client, work: Work) -> Json:
    """The document to send: the spec with what the command line says, its code sent."""
    return loading.finish(client, work, changes(args, work))


def in_file(work: Work, sent: Json, where: Location | None) -> Location | None:
    """Where in its file a field stands of which the server knows the name only."""
    if where is None or where.file or where.line or not where.field:
        return where
    at = tuple(where.field.split("."))
    ours, value = _at(work.document, at), _at(sent, at)
    # Another value, or none, in the file: it was given on the command line.
    return work.where(at) or where if ours is not None and ours == value else where


def _at(document: Json, at: tuple[str, ...]) -> Any:
    value: Any = document
    for part in at:
        value = value.get(part) if isinstance(value, dict) else None
    return value


@contextlib.contextmanager
def located(work: Work, sent: Json) -> Iterator[None]:
    """Errors raised in here say where in the file of `work` the field stands that they name."""
    try:
        yield
    except TradewindError as error:
        error.where = in_file(work, sent, error.where)
        raise


def changes(args: argparse.Namespace, work: Work) -> Json:
    """The fields that the command line sets."""
    found: Json = {name: value for name in _FIELDS if (value := getattr(args, name)) is not None}
    words = [*args.args, *(args.rest or ())]
    if words:
        if work.kind != "training" or ":" in str(work.document.get("entry", ":")):
            raise UserError(
                f"{work.kind} {work.name} takes no arguments such as {words[0]!r}",
                hint="a plain script does; a function is given --param NAME=VALUE",
            )
        found["args"] = words
    params = {key: literal(text) for key, text in _params(args).items()}
    data = inputs(args.data)
    if work.kind == "pipeline" and work.decorated is None:
        known = work.document.get("params") or {}
        for name in (*data, *params):
            if name not in known:
                raise UserError(
                    f"the pipeline {work.name} has no parameter {name!r}"
                    + (" to take data" if name in data else ""),
                    hint=f"its parameters: {', '.join(known) or 'none'}"
                    + ("; --data NAME=DATASET" if name in data else ""),
                )
        params, data = {**params, **data}, {}
    if params:
        found["params"] = params
    if data:
        found["input"] = data
    return found


def _params(args: argparse.Namespace) -> dict[str, str]:
    return pairs(args.param, "the parameter", "--param rate=0.1")


def inputs(given: list[str] | None) -> dict[str, str]:
    """`[NAME=]DATASET_OR_PATH` arguments: name → reference. The one without a name is `data`."""
    found: dict[str, str] = {}
    for text in given or ():
        name, sign, ref = text.partition("=")
        if not sign or not name.isidentifier():
            name, ref = "data", text
        if name in found:
            raise UserError(
                f"two inputs are named {name!r}", hint="name each: --data NAME=DATASET_OR_PATH"
            )
        found[name] = binding.data_reference(ref)
    return found
