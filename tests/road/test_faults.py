"""What goes wrong around the road: the store, the engine, the lease, our own code."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.road.town import Town, function, in_town, swap, table, value
from tradewind.base.errors import TryAgain, Unreachable
from tradewind.control import report, step
from tradewind.control.step import LEASE_SECONDS, Stepper
from tradewind.engines.base import Handle, Request
from tradewind.records.reports import Report
from tradewind.records.states import ENDED, RunState


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (report, step):
        monkeypatch.setattr(room, "PAUSE_SECONDS", 0.0)


def no_matter(*_told: object) -> None:
    """Who is told of an engine that does not answer, and does nothing about it."""


@in_town
async def test_a_pass_that_fails_gives_its_claims_back(town: Town) -> None:
    run = await town.submit(function("one"))
    stepper, store = town.here.loop._stepper, town.here.store.runs
    apply = store.apply

    def locked(*_: Any) -> Any:
        raise TryAgain("the database is locked")

    swap(store, "apply", locked)
    for _ in range(3):
        try:
            stepper.step()
        except TryAgain:
            continue
        raise AssertionError("nothing was claimed")
    swap(store, "apply", apply)
    began = town.clock.now()
    await town.settle()
    ended = town.run(run)
    assert ended.state is RunState.SUCCEEDED and ended.ended - began == 1.0


@in_town
async def test_a_store_that_is_locked_while_a_run_is_looked_at_fails_no_run(town: Town) -> None:
    run = await town.submit(function("one", cache=True))
    store = town.here.store.runs
    cached, left = store.cached, [2]

    def locked(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise TryAgain("the database is locked")
        return cached(*args)

    swap(store, "cached", locked)
    for _ in range(2):
        try:
            await town.here.loop.turn()
        except TryAgain:
            continue
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED


@in_town
async def test_the_loop_outlives_whatever_a_pass_does(town: Town) -> None:
    failures = [RuntimeError("ours"), TryAgain("busy", after=0.0)]
    claim = town.here.store.runs.claim

    def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return claim(*args)

    swap(town.here.store.runs, "claim", failing)
    next_due = town.here.store.runs.next_due
    broken = [TryAgain("busy", after=0.0)]

    def due(*args: Any) -> Any:
        if broken:
            raise broken.pop()
        return next_due(*args)

    swap(town.here.store.runs, "next_due", due)
    town.here.start()
    run = await town.submit(function("one"))
    while broken or town.run(run).state is RunState.ACCEPTED:
        await asyncio.sleep(0.01)
    assert town.here.stepping() and not failures


@in_town
async def test_a_fault_of_ours_in_one_run_stops_what_goes_on_for_it(town: Town) -> None:
    town.act("slow", value(1, seconds=1e6))
    bad, good = await town.submit(function("slow")), await town.submit(function("one"))
    await town.until(bad, RunState.RUNNING)
    await town.settle(5.0)
    road = town.here.loop._stepper.road
    follow = road._follow

    def broken(draft: Any, view: Any, placement: Any) -> None:
        if draft.run.id == bad:
            raise KeyError("ours")
        follow(draft, view, placement)

    # Slots keep a method from being replaced on the object.
    original = type(road)._follow
    swap(type(road), "_follow", lambda self, *given: broken(*given))
    try:
        town.here.store.runs.poke([bad])
        await town.turn()
    finally:
        swap(type(road), "_follow", original)
    await town.settle(60.0)
    ended = town.run(bad)
    assert (ended.state, ended.error["code"]) == (RunState.FAILED, "bug")
    assert town.run(good).state is RunState.SUCCEEDED
    assert all(placement.over for placement in town.world.placements.values())
    assert not town.here.store.placements.live()


@in_town
async def test_a_launch_that_is_held_up_says_why(town: Town) -> None:
    launch, held = town.engine.launch, ["the sign-in has run out", "the quota is used up"]

    async def holding(request: Request) -> Handle:
        if held:
            raise Unreachable(held[0], after=1.0)
        return await launch(request)

    swap(town.engine, "launch", holding)
    run = await town.submit(function("one"))
    for words in list(held):
        await town.pass_by(3.0)
        assert town.here.store.reports.waits([run]) == {run: words}
        held.pop(0)
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert town.here.store.reports.waits([run]) == {}


@in_town
async def test_every_try_that_is_held_up_says_why(town: Town) -> None:
    launch, full = town.engine.launch, [True]

    async def holding(request: Request) -> Handle:
        if full[0]:
            raise Unreachable("the quota is used up", after=1.0)
        return await launch(request)

    swap(town.engine, "launch", holding)
    town.act("one", value(1, seconds=100.0))
    run = await town.submit(function("one"))
    for number in (1, 2):
        await town.settle(5.0)
        assert town.here.store.reports.waits([run]) == {run: "the quota is used up"}
        full[0] = False
        while not town.placements(run)[-1].started:
            await town.settle(2.0)
        full[0] = number == 1
        if full[0]:
            town.world.lose(town.placements(run)[-1].id)
            while len(town.placements(run)) == 1:
                await town.settle(2.0)
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED and not town.here.loop._reasons


@in_town
async def test_reports_are_heard_after_whatever_an_engine_does(town: Town) -> None:
    here, engine = town.here, town.engine
    observe, failures = engine.observe, [KeyError("ours"), Unreachable("away", after=0.0)]

    async def failing(seconds: float) -> Any:
        if failures:
            raise failures.pop()
        await asyncio.sleep(0.01)
        return await observe(seconds)

    swap(engine, "observe", failing)
    run = await town.submit(function("one"))
    await town.here.loop.turn()
    await town.here.loop.quiet()
    task = asyncio.create_task(
        report.follow(
            here.store, town.clock, "local", engine, here.loop.wake, here.pulse, ails=no_matter
        )
    )
    while not town.placements(run)[0].started:
        await asyncio.sleep(0.01)
    task.cancel()
    assert not failures


@in_town
async def test_a_stream_of_reports_does_not_put_off_the_comparison(town: Town) -> None:
    """A task that reports every moment must not hide that another one is gone."""
    here, engine = town.here, town.engine
    town.act("chatty", value(1, seconds=1e6))
    chatty, gone = await town.submit(function("chatty")), await town.submit(function("chatty"))
    await town.until(gone, RunState.RUNNING)
    [missing] = [name for name in town.world.placements if name.startswith(gone)]
    observe, began = engine.observe, [0]

    async def streaming(seconds: float) -> list[Report]:
        await asyncio.sleep(0)
        found = list(await observe(0.0))
        began[0] += 1
        if began[0] == 3:
            town.world.placements.pop(missing)
        if began[0] > 1:
            town.clock.advance(1.0)
            town.world.placements[f"{chatty}-main-1"].report(
                "metric", {"name": "x", "value": 1.0, "step": began[0]}, "main"
            )
            found = list(await observe(0.0))
        return found

    swap(engine, "observe", streaming)
    task = asyncio.create_task(
        report.follow(
            here.store, town.clock, "local", engine, here.loop.wake, here.pulse, ails=no_matter
        )
    )
    for _ in range(2000):
        if str(town.placements(gone)[0].state) == "lost":
            break
        await asyncio.sleep(0.002)
    task.cancel()
    assert str(town.placements(gone)[0].state) == "lost"
    assert str(town.placements(chatty)[0].state) == "running"


@in_town
async def test_without_the_lease_nothing_is_placed_until_it_is_ours_again(town: Town) -> None:
    here = town.here
    town.clock.advance(LEASE_SECONDS + 1)
    assert here.store.leases.take("local", "thief", town.clock.now(), LEASE_SECONDS) == 2
    here.connections.leases.renew("local")
    run = await town.submit(function("one"))
    await town.settle(5.0)
    assert town.run(run).waiting == "pool 'local': another server places there"
    town.clock.advance(LEASE_SECONDS + 1)
    here.connections.leases.renew("local")
    assert here.places.leases["local"] == 3
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert town.placements(run)[0].lease == 3


@in_town
async def test_two_workers_share_the_runs_and_do_none_twice(town: Town) -> None:
    """Two steppers over one store, pass by pass in turn, as two servers of one pool would be."""
    one = town.here.loop._stepper
    two = Stepper(one.store, one.road, one.clock, "two", one.machines)
    runs = await town.here.front.accept([{"spec": function("one")} for _ in range(40)], "me")
    workers = [one, two]
    for _ in range(4000):
        if all(town.run(run.id).state in ENDED for run in runs[-1:]):
            break
        workers.reverse()
        town.here.loop._stepper = workers[0]
        if not await town.turn():
            town.clock.advance(1.0)
    town.here.loop._stepper = one
    await town.settle()
    assert {town.run(run.id).state for run in runs} == {RunState.SUCCEEDED}
    assert len(town.started) == 40


def test_a_version_and_a_bill_are_written_once_however_often_the_server_dies(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        town = await Town(tmp_path / "data").up()
        town.act("a", table(rows=1))
        run = await town.submit(function("a"))
        for _ in range(60):
            if town.run(run).state in ENDED:
                break
            await town.down()
            await town.up()
            await town.turn()
            town.clock.advance(0.5)
        store = town.here.store
        assert town.run(run).state is RunState.SUCCEEDED
        assert [each.number for each in store.registry.dataset_versions("default", "a")] == [1]
        assert len(store.ledger.usage(run)) == 1
        assert store.ledger.bill_of_tree(run).nanodollars == town.run(run).price
        await town.down()

    asyncio.run(story())
