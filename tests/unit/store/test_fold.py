"""What reports mean for a placement, without a database."""

from __future__ import annotations

import pytest

from tradewind.records.reports import Report
from tradewind.records.states import PlacementState
from tradewind.store.fold import Facts, Folded, fold

PLACEMENT = "ra-main-1"


def folded(*told: tuple[float, str, int, str]) -> Folded:
    """What becomes of a placement whose units say this: when, of which stream, try, state."""
    fact = Facts(
        id=PLACEMENT, run="ra", project="p", task="main", number=1, stale=False, seen=0,
        state=PlacementState.PLACED, started=0.0, ended=0.0, reason={},
    )  # fmt: skip
    reports = [
        Report(placement=PLACEMENT, seq=seq, at=at, kind="attempt", role="main", attempt=attempt,
               stream=stream, body={"state": state})
        for seq, (at, stream, attempt, state) in enumerate(told, 1)
    ]  # fmt: skip
    return fold(reports, {PLACEMENT: fact}, {}, {})


@pytest.mark.parametrize("end", ["lost", "failed", "stopped"])
def test_work_starts_with_the_first_unit_that_runs_and_not_with_one_that_ended_before(
    end: str,
) -> None:
    told = [(100.0, "a", 1, "preparing"), (200.0, "a", 1, end)]
    waited = folded(*told)
    assert waited.placements[PLACEMENT].started == 0.0
    assert [each.started for each in waited.attempts.values()] == [0.0]
    began = folded(*told, (300.0, "b", 2, "preparing"), (900.0, "b", 2, "running"))
    assert began.placements[PLACEMENT].started == 900.0


def test_the_earliest_start_counts_whoever_is_heard_first() -> None:
    heard = folded((900.0, "a", 1, "running"), (800.0, "b", 2, "running"))
    assert heard.placements[PLACEMENT].started == 800.0
