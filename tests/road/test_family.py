"""What steps may cost: the budget and the value of their pipeline, all of them together."""

from __future__ import annotations

from typing import Any

from tests.road.test_pipeline import pipeline, step
from tests.road.town import Document, Town, function, in_town, value
from tradewind.records.states import ENDED, RunState

SECOND = 500_000  # nanodollars of a core in a town


def paid(name: str, **fields: Any) -> Document:
    """A step that takes ten seconds of a core."""
    return step(name, uses=function(name, resources={"cpu": 1}, **fields))


def costly(town: Town, *names: str) -> None:
    for name in names:
        town.act(name, value(name, seconds=10.0))


def spent(town: Town, run: str) -> int:
    return town.here.store.ledger.bill_of_tree(run).nanodollars


@in_town
async def test_the_budget_of_a_pipeline_ends_the_step_that_spends_it(town: Town) -> None:
    costly(town, "a", "b", "c")
    steps = paid("a"), {**paid("b"), "after": ["a"]}, {**paid("c"), "after": ["b"]}
    run = await town.result(pipeline(*steps, budget=f"${15 * SECOND / 1e9:f}"))
    assert run.state is RunState.FAILED and set(town.children(run.id)) == {"a", "b"}
    assert "budget" in run.error["message"] and "spent" in run.error["message"]
    assert 15 * SECOND <= spent(town, run.id) <= 16.5 * SECOND
    promise = town.here.store.ledger.promise(run.id)
    assert promise is not None and promise.outcome == "broken"


@in_town
async def test_steps_that_work_at_the_same_time_share_the_budget(town: Town) -> None:
    costly(town, "a", "b")
    run = await town.result(pipeline(paid("a"), paid("b"), budget=f"${12 * SECOND / 1e9:f}"))
    assert run.state is RunState.FAILED and "by its steps together" in run.error["message"]
    await town.settle(30.0)
    assert all(child.state in ENDED for child in town.children(run.id).values())
    assert 12 * SECOND <= spent(town, run.id) <= 14 * SECOND


@in_town
async def test_a_pipeline_within_its_budget_is_left_alone(town: Town) -> None:
    costly(town, "a", "b")
    run = await town.result(pipeline(paid("a"), paid("b"), budget=f"${25 * SECOND / 1e9:f}"))
    promise = town.here.store.ledger.promise(run.id)
    assert run.state is RunState.SUCCEEDED and promise is not None and promise.outcome == "kept"


@in_town
async def test_an_import_is_on_the_budget_of_whom_it_is_for(town: Town) -> None:
    costly(town, "a")
    town.act("import_table", value(1, seconds=100.0))
    money, path = f"${3 * SECOND / 1e9:f}", town.here.settings.data / "flights.csv"
    path.write_text("x\n1\n")
    for document in (
        function("a", input={"data": str(path)}, budget=money),
        pipeline(paid("a", input={"data": str(path)}), budget=money),
    ):
        run = await town.result(document)
        assert "is spent" in run.error["message"]
        assert 3 * SECOND <= spent(town, run.id) <= 4 * SECOND


@in_town
async def test_a_step_that_is_known_to_cost_more_than_is_left_does_not_begin(town: Town) -> None:
    costly(town, "a", "b")
    await town.result(function("b", resources={"cpu": 1}, cache=False))
    later = {**paid("b", cache=False), "after": ["a"]}
    run = await town.result(pipeline(paid("a"), later, budget=f"${14 * SECOND / 1e9:f}"))
    assert "left of its pipeline's budget" in run.error["message"]
    assert not town.placements(town.children(run.id)["b"].id)


@in_town
async def test_a_step_asks_before_a_pipeline_costs_more_than_it_is_worth(town: Town) -> None:
    costly(town, "a", "b", "c")
    await town.result(function("b", resources={"cpu": 1}, cache=False))
    steps = paid("a"), {**paid("b", cache=False), "after": ["a"]}, {**paid("c"), "after": ["b"]}
    run = await town.submit(pipeline(*steps, value=f"${12 * SECOND / 1e9:f}"))
    await town.settle(60.0)
    second = town.children(run)["b"].id
    assert "left of what its pipeline is worth: `tw approve" in town.run(second).waiting
    assert (await town.here.front.approve(second, "me"))[1] == ""
    await town.settle(60.0)
    third = town.children(run)["c"].id
    assert "a price that is not known" in town.run(third).waiting, "and nothing is left"
    assert (await town.here.front.approve(third, "me"))[1] == ""
    await town.until(run, RunState.SUCCEEDED)


@in_town
async def test_steps_are_to_survive_what_their_pipeline_is(town: Town) -> None:
    costly(town, "a", "b")
    other = step("b", uses=function("b", availability="node"))
    run = await town.result(pipeline(step("a", uses=function("a")), other, availability="region"))
    lines = town.children(run.id)
    found = {name: town.run(line.id) for name, line in lines.items()}
    assert found["a"].spec["availability"] == "region" and found["b"].spec["availability"] == "node"
    assert found["a"].plan["not_given"].startswith("availability: region, since")
