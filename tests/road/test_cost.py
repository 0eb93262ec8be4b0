"""A run's bill in the margin: of what ended, goes on, was tried again, was killed, has steps."""

from __future__ import annotations

from typing import Any

from tests.road.test_pipeline import pipeline, step
from tests.road.town import Town, failure, function, in_town, value
from tradewind.compiler import learning
from tradewind.compiler.facts import Outcome
from tradewind.inside.profiling import MARK
from tradewind.records import codec
from tradewind.records.states import RunState

HOUR = 3600.0
CODE = "def f():\n    a = 1\n    return a\n"


def cost(town: Town, run: str, against: str = "") -> dict[str, Any]:
    """What the server says of it, after the promise of every bill was checked."""
    front = town.here.front
    found = front.cost(town.run(run), town.run(against) if against else None)
    lines = [line for each in found["files"] for line in each["lines"]]
    parts = [*found["buckets"], *lines, *found["steps"]]
    assert sum(part["price"] for part in parts) == found["price"]
    for line in lines:
        assert sum(call["price"] for call in line["calls"]) <= line["price"]
    return found


def seen(
    town: Town, run: str, lines: dict[int, float], looks: int = 100, index: int = 0, **more: Any
) -> None:
    """What the task of a run tells of its lines."""
    [placement] = [each for each in town.placements(run) if not each.ended]
    told: dict[str, float] = {f"{MARK}f.py\t{n}\t": each for n, each in lines.items()}
    body = {"phases": {**told, f"{MARK}\t\tsamples": float(looks)}, **more}
    town.world.placements[placement.id].report("phase", body, "main", index)


def coded(town: Town, text: str = CODE, **fields: Any) -> dict[str, Any]:
    bundle = town.bundle({"f.py": text})
    return {"kind": "function", "name": "f", "entry": "f.py:f", "bundle": bundle, **fields}


@in_town
async def test_what_was_too_short_has_phases_and_says_so(town: Town) -> None:
    town.act("f", value(1, seconds=HOUR))
    run = await town.result(coded(town, resources={"cpu": 2}))
    found = cost(town, run.id)
    assert found["price"] == run.price == 3_600_000_000
    assert found["files"] == [] and "no lines, only phases" in found["note"]


@in_town
async def test_lines_have_their_part_with_their_source(town: Town) -> None:
    town.act("f", value(1, seconds=HOUR))
    run = await town.submit(coded(town, resources={"cpu": 2}))
    await town.until(run, RunState.RUNNING)
    seen(town, run, {2: 1.0, 3: 2.0})
    seen(town, run, {2: 30.0, 3: 10.0})  # the last word holds all before it
    seen(town, run, {1: 99.0}, rank=1)  # the first member speaks for its gang
    await town.settle()
    found = cost(town, run)
    [file] = found["files"]
    assert (file["path"], file["source"]) == ("f.py", CODE.splitlines())
    assert [(line["line"], line["price"]) for line in file["lines"]] == [
        (2, 2_700_000_000),
        (3, 900_000_000),
    ]
    assert found["looks"] == 100 and found["note"] == ""
    phases = town.here.front.details(town.run(run))["phases"]
    assert not [each for each in phases if each["name"].startswith(MARK)]


@in_town
async def test_what_goes_on_says_what_is_known(town: Town) -> None:
    town.act("f", value(1, seconds=10 * HOUR))
    run = await town.submit(coded(town, resources={"cpu": 2}))
    await town.until(run, RunState.RUNNING)
    seen(town, run, {2: 5.0})
    await town.settle(HOUR)
    town.clock.advance(HOUR)
    first = cost(town, run)
    assert first["price"] >= 3_600_000_000 and "still going" in first["note"]
    assert first["files"][0]["lines"][0]["price"] == first["price"]
    town.clock.advance(HOUR)
    assert cost(town, run)["price"] == first["price"] + 3_600_000_000
    await town.settle()
    assert cost(town, run)["price"] == town.run(run).price


@in_town
async def test_every_try_is_paid_for_and_is_somewhere(town: Town) -> None:
    ends = iter([failure(seconds=HOUR), value(1, seconds=HOUR)])
    town.act("f", lambda *_: next(ends))
    run = await town.result(coded(town, retries=1, resources={"cpu": 2}))
    assert run.state is RunState.SUCCEEDED
    assert cost(town, run.id)["price"] == run.price >= 7_200_000_000


