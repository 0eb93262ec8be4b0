"""What next for an import: launch it, publish the version. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.kinds import one_task
from tradewind.records.steering import Decision, View


def next(view: View, now: float) -> Sequence[Decision]:
    """See `one_task`."""
    return one_task.next_steps(view, now, one_task.published_outputs)
