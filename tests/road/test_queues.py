"""Queues that are applied: what is refused, what they do to runs, what is to be seen of them."""

from __future__ import annotations

import asyncio
import random
import statistics
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.road.town import Town, far, function, in_town, swap, value
from tradewind.base.errors import Conflict, InvalidSpec, Location, Refused
from tradewind.records.states import RunState
from tradewind.records.tasks import Resources, Stop
from tradewind.specs.queue import Quota


def queue(name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "queue", "name": name, **fields}


@in_town
async def test_a_limit_holds_and_is_named_and_a_server_that_starts_again_knows_it(
    town: Town,
) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.here.apply([far()], "me")
    lab = queue("lab", guarantee={"cpu": 4}, borrow={"cpu": 0})
    await town.here.apply([lab, queue("vision", parent="lab", guarantee={"cpu": 2})], "me")
    runs = [
        await town.submit(function("one", pool="far", queue="vision", resources={"cpu": 2}))
        for _ in range(3)
    ]
    await town.settle(60.0)
    await town.down()
    await town.up()
    await town.here.connections.look()
    await town.settle(60.0)
    assert [town.run(run).state for run in runs] == [RunState.RUNNING] * 2 + [RunState.QUEUED]
    why = town.run(runs[2]).waiting
    assert why == "queue 'lab' holds all 4 CPU that it may use"
    seen = {each["name"]: each for each in town.here.quotas.listing()}
    assert seen["lab"]["most"] == {"cpu": 4.0} and seen["lab"]["used"]["cpu"] == 4.0
    assert seen["vision"]["parent"] == "lab" and seen["vision"]["waiting"] == 1
    await town.settle()
    assert {town.run(run).state for run in runs} == {RunState.SUCCEEDED}


@in_town
async def test_more_than_a_queue_may_ever_use_ends_with_the_reason(town: Town) -> None:
    town.act("one", value(1))
    await town.here.apply([queue("small", guarantee={"cpu": 1}, borrow={"cpu": 0})], "me")
    ended = await town.result(function("one", queue="small", resources={"cpu": 2}))
    assert ended.state is RunState.FAILED and ended.error["code"] == "refused"
    assert "queue 'small' may use at most 1 CPU at the same time" in ended.error["message"]


@in_town
async def test_queues_that_cannot_be_are_refused_and_nothing_is_stored(town: Town) -> None:
    here = town.here
    await here.apply([queue("a"), queue("b", parent="a")], "me")
    for wrong, error, why in (
        (queue("a", parent="b"), InvalidSpec, "it is below itself"),
        (queue("c", parent="gone"), InvalidSpec, "there is no queue 'gone'"),
        (queue("c", guarantee={"cpu": 1e6}), Refused, "the pools have 2 CPU"),
        (queue("c", guarantee={"accelerators": {"h100": 1}}), Refused, "the pools have 0 h100"),
        (queue("a", project="other"), Conflict, "there is a queue 'a' in project 'default'"),
    ):
        with pytest.raises(error, match=why):
            await here.apply([queue("fine"), wrong], "me")
    assert {each["name"] for each in here.quotas.listing()} >= {"a", "b"}
    assert "fine" not in here.quotas.specs
    with pytest.raises(Conflict, match="queues below it: b"):
        await here.delete("default", "queue", "a")
    await here.delete("default", "queue", "b")
    await here.delete("default", "queue", "a")
    assert not here.quotas.specs


@in_town
async def test_a_run_names_a_queue_that_is_there_and_has_none_below_it(town: Town) -> None:
    town.act("one", value(1))
    await town.here.apply([queue("a"), queue("b", parent="a")], "me")
    with pytest.raises(Refused, match="there is no queue 'c'"):
        await town.submit(function("one", queue="c"))
    with pytest.raises(Refused, match="shared out to the queues below it"):
        await town.submit(function("one", queue="a"))
    ended = await town.result(function("one", queue="b"))
    assert ended.state is RunState.SUCCEEDED


