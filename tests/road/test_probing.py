"""What nobody has run yet is measured first: as a task of the run, in the line, on the bill."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.road.town import Town, failure, far, function, in_town, table, value
from tradewind.base.errors import Refused, UserError
from tradewind.base.units import format_duration
from tradewind.records.plans import Quote
from tradewind.records.states import RunState
from tradewind.testing.fake_engine import Outcome

ROWS = 1_000_000


def measured(each: float, **more: Any) -> Outcome:
    """What a probe finds of a function that takes so many CPU seconds for a row."""
    calls = [
        {"rows": rows, "bytes": rows * 8, "groups": 1, "wall": 0.1 + each * rows,
         "cpu": 0.1 + each * rows, "memory": 1 << 28}
        for rows in (0, 30_000, 30_000, 30_000)
    ]  # fmt: skip
    found = {
        "input": {"rows": ROWS, "groups": 32, "bytes": ROWS * 8}, "style": "batch",
        "backend": "duckdb", "family": "stream", "calls": calls, "operators": [],
        "problems": [], "load": 0.0, **more,
    }  # fmt: skip
    return value(found, seconds=2.0)


def batch(**fields: Any) -> dict[str, Any]:
    return function("one", **{"style": "batch", **fields})


def acts(town: Town, probe: Outcome, work: Outcome) -> None:
    """The function `one`: its probes, and its parts or whole."""
    town.act(
        "one", lambda _request, role, *_: probe if role["entry"]["call"].get("probe") else work
    )


async def quoted(town: Town, rows: int) -> Quote:
    """Of a town's function, which reads no table."""
    asked = await town.result(batch(), ask={"rows": rows})
    return town.here.store.ledger.quote(asked.result["quote"]["id"])


