"""Placement → the request that the node gets. Pure: paths come in with the context."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.engines.base import Request
from tradewind.records import codec
from tradewind.records.placements import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where things are on this machine. `python` is the pool's default interpreter."""

    blobs: str
    tables: str
    python: str


def render(placement: Placement, context: Context) -> Request:
    """The native request: JSON, complete, the same for equal placements."""
    task = placement.task
    environment: dict[str, str] = {"digest": task.environment.digest}
    if task.environment.lock:
        environment["lock"] = task.environment.lock
        environment["base"] = context.python
    else:
        environment["python"] = context.python
    return {
        "placement": placement.id,
        "run": placement.run,
        "task": task.name,
        "number": placement.number,
        "lease": placement.lease,
        "bundle": task.bundle,
        "environment": environment,
        "blobs": context.blobs,
        "tables": context.tables,
        "done": list(placement.done),
        "roles": [codec.to_json(role) for role in task.roles],
    }
