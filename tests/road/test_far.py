"""Pools that are not this machine: applied, worked on, unreachable, replaced, deleted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.road.town import Town, far, function, in_town, swap, table, value
from tradewind.base.errors import Conflict, InvalidSpec, NotAllowed, Unreachable
from tradewind.records.reports import Report
from tradewind.records.states import RunState
from tradewind.store.rows import RunFilter


def pool(town: Town, name: str = "far") -> dict[str, object]:
    return next(each for each in town.here.places.listing() if each["name"] == name)


@in_town
async def test_an_applied_pool_works_at_once(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    [answer] = await town.here.apply([far(price="$8/h")], "me")
    assert answer["change"] == "created"
    run = await town.result(function("one", pool="far", resources={"cpu": 2}))
    assert run.state is RunState.SUCCEEDED and run.plan["chosen_because"] == "this pool was named"
    assert run.price == 2_000_000_000  # an hour of a quarter of the pool
    assert town.placements(run.id)[0].pool == "far" and town.placements(run.id)[0].lease == 1
    here = await town.result(function("one"))
    assert town.placements(here.id)[0].pool == "local"
    assert "goes before the others" in here.plan["chosen_because"]
    told = pool(town)
    assert (told["state"], told["machines"]) == ("ready", 2)
    assert told["capacity"] == {"cpu": 8.0, "memory": 16 << 30, "accelerators": {}}


@in_town
async def test_a_pool_without_a_price_costs_what_its_machines_cost_elsewhere(town: Town) -> None:
    await town.here.apply([far()], "me")
    facts = town.here.places.facts["far"]
    assert facts.as_of.startswith("2 machines like ") and facts.price > 0
    town.cloud.machines = 1
    await town.pass_by(60.0)
    alone = town.here.places.facts["far"]
    assert alone.price * 2 == facts.price and alone.capacity.cpu == 4.0


@in_town
async def test_what_cannot_be_connected_is_not_stored(town: Town) -> None:
    town.cloud.down = NotAllowed("you may not create jobs", hint="ask for it")
    with pytest.raises(NotAllowed, match="may not create jobs"):
        await town.here.apply([far()], "me")
    with pytest.raises(InvalidSpec, match="no option colour"):
        await town.here.apply([far(options={"colour": "red"})], "me")
    assert [each["name"] for each in town.here.shelf.specs("", "pool")] == ["local"]
    assert all(engine.closed for engine in town.cloud.engines)
    assert town.here.store.leases.current("far") is None
    assert [each["name"] for each in town.here.places.listing()] == ["local"]


@in_town
async def test_a_dry_run_connects_to_nothing(town: Town) -> None:
    [answer] = await town.here.apply([far()], "me", dry_run=True)
    assert answer["change"] == "created" and not town.cloud.engines
    with pytest.raises(InvalidSpec, match="no option"):
        await town.here.apply([far(options={"colour": 1})], "me", dry_run=True)


@in_town
async def test_a_pool_that_is_away_at_the_start_is_waited_for(town: Town) -> None:
    await town.here.apply([far()], "me")
    await town.down()
    town.cloud.down = Unreachable("no answer from 10.0.0.1", hint="look at the network")
    await town.up()
    await town.here.connections.look()
    run = await town.submit(function("one", pool="far"))
    other = await town.result(function("one"))
    assert other.state is RunState.SUCCEEDED, "the server works"
    await town.settle(5.0)
    found = town.run(run)
    assert found.state is RunState.QUEUED
    assert found.waiting == "pool 'far': cannot be reached: no answer from 10.0.0.1"
    assert town.here.front.details(found)["waiting_hint"] == "look at the network"
    told = pool(town)
    assert told["state"] == "trouble"
    assert told["error"] == town.cloud.down.to_json()
    town.cloud.down = None
    await town.pass_by(30.0)
    assert town.run(run).state is RunState.SUCCEEDED and pool(town)["state"] == "ready"
    assert "waiting_hint" not in town.here.front.details(town.run(run))


@in_town
async def test_a_pool_of_the_settings_that_nobody_ever_reached_is_waited_for(town: Town) -> None:
    town.cloud.down = Unreachable("no answer")
    town.here.store.revisions.apply(
        "default", "pool", "far", document=far(), digest="d", bundle="", user="start"
    )
    await town.here.connections.look()
    run = await town.submit(function("one", pool="far"))
    await town.settle(5.0)
    assert town.run(run).state is RunState.PINNED
    assert town.run(run).waiting == "pool 'far': cannot be reached: no answer"
    with pytest.raises(Unreachable, match="no answer"):
        town.here.offers.quote(function("one", pool="far"), "me")
    town.cloud.down = None
    await town.pass_by(60.0)
    assert town.run(run).state is RunState.SUCCEEDED


@in_town
async def test_a_pool_without_machines_is_waited_for(town: Town) -> None:
    town.cloud.machines = 0
    await town.here.apply([far()], "me")
    run = await town.submit(function("one", pool="far"))
    elsewhere = await town.result(function("one"))
    assert elsewhere.state is RunState.SUCCEEDED, "it goes where there is something"
    await town.settle(1.0)
    assert town.run(run).waiting == "pool 'far' has no machine that takes work now"
    town.cloud.machines = 2
    await town.pass_by(60.0)
    assert town.run(run).state is RunState.SUCCEEDED


@in_town
async def test_trouble_holds_back_what_waits_and_not_what_runs(town: Town) -> None:
    town.act("one", value(1, seconds=100.0))
    await town.here.apply([far()], "me")
    first = await town.submit(function("one", pool="far", resources={"cpu": 4}))
    await town.until(first, RunState.RUNNING)
    town.cloud.down = Unreachable("the line is cut")
    town.clock.advance(31.0)
    await town.here.connections.look()
    second = await town.submit(function("one", pool="far"))
    await town.settle(1.0)
    assert town.run(second).waiting == "pool 'far': cannot be reached: the line is cut"
    assert pool(town)["used"] == {"cpu": 4.0, "memory": 0, "accelerators": {}}
    town.cloud.down = None
    await town.pass_by(200.0)
    assert {town.run(each).state for each in (first, second)} == {RunState.SUCCEEDED}
    assert town.cloud.begins == ["far", "far"], "it begins anew after trouble, and only then"


@in_town
async def test_what_an_engine_says_itself_counts_at_once(town: Town) -> None:
    await town.here.apply([far()], "me")
    engine, connections = town.here.places.engines["far"], town.here.connections
    heard = asyncio.Event()

    async def observe(timeout: float) -> list[Report]:
        heard.set()
        raise Unreachable("the line is cut")

    swap(engine, "observe", observe)
    town.cloud.down = Unreachable("the line is cut")
    await connections.look()
    assert pool(town)["state"] == "ready", "it is not counted again yet"
    town.here.loop._started = True
    town.here.loop.follow("far", engine)
    await heard.wait()
    await connections.look()
    assert pool(town)["state"] == "trouble"
    town.here.loop.unfollow("far")
    town.cloud.down = None
    await connections.look()  # what may pass is not made to wait
    assert pool(town)["state"] == "ready"


@in_town
async def test_long_trouble_and_applying_again_connect_from_scratch(town: Town) -> None:
    town.act("one", value(1, seconds=1000.0))
    await town.here.apply([far()], "me")
    run = await town.submit(function("one", pool="far"))
    await town.until(run, RunState.RUNNING)
    town.cloud.down = Unreachable("it has moved")
    await town.pass_by(90.0)
    assert town.cloud.engines[0].closed and pool(town)["state"] == "trouble"
    with pytest.raises(Unreachable, match="it has moved"):
        await town.here.apply([far()], "me")
    town.cloud.down = None
    await town.here.apply([far()], "me")
    assert pool(town)["state"] == "ready"
    assert [engine.closed for engine in town.cloud.engines].count(False) == 1
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert len(town.placements(run)) == 1


@in_town
async def test_a_machine_that_is_gone_is_waited_for(town: Town) -> None:
    town.act("one", value(1, seconds=100.0))
    await town.here.apply([far()], "me")
    runs = [await town.submit(function("one", pool="far", resources={"cpu": 4})) for _ in range(3)]
    await town.until(runs[0], RunState.RUNNING)
    town.cloud.cpu = 3.0
    town.clock.advance(31.0)
    await town.here.connections.look()
    await town.settle(1000.0)
    assert [town.run(run).state for run in runs] == [
        RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.QUEUED,
    ]  # fmt: skip
    assert town.run(runs[2]).waiting == (
        "no machine of pool 'far' can hold one process of this: it needs 4 CPU, the largest "
        "machine has 3 CPU, 8 GiB; it waits until there is more"
    )
    late = await town.result(function("one", pool="far", resources={"cpu": 4}))
    assert (
        late.state is RunState.FAILED and "the largest machine has 3 CPU" in late.error["message"]
    )
    town.cloud.cpu = 4.0
    await town.pass_by(200.0)
    assert town.run(runs[2]).state is RunState.SUCCEEDED


@in_town
async def test_changed_options_take_the_work_over_or_are_refused(town: Town) -> None:
    town.act("one", value(1, seconds=1000.0))
    await town.here.apply([far()], "me")
    run = await town.submit(function("one", pool="far"))
    await town.until(run, RunState.RUNNING)
    with pytest.raises(Conflict, match=run):
        await town.here.apply([far(options={"region": "north"})], "me")
    assert not town.cloud.engines[0].closed
    await town.here.apply([far(options={"image": "new"})], "me")
    old, new = town.cloud.engines
    assert town.here.places.engines["far"] is new
    assert (old.closed, new.closed) == (True, False)
    await town.here.apply([far(options={"image": "new"}, price="$9/h")], "me")
    assert town.here.places.engines["far"] is town.cloud.engines[-1] is new, (
        "a price needs no new connection"
    )
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    await town.here.apply([far(options={"region": "north"})], "me")
    assert town.cloud.engines[-1].place.options == {"region": "north"}


@in_town
async def test_a_change_that_cannot_be_leaves_what_was(town: Town) -> None:
    await town.here.apply([far()], "me")
    town.cloud.down = NotAllowed("not with this image")
    with pytest.raises(NotAllowed):
        await town.here.apply([far(options={"image": "new"})], "me")
    assert town.here.shelf.spec("default", "pool", "far", 0)["number"] == 1
    town.cloud.down = None
    await town.here.connections.look()
    assert town.here.places.engines["far"].place.options == {}  # type: ignore[attr-defined]
    assert (await town.result(function("one", pool="far"))).state is RunState.SUCCEEDED


@in_town
async def test_a_pool_is_deleted_when_nothing_runs_there(town: Town) -> None:
    town.act("one", value(1, seconds=100.0))
    await town.here.apply([far()], "me")
    run = await town.submit(function("one", pool="far"))
    await town.until(run, RunState.RUNNING)
    with pytest.raises(Conflict, match=run):
        await town.here.delete("default", "pool", "far")
    await town.settle()
    await town.here.delete("default", "pool", "far")
    assert town.cloud.engines[0].closed and town.here.store.leases.current("far") is None
    assert [each["name"] for each in town.here.places.listing()] == ["local"]
    late = await town.result(function("one", pool="far"))
    assert late.state is RunState.FAILED and "no pool named 'far'" in late.error["message"]


@in_town
async def test_the_default_interpreter_differs_from_pool_to_pool(town: Town) -> None:
    town.act("one", table())
    await town.here.apply(
        [far("a", options={"image": "x"}), far("b", options={"image": "y"})], "me"
    )
    digests = {}
    for name in ("local", "a", "b"):
        run = await town.result(function("one", pool=name, cache=True))
        assert not run.cached_from
        digests[name] = run.pinned["environment"]["digest"]
    assert len(set(digests.values())) == 3
    again = await town.result(function("one", pool="a", cache=True))
    assert again.cached_from
    assert town.here.store.settings.get(f"environment:{digests['a']}") == {"image": "x"}


@in_town
async def test_a_run_without_a_pool_has_the_environment_of_the_one_it_lands_on(town: Town) -> None:
    town.act("one", table())
    await town.here.apply([far(options={"image": "x"})], "me")
    wide = function("one", cache=True, resources={"cpu": 4})  # this machine has two cores
    landed = await town.result(wide)
    assert landed.plan["pool"] == "far"
    digest = landed.pinned["environment"]["digest"]
    assert town.here.store.settings.get(f"environment:{digest}") == {"image": "x"}
    task = town.placements(landed.id)[0].task
    assert task.environment.digest == digest
    [version] = town.here.store.registry.made_by(landed.id)[0]
    assert version.spec_digest == landed.pinned_digest
    named = await town.result({**wide, "pool": "far"})
    assert named.cached_from == landed.id, "where it ran is where its result is found"
    again = await town.result(wide)
    assert (again.cached_from, again.state) == (landed.id, RunState.SUCCEEDED)
    assert not town.placements(again.id)
    await town.here.apply([far(options={"image": "y"})], "me")
    anew = await town.result(wide)
    assert not anew.cached_from
    assert "environment" in anew.memory["changed"]
    here = await town.result(function("one", cache=True))
    assert not here.cached_from and here.plan["pool"] == "local"


@in_town
async def test_a_quote_that_lands_elsewhere_is_held_to(town: Town) -> None:
    await town.here.apply([far(options={"image": "x"})], "me")
    wide = function("one", resources={"cpu": 4})
    quote = town.here.offers.quote(wide, "me")
    run = await town.result(wide, quote=quote.id)
    assert (run.state, run.quote, run.plan["pool"]) == (RunState.SUCCEEDED, quote.id, "far")


def test_a_server_without_a_machine_of_its_own(tmp_path: Path) -> None:
    import asyncio

    async def story() -> None:
        town = await Town(tmp_path / "data", local=False).up()
        try:
            run = await town.submit(function("one"))
            await town.settle(5.0)
            assert town.run(run).waiting == "there is no pool yet: apply one"
            dear, cheap = far("dear", price="$9/h"), far("cheap", price="$1/h")
            await town.here.apply([dear, cheap], "me")
            await town.pass_by(30.0)
            done = town.run(run)
            assert done.state is RunState.SUCCEEDED and done.plan["pool"] == "cheap"
            assert done.plan["chosen_because"] == "the cheapest pool that can hold it"
            quote = town.here.offers.quote(function("one"), "me")
            assert [plan.pool for plan in quote.plans] == ["cheap", "dear"]
        finally:
            await town.down()

    asyncio.run(story())


@in_town
async def test_a_pipelines_pool_is_that_of_all_its_steps(town: Town) -> None:
    file = town.here.settings.data / "flights.csv"
    file.write_text("x\n1\n")
    town.act("import_table", table())
    town.act("one", table())
    await town.here.apply([far()], "me")
    one = {"kind": "function", "entry": "tradewind.components:one"}
    flow = {
        "kind": "pipeline",
        "name": "flow",
        "pool": "far",
        "steps": [
            {"name": "first", "uses": one, "input": {"data": str(file)}},
            {"name": "here", "uses": {**one, "pool": "local"}},
            {"name": "second", "uses": one, "input": {"data": "$first"}},
        ],
    }
    run = await town.result(flow)
    assert run.state is RunState.SUCCEEDED, run.error
    where = {key: town.placements(line.id)[0].pool for key, line in town.children(run.id).items()}
    assert where == {"first": "far", "here": "local", "second": "far"}
    [imported] = town.children(town.children(run.id)["first"].id).values()
    [placement] = town.placements(imported.id)
    assert placement.pool == "far"
    brought = placement.task.roles[0].inputs["source"]
    assert brought.meta["paths"] == ["000000/flights.csv"]
    assert town.here.blobs.path(brought.files[0]).read_bytes() == b"x\n1\n"


@in_town
async def test_files_of_this_machine_are_named_to_its_own_tasks_and_travel_to_others(
    town: Town,
) -> None:
    folder = town.here.settings.data / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/b.csv").write_text("x\n2\n")
    (folder / "a.csv").write_text("x\n1\n")
    town.act("import_table", table())
    await town.here.apply([far()], "me")
    spec = {"kind": "dataset", "name": "data", "source": {"path": str(folder), "header": True}}
    here = await town.result(spec)
    [role] = town.placements(here.id)[0].task.roles
    assert not role.inputs
    there = await town.result({**spec, "pool": "far"})
    [role] = town.placements(there.id)[0].task.roles
    assert role.inputs["source"].meta["paths"] == ["000000/a.csv", "000001/b.csv"]
    again = await town.result({**spec, "pool": "far"})
    assert again.cached_from == there.id
    (folder / "deep/b.csv").write_text("x\n22\n")
    anew = await town.result({**spec, "pool": "far"})
    assert not anew.cached_from
    files = town.placements(anew.id)[0].task.roles[0].inputs["source"].files
    assert [town.here.blobs.path(each).read_bytes() for each in files] == [b"x\n1\n", b"x\n22\n"]


@in_town
async def test_what_would_be_sent_is_shown_without_secrets(town: Town) -> None:
    await town.here.apply([far()], "me")
    [request], later = town.here.offers.render(function("one", pool="far"), "me")
    assert (request["pool"], request["token"], later) == ("far", "…", {})
    one = {"kind": "function", "entry": "tradewind.components:one"}
    steps = [
        {"name": "first", "uses": one},
        {"name": "each", "uses": one, "foreach": [1, 2], "params": {"x": "$item"}},
        {"name": "lost", "uses": one, "input": {"data": "nowhere"}},
        {"name": "last", "uses": one, "input": {"data": "$first"}},
    ]
    flow = {"kind": "pipeline", "name": "flow", "pool": "far", "steps": steps}
    requests, later = town.here.offers.render(flow, "me")
    assert [each["pool"] for each in requests] == ["far"] * 3
    assert later.keys() == {"lost", "last"} and "nowhere" in later["lost"]
    assert not town.placements("r1") and not town.here.store.runs.counts()


@in_town
async def test_what_a_unit_waits_for_on_its_place_is_told(town: Town) -> None:
    town.act("one", value(1, seconds=10.0))
    await town.here.apply([far()], "me")
    run = await town.submit(function("one", pool="far"))
    await town.until(run, RunState.RUNNING)
    [placement] = town.placements(run)
    body = {"state": "preparing", "why": "no machine has 4 CPU free",
            "native": {"reason": "Unschedulable"}}  # fmt: skip
    told = Report(placement=placement.id, seq=50, at=town.clock.now(), kind="attempt", role="main",
                  index=1, body=body, stream="x")  # fmt: skip
    town.here.store.reports.record([told])
    assert town.run(run).waiting == "no machine has 4 CPU free"
    [line] = town.here.front.page(RunFilter(), 10, "").runs
    assert line.waiting == "no machine has 4 CPU free"
    attempts = town.here.front.details(town.run(run))["attempts"]
    assert attempts[-1]["exit"]["native"] == {"reason": "Unschedulable"}
