"""Two projects never share the processes of one machine's user."""

from __future__ import annotations

import pytest

from tests.road.town import Town, far, function, in_town
from tradewind.base.errors import Refused
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


@in_town
async def test_where_the_pool_is_shared_projects_run_beside_each_other(town: Town) -> None:
    await town.here.apply([{"kind": "pool", "name": "local", "shared": True}], "me")
    runs = [await town.result(function("one", project=name)) for name in ("weather", "traffic")]
    assert [each.state for each in runs] == [RunState.SUCCEEDED] * 2
    with pytest.raises(Refused, match="engine far keeps projects apart by itself"):
        await town.here.apply([far(shared=True)], "me")
