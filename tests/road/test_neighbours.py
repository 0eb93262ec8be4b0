"""A machine that others use as well: quoted as busy as it is, and nothing false learned of it."""

from __future__ import annotations

from typing import Any

from tests.road.test_probing import ROWS, acts, batch, measured
from tests.road.town import Town, function, in_town, table, value
from tradewind.control.neighbours import FRESH, Neighbours
from tradewind.records.load import Load
from tradewind.records.runs import Run
from tradewind.records.states import RunState

BUSY, QUIET = Load(others=4.0, cores=2.0), Load(others=0.0, cores=2.0)


async def worked(town: Town, load: Load | None, seconds: float) -> Run:
    """A run of 20 CPU seconds in one thread, beside these neighbours."""
    town.clock.advance(60.0)
    town.world.load = load
    town.act("one", value(1, seconds=seconds, cpu=20.0))
    return await town.result(function("one", resources={"cpu": 1}))


def seconds(run: Run) -> Any:
    return run.plan["seconds"]


@in_town
async def test_runs_on_a_busy_machine_teach_what_they_take_on_a_quiet_one(town: Town) -> None:
    await worked(town, BUSY, 50.0)
    quiet = await worked(town, QUIET, 20.0)
    assert quiet.memory["usage"]["load"] == {"others": 0.0, "cores": 2.0, "groups": None}
    assert abs(seconds(quiet)["p50"] - 20.0) < 0.1
    busy = await worked(town, BUSY, 50.0)
    assert abs(seconds(busy)["p50"] - 50.0) < 0.3
    assert "about 4 others want its 2 cores; quiet it would take 20s" in busy.plan["basis"]
    assert abs(seconds(await worked(town, QUIET, 20.0))["p50"] - 20.0) < 0.1


@in_town
async def test_what_tells_nothing_is_quoted_as_it_was(town: Town) -> None:
    await worked(town, None, 50.0)
    run = await worked(town, None, 50.0)
    assert seconds(run)["p50"] == 50.0 and "load" not in run.memory["usage"]
    assert run.plan["basis"] == "the run before"


@in_town
async def test_a_deadline_that_only_neighbours_break_is_refused_with_that_reason(
    town: Town,
) -> None:
    acts(town, measured(5e-5), table(ROWS))
    town.world.load = BUSY
    spec = batch(performance="60s")
    refused = await town.result(spec)
    assert (refused.state, refused.error["code"]) == (RunState.FAILED, "refused")
    assert "this machine is busy: about 4 others want its 2 cores" in refused.error["message"]
    assert "quiet it would take at most" in refused.error["message"]
    assert "wait until" in refused.error["hint"]
    town.world.load = QUIET
    assert (await town.result(spec)).state is RunState.SUCCEEDED


@in_town
async def test_what_probes_found_is_kept_with_who_was_beside_them(town: Town) -> None:
    acts(town, measured(1e-6), table(ROWS))
    town.world.load = BUSY
    run = await town.result(batch(performance="10m"))
    assert run.memory["probes"]["beside"] == {"others": 4.0, "cores": 2.0, "groups": None}
    assert run.plan["grounds"]["others"] == 4.0


@in_town
async def test_the_pool_shows_its_neighbours(town: Town) -> None:
    town.world.load = BUSY
    await town.settle()
    [local] = town.here.places.listing()
    assert local["load"] == {"others": 4.0, "cores": 2.0, "groups": None}
    town.world.load = None
    town.clock.advance(FRESH + 1)
    [local] = town.here.places.listing()
    assert local["load"] is None, "what was told long ago is not the present"


def test_a_span_of_time_is_told_by_what_was_seen_in_it() -> None:
    told = Neighbours()
    for at, others in ((0.0, 9.0), (10.0, 2.0), (15.0, 4.0), (40.0, 9.0)):
        told.tell("local", Load(others=others, cores=2.0), at)
    assert told.during("local", 5.0, 20.0) == Load(others=3.0, cores=2.0)
    assert told.during("local", 16.0, 18.0) == Load(others=4.0, cores=2.0)
    assert told.during("local", 1000.0, 1001.0) is told.during("far", 0.0, 50.0) is None
    assert told.now("local", 50.0) == Load(others=9.0, cores=2.0)
    assert told.now("local", 40.0 + FRESH + 1) is told.now("far", 0.0) is None
