"""What was promised is kept while it can be, and told at once when it cannot."""

from __future__ import annotations

from typing import Any

from tests.road.test_probing import ROWS, acts, batch, measured
from tests.road.town import Town, failure, far, function, in_town, table, value
from tradewind.records.runs import Run
from tradewind.records.states import RunState

CENT = 10_000_000  # nanodollars
SECOND = 500_000  # of a core


def items(count: int, **fields: Any) -> dict[str, Any]:
    """Ten seconds an item, one at once, a core each. A core of the town costs $0.0005 a second."""
    return function("slow", items=list(range(count)), at_once=1, resources={"cpu": 1}, **fields)


async def carried_out(town: Town, document: dict[str, Any]) -> Run:
    town.act("slow", lambda _request, _role, index, _attempt: value(index, seconds=10.0))
    return await town.result(document)


def promised(town: Town, run: Run) -> Any:
    return town.here.store.ledger.promise(run.id)


@in_town
async def test_an_array_that_would_be_late_takes_more_at_once(town: Town) -> None:
    run = await carried_out(town, items(10, performance="60s"))
    assert run.state is RunState.SUCCEEDED
    assert run.ended - run.created <= 60.0
    assert "promise.widened" in town.events(run.id)
    assert promised(town, run).outcome == "kept"
    # A hundred seconds of a core, and what the second one had nothing to do at the end.
    assert 100 * SECOND <= run.price <= 112 * SECOND


@in_town
async def test_what_is_in_time_is_left_alone(town: Town) -> None:
    run = await carried_out(town, items(5, performance="120s"))
    assert "promise.widened" not in town.events(run.id)
    assert run.ended - run.created == 50.0
    assert promised(town, run).outcome == "kept"


@in_town
async def test_where_there_is_no_room_it_is_told_once_and_at_once(town: Town) -> None:
    town.act("other", value(1, seconds=1000.0))
    await town.submit(function("other", resources={"cpu": 1}))
    await town.settle(0.0)
    run = await carried_out(town, items(10, performance="60s"))
    assert town.events(run.id).count("promise.at_risk") == 1
    assert "promise.widened" not in town.events(run.id)
    assert promised(town, run).outcome == "broken"


@in_town
async def test_the_words_say_when_it_will_end_and_why_not_sooner(town: Town) -> None:
    town.act("other", value(1, seconds=1000.0))
    await town.submit(function("other", resources={"cpu": 1}))
    await town.settle(0.0)
    town.act("slow", value(1, seconds=10.0))
    run = await town.submit(items(10, performance="60s"))
    await town.settle(30.0)
    waiting = town.run(run).waiting
    assert "likely late: ends about 1m 40s" in waiting
    assert "1m were asked for" in waiting
    assert "no room for more" in waiting


def half_way(seconds: float) -> tuple[tuple[float, float, float], ...]:
    """What an item says that works so long, at every tenth of its way."""
    return tuple((seconds * tenth / 10, tenth, 10.0) for tenth in range(1, 10))


@in_town
async def test_nobody_is_warned_before_an_item_has_told_how_long_it_takes(town: Town) -> None:
    """Two items of fifty seconds, at the same time. That each is as long again as it has worked by
    now would be too late for half of that time, and is only a guess."""
    town.act("slow", value(1, seconds=50.0))
    spec = function(
        "slow", items=[0, 1], at_once=2, resources={"cpu": 1}, performance="60s"
    )  # fmt: skip
    run = await town.result(spec)
    assert run.ended - run.created == 50.0
    assert "promise.at_risk" not in town.events(run.id)
    assert promised(town, run).outcome == "kept"


@in_town
async def test_items_that_are_well_on_their_way_warn_nobody(town: Town) -> None:
    town.act("slow", value(1, seconds=50.0, progress=half_way(50.0)))
    run = await town.result(
        function("slow", items=[0, 1], at_once=2, resources={"cpu": 1}, performance="60s")
    )
    assert "promise.at_risk" not in town.events(run.id)


@in_town
async def test_what_an_item_says_of_its_progress_warns_long_before_it_ends(town: Town) -> None:
    town.act("slow", value(1, seconds=200.0, progress=half_way(200.0)))
    run = await town.submit(
        function("slow", items=[0, 1], at_once=2, resources={"cpu": 1}, performance="100s")
    )
    await town.settle(45.0)
    assert town.events(run).count("promise.at_risk") == 1
    assert "ends about 3m 20s after" in town.run(run).waiting