@in_town
async def test_a_deadline_is_measured_planned_and_kept(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.result(batch(performance="60s"))
    assert run.state is RunState.SUCCEEDED
    assert "run.probing" in town.events(run.id)
    probe, work = sorted(town.placements(run.id), key=lambda each: each.number)
    assert (probe.task.name, work.task.name) == ("probe", "main")
    bills = town.here.store.ledger.usage(run.id)
    assert {each.part for each in bills} == {probe.id, work.id}
    assert run.price == sum(each.nanodollars for each in bills)
    assert run.tries == run.losses == 0
    assert run.plan["cpu"]["p50"] > 5


@in_town
async def test_what_cannot_be_met_is_refused_and_only_the_probe_is_paid(town: Town) -> None:
    acts(town, measured(1e-3), table(ROWS))
    run = await town.result(batch(performance="60s", backend="duckdb"))
    assert (run.state, run.error["code"]) == (RunState.FAILED, "refused")
    assert "the nearest is" in run.error["message"] and run.error["needs"]
    assert [each.task.name for each in town.placements(run.id)] == ["probe"]
    nearest = run.error["needs"][0]["performance"]
    again = await town.result(batch(performance=f"{nearest + 1:g}s", backend="duckdb"))
    assert again.state is RunState.SUCCEEDED, "what a refusal names is accepted"


@in_town
async def test_a_refusal_names_what_was_asked_and_the_time_from_acceptance(town: Town) -> None:
    acts(town, measured(1e-3), table(ROWS))
    run = await town.result(batch(performance="60s", backend="duckdb"))
    said, [need] = run.error["message"], run.error["needs"]
    assert "no plan gives the result within 1m: 58s are left after measuring, and the near" in said
    seconds = need["performance"]
    assert f"`performance: {format_duration(seconds)}`" in run.error["hint"]
    town.clock.advance(20 * 60.0)  # measured again, which takes as long
    again = await town.result(batch(performance=format_duration(seconds), backend="duckdb"))
    assert again.state is RunState.SUCCEEDED, again.error
    assert "the cheapest within " + format_duration(seconds) in again.plan["chosen_because"]


@in_town
async def test_who_is_asked_whether_it_may_cost_so_much_is_told_what_the_samples_cost(
    town: Town,
) -> None:
    acts(town, measured(1e-3), table(ROWS))
    run = await town.submit(batch(value="$0.01"))
    await town.settle(60.0)
    assert (
        " besides the $0.0010 of its samples, and worth $0.010: `tw appr" in town.run(run).waiting
    )


@in_town
async def test_what_measuring_cost_is_of_the_budget(town: Town) -> None:
    acts(town, measured(1e-3), table(ROWS))
    run = await town.result(batch(budget="$0.01", backend="duckdb"))
    assert "beside $0.0010 for measuring, over the budget of $0.010" in run.error["message"]
    [need] = run.error["needs"]
    alone = await town.result(batch(budget="$1000", backend="duckdb"))
    assert need["budget"] >= alone.plan["price"]["p90"] + run.price


@in_town
async def test_findings_are_shared_by_runs_of_the_same_pinned_spec(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    await town.result(batch(performance="60s"))
    second = await town.result(batch(performance="50s"))
    assert second.state is RunState.SUCCEEDED
    assert [each.task.name for each in town.placements(second.id)] == ["main"]


@in_town
async def test_a_quote_is_compared_with_machines_that_were_imported(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    await town.result(batch(performance="60s"))
    head = "provider,region,instance,vcpus,memory_gib,usd_per_hour,as_of"
    town.here.prices.put(f"{head}\nx,r,cheap,16,64,0.0001,2020-01-01\n", "p.csv", replace=False)
    quote = await quoted(town, rows=100 * ROWS)
    assert quote.elsewhere and {each.grounds["machine"] for each in quote.elsewhere} == {"x/cheap"}


@in_town
async def test_what_was_found_long_ago_is_measured_again(town: Town) -> None:
    """It says what else the machine did then."""
    acts(town, measured(1e-3, load=2.0), table(ROWS))
    refused = await town.result(batch(performance="60s"))
    assert refused.state is RunState.FAILED
    acts(town, measured(1e-5), table(ROWS))
    assert (await town.result(batch(performance="60s"))).state is RunState.FAILED
    town.clock.advance(20 * 60.0)
    assert (await town.result(batch(performance="60s"))).state is RunState.SUCCEEDED
    town.clock.advance(20 * 60.0)  # now a run tells its time, and old probes all but the neighbours
    again = await town.result(batch(performance="60s"))
    assert [each.task.name for each in town.placements(again.id)] == ["main"]
    assert "the run before" in again.plan["basis"] and "busy" not in again.plan["basis"]


@in_town
async def test_a_run_that_was_given_something_else_is_no_earlier_run(town: Town) -> None:
    """A small model's time says nothing of a large one's: it is measured, and refused."""
    acts(town, measured(1e-5), table(ROWS))
    small = await town.result(batch(performance="60s", params={"trees": 3}))
    assert small.state is RunState.SUCCEEDED and small.plan["cpu"]["p50"] < 20
    acts(town, measured(1e-3), table(ROWS))
    large = await town.result(batch(performance="60s", params={"trees": 100}))
    assert (large.state, large.error["code"]) == (RunState.FAILED, "refused")
    again = await town.result(batch(performance="60s", params={"trees": 3}))
    assert again.state is RunState.SUCCEEDED and "the run before" in again.plan["basis"]


@in_town
async def test_a_question_promises_nothing(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    asked = await town.result(batch(performance="60s"), ask={"rows": 0, "deadlines": [60]})
    assert asked.state is RunState.SUCCEEDED and asked.result["quote"]["id"]
    assert town.here.store.ledger.promises("default", 10) == []
    held = await town.result(batch(performance="60s"), quote=asked.result["quote"]["id"])
    assert [each.run for each in town.here.store.ledger.promises("default", 10)] == [held.id]
    assert town.here.front.details(held)["promise"]["outcome"] == "kept"
    assert town.here.front.details(asked)["promise"] == {}


@in_town
async def test_a_quote_that_does_not_keep_to_the_objective_is_refused_at_once(town: Town) -> None:
    acts(town, measured(1e-3), table(ROWS))
    asked = await town.result(batch(backend="duckdb"), ask={"rows": 0})
    quote = asked.result["quote"]["id"]
    plan = town.here.store.ledger.quote(quote).plans[0]
    assert plan.price is not None and plan.seconds is not None
    dear, slow = f"${plan.price.p90 / 2e9:.4f}", f"{plan.seconds.p50 / 2:.0f}s"
    for objective in ({"budget": dear}, {"performance": slow}):
        with pytest.raises(Refused, match=f"plan 0 of quote {quote} takes ") as refused:
            await town.submit(batch(backend="duckdb", **objective), quote=quote)
        [need] = refused.value.needs
        assert next(iter(objective)) in refused.value.hint
    met = {"performance": f"{need['performance']}s", "budget": "$1000"}
    run = await town.result(batch(backend="duckdb", **met), quote=quote)
    assert run.state is RunState.SUCCEEDED


@in_town
async def test_what_reads_a_table_and_has_none_is_not_quoted(town: Town) -> None:
    """Also where earlier runs had one: a run of this would fail with these words."""
    await town.result(batch())
    for style in ({"style": "batch"}, {"style": "row"}, {"style": "group", "by": ["k"]}):
        words = f"the style '{style['style']}' reads a table, and the run has none"
        for rows in (0, ROWS):
            with pytest.raises(UserError, match=words):
                town.here.offers.quote(batch(**style), "me", rows=rows)
    expression = function("two", style="expression")
    assert town.here.offers.quote(expression, "me").plans, "it may read none"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradewind.control.bill.rows", lambda run: ROWS)
        await town.result(expression)
    with pytest.raises(UserError, match="'expression' reads a table, and the run has none"):
        town.here.offers.quote(expression, "me")


@in_town
async def test_a_quote_for_other_rows_is_none_of_this_run(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    await town.result(batch(), ask={"rows": 0})
    quote = await quoted(town, rows=100 * ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradewind.control.bill.rows", lambda run: ROWS)
        run = await town.result(batch(), quote=quote.id)
    assert (run.state, run.error["code"], run.number) == (RunState.FAILED, "refused", 0)
    assert "is of 100,000,000 rows, and the tables of this have 1,000,000" in run.error["message"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradewind.control.bill.rows", lambda run: 100 * ROWS)
        assert (await town.result(batch(), quote=quote.id)).number == 1, "it began"


@in_town
async def test_a_promise_that_was_only_likely_is_counted_apart(town: Town) -> None:
    acts(town, measured(1e-3), table(ROWS))
    asked = await town.result(batch(backend="duckdb"), ask={"rows": 0, "deadlines": [60]})
    plans = town.here.store.ledger.quote(asked.result["quote"]["id"]).plans
    quick = min((each.seconds for each in plans if each.seconds), key=lambda each: each.p90)
    unsure = batch(backend="duckdb", performance=f"{(quick.p50 + quick.p90) / 2:g}s")
    run = await town.result(unsure)
    assert run.state is RunState.SUCCEEDED
    assert run.plan["chosen_because"].startswith("likely within")
    [_, whole] = town.here.offers.promises("default")
    assert (whole.promises, whole.kept) == (0, 0)
    assert (whole.likely.promises, whole.likely.kept) == (1, 1)
    sure = await town.result(batch(backend="duckdb", performance="10d", budget="$1000"))
    assert sure.state is RunState.SUCCEEDED
    [_, whole] = town.here.offers.promises("default")
    assert (whole.promises, whole.kept, whole.likely.promises) == (1, 1, 1)


@in_town
async def test_a_promise_is_as_sure_as_the_quote_that_was_accepted(town: Town) -> None:
    """What passes before the run is planned was not known when it was quoted."""
    acts(town, measured(1e-3), table(ROWS))
    asked = await town.result(batch(backend="duckdb"), ask={"rows": 0, "deadlines": [60]})
    plan = town.here.store.ledger.quote(asked.result["quote"]["id"]).plans[0]
    assert plan.seconds is not None
    exactly = batch(backend="duckdb", performance=f"{plan.seconds.p90}s")
    quote = (await town.result(exactly, ask={"rows": 0})).result["quote"]["id"]
    await town.submit(exactly, quote=quote)
    town.clock.advance(1.0)
    await town.settle()
    [_, whole] = town.here.offers.promises("default")
    assert (whole.promises, whole.likely.promises) == (1, 0)


@in_town
async def test_a_quote_is_as_right_as_its_time_and_its_price_without_the_samples(
    town: Town,
) -> None:
    """Also where its CPU seconds were right: this one slept."""
    for took, inside in ((10.0, 1), (50.0, 0)):
        acts(town, measured(1e-5), replace(table(ROWS), seconds=took))
        name = {"params": {"took": took}}
        run = await town.result(batch(performance="60s", backend="duckdb", **name))
        assert run.state is RunState.SUCCEEDED
        work = next(each for each in town.placements(run.id) if each.task.name != "probe")
        [_, whole] = town.here.offers.promises("default")
        assert whole.time.checked == whole.price.checked == (1 if inside else 2)
        assert whole.time.inside == whole.price.inside == 1
        assert whole.time.over == whole.price.over == 1 - inside
        spent = sum(
            each.nanodollars
            for each in town.here.store.ledger.usage(run.id)
            if each.part == work.id
        )
        assert run.price > spent, "the samples are on its bill"
        if inside:
            said = run.plan["price"]["p50"]
            assert whole.price.error == pytest.approx(abs(said / spent - 1))


@in_town
async def test_without_an_objective_nothing_is_measured(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.result(batch())
    assert [each.task.name for each in town.placements(run.id)] == ["main"]


@in_town
async def test_a_probe_that_fails_says_so_and_nothing_else_is_paid(town: Town) -> None:
    acts(town, failure("no such column"), table(ROWS))
    run = await town.result(batch(performance="60s"))
    assert run.state is RunState.FAILED
    assert "its probe failed" in run.error["message"]
    assert "no such column" in run.error["message"]
    assert [each.task.name for each in town.placements(run.id)] == ["probe"]


@in_town
async def test_a_budget_below_what_any_probe_costs_is_refused_unpaid(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.result(batch(budget="$0.0000001"))
    assert (run.state, run.error["code"], run.price) == (RunState.FAILED, "refused", 0)
    assert not town.placements(run.id)
    assert "is less than measuring it costs: at least $0.00015" in run.error["message"]
    assert "write at least `budget: $0.0020`" in run.error["hint"]


@in_town
async def test_a_probe_that_has_cost_the_budget_is_ended_once(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.result(batch(budget="$0.0002"))
    assert (run.state, run.error["code"]) == (RunState.FAILED, "refused")
    assert [each.task.name for each in town.placements(run.id)] == ["probe"]
    assert "ended while it was measured, at $0.00020" in run.error["message"]
    assert "write at least `budget: $0.0020`" in run.error["hint"]
    assert run.price < 250_000


@in_town
async def test_a_deadline_of_which_the_probe_told_nothing_is_not_judged(town: Town) -> None:
    problem = {"kind": "slow", "message": "its first 20 rows took longer than 3 s"}
    acts(town, measured(1e-5, calls=[], problems=[problem]), table(ROWS))
    run = await town.result(batch(performance="60s", backend="duckdb", availability="region"))
    assert run.state is RunState.SUCCEEDED, run.error
    assert run.plan["option"]["resources"]["cpu"] == 1.0
    assert run.plan["not_given"].startswith("performance: 1m, since its time is unknown: the prob")
    assert "; availability: region, since" in run.plan["not_given"]
    assert town.here.front.details(run)["promise"]["outcome"] == "none"


@in_town
async def test_a_probing_run_can_be_stopped(town: Town) -> None:
    acts(town, value(1, seconds=1000.0), table(ROWS))
    run = await town.submit(batch(performance="2h"))
    await town.until(run, RunState.PROBING)
    await town.settle(0.0)
    town.clock.advance(5.0)
    await town.here.front.stop(run, "me")
    await town.settle()
    ended = town.run(run)
    assert ended.state is RunState.STOPPED and ended.price > 0
    assert not ended.result
    assert town.here.places.machine.free("local").cpu == 2.0


@in_town
async def test_a_server_that_dies_while_probing_goes_on(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.submit(batch(performance="60s"))
    await town.until(run, RunState.PROBING)
    await town.turn()
    await town.down()
    await town.up()
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert len([each for each in town.placements(run) if each.task.name == "probe"]) == 1


@in_town
async def test_a_probe_that_is_lost_is_made_again(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.submit(batch(performance="60s"))
    await town.until(run, RunState.PROBING)
    await town.turn()
    [probe] = town.placements(run)
    town.world.lose(probe.id)
    await town.settle()
    ended = town.run(run)
    assert ended.state is RunState.SUCCEEDED
    assert [each.task.name for each in town.placements(run)].count("probe") == 2


@in_town
async def test_a_lost_probe_that_waits_for_its_place_is_lost_once(town: Town) -> None:
    acts(town, measured(1e-5), table(ROWS))
    run = await town.submit(batch(performance="2h"))
    await town.until(run, RunState.PROBING)
    await town.turn()
    [probe] = town.placements(run)
    town.act("other", value(1, seconds=600.0))
    await town.submit(function("other", resources={"cpu": 1}))
    await town.submit(function("other", resources={"cpu": 1}))
    await town.turn()
    town.world.lose(probe.id)
    for _ in range(40):
        town.here.store.runs.poke([run])
        await town.turn()
    assert town.run(run).losses == 1
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED


def test_where_this_machine_takes_no_work_another_pool_is_measured(tmp_path: Path) -> None:
    async def story() -> None:
        town = await Town(tmp_path / "data", local=False).up()
        try:
            await town.here.apply([far()], "me")
            acts(town, measured(1e-5), table(ROWS))
            run = await town.result(batch(performance="60s", backend="duckdb"))
            assert run.state is RunState.SUCCEEDED, run.error
            assert {each.pool for each in town.placements(run.id)} == {"far"}
        finally:
            await town.down()

    asyncio.run(story())


@in_town
async def test_a_probe_that_somebody_kills_is_made_again(town: Town) -> None:
    dead = failure("ended by SIGKILL", reason="signal", signal="SIGKILL")
    tried: list[int] = []

    def act(_request: Any, role: Any, *_: Any) -> Outcome:
        if not role["entry"]["call"].get("probe"):
            return table(ROWS)
        tried.append(1)
        return dead if len(tried) < 4 else measured(1e-6)

    town.act("one", act)
    run = await town.result(batch(performance="10m"))
    assert (run.state, len(tried), run.losses) == (RunState.SUCCEEDED, 4, 3), run.error
    acts(town, dead, table(ROWS))
    run = await town.result(batch(performance="10m", params={"k": 1}))
    assert run.error["message"] == "its probe failed: ended by SIGKILL, for the 4th time"
    assert len(town.placements(run.id)) == 4, "it may be its own fault"


@in_town
async def test_deaths_are_counted_of_the_probe_and_of_the_work_and_losses_of_neither(
    town: Town,
) -> None:
    dead = failure("ended by SIGKILL", reason="signal", signal="SIGKILL")
    lost = failure("its processes were lost", reason="lost")
    ends = {"probe": [lost] * 3 + [dead] * 3 + [measured(1e-6)], "main": [dead] * 3 + [table(ROWS)]}

    def act(_request: Any, role: Any, *_: Any) -> Outcome:
        return ends["probe" if role["entry"]["call"].get("probe") else "main"].pop(0)

    town.act("one", act)
    run = await town.result(batch(performance="10m", backend="duckdb"))
    assert (run.state, run.tries, run.losses) == (RunState.SUCCEEDED, 0, 9), run.error
    assert not any(ends.values())


@in_town
async def test_a_probe_that_ran_out_of_memory_is_not_made_again(town: Town) -> None:
    acts(town, failure("used 2 GiB of its 1 GiB", reason="memory"), table(ROWS))
    run = await town.result(batch(performance="10m"))
    assert run.error["message"] == "its probe failed: used 2 GiB of its 1 GiB"
    assert len(town.placements(run.id)) == 1


@in_town
async def test_an_import_that_somebody_kills_is_begun_again(town: Town) -> None:
    dead = failure("ended by SIGKILL", reason="signal", signal="SIGKILL")
    town.act("import_table", lambda request, *_: dead if request["number"] < 3 else table(4))
    run = await town.result({"kind": "dataset", "name": "rows", "source": {"path": __file__}})
    assert (run.state, run.losses) == (RunState.SUCCEEDED, 2), run.error
