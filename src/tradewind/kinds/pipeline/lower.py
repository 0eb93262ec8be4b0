"""A pipeline has no task of its own: it only steers child runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.records.pinned import Pinned
from tradewind.records.plans import Option, Plan
from tradewind.records.tasks import Task


def reuses(pinned: Pinned) -> bool:
    """Its steps are reused one by one."""
    return False


def options(pinned: Pinned) -> Sequence[Option]:
    """None: nothing of its own is placed."""
    return []


def tasks(pinned: Pinned, plan: Plan) -> Sequence[Task]:
    """None."""
    return []
