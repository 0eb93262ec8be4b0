"""JSON of the wire to records, without a validator: the server is trusted, and this loads fast."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tradewind.records.runs import Run
from tradewind.records.states import RunState

_RUN = frozenset(each.name for each in fields(Run))


def record(body: dict[str, Any]) -> Run:
    """A run as a record; what a newer server adds is left aside."""
    known = {key: value for key, value in body.items() if key in _RUN}
    known.setdefault("spec", {})
    return Run(**{**known, "state": RunState(known["state"])})
