"""Where the time of a run went: parts that are no more than the whole."""

from __future__ import annotations

import math

from tradewind.control import details
from tradewind.records.placements import Attempt, Placement
from tradewind.records.runs import Run
from tradewind.records.states import AttemptState, RunState
from tradewind.records.tasks import Environment, Resources, Task
from tradewind.store.rows import Phase

RUN = Run(id="r1", project="default", kind="training", name="t", state=RunState.SUCCEEDED,
          spec={}, created=100.0, updated=101.0, ended=101.0)  # fmt: skip
TASK = Task(name="main", roles=(), environment=Environment(digest="e"))
PLACED = Placement(id="r1-main-1", run="r1", task=TASK, number=1, pool="local", engine="local",
                   lease=1, demand=Resources(), placed=100.1)  # fmt: skip


def tried(number: int, started: float) -> Attempt:
    return Attempt(placement=PLACED.id, run="r1", task="main", role="worker", index=0,
                   number=number, state=AttemptState.SUCCEEDED, started=started)  # fmt: skip


def phase(name: str, seconds: float, role: str = "worker", attempt: int = 1) -> Phase:
    return Phase(run="r1", placement=PLACED.id, role=role, index=0, attempt=attempt, name=name,
                 seconds=seconds, at=101.0)  # fmt: skip


def before(told: list[Phase]) -> dict[str, float]:
    found = details._before_work(RUN, [PLACED], [tried(2, 100.9), tried(1, 100.6)], told)
    return {each["name"]: each["seconds"] for each in found}


def test_what_the_place_told_of_its_start_is_counted_once() -> None:
    told = [phase("bundle", 0.1, role="", attempt=1), phase("start", 0.3), phase("call", 0.2)]
    found = before(told)
    assert math.isclose(found["wait"], 0.1) and math.isclose(found["start"], 0.1)
    assert sum(found.values()) + sum(each.seconds for each in told) <= RUN.ended - RUN.created


def test_what_came_later_is_no_part_of_the_first_start() -> None:
    assert math.isclose(before([phase("start", 0.3, attempt=2), phase("call", 9.0)])["start"], 0.5)
    assert before([phase("start", 7.0)])["start"] == 0.0
