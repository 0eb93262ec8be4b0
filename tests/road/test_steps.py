"""What a pipeline promises of its steps: whose loss they survive, and what they cost together."""

from __future__ import annotations

from typing import Any

from tests.road.town import Document, Town, far, function, in_town, value
from tradewind.records.states import RunState


def step(name: str, after: str = "", **fields: Any) -> Document:
    """A step that uses a function of its own name."""
    return {"name": name, "uses": function(name, **fields), "after": [after] if after else []}


def pipeline(*steps: Document, **more: Any) -> Document:
    return {"kind": "pipeline", "name": "flow", "steps": list(steps), **more}


def shown(town: Town, run: str) -> Document:
    """As `tw describe` is told."""
    return town.here.front.details(town.run(run))


@in_town
async def test_a_pipeline_says_which_of_its_steps_cannot_survive_what_they_shall(
    town: Town,
) -> None:
    inner = {**pipeline(step("deep", availability="zone")), "name": "sub"}
    town.here.shelf.apply([inner], "me", False)
    sub = {"name": "sub", "uses": "pipeline/sub"}
    run = await town.result(pipeline(step("a", availability="region"), step("b"), sub))
    assert run.state is RunState.SUCCEEDED, run.error
    assert shown(town, run.id)["not_given"] == [
        "a: availability: region, since pool 'local' has one machine",
        "sub/deep: availability: zone, since pool 'local' has one machine",
    ]
    plain = await town.result(pipeline(step("b")))
    assert shown(town, plain.id)["not_given"] == []


@in_town
async def test_a_step_that_says_process_needs_no_more_than_that(town: Town) -> None:
    steps = step("a", availability="process"), step("b")
    run = await town.result(pipeline(*steps, availability="region"))
    [lacking] = shown(town, run.id)["not_given"]
    assert lacking.startswith("b: availability: region")


@in_town
async def test_a_production_pool_refuses_the_step_of_a_pipeline_that_it_cannot_give(
    town: Town,
) -> None:
    await town.here.apply([far(production=True)], "me")
    run = await town.result(pipeline(step("a"), pool="far", availability="region"))
    assert run.state is RunState.FAILED
    assert "step 'a' failed: availability: region means to survive" in run.error["message"]
    assert not town.placements(town.children(run.id)["a"].id)


@in_town
async def test_steps_publish_as_their_pipeline_says_unless_they_say_their_own(town: Town) -> None:
    steps = step("a"), step("b", consistency="strong")
    run = await town.result(pipeline(*steps, consistency="soft"))
    [lacking] = shown(town, run.id)["not_given"]
    assert lacking.startswith("a: consistency: soft, since one process writes the whole result")


# --- money ---------------------------------------------------------------------------------------

SECOND = 500_000  # nanodollars of a core in a town


def dollars(seconds: float) -> str:
    """What so many seconds of a core cost."""
    return f"${seconds * SECOND / 1e9:f}"


def paid(name: str, after: str = "", **fields: Any) -> Document:
    """A step of ten seconds of a core, that is never taken from the cache."""
    return step(name, after, resources={"cpu": 1}, cache=False, **fields)


async def known(town: Town, *names: str) -> None:
    """Functions that took ten seconds of a core once, so that they have a price."""
    for name in names:
        town.act(name, value(1, seconds=10.0))
        await town.result(function(name, resources={"cpu": 1}))


@in_town
async def test_steps_that_begin_together_may_not_be_quoted_for_more_than_is_left(
    town: Town,
) -> None:
    await known(town, "a", "b")
    run = await town.result(pipeline(paid("a"), paid("b"), budget=dollars(15)))
    lines = town.children(run.id)
    assert run.state is RunState.FAILED and not town.placements(lines["b"].id)
    assert lines["a"].state is RunState.SUCCEEDED
    said = run.error["message"]
    assert "step 'b' failed: it is expected to cost up to $0.005" in said
    assert "$0.0075 are left of its pipeline's budget: $0.00 of $0.0075 are spent" in said
    assert "$0.0050 more are expected of what works beside it" in said


@in_town
async def test_a_step_that_fits_when_those_beside_it_have_ended_begins(town: Town) -> None:
    await known(town, "a", "b")
    run = await town.result(pipeline(paid("a"), paid("b", "a"), budget=dollars(21)))
    assert run.state is RunState.SUCCEEDED, run.error


@in_town
async def test_the_budget_of_a_step_holds_within_that_of_its_pipeline(town: Town) -> None:
    town.act("a", value(1, seconds=10.0))
    run = await town.result(pipeline(paid("a", budget=dollars(4)), budget=dollars(15)))
    assert run.state is RunState.FAILED
    assert "its budget of $0.0020 is spent" in run.error["message"]


@in_town
async def test_the_bill_of_a_pipeline_in_a_pipeline_is_that_of_its_steps(town: Town) -> None:
    town.act("a", value(1, seconds=10.0))
    inner = {**pipeline(paid("a"), budget=dollars(11)), "name": "sub"}
    town.here.shelf.apply([inner], "me", False)
    run = await town.result(pipeline({"name": "sub", "uses": "pipeline/sub", "cache": False}))
    sub = town.children(run.id)["sub"].id
    assert shown(town, sub)["price"] == 10 * SECOND
    assert [child["price"] for child in shown(town, run.id)["children"]] == [10 * SECOND]
    promise = town.here.store.ledger.promise(sub)
    assert promise is not None and promise.actual_price == 10 * SECOND


