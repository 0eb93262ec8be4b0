"""An elastic gang grows into what is idle and gives it back before anybody is stopped."""

from __future__ import annotations

from typing import Any

from tests.road.test_saves import save
from tests.road.town import Town, failure, far, function, in_town, swap, value
from tradewind.control.saves import REST
from tradewind.records.states import RunState
from tradewind.scheduler.cluster import PAUSE


def training(name: str, **fields: Any) -> dict[str, Any]:
    spec = {"kind": "training", "name": name, "entry": f"m.py:{name}", "workers": "2..6"}
    return {**spec, "pool": "far", "resources": {"cpu": 1}, **fields}


def widths(town: Town, run: str) -> list[int]:
    return [
        each.body["width"]
        for each in town.here.store.events.after(0, run=run)
        if each.type == "run.resized"
    ]


async def saves(town: Town, run: str) -> None:
    """After a while it has just written a checkpoint, and the server has seen it."""
    town.clock.advance(PAUSE)
    save(town, run, town.clock.now() - REST)
    await town.here.saves.look()
    await town.settle(1.0)


async def grown(town: Town, price: str = "$1/h", **fields: Any) -> str:
    """A training on a pool of two machines with four cores each, that has saved once."""
    town.act("fit", value(1, seconds=3600.0))
    await town.here.apply([far(price=price)], "me")
    code = town.bundle({"m.py": "def fit(): ...\n"})
    run = await town.submit(training("fit", **fields), bundle=code)
    await town.settle(1.0)
    assert len(town.placements(run)[0].seats) == 2
    town.clock.advance(2 * PAUSE)
    await town.settle(1.0)
    assert widths(town, run) == [], "it would begin from nothing"
    await saves(town, run)
    return run


@in_town
async def test_it_grows_gives_back_and_grows_again(town: Town) -> None:
    run = await grown(town)
    assert widths(town, run) == [6] and town.attempts(run)[-1].width == 6
    assert town.here.places.machine.used("far").cpu == 6.0
    assert town.placements(run)[0].seats == town.here.places.machine.seats(run)

    town.act("short", value(2, seconds=10.0))
    short = await town.submit(function("short", pool="far", resources={"cpu": 4}))
    await town.settle(1.0)
    assert widths(town, run) == [6, 4] and town.attempts(run)[-1].width == 4
    assert len(town.placements(run)[0].seats) == 4
    assert town.run(short).state is RunState.RUNNING
    await town.settle(20.0)
    assert town.run(short).state is RunState.SUCCEEDED
    await saves(town, run)
    assert widths(town, run) == [6, 4, 6]
    await town.settle()
    ended = town.run(run)
    assert ended.state is RunState.SUCCEEDED and ended.tries == ended.losses == 0
    assert town.here.places.machine.free("far").cpu == 8.0


@in_town
async def test_its_place_is_free_when_it_works_without_it_and_not_before(town: Town) -> None:
    run = await grown(town)
    engine = town.here.places.engines["far"]
    resize = engine.resize

    async def slow(placement: str, width: int) -> None:
        """The engine does not get to it."""

    swap(engine, "resize", slow)
    town.act("short", value(2, seconds=10.0))
    short = await town.submit(function("short", pool="far", resources={"cpu": 4}))
    await town.settle(1.0)
    assert town.run(short).state is RunState.QUEUED
    assert town.run(short).waiting == "pool 'far': others make room for it"
    swap(engine, "resize", resize)
    town.here.store.runs.poke([run])
    await town.settle(1.0)
    assert town.run(short).state is RunState.RUNNING


@in_town
async def test_a_server_that_starts_again_knows_how_wide_it_is(town: Town) -> None:
    run = await grown(town)
    await town.down()
    await town.up()
    await town.here.connections.look()
    await town.settle(1.0)
    machine = town.here.places.machine
    assert machine.used("far").cpu == 6.0
    assert machine.seats(run) == town.placements(run)[0].seats
    town.act("short", value(2, seconds=10.0))
    short = await town.submit(function("short", pool="far", resources={"cpu": 4}))
    await town.settle(1.0)
    assert town.run(short).state is RunState.RUNNING and widths(town, run) == [6, 4]


@in_town
async def test_with_a_budget_or_after_a_failure_it_stays_as_it_is(town: Town) -> None:
    run = await grown(town, budget="$1000")
    assert widths(town, run) == []
    await town.settle()
    town.act("fit", lambda request, *_: failure() if request["number"] == 1
             else value(1, seconds=3600.0))  # fmt: skip
    code = town.bundle({"m.py": "def fit(): ...\n"})
    again = await town.submit(training("fit", retries={"max": 2}), bundle=code)
    await town.settle(600.0)
    assert town.run(again).state is RunState.RUNNING and widths(town, again) == []


@in_town
async def test_its_bill_is_by_what_it_held(town: Town) -> None:
    run = await grown(town, price="$8/h")
    [resized] = [each for each in town.here.store.events.after(0, run=run)
                 if each.type == "run.resized"]  # fmt: skip
    await town.settle()
    [placement] = town.placements(run)
    hours = (resized.at - placement.started) / 3600, (placement.ended - resized.at) / 3600
    assert town.run(run).price == round((2 * hours[0] + 6 * hours[1]) * 1e9)
