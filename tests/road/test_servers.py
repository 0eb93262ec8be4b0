"""Several servers on one database: each places on its own pools, all show and stop everything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.road.town import FarEngine, Town, far, function, value
from tradewind.base.errors import Conflict, Unreachable
from tradewind.control.step import LEASE_SECONDS
from tradewind.records.states import RunState

Story = Callable[[Town, Town], Awaitable[None]]


def two(test: Story) -> Callable[[Path], None]:
    """A server with this machine, and one without that has the pool `far`."""

    def run(tmp_path: Path) -> None:
        async def story() -> None:
            one = await Town(tmp_path / "one").up()
            other = await Town(tmp_path / "other", local=False, beside=one).up()
            try:
                await other.here.apply([far()], "me")
                await look(one, other)
                await test(one, other)
            finally:
                await other.down()
                await one.down()

        asyncio.run(story())

    run.__name__ = test.__name__
    return run


async def look(*towns: Town) -> None:
    for town in towns:
        await town.here.connections.look()


async def together(*towns: Town, seconds: float = 3600.0) -> None:
    """Let everything happen at all of them."""
    clock = towns[0].clock
    until = clock.now() + seconds
    while True:
        while any([await town.turn() for town in towns]):
            pass
        times = [at for town in towns if (at := town._next()) is not None and at <= until]
        if not times:
            return
        clock.advance(max(0.0, min(times) - clock.now()))


@two
async def test_each_places_on_its_own_pools(one: Town, other: Town) -> None:
    names = ("local", "far", "")
    runs = {
        (town, name): await town.submit(function("one", **({"pool": name} if name else {})))
        for town in (one, other)
        for name in names
    }
    await together(one, other)
    for (town, name), run in runs.items():
        found = town.run(run)
        assert found.state is RunState.SUCCEEDED, (name, found.waiting, found.error)
        [placement] = town.placements(run)
        assert placement.pool == name or not name
    assert one.here.places.mine() == {"local"} and other.here.places.mine() == {"far"}
    far_runs = {run for (_, name), run in runs.items() if name == "far"}
    assert far_runs <= {each.rpartition("-main")[0] for each in other.cloud.world.placements}


@two
async def test_a_pipelines_steps_go_where_they_are_to_go(one: Town, other: Town) -> None:
    uses = {"kind": "function", "entry": "tradewind.components:one"}
    steps = [
        {"name": "first", "uses": {**uses, "pool": "local"}},
        {"name": "second", "uses": {**uses, "pool": "far"}, "params": {"x": "$first"}},
        {"name": "third", "uses": {**uses, "pool": "local"}, "params": {"x": "$second"}},
    ]
    run = await other.submit({"kind": "pipeline", "name": "flow", "steps": steps})
    await together(one, other)
    assert other.run(run).state is RunState.SUCCEEDED, other.run(run).error
    where = {key: one.placements(line.id)[0].pool for key, line in one.children(run).items()}
    assert where == {"first": "local", "second": "far", "third": "local"}


@two
async def test_any_server_shows_and_stops_what_another_one_runs(one: Town, other: Town) -> None:
    one.act("one", value(1, seconds=None))
    other.act("one", value(1, seconds=None))
    run = await one.submit(function("one", pool="far"))
    waits = await one.submit(function("one", pool="far", resources={"cpu": 4}))
    await together(one, other, seconds=5.0)
    assert one.run(run).state is RunState.RUNNING
    [pool] = [each for each in one.here.places.listing() if each["name"] == "far"]
    assert pool["state"] == "elsewhere" and pool["server"] and pool["machines"] == 2
    with pytest.raises(Conflict, match="placed by the server on"):
        async for _ in one.here.front.logs(one.run(run), role="", index=0, offset=0, follow=False):
            pass
    for each in (run, waits):
        await one.here.front.stop(each, "me")
    await together(one, other)
    assert {one.run(each).state for each in (run, waits)} == {RunState.STOPPED}
    assert other.here.places.machine.used("far").cpu == 0.0


@two
async def test_a_pool_is_changed_where_it_is_placed(one: Town, other: Town) -> None:
    with pytest.raises(Conflict, match="placed by the server on"):
        await one.here.apply([far(price="$1/h")], "me")
    with pytest.raises(Conflict, match="placed by the server on"):
        await one.here.delete("default", "pool", "far")
    await other.here.apply([far(price="$1/h")], "me")
    await look(one)
    assert one.here.places.facts["far"].price == 1_000_000_000
    await other.here.delete("default", "pool", "far")
    await look(one)
    assert [each["name"] for each in one.here.places.listing()] == ["local"]


@two
async def test_a_pool_whose_server_is_gone_is_waited_for_and_taken_over(
    one: Town, other: Town
) -> None:
    one.act("one", value(1, seconds=1000.0))
    other.act("one", value(1, seconds=1000.0))
    going = await one.submit(function("one", pool="far"))
    await together(one, other, seconds=5.0)
    one.cloud.down = None
    await other.here.loop.close()  # it dies: nothing is released
    one.clock.advance(LEASE_SECONDS + 1)
    one.here.connections.leases.renew("local")
    refuse = one.here.connections.make
    one.here.connections.make = _unmade
    await look(one)
    late = await one.submit(function("one", pool="far"))
    stopped = await one.submit(function("one", pool="far"))
    await together(one, seconds=5.0)
    assert "no machines for sale" in one.run(late).waiting
    await one.here.front.stop(stopped, "me")
    await together(one, seconds=5.0)
    assert one.run(stopped).state is RunState.STOPPED
    one.here.connections.make = refuse
    await look(one)
    await together(one)
    assert {one.run(each).state for each in (going, late)} == {RunState.SUCCEEDED}
    assert [each.number for each in one.placements(going)] == [1], "its work was taken over"
    assert one.here.places.leases["far"] > 1


@two
async def test_a_server_that_comes_back_has_its_runs_at_once(one: Town, other: Town) -> None:
    """The others have looked after them meanwhile."""
    await other.here.loop.close()
    for pool, number in other.here.places.leases.items():
        one.here.store.leases.release(pool, other.here.places.worker, number)
    one.here.connections.make = _unmade
    await look(one)
    run = await one.submit(function("one", pool="far"))
    await together(one, seconds=1.0)
    assert "no machines for sale" in one.run(run).waiting
    await other.up()
    await look(other)
    began = one.clock.now()
    await together(one, other)
    found = one.run(run)
    assert found.state is RunState.SUCCEEDED and found.ended - began < 5.0


@two
async def test_queues_that_are_applied_at_one_server_hold_at_all(one: Town, other: Town) -> None:
    one.act("one", value(1, seconds=3600.0))
    other.act("one", value(1, seconds=3600.0))
    lab = {"kind": "queue", "name": "lab", "guarantee": {"cpu": 2}, "borrow": {"cpu": 0}}
    await one.here.apply([lab], "me")
    # Of what another server has just applied nobody waits until this one looks again.
    asked = {"pool": "far", "queue": "lab", "resources": {"cpu": 2}}
    runs = [await other.submit(function("one", **asked)) for _ in range(2)]
    await other.here.apply([{"kind": "queue", "name": "vision", "parent": "lab"}], "me")
    await together(one, other, seconds=60.0)
    assert [one.run(run).state for run in runs] == [RunState.RUNNING, RunState.QUEUED]
    assert other.run(runs[1]).waiting == "queue 'lab' holds all 2 CPU that it may use"
    await look(one)
    assert "vision" in one.here.quotas.specs
    await one.here.delete("default", "queue", "vision")
    await one.here.apply([{**lab, "borrow": {"cpu": 2}}], "me")
    await together(one, other, seconds=60.0)
    assert one.run(runs[1]).state is RunState.QUEUED, "the other one has not heard of it"
    await look(other)
    await together(one, other, seconds=60.0)
    assert one.run(runs[1]).state is RunState.RUNNING
    assert set(other.here.quotas.specs) == {"lab"}


def _unmade(_: object) -> FarEngine:
    raise Unreachable("no machines for sale")


def test_a_pool_that_nobody_serves_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        one = await Town(tmp_path / "one").up()
        other = await Town(tmp_path / "other", local=False, beside=one).up()
        try:
            await other.here.apply([far()], "me")
            await look(one)
            await other.down()
            # Released, and not yet looked at again.
            run = await one.submit(function("one", pool="far"))
            await one.settle(5.0)
            assert one.run(run).waiting.startswith("no server places on pool 'far' now")
            unknown = await one.result(function("one", pool="mars"))
            assert "no pool named 'mars'" in unknown.error["message"]
            await one.pass_by(60.0)
            assert one.run(run).state is RunState.SUCCEEDED
        finally:
            await one.down()

    asyncio.run(story())
