"""What next for a training: launch it, publish its model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.kinds import one_task
from tradewind.records.placements import Placement
from tradewind.records.steering import Decision, Publish, View


def next(view: View, now: float) -> Sequence[Decision]:
    """See `one_task`."""
    return one_task.next_steps(view, now, _outputs)


def _outputs(view: View, placement: Placement) -> tuple[list[Publish], dict[str, Any]]:
    """The model if there is one; what was returned, with the last value of each metric."""
    published, result = one_task.published_outputs(view, placement)
    returned = result.get("output", {})
    if returned.get("kind", "json") == "json" and "files" not in returned.keys() - {"value"}:
        value = returned.get("value")
        shown = dict(value) if isinstance(value, dict) else {"value": value}
        if view.metrics:
            shown["metrics"] = {**shown.get("metrics", {}), **view.metrics}
        result["output"] = {"kind": "json", "value": shown}
    return published, result
