"""The place of a pool that is gone for good: its work ends, and nobody else's does."""

from __future__ import annotations

import pytest

from tests.road.town import Town, far, function, in_town, value
from tradewind.base.errors import TradewindError, Unauthenticated, Unreachable
from tradewind.engines.base import NoSuchPlace
from tradewind.records.states import RunState

GONE = NoSuchPlace("there is no namespace 'far'", hint="create it")


async def two(town: Town) -> tuple[str, str]:
    """Both run, and one shall stop; then the server dies."""
    town.act("one", value(1, seconds=1e5))
    await town.here.apply([far()], "me")
    stopped = await town.submit(function("one", pool="far"))
    goes_on = await town.submit(function("one", pool="far"))
    for each in (stopped, goes_on):
        await town.until(each, RunState.RUNNING)
    await town.here.front.stop(stopped, "me")
    await town.down()
    return stopped, goes_on


@in_town
async def test_a_server_that_comes_back_to_a_place_that_is_gone(town: Town) -> None:
    stopped, goes_on = await two(town)
    town.cloud.down = GONE
    await town.up()
    await town.pass_by(30.0)
    assert town.run(stopped).state is RunState.STOPPED
    assert town.placements(goes_on)[0].state == "lost"
    found = town.run(goes_on)
    assert found.state is RunState.QUEUED and "no namespace 'far'" in found.waiting
    await town.here.front.stop(goes_on, "me")
    await town.pass_by(30.0)
    assert town.run(goes_on).state is RunState.STOPPED
    async with town.here.connections.deleting("far"):
        pass


@in_town
async def test_a_place_that_is_gone_while_its_launch_was_under_way(town: Town) -> None:
    await town.here.apply([far()], "me")
    [engine] = town.cloud.engines

    async def launch(request: object) -> None:
        raise Unreachable("no answer")

    engine.launch = launch  # type: ignore[assignment, method-assign]
    run = await town.submit(function("one", pool="far"))
    other = await town.submit(function("one", pool="far"))
    await town.settle(1.0)
    await town.here.front.stop(run, "me")
    town.cloud.down = GONE
    await town.pass_by(100.0)
    assert town.run(run).state is RunState.STOPPED
    assert town.run(other).state in (RunState.PLACED, RunState.QUEUED), "it waits for a place"
    town.cloud.down = None
    await town.pass_by(100.0)
    assert town.run(other).state is RunState.SUCCEEDED


@pytest.mark.parametrize("why", [Unreachable("no answer"), Unauthenticated("this sign-in is old")])
def test_what_cannot_be_reached_keeps_its_work(tmp_path: object, why: TradewindError) -> None:
    @in_town
    async def test(town: Town) -> None:
        stopped, goes_on = await two(town)
        town.cloud.down = why
        await town.up()
        await town.pass_by(300.0)
        assert town.run(stopped).state is RunState.STOPPING
        assert town.run(goes_on).state is RunState.RUNNING
        assert town.placements(goes_on)[0].state == "running"

    test(tmp_path)  # type: ignore[arg-type]
