"""Where the processes of a run are: kept, told again after a start, given to another run."""

from __future__ import annotations

from tests.road.town import Town, far, function, in_town, value
from tradewind.records.placements import Seat
from tradewind.records.states import PlacementState, RunState


@in_town
async def test_a_server_that_starts_again_knows_the_very_same_places(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.here.apply([far()], "me")
    specs = [{"spec": function("one", pool="far", resources={"cpu": cpu})} for cpu in (3, 2, 1, 2)]
    runs = [run.id for run in await town.here.front.accept(specs, "me")]
    await town.settle(60.0)
    first, second = (f"4 CPU, 8 GiB #{number}" for number in (1, 2))
    there = [town.placements(run)[0].seats for run in runs]
    assert [each[0].node for each in there] == [first, second, first, second]
    assert town.here.places.machine.free("far").cpu == 0.0

    await town.here.front.stop(runs[0], "me")
    await town.settle(60.0)
    await town.down()
    await town.up()
    await town.here.connections.look()
    await town.settle(0.0)
    machine = town.here.places.machine
    assert [machine.seats(run) for run in runs[1:]] == there[1:], "none has moved"
    assert machine.room("far", town.placements(runs[0])[0].demand) == 1
    await town.settle()
    assert {town.run(run).state for run in runs[1:]} == {RunState.SUCCEEDED}


@in_town
async def test_a_machine_that_is_gone_is_short_of_what_it_held(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.here.apply([far()], "me")
    await town.submit(function("one", pool="far", resources={"cpu": 3}))
    gone = await town.submit(function("one", pool="far", resources={"cpu": 2}))
    await town.settle(60.0)
    town.cloud.machines = 1
    await town.pass_by(30.0)
    assert town.here.places.machine.seats(gone) == (Seat("4 CPU, 8 GiB #1"),)
    waits = await town.submit(function("one", pool="far", resources={"cpu": 1}))
    await town.settle(60.0)
    assert town.run(waits).waiting == "pool 'far': needs 1 CPU, 0 free"
    await town.settle()
    assert town.run(waits).state is RunState.SUCCEEDED


@in_town
async def test_who_gives_its_place_to_another_is_queued_again(town: Town) -> None:
    town.act("long", value(1, seconds=3600.0))
    town.act("short", value(2, seconds=10.0))
    ours = {"kind": "queue", "name": "ours", "guarantee": {"cpu": 2}}
    await town.here.apply([ours, {"kind": "queue", "name": "theirs"}], "me")
    borrows = await town.submit(function("long", resources={"cpu": 2}, queue="theirs"))
    await town.settle(60.0)
    town.clock.advance(60.0)
    owner = await town.submit(function("short", resources={"cpu": 2}, queue="ours"))
    ended = await town.until(owner, RunState.SUCCEEDED)
    between = town.run(borrows)
    assert between.state is RunState.QUEUED and (between.tries, between.losses) == (0, 0)
    assert [each.state for each in town.placements(borrows)] == [PlacementState.STOPPED]
    await town.settle()
    again = town.run(borrows)
    assert again.state is RunState.SUCCEEDED and again.number == 2
    assert again.updated > ended.updated
