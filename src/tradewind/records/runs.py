"""A run: one carrying out of a spec, from accepted to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tradewind.records.states import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The row that walks the road. Specs and plans are kept as JSON documents.

    `root` is the topmost run of its tree (itself when it has no parent); (parent, key) is unique.
    `waiting` says what a queued run waits for. `wake` is the time (s since 1970) at which it wants
    to be looked at again, 0 for none. `error` is a `base.errors` body. `result` maps output slot →
    what it became. `price` is in nanodollars. `tries` counts failed attempts that count; `losses`
    those that do not. `number` counts placements.
    """

    id: str
    project: str
    kind: str
    name: str
    state: RunState
    spec: dict[str, Any]
    created: float
    updated: float
    parent: str = ""
    key: str = ""
    root: str = ""
    queue: str = "default"
    user: str = ""
    pinned: dict[str, Any] = field(default_factory=dict)
    pinned_digest: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    quote: str = ""
    waiting: str = ""
    wake: float = 0.0
    error: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    cached_from: str = ""
    price: int = 0
    started: float = 0.0
    ended: float = 0.0
    tries: int = 0
    losses: int = 0
    number: int = 0
