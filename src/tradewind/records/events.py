"""One thing that happened, appended, never changed. The event stream shows these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`seq` is given by the store and rises with the order of commits on one server.

    `type` is `noun.verb` (`run.accepted`, `run.placed`, `attempt.running`, `dataset.version` …);
    `subject` is the id or name it is about; `run` the run it belongs to, if any.
    """

    type: str
    at: float
    project: str
    subject: str
    run: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    seq: int = 0