@in_town
async def test_the_quota_of_a_project_holds_over_all_queues(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.here.apply([far(), queue("day"), queue("night")], "me")
    await town.here.apply([{"kind": "project", "name": "small", "quota": {"cpu": 3}}], "me")

    async def submit(project: str, queue: str, cpu: float = 2.0) -> str:
        asked = {"pool": "far", "project": project, "queue": queue, "resources": {"cpu": cpu}}
        return await town.submit(function("one", **asked))

    first = await submit("small", "day")
    await town.settle(60.0)
    second, other = await submit("small", "night"), await submit("large", "night")
    await town.settle(60.0)
    states = [town.run(run).state for run in (first, second, other)]
    assert states == [RunState.RUNNING, RunState.QUEUED, RunState.RUNNING]
    why = "project 'small' holds 2 of the 3 CPU that it may use, this needs 2"
    assert town.run(second).waiting == why
    never = await submit("small", "day", 4.0)
    await town.settle(60.0)
    assert "project 'small' may use at most 3 CPU" in town.run(never).error["message"]
    day = next(each for each in town.here.quotas.listing() if each["name"] == "day")
    assert [each["most"] for each in day["projects"]] == [{"cpu": 3.0}]
    await town.here.apply([{"kind": "project", "name": "small", "quota": {"cpu": 4}}], "me")
    await town.settle(60.0)
    assert town.run(second).state is RunState.RUNNING, "its quota was raised"
    third = await submit("small", "day")
    await town.settle(60.0)
    assert town.run(third).state is RunState.QUEUED
    await town.here.delete("default", "project", "small")
    await town.settle(60.0)
    assert town.run(third).state is RunState.RUNNING, "it has no quota any more"


@in_town
async def test_how_long_those_take_who_make_room_is_learned(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.here.apply([far(), queue("own", guarantee={"cpu": 8}), queue("guest")], "me")
    asked = {"pool": "far", "resources": {"cpu": 4}}
    for _ in range(2):
        await town.submit(function("one", queue="guest", **asked))
    await town.settle(60.0)
    engine = town.here.places.engines["far"]
    stop = engine.stop

    async def slow(placement: str, how: Stop) -> None:
        """It takes its time."""

    swap(engine, "stop", slow)
    first = await town.submit(function("one", queue="own", **asked))
    await town.settle(1.0)
    town.clock.advance(10.0)
    swap(engine, "stop", stop)
    [going] = town.here.places.machine.due[first].staying
    town.here.store.runs.poke([going])
    await town.settle(1.0)
    assert town.run(first).state is RunState.RUNNING
    assert town.here.places.machine.parting == pytest.approx(10.0, abs=1.0)
    swap(engine, "stop", slow)
    second = await town.submit(function("one", queue="own", **asked))
    await town.settle(1.0)
    town.clock.advance(4.0)
    told = await town.here.outlook.of(town.here.front.find(second))
    assert told["estimate"]["seconds"] == pytest.approx(6.0, abs=1.0)
    swap(engine, "stop", stop)


@in_town
async def test_a_higher_priority_goes_first(town: Town) -> None:
    town.act("one", value(1, seconds=600.0))
    await town.here.apply([queue("night", priority=-5), queue("day")], "me")
    first = await town.submit(function("one", resources={"cpu": 2}, queue="day"))
    await town.settle(60.0)
    low = await town.submit(function("one", resources={"cpu": 2}, queue="night"))
    high = await town.submit(function("one", resources={"cpu": 2}, queue="night", priority=1))
    await town.settle()
    ended = [town.run(run) for run in (first, high, low)]
    assert [each.state for each in ended] == [RunState.SUCCEEDED] * 3
    assert ended[0].updated < ended[1].updated < ended[2].updated


@in_town
async def test_what_a_run_waits_for_when_it_starts_and_what_would_start_it(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.here.apply([far()], "me")
    first = await town.submit(function("one", pool="far", resources={"cpu": 3}))
    await town.submit(function("one", pool="far", resources={"cpu": 4}))
    waits = await town.submit(function("one", pool="far", resources={"cpu": 2}))
    await town.settle(60.0)
    town.clock.advance(60.0)  # whoever began at this very moment is not interrupted
    outlook, front = town.here.outlook, town.here.front
    told = await outlook.of(front.find(waits))
    assert told["waiting"].startswith("pool 'far': needs 2 CPU")
    assert told["estimate"]["low"] <= told["estimate"]["seconds"] <= told["estimate"]["high"]
    words = [each["change"] for each in told["changes"]]
    assert "with 1 CPU instead of 2 for each process" in words
    starts: list[dict[str, Any]] = [{"cpu": 1.0}, {"priority": 1}]
    for change in starts:
        assert (await outlook.would(front.find(waits), change))["starts"], change
    assert not (await outlook.would(front.find(waits), {"cpu": 1.5}))["starts"]
    wrong: list[tuple[str, Any]] = [
        ("cpu", -1), ("cpu", 1e300), ("processes", 0), ("processes", 1_000_000), ("memory", "much"),
        ("memory", "9000TiB"), ("pool", "nowhere"), ("colour", 1), ("priority", 1.5),
        ("priority", 1001), ("share", 0.5), ("pool", "far"), ("any_model", True),
    ]  # fmt: skip
    for where, bad in wrong:
        with pytest.raises(InvalidSpec) as caught:
            await outlook.would(front.find(waits), {where: bad})
        assert caught.value.where is not None and caught.value.where.field == where
    with pytest.raises(Conflict, match="does not wait for a place"):
        await outlook.would(front.find(first), {"cpu": 1})
    await town.settle()
    assert (await outlook.of(front.find(waits)))["estimate"] is None


@dataclass
class Busy:
    """Runs come to a machine that holds four at a time, now more and now fewer."""

    town: Town
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def go_on(self, count: int) -> list[tuple[float, float, float]]:
        """So many more come. Of those that wait then: the interval that was told and the real
        wait."""
        town, told = self.town, dict[str, tuple[float, dict[str, float]]]()
        for _ in range(count):
            town.act("one", value(1, seconds=self.chance.lognormvariate(3.5, 0.7)))
            fresh = {"n": self.chance.random()}
            run = await town.submit(function("one", params=fresh, resources={"cpu": 0.5}))
            await town.settle(0.0)
            estimate = (await town.here.outlook.of(town.here.front.find(run)))["estimate"]
            if estimate is not None:
                told[run] = town.clock.now(), estimate
            for _ in range(int(self.chance.expovariate(1 / 2.5))):
                await town.settle(4.0)
                town.clock.advance(4.0)
                await town.here.outlook.look()
        await town.settle()
        began = {run: town.placements(run)[0].placed for run in told}
        return [(each["low"], each["high"], began[run] - at) for run, (at, each) in told.items()]


@in_town
async def test_estimates_are_close_after_a_while_and_hold_also_after_a_start(town: Town) -> None:
    busy = Busy(town)
    first = await busy.go_on(70)
    await town.down()
    await town.up()
    later = await busy.go_on(60)

    def wide(spans: list[tuple[float, float, float]]) -> float:
        return statistics.median((high + 1) / (low + 1) for low, high, _ in spans)

    assert wide(first[:10]) > 500, "nothing is known yet"
    assert wide(later[:10]) < 50 and wide(later) < 50
    held = [low <= wait <= high for low, high, wait in later]
    assert len(held) > 40 and sum(held) >= 0.8 * len(held)


@in_town
async def test_what_is_sent_again_and_again_stays_one_run_and_holds_nobody_up(town: Town) -> None:
    """Before it has a place, on its place, and after its end: by its `request_key` it is the same
    run, and neither the store nor the scheduler knows more than one."""
    town.act("one", value(1, seconds=600.0))
    again = {"spec": function("one", resources={"cpu": 2}), "request_key": "k"}
    first = await town.submit(function("one", resources={"cpu": 2}))
    await town.settle(60.0)
    front, machine = town.here.front, town.here.places.machine

    async def storm() -> str:
        told = await asyncio.gather(*(front.accept([again] * 5, "me") for _ in range(20)))
        [run] = {run.id for runs in told for run in runs}
        await town.turn()
        return run

    run = await storm()
    other = await town.submit(function("one", resources={"cpu": 2}))
    for _ in range(5):
        assert await storm() == run
    assert set(machine.line.waiting) == {run, other} and set(machine.held) == {first}
    await town.until(run, RunState.RUNNING)
    assert await storm() == run and set(machine.held) == {run}
    await town.settle()
    assert await storm() == run
    await town.settle()
    assert len(town.started) == 3 and town.events(run).count("run.accepted") == 1
    assert town.here.store.runs.counts() == {RunState.SUCCEEDED: 3}
    assert not machine.held and not machine.line.waiting


@in_town
async def test_a_pool_and_queues_of_all_it_has_are_applied_together(town: Town) -> None:
    large = {"kind": "pool", "name": "local", "engine": "local", "capacity": {"cpu": 40}}
    await town.here.apply([large, queue("a", guarantee={"cpu": 40})], "me")
    assert town.here.quotas.specs["a"].guarantee == Quota(cpu=40)
    small = {**large, "capacity": {"cpu": 2}}
    with pytest.raises(Refused, match="the pools have 2 CPU"):
        await town.here.apply([small, queue("b", guarantee={"cpu": 1})], "me")
    with pytest.raises(Refused, match="the pools have 2 CPU"):
        await town.here.apply([small], "me")
    with pytest.raises(Refused, match="the pools have 2 CPU"):
        await town.here.delete("default", "pool", "local")
    places = town.here.places  # a machine is lost
    places.facts["local"] = replace(places.facts["local"], capacity=Resources(cpu=2.0))
    await town.here.apply([queue("c"), queue("a", guarantee={"cpu": 30})], "me")
    with pytest.raises(Refused, match="guaranteed 31 CPU together, the pools have 2 CPU"):
        await town.here.apply([queue("b", guarantee={"cpu": 1})], "me")
    await town.here.apply([small], "me")
    with pytest.raises(InvalidSpec, match="queue 'a': the queues below it") as caught:
        await town.here.apply([queue("part", parent="a", guarantee={"cpu": 31})], "me")
    assert caught.value.where == Location(file="queue/part", field="guarantee")


@in_town
async def test_a_queue_in_which_runs_are_stays(town: Town) -> None:
    town.act("one", value(1, seconds=600.0))
    await town.here.apply([queue("a")], "me")
    runs = [await town.submit(function("one", queue="a", resources={"cpu": 2})) for _ in range(2)]
    await town.settle(1.0)
    with pytest.raises(Conflict, match="2 runs wait or work in queue 'a'"):
        await town.here.delete("default", "queue", "a")
    await town.settle()
    assert {town.run(run).state for run in runs} == {RunState.SUCCEEDED}
    await town.here.delete("default", "queue", "a")