@in_town
async def test_one_item_that_has_worked_past_the_deadline_is_evidence(town: Town) -> None:
    town.act("slow", value(1, seconds=200.0))
    run = await town.submit(
        function("slow", items=[0, 1, 2, 3], at_once=2, resources={"cpu": 1}, performance="100s")
    )
    await town.settle(45.0)
    assert "promise.at_risk" not in town.events(run)
    await town.settle(15.0)
    assert "promise.at_risk" in town.events(run), "two more of at least this length are left"


@in_town
async def test_one_process_that_is_late_is_told_at_its_deadline(town: Town) -> None:
    town.act("slow", value(1, seconds=100.0))
    run = await town.submit(function("slow", performance="50s"))
    await town.settle(49.0)
    assert "promise.at_risk" not in town.events(run) and not town.run(run).waiting
    await town.settle(1.0)
    assert town.run(run).waiting == (
        "likely late: ends more than 50s after it was accepted, 50s were asked for; it still works"
    )
    await town.settle()
    assert town.events(run).count("promise.at_risk") == 1
    assert promised(town, town.run(run)).outcome == "broken"


@in_town
async def test_what_one_process_says_of_its_progress_warns_long_before(town: Town) -> None:
    town.act("slow", value(1, seconds=200.0, progress=half_way(200.0)))
    run = await town.submit(function("slow", performance="100s"))
    await town.settle(25.0)
    assert town.events(run).count("promise.at_risk") == 1
    assert "ends about 3m 20s after" in town.run(run).waiting


@in_town
async def test_what_is_in_time_is_not_told_and_ends(town: Town) -> None:
    town.act("slow", value(1, seconds=40.0, progress=half_way(40.0)))
    run = await town.result(function("slow", performance="50s"))
    assert run.state is RunState.SUCCEEDED and run.ended - run.created == 40.0
    assert "promise.at_risk" not in town.events(run.id)


@in_town
async def test_what_waits_for_a_place_past_its_deadline_is_told_and_begins(town: Town) -> None:
    town.act("other", value(1, seconds=100.0))
    await town.submit(function("other", resources={"cpu": 2}))
    await town.settle(0.0)
    run = await town.submit(function("slow", resources={"cpu": 1}, performance="50s"))
    await town.settle(49.0)
    assert "promise.at_risk" not in town.events(run)
    await town.settle(50.0)
    waiting = town.run(run).waiting
    assert "likely late" in waiting and "it has no place yet; pool 'local'" in waiting
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert town.events(run).count("promise.at_risk") == 1


@in_town
async def test_a_probe_past_the_deadline_is_told(town: Town) -> None:
    town.act("slow", value(1, seconds=100.0))
    run = await town.submit(function("slow", style="batch", performance="50s"))
    await town.settle(50.0)
    assert "it is still measured" in town.run(run).waiting
    assert town.events(run).count("promise.at_risk") == 1


@in_town
async def test_it_is_not_widened_beyond_its_budget(town: Town) -> None:
    run = await carried_out(town, items(10, performance="60s", budget="$0.02"))
    assert "promise.widened" not in town.events(run.id)
    assert run.state is RunState.FAILED
    assert "budget of $0.020 is spent" in run.error["message"]
    assert run.price <= 2 * CENT + SECOND


@in_town
async def test_a_widened_array_is_widened_after_a_restart(town: Town) -> None:
    town.act("slow", value(1, seconds=10.0))
    run = await town.submit(items(10, performance="60s"))
    await town.settle(20.0)
    assert "promise.widened" in town.events(run)
    await town.down()
    await town.up()
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert town.here.places.machine.free("local").cpu == 2.0


