"""The transition table is true: it leads to ends, and names who moves what."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from tradewind.base.errors import Bug
from tradewind.control import report
from tradewind.control.road import Road
from tradewind.records.states import (
    ENDED,
    LIVE,
    PLACEMENT_ENDED,
    PLACEMENT_TRANSITIONS,
    REACHABLE,
    RUN_TRANSITIONS,
    PlacementState,
    RunState,
    check_move,
    check_walk,
)

CONTROL = Path(inspect.getfile(Road)).parent


def reaches_end(state: object, steps: set[tuple[object, object]], ends: frozenset[object]) -> bool:
    seen, waiting = {state}, [state]
    while waiting:
        here = waiting.pop()
        if here in ends:
            return True
        for old, new in steps:
            if old == here and new not in seen:
                seen.add(new)
                waiting.append(new)
    return False


@pytest.mark.parametrize("state", sorted(LIVE))
def test_every_live_run_can_end_and_every_way_can_be_stopped(state: RunState) -> None:
    steps: set[tuple[object, object]] = set(RUN_TRANSITIONS)
    for end in ENDED:
        assert reaches_end(state, steps, frozenset({end}))
    assert state is RunState.STOPPING or (state, RunState.STOPPING) in RUN_TRANSITIONS
    assert reaches_end(RunState.ACCEPTED, steps, frozenset({state}))


@pytest.mark.parametrize("state", sorted(set(PlacementState) - PLACEMENT_ENDED))
def test_every_live_placement_can_end_in_every_way(state: PlacementState) -> None:
    assert {new for old, new in PLACEMENT_TRANSITIONS if old is state} >= PLACEMENT_ENDED


def test_no_end_is_left_again() -> None:
    assert not [old for old, _ in RUN_TRANSITIONS if old in ENDED]
    assert not [old for old, _ in PLACEMENT_TRANSITIONS if old in PLACEMENT_ENDED]


@pytest.mark.parametrize(
    "owner", sorted({*RUN_TRANSITIONS.values(), *PLACEMENT_TRANSITIONS.values()})
)
def test_every_owner_is_a_function(owner: str) -> None:
    room, _, name = owner.partition(".")
    assert callable(getattr({"road": Road, "report": report}[room], name))


def test_only_owners_move_a_run() -> None:
    """Every `move` in control stands in `Road` or in the ending of a run that broke."""
    for path in CONTROL.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="move")):
                    assert path.name in {"road.py", "draft.py"}, f"{path.name}:{node.lineno}"


def test_a_step_that_the_table_does_not_have_is_our_bug() -> None:
    with pytest.raises(Bug, match="from succeeded to running"):
        check_move(RunState.SUCCEEDED, RunState.RUNNING)
    with pytest.raises(Bug):
        check_walk(RunState.RUNNING, RunState.PINNED)
    check_walk(RunState.ACCEPTED, RunState.SUCCEEDED)
    assert (RunState.ACCEPTED, RunState.PLACED) in REACHABLE
