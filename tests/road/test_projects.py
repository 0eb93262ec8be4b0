"""Two projects never share the processes of one machine's user."""

from __future__ import annotations

from tests.road.town import Town, function, in_town
from tradewind.records.states import RunState


@in_town
async def test_a_second_project_is_refused_on_this_machine(town: Town) -> None:
    first = await town.result(function("one", project="weather"))
    second = await town.result(function("one", project="traffic"))
    third = await town.result(function("two", project="weather"))
    assert (first.state, third.state) == (RunState.SUCCEEDED, RunState.SUCCEEDED)
    assert second.state is RunState.FAILED
    assert second.error["code"] == "not_allowed"
    assert "weather" in second.error["message"] and "TRADEWIND_HOME" in second.error["hint"]
