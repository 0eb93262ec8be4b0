"""Native → ours. The node's reports are in our form already, so this table is short."""

from __future__ import annotations

from typing import Any

from tradewind.records.reports import KINDS, Report
from tradewind.records.states import AttemptState, PlacementState

# What a supervisor writes into `state`, and the state it means.
PLACEMENTS: dict[str, PlacementState] = {
    "running": PlacementState.RUNNING,
    "succeeded": PlacementState.SUCCEEDED,
    "failed": PlacementState.FAILED,
    "stopped": PlacementState.STOPPED,
    "lost": PlacementState.LOST,
}
ATTEMPTS: dict[str, AttemptState] = {state.value: state for state in AttemptState}


def report(body: dict[str, Any]) -> Report:
    """A line of a journal as a Report. Raises ValueError for one that this version cannot read."""
    kind = body["kind"]
    if kind not in KINDS:
        raise ValueError(f"a report of the unknown kind {kind!r}")
    told = body["body"]
    if kind == "placement" and told["state"] not in PLACEMENTS:
        raise ValueError(f"a placement in the unknown state {told['state']!r}")
    if kind == "attempt" and told["state"] not in ATTEMPTS:
        raise ValueError(f"an attempt in the unknown state {told['state']!r}")
    return Report(
        placement=body["placement"],
        seq=body["seq"],
        at=body["at"],
        kind=kind,
        role=body["role"],
        index=body["index"],
        attempt=body["attempt"],
        body=told,
    )