@in_town
async def test_the_price_of_a_step_has_that_of_its_import(town: Town) -> None:
    town.act("import_table", value(1, seconds=10.0))
    path = town.here.settings.data / "flights.csv"
    path.write_text("x\n1\n")
    run = await town.result(pipeline(paid("a", input={"data": str(path)})))
    [child] = shown(town, run.id)["children"]
    [brought] = town.children(child["id"]).values()
    assert brought.price > 0 and child["price"] == shown(town, run.id)["price"]
    assert shown(town, child["id"])["price"] == child["price"]


@in_town
async def test_the_budget_of_a_pipeline_holds_for_the_steps_of_one_inside_it(town: Town) -> None:
    town.act("a", value(1, seconds=10.0))
    town.act("b", value(1, seconds=10.0))
    inner = {**pipeline(paid("b")), "name": "sub"}
    town.here.shelf.apply([inner], "me", False)
    sub = {"name": "sub", "uses": "pipeline/sub", "after": ["a"]}
    run = await town.result(pipeline(paid("a"), sub, budget=dollars(13)))
    assert run.state is RunState.FAILED
    assert 13 * SECOND <= shown(town, run.id)["price"] <= 14 * SECOND
    await known(town, "b")
    known_now = await town.result(pipeline(paid("a"), sub, budget=dollars(13)))
    assert "left of its pipeline's budget" in known_now.error["message"]
    assert shown(town, known_now.id)["price"] == 10 * SECOND


@in_town
async def test_a_pipeline_whose_earlier_runs_cost_more_than_it_is_worth_asks_first(
    town: Town,
) -> None:
    town.act("a", value(1, seconds=10.0))
    town.act("b", value(1, seconds=10.0))
    flow = pipeline(paid("a"), paid("b", "a"))
    await town.result(flow)
    run = await town.submit({**flow, "value": dollars(15)})
    await town.settle(600.0)
    asked = town.run(run)
    assert asked.state is RunState.PINNED and not town.children(run)
    assert "expected to cost $0.010 to $0.010 as its last run did" in asked.waiting
    assert f"worth $0.0075: `tw approve {run}`" in asked.waiting
    assert (await town.here.front.approve(run, "me"))[1] == ""
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED, "no step asks again"
    worth_it = await town.result({**flow, "value": dollars(45)})
    assert worth_it.state is RunState.SUCCEEDED


@in_town
async def test_a_pipeline_whose_steps_are_in_the_cache_does_not_ask(town: Town) -> None:
    town.act("a", value(1, seconds=10.0))
    flow = pipeline(step("a", resources={"cpu": 1}))
    await town.result(flow)
    run = await town.result({**flow, "value": dollars(5)})
    assert run.state is RunState.SUCCEEDED and town.children(run.id)["a"].cached_from


@in_town
async def test_a_pipeline_that_nobody_approves_in_time_says_so(town: Town) -> None:
    town.act("a", value(1, seconds=10.0))
    await town.result(pipeline(paid("a")))
    flow = pipeline(paid("a"), value=dollars(5), performance="60s")
    over = await town.result(flow)
    waited = f"it waited for `tw approve {over.id}` until its deadline of 1m was over"
    assert (over.state, over.error["message"]) == (RunState.FAILED, waited)
    assert over.ended - over.created == 60.0 and not town.children(over.id)


@in_town
async def test_who_approves_a_pipeline_is_asked_for_none_of_its_steps(town: Town) -> None:
    await known(town, "a", "b", "c")
    flow = pipeline(paid("a"), paid("b", "a"), paid("c", "b"), value=dollars(25))
    run = await town.submit(flow)
    await town.settle(11.0)  # less than its own look at whether somebody answered
    second = town.children(run)["b"]
    assert not town.placements(second.id) and f"`tw approve {run}`" in second.waiting
    assert town.run(run).waiting == f"step 'b': {second.waiting}"
    assert (await town.here.front.approve(run, "me"))[1] == ""
    await town.settle(1.0)
    assert town.placements(second.id), "it begins at once"
    assert not town.run(run).waiting
    await town.settle(60.0)
    assert town.run(run).state is RunState.SUCCEEDED


@in_town
async def test_a_step_with_a_value_of_its_own_asks_for_its_pipeline_too(town: Town) -> None:
    await known(town, "a", "b")
    steps = paid("a"), paid("b", "a", value=dollars(100))
    inner = {**pipeline(*steps), "name": "sub"}
    town.here.shelf.apply([inner], "me", False)
    run = await town.submit(pipeline({"name": "s", "uses": "pipeline/sub"}, value=dollars(25)))
    await town.settle(11.0)
    sub = town.children(run)["s"].id
    waiting = town.children(sub)["b"].waiting
    assert "$0.0075 are left of what its pipeline is worth" in waiting
    assert town.run(run).waiting == f"step 's': 'b': {waiting}"


@in_town
async def test_steps_that_begin_together_ask_where_their_sum_is_not_worth_it(town: Town) -> None:
    await known(town, "a", "b")
    run = await town.submit(pipeline(paid("a"), paid("b"), value=dollars(25)))
    await town.settle(0.0)
    lines = town.children(run)
    assert not lines["a"].waiting and "tw approve" in lines["b"].waiting
    await town.here.front.approve(lines["b"].id, "me")
    await town.settle(60.0)
    assert town.run(run).state is RunState.SUCCEEDED
