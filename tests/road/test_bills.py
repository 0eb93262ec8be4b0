"""What a placement costs: the time of its work, and none of what it waited for."""

from __future__ import annotations

from typing import Any

from tests.road.town import Town, far, function, in_town, swap, value
from tradewind.base.errors import NotAllowed, TryAgain
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
