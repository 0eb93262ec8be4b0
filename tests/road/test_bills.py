"""What a placement costs: the time of its work, and none of what it waited for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.road.town import Town, far, function, in_town, swap, value
from tradewind.base.errors import NotAllowed, TryAgain, UserError
from tradewind.control import report
from tradewind.records.states import RunState

HOUR = 3600.0


def signed_out(town: Town, seconds: float, then: Exception | None = None) -> None:
    """For so long the pool takes no launch; then it does, or refuses it for good."""
    [engine] = town.cloud.engines
    launch, until = engine.launch, town.clock.now() + seconds

    async def waits(request: dict[str, Any]) -> Any:
        if town.clock.now() < until:
            raise TryAgain("sign in to the cluster", after=60.0)
        if then is not None:
            raise then
        return await launch(request)

    swap(engine, "launch", waits)


@in_town
async def test_a_launch_that_waits_costs_nothing_until_work_starts(town: Town) -> None:
    await town.here.apply([far(price="$8/h")], "me")
    town.act("one", value(1, seconds=HOUR))
    signed_out(town, 5 * HOUR)
    run = await town.result(function("one", pool="far", resources={"cpu": 2}))
    assert run.state is RunState.SUCCEEDED
    assert run.price == 2_000_000_000  # an hour of a quarter of the pool
    assert run.ended - run.started == HOUR
    [bill] = town.here.store.ledger.bills()
    assert (bill.nanodollars, bill.seconds) == (run.price, HOUR)


@in_town
async def test_a_launch_that_waited_and_was_refused_costs_nothing(town: Town) -> None:
    await town.here.apply([far(price="$8/h")], "me")
    signed_out(town, HOUR, then=NotAllowed("not you"))
    run = await town.result(function("one", pool="far"))
    assert (run.state, run.price, run.started) == (RunState.FAILED, 0, 0.0)


@in_town
async def test_a_launch_that_waited_and_was_stopped_costs_nothing(town: Town) -> None:
    await town.here.apply([far(price="$8/h")], "me")
    signed_out(town, 10 * HOUR)
    run = await town.submit(function("one", pool="far"))
    await town.settle(HOUR)
    await town.here.front.stop(run, "me")
    await town.turn()
    store, engine = town.here.store, town.cloud.engines[0]
    await report.reconcile(store, town.clock, "far", engine, town.here.loop.wake)
    await town.settle()
    [placement] = town.placements(run)
    assert placement.ended - placement.placed >= HOUR - 60.0
    assert town.run(run).state is RunState.STOPPED
    assert town.run(run).price == 0


@in_town
async def test_projects_and_what_is_idle_pay_for_a_pool_what_it_costs(town: Town) -> None:
    """Two machines of four cores at $8 an hour; one of them goes after two hours."""
    await town.here.apply([far(price="$8/h")], "me")
    began = town.clock.now()
    town.act("one", value(1, seconds=HOUR))
    town.act("two", value(1, seconds=4 * HOUR))
    await town.submit(function("one", pool="far", resources={"cpu": 2}, project="a"))
    await town.submit(function("two", pool="far", resources={"cpu": 1}, project="b"))
    await town.settle(HOUR)
    town.clock.advance(began + 2 * HOUR - town.clock.now())
    town.cloud.machines = 1
    await town.pass_by(30.0)
    await town.settle(HOUR / 2)
    town.clock.advance(began + 3 * HOUR - town.clock.now())
    [bill] = [each for each in town.here.front.bill(began, began + 9 * HOUR)
              if each.pool == "far"]  # fmt: skip
    assert bill.projects.keys() == {"a", "b"} and bill.projects["a"] == 2 * 10**9
    assert sum(bill.projects.values()) + bill.idle == bill.total
    assert 23 * 10**9 < bill.total <= 24 * 10**9
    # An eighth, and when a machine has gone a part that depends on what the other costs.
    assert 2 * 10**9 < bill.projects["b"] < 5 * 10**9
    await town.down()
    await town.up()
    assert bill in town.here.front.bill(began, began + 9 * HOUR), "a start changes nothing"
    with pytest.raises(UserError, match="nothing between"):
        town.here.front.bill(town.clock.now() + 1, town.clock.now() + 2)


@in_town
async def test_a_part_of_a_device_is_billed_as_a_part(town: Town) -> None:
    """Two devices at $8 an hour: a quarter of one for an hour; memory of the other, still held."""
    town.cloud.machines, town.cloud.accelerators = 1, {"nvidia-t4": 2}
    await town.here.apply([far(price="$8/h")], "me")
    began = town.clock.now()
    town.act("quarter", value(1, seconds=HOUR))
    town.act("some", value(1, seconds=9 * HOUR))
    for name, devices in (("quarter", 0.25), ("some", "4GiB")):
        resources = {"cpu": 0.1, "accelerators": {"nvidia-t4": devices}}
        await town.submit(function(name, pool="far", resources=resources, project=name))
    await town.settle(2 * HOUR)
    town.clock.advance(began + 2 * HOUR - town.clock.now())
    [bill] = [each for each in town.here.front.bill(began, began + 9 * HOUR)
              if each.pool == "far"]  # fmt: skip
    [placement] = town.here.store.placements.live("far")
    part = placement.demand.accelerators["nvidia-t4"]
    assert 0.26 < part < 0.27, "4 of 15 GiB"
    assert bill.projects == {"quarter": 10**9, "some": round(part * 8 * 10**9)}
    assert (bill.total, bill.idle) == (16 * 10**9, 16 * 10**9 - sum(bill.projects.values()))