@in_town
async def test_items_of_an_array_add_up(town: Town) -> None:
    town.act("f", value(1, seconds=HOUR))
    run = await town.submit(coded(town, items=[1, 2, 3], at_once=2))
    await town.until(run, RunState.RUNNING)
    for index in (0, 1):
        seen(town, run, {2: 10.0 * (index + 1)}, index=index)
    await town.settle()
    found = cost(town, run)
    assert found["price"] == town.run(run).price
    around = {each["name"]: each["seconds"] for each in found["buckets"]}["around"]
    [line] = found["files"][0]["lines"]
    # Two places for two hours, three items of an hour: one of them was not looked at.
    assert around == 2 * HOUR and line["seconds"] == 2 * HOUR


@in_town
async def test_a_pipeline_is_the_sum_of_its_steps(town: Town) -> None:
    town.act("a", value(1, seconds=HOUR))
    run = await town.result(pipeline(step("a"), step("b", after=["a"])))
    found = cost(town, run.id)
    children = town.children(run.id)
    assert {each["run"]: each["price"] for each in found["steps"]} == {
        each.id: town.run(each.id).price for each in children.values()
    }
    assert found["price"] == town.here.front.details(run)["price"] > 0


@in_town
async def test_what_never_ran_has_cost_nothing(town: Town) -> None:
    run = await town.submit(coded(town))
    assert cost(town, run)["price"] == 0


@in_town
async def test_two_versions_are_compared_by_their_work(town: Town) -> None:
    changed = CODE.replace("a = 1", "a = slow()")
    ids = []
    for text, seconds, lines in (
        (CODE, 10.0, {2: 5.0, 3: 5.0}),
        (changed, 20.0, {2: 15.0, 3: 5.0}),
    ):
        town.act("f", value(1, seconds=seconds))
        run = await town.submit(coded(town, text))
        await town.until(run, RunState.RUNNING)
        seen(town, run, lines)
        await town.settle()
        ids.append(run)
    found = cost(town, ids[1], against=ids[0])["against"]
    assert (found["run"], found["verdict"]) == (ids[0], "dearer")
    assert (found["before"], found["now"]) == tuple(town.run(each).price for each in ids)
    first = found["lines"][0]
    assert (first["file"], first["line"], first["changed"]) == ("f.py", 2, True)
    assert first["text"].strip() == "a = slow()"
    same = cost(town, ids[0], against=ids[0])["against"]
    assert (same["verdict"], same["lines"]) == ("same", [])
    assert found["notes"] == same["notes"] == []
    # Where equal runs differ by a third, twice the work may be chance.
    uneven = Outcome(backend="python", family="table", predicted=10.0, actual=14.0, seen=True)
    kept = [codec.to_json(uneven)] * learning.FEW
    town.here.store.settings.put("outcome:python:default/g", kept)
    assert cost(town, ids[1], against=ids[0])["against"]["verdict"] == "unclear"


@in_town
async def test_what_is_no_other_version_of_the_work_is_marked(town: Town) -> None:
    town.act("f", value(1, seconds=9.0))
    town.act("g", failure("no", seconds=9.0))
    good = (await town.result(function("f"))).id
    other = (await town.result(function("g"))).id
    found = cost(town, good, against=other)["against"]
    assert (found["name"], found["state"]) == ("g", "failed")
    assert found["notes"] == [
        f"{other} is of something else: the function g of project default",
        f"{other} failed: it may not have done all of its work",
    ]


@in_town
async def test_names_of_phases_that_make_no_sense_cost_nothing(town: Town) -> None:
    town.act("f", value(1, seconds=HOUR))
    run = await town.submit(function("f"))
    await town.until(run, RunState.RUNNING)
    [placement] = town.placements(run)
    told = {f"{MARK}x": 1.0, f"{MARK}a\tb\tc": 2.0, f"{MARK}\t\tmade up": 3.0, MARK: -1.0,
            f"{MARK}gone.py\t7\t": 1.0, f"{MARK}f.py\t-3\t": 1.0}  # fmt: skip
    town.world.placements[placement.id].report("phase", {"phases": told}, "main")
    await town.settle()
    found = cost(town, run)
    assert [(each["path"], each["source"]) for each in found["files"]] == [("gone.py", [])]