@in_town
async def test_what_costs_more_than_it_is_worth_asks_first(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.result(function("one", resources={"cpu": 2}))
    run = await town.submit(function("one", resources={"cpu": 2}, value="$1"))
    await town.settle(600.0)
    asked = town.run(run)
    assert asked.state is RunState.PINNED and not town.placements(run)
    assert f"worth $1.00: `tw approve {run}`" in asked.waiting
    assert (await town.here.front.approve(run, "me"))[1] == ""
    assert (await town.here.front.approve(run, "me"))[1] == "it was approved before"
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert (await town.here.front.approve(run, "me"))[1] == "it has ended"
    assert town.run(run).state is RunState.SUCCEEDED


@in_town
async def test_what_nobody_approves_in_time_says_that_it_waited_for_that(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.result(function("one", resources={"cpu": 2}))
    spec = function("one", resources={"cpu": 2}, value="$1")
    over = await town.result({**spec, "performance": "2h"})
    assert (over.state, over.error["code"]) == (RunState.FAILED, "refused")
    waited = f"it waited for `tw approve {over.id}` until its deadline"
    assert waited in over.error["message"] and not town.placements(over.id)
    assert over.ended - over.created <= 3700.0, "it took an hour the last time"
    soon = await town.submit({**spec, "performance": "3601s"})
    town.clock.advance(0.5)
    await town.settle(0.0)
    assert "`tw approve" in town.run(soon).waiting
    town.clock.advance(4000.0)
    await town.settle()
    assert town.run(soon).error["message"] == (
        f"it waited for `tw approve {soon}` until its deadline of 1h was over"
    )


@in_town
async def test_what_is_worth_it_is_not_asked(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.result(function("one", resources={"cpu": 2}))
    run = await town.result(function("one", resources={"cpu": 2}, value="$10"))
    assert run.state is RunState.SUCCEEDED


@in_town
async def test_a_process_that_somebody_kills_is_begun_again(town: Town) -> None:
    dead = failure("ended by SIGKILL", reason="signal", signal="SIGKILL")
    town.act("one", lambda request, *_: dead if request["number"] < 3 else value(1))
    run = await town.result(function("one"))
    assert run.state is RunState.SUCCEEDED
    assert (run.tries, run.losses) == (0, 2)


@in_town
async def test_a_process_that_is_killed_again_and_again_fails(town: Town) -> None:
    town.act("one", failure("ended by SIGKILL", reason="signal", signal="SIGKILL"))
    run = await town.result(function("one"))
    assert run.state is RunState.FAILED
    assert len(town.placements(run.id)) == 4
    assert run.error["message"] == "ended by SIGKILL, for the 4th time"


@in_town
async def test_what_one_machine_cannot_give_is_said_and_goes_on(town: Town) -> None:
    town.act("one", value(1))
    run = await town.result(function("one", availability="region"))
    assert run.state is RunState.SUCCEEDED
    assert run.plan["not_given"] == ("availability: region, since pool 'local' has one machine")
    near = await town.result(function("one", availability="node"))
    assert not near.plan["not_given"]


@in_town
async def test_what_production_cannot_give_is_refused(town: Town) -> None:
    await town.here.apply([far(production=True)], "me")
    town.act("one", value(1))
    run = await town.result(function("one", availability="region", pool="far"))
    assert run.state is RunState.FAILED and not town.placements(run.id)
    assert "survive the loss of any one zone" in run.error["message"]
    assert "one zone" in run.error["message"]
    two = await town.result(function("one", availability="zone", pool="far"))
    assert two.state is RunState.SUCCEEDED and not two.plan["not_given"]


@in_town
async def test_where_nothing_has_ended_no_end_is_made_up(town: Town) -> None:
    """The same words all the time: every new one is a line for who follows the run."""
    town.act("slow", lambda _request, _role, index, _attempt: value(index, seconds=10_000.0))
    await town.submit(function("other", resources={"cpu": 1}))
    run = await town.submit(items(10, performance="60s"))
    said = set()
    for _ in range(60):
        await town.settle(5.0)
        said.add(town.run(run).waiting)
    [late] = {text for text in said if "likely late" in text}
    assert "ends more than 1m after it was accepted" in late
    assert "no part has ended yet, and nothing tells how long one takes" in late
    assert town.events(run).count("promise.at_risk") == 1


@in_town
async def test_a_plan_without_parts_says_that_soft_is_not_given(town: Town) -> None:
    run = await carried_out(town, items(2, consistency="soft"))
    assert "consistency: soft, since one process writes the whole result" in run.plan["not_given"]
    assert not (await carried_out(town, items(3))).plan["not_given"]


@in_town
async def test_soft_takes_a_plan_with_parts_where_one_keeps_to_the_objective(town: Town) -> None:
    acts(town, measured(1e-6), table(ROWS))
    run = await town.result(batch(performance="10m", consistency="soft"))
    assert (run.plan["option"]["backend"], run.plan["not_given"]) == ("partitions", "")
    assert run.plan["option"]["parts"] > 1
    plain = await town.result(batch(performance="10m"))
    assert plain.plan["option"]["backend"] == "duckdb"
