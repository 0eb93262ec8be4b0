"""One function down the road: how it ends, and what is tried again."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.road.town import Town, failure, function, in_town, swap, table, value
from tradewind.base.errors import Conflict, Refused
from tradewind.base.ids import digest_json
from tradewind.control.pin import NotYet
from tradewind.records.states import ENDED, LIVE, PlacementState, RunState
from tradewind.scheduler.events import PoolChanged
from tradewind.scheduler.nodes import Node
from tradewind.store.rows import Claim, RunFilter
from tradewind.testing.fake_engine import Outcome

GIB = 2**30


@in_town
async def test_it_succeeds_and_says_what_it_cost(town: Town) -> None:
    town.act("one", value(7, seconds=10.0))
    run = await town.result(function("one"))
    assert (run.state, run.result["output"]["value"]) == (RunState.SUCCEEDED, 7)
    # An eighth of a core of two, for ten seconds, at 3.6 dollars an hour.
    assert run.price == 0.0625 * 10 * 1_000_000
    assert run.ended - run.started == 10.0
    body = town.here.front.details(run)
    assert body["price"] == run.price
    assert all(each["price"] > 0 and "never run" in each["estimate"] for each in
               body["price_elsewhere"])  # fmt: skip
    assert len(body["price_elsewhere"]) == 2


@in_town
async def test_its_events_tell_the_road_in_order(town: Town) -> None:
    run = await town.result(function("one"))
    told = [each for each in town.events(run.id) if each.startswith("run.")]
    road = ("accepted", "pinned", "planned", "queued", "placed", "running", "succeeded")
    assert told == [f"run.{each}" for each in road]


@in_town
async def test_a_failure_says_how_it_failed(town: Town) -> None:
    traced = {"type": "ValueError", "traceback": "Traceback …"}
    exit_ = {"reason": "error", "message": "ValueError: no", "status": 1, **traced}
    town.act("one", Outcome(seconds=1.0, exit=exit_))
    run = await town.result(function("one"))
    assert run.state is RunState.FAILED
    assert run.error["message"] == "ValueError: no"
    assert run.error["traceback"] == "Traceback …"
    assert run.tries == 0 and len(town.placements(run.id)) == 1


@in_town
async def test_a_failure_is_tried_again_after_growing_pauses(town: Town) -> None:
    town.act("one", lambda request, *_: value(1) if request["number"] == 4 else failure())
    retries = {"max": 3, "backoff": "10s", "factor": 3}
    run = await town.result(function("one", retries=retries))
    assert run.state is RunState.SUCCEEDED
    assert (run.tries, run.number) == (3, 4)
    found = town.placements(run.id)
    pauses = [b.placed - a.ended for a, b in itertools.pairwise(found)]
    assert pauses == [10.0, 30.0, 90.0]
    assert [each.lease for each in found] == [1] * 4


@in_town
async def test_a_retry_says_why_it_waits(town: Town) -> None:
    town.act("one", failure("disk on fire"))
    run = await town.submit(function("one", retries={"max": 1, "backoff": "1h"}))
    while town.run(run).tries == 0:
        await town.settle(10.0)
    waiting = town.run(run)
    assert waiting.state is RunState.QUEUED
    assert "try 1 of 2 failed: disk on fire" in waiting.waiting
    await town.settle(10.0)
    assert town.run(run).state is RunState.QUEUED
    await town.settle(2 * 3600.0)
    assert town.run(run).state is RunState.FAILED


@pytest.mark.parametrize("reason", ["environment", "input", "output", "refused"])
def test_what_trying_again_cannot_mend_is_not_tried_again(reason: str, tmp_path: Any) -> None:
    @in_town
    async def story(town: Town) -> None:
        town.act("one", failure(reason=reason))
        run = await town.result(function("one", retries=5))
        assert (run.state, run.number) == (RunState.FAILED, 1)

    story(tmp_path)


@in_town
async def test_a_lost_placement_does_not_count(town: Town) -> None:
    town.act("one", value(1, seconds=100.0))
    run = await town.submit(function("one"))
    for number in (1, 2, 3):
        while len(town.placements(run)) < number or not town.placements(run)[-1].started:
            await town.settle(2.0)
        town.world.lose(town.placements(run)[-1].id)
    await town.settle()
    ended = town.run(run)
    assert (ended.state, ended.tries, ended.losses) == (RunState.SUCCEEDED, 0, 3)
    assert [str(each.state) for each in town.placements(run)] == ["lost"] * 3 + ["succeeded"]
    attempts = town.here.front.details(ended)["attempts"]
    assert [(each["number"], each["try"]) for each in attempts] == [(1, n) for n in (1, 2, 3, 4)]


@in_town
async def test_lost_again_and_again_it_gives_up_and_says_who_must_act(town: Town) -> None:
    lost = {"reason": "lost", "message": "gone"}
    town.act("one", Outcome(seconds=1.0, exit=lost))
    town.act("one", value(1, seconds=1e6))
    run = await town.submit(function("one"))
    for _ in range(40):
        await town.settle(60.0)
        if town.run(run).state in ENDED:
            break
        for placement in town.placements(run):
            town.world.lose(placement.id)
    ended = town.run(run)
    assert ended.state is RunState.FAILED
    assert ended.error["code"] == "broken" and "lost 17 times" in ended.error["message"]


@in_town
async def test_a_timeout_ends_a_try(town: Town) -> None:
    town.act("one", value(1, seconds=100.0))
    run = await town.result(function("one", timeout="5s"))
    assert run.state is RunState.FAILED
    assert run.error["reason"] == "timeout"
    assert run.ended - run.started == 5.0


@pytest.mark.parametrize("state", [each for each in sorted(LIVE) if each is not RunState.PROBING])
def test_a_stop_ends_it_in_every_state(state: RunState, tmp_path: Any) -> None:
    """No state is left out: the stop is asked for as soon as the run is seen in it, or before the
    pass that would carry it further."""

    @in_town
    async def story(town: Town) -> None:
        town.act("one", value(1, seconds=1000.0, stubborn=True))
        town.act("big", value(1, seconds=1e5))
        if state is RunState.QUEUED:
            await town.submit(function("big", resources={"cpu": 2}))
        run = await town.submit(function("one", dependencies=["numpy"]))
        if state is RunState.STOPPING:
            await town.until(run, RunState.RUNNING)
            await town.here.front.stop(run, "me")
        elif state in {RunState.QUEUED, RunState.RUNNING, RunState.PLACED}:
            await town.until(run, state)
        await town.here.front.stop(run, "me")
        await town.settle(3600.0)
        ended = town.run(run)
        assert ended.state is RunState.STOPPED
        assert (ended.waiting == "" and not town.here.store.placements.live()) or state is (
            RunState.QUEUED
        )

    story(tmp_path)


@in_town
async def test_a_stop_during_the_pause_before_a_retry_ends_it_at_once(town: Town) -> None:
    town.act("one", failure())
    run = await town.submit(function("one", retries={"max": 3, "backoff": "1h"}))
    while town.run(run).tries == 0:
        await town.settle(5.0)
    await town.here.front.stop(run, "me")
    await town.settle(1.0)
    assert town.run(run).state is RunState.STOPPED


@in_town
async def test_a_stop_of_what_the_engine_never_got_ends(town: Town) -> None:
    """The server died between the decision and the launch, and the run was stopped meanwhile."""
    from tradewind.control import report

    run = await town.submit(function("one"))

    async def unreachable(*_: Any) -> Any:
        from tradewind.base.errors import Unreachable

        raise Unreachable("no")

    swap(town.engine, "launch", unreachable)
    for _ in range(5):
        await town.here.loop.turn()
    assert town.run(run).state is RunState.PLACED
    await town.here.front.stop(run, "me")
    await town.here.loop.turn()
    assert town.run(run).state is RunState.STOPPING
    town.clock.advance(60.0)
    await report.reconcile(town.here.store, town.clock, "local", town.engine, town.here.loop.wake)
    await town.here.loop.turn()
    assert town.run(run).state is RunState.STOPPED


@in_town
async def test_an_array_does_each_item_and_keeps_their_order(town: Town) -> None:
    town.act("square", lambda _r, role, i, _a: value(role["items"][i] ** 2, seconds=5.0 - i))
    run = await town.result(function("square", items=[1, 2, 3, 4], at_once=4))
    assert run.result["output"]["value"] == [1, 4, 9, 16]
    assert town.placements(run.id)[0].demand.cpu == 0.5


@in_town
async def test_of_an_array_that_is_partly_lost_only_the_rest_is_done_again(town: Town) -> None:
    town.act("square", lambda _r, role, i, _a: value(role["items"][i] ** 2, seconds=10.0 * (i + 1)))
    run = await town.submit(function("square", items=[1, 2, 3, 4], at_once=4))
    await town.settle(25.0)
    town.world.lose(town.placements(run)[0].id)
    await town.settle()
    ended = town.run(run)
    assert ended.state is RunState.SUCCEEDED
    assert ended.result["output"]["value"] == [1, 4, 9, 16]
    assert town.placements(run)[1].done == (0, 1)
    assert sorted(index for _, index, number in town.started if number == 2) == [2, 3]
    attempts = town.here.front.details(ended)["attempts"]
    tries = [(each["index"], each["try"]) for each in attempts]
    assert tries == [(0, 1), (1, 1), (2, 1), (3, 1), (2, 2), (3, 2)]


@in_town
async def test_an_item_that_fails_fails_the_array_after_its_own_tries(town: Town) -> None:
    town.act("square", lambda _r, _role, i, _a: failure("item 1") if i == 1 else value(i))
    run = await town.result(function("square", items=[1, 2], retries={"max": 2, "backoff": "1s"}))
    assert run.state is RunState.FAILED
    assert run.number == 1, "items are tried again by the engine, not by a new placement"
    assert len([1 for _, index, _n in town.started if index == 1]) == 3


@in_town
async def test_a_table_becomes_the_next_version_with_its_lineage(town: Town) -> None:
    town.act("clean", table(rows=3))
    first = await town.result(function("clean"))
    town.act("clean", table(rows=4, content="b"))
    second = await town.result(function("clean"))
    assert first.result["output"]["version"] == 1
    assert second.result["output"] == {
        "kind": "dataset", "name": "clean", "rows": 4, "version": 2,
        "digest": second.result["output"]["digest"],
    }  # fmt: skip
    version = town.here.store.registry.dataset("default", "clean", 2)
    assert version.run == second.id and version.schema == {"x": "int64"}


@in_town
async def test_a_malformed_output_is_our_located_failure_and_stops_nobody_else(town: Town) -> None:
    body = {"kind": "table", "rows": "many", "files": [{"nothing": 1}]}
    town.act("bad", Outcome(seconds=1.0, outputs={"output": body}))
    bad = await town.submit(function("bad"))
    good = await town.submit(function("good"))
    await town.settle()
    assert town.run(bad).state is RunState.FAILED
    assert town.run(good).state is RunState.SUCCEEDED
    assert not town.here.store.registry.datasets("default")


@in_town
async def test_what_is_too_large_is_refused_with_figures(town: Town) -> None:
    run = await town.result(function("one", resources={"cpu": 16, "memory": "64GiB"}))
    assert (run.state, run.error["code"]) == (RunState.FAILED, "refused")
    assert "16 CPU" in run.error["message"] and "64 GiB" in run.error["message"]
    assert "2 CPU" in run.error["hint"]


@in_town
async def test_a_pool_that_is_not_there_is_refused_with_those_that_are(town: Town) -> None:
    run = await town.result(function("one", pool="mars"))
    assert run.state is RunState.FAILED
    assert "'mars'" in run.error["message"] and "local" in run.error["hint"]


@in_town
async def test_what_is_known_to_cost_too_much_is_refused_before_it_runs(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    first = await town.result(function("one", budget="$0.01"))
    assert first.state is RunState.FAILED and "is spent" in first.error["message"]
    promise = town.here.store.ledger.promise(first.id)
    assert promise is not None and promise.outcome == "broken"
    await town.result(function("one"))
    second = await town.result(function("one", budget="$0.01"))
    assert (second.state, second.error["code"]) == (RunState.FAILED, "refused")
    assert "over the budget of $0.01" in second.error["message"]
    assert not town.placements(second.id)


@in_town
async def test_promises_are_kept_or_broken_and_always_settled(town: Town) -> None:
    town.act("one", value(1, seconds=50.0))
    town.act("two", value(1, seconds=50.0))
    kept = await town.result(function("one", performance="60s"))
    broken = await town.result(function("two", performance="20s"))
    known = await town.result(function("one", performance="20s"))
    assert (known.state, known.error["code"]) == (RunState.FAILED, "refused")
    assert "the nearest is 1m 41s" in known.error["message"] and not town.placements(known.id)
    nearest = known.error["needs"][0]["performance"]
    again = await town.result(function("one", performance=f"{nearest}s"))
    assert again.state is RunState.SUCCEEDED
    town.act("one", failure())
    failed = await town.result(function("one", performance="60s"))
    refused = await town.result(function("one", performance="60s", resources={"cpu": 99}))
    found = {run.id: town.here.store.ledger.promise(run.id) for run in (kept, broken, failed)}
    outcomes = [promise.outcome for promise in found.values() if promise]
    assert outcomes == ["kept", "broken", "none"]
    assert all(promise and promise.settled for promise in found.values())
    made = found[kept.id]
    assert made is not None and (made.seconds, made.actual_seconds) == (60.0, 50.0)
    assert town.here.store.ledger.promise(refused.id) is None
    plain = await town.result(function("one"))
    assert town.here.store.ledger.promise(plain.id) is None


@in_town
async def test_an_accepted_quote_is_held_to(town: Town) -> None:
    town.act("one", value(1, seconds=50.0))
    await town.result(function("one"))
    quote = town.here.offers.quote(function("one"), "me")
    run = await town.result(function("one"), quote=quote.id)
    promise = town.here.store.ledger.promise(run.id)
    assert run.state is RunState.SUCCEEDED and run.quote == quote.id
    assert promise is not None and (promise.quote, promise.outcome) == (quote.id, "kept")
    assert promise.seconds == 100.0, "one run says little of the tail"
    other = await town.result(function("one", params={"x": 1}), quote=quote.id)
    assert other.state is RunState.FAILED and "another spec" in other.error["message"]
    for plan in (3, -1):
        with pytest.raises(Refused, match=f"has no plan {plan}"):
            await town.submit(function("one"), quote=quote.id, plan=plan)
    with pytest.raises(Refused, match="is of function one, not of function two"):
        await town.submit(function("two"), quote=quote.id)
    town.clock.advance(3600.0)
    late = await town.result(function("one"), quote=quote.id)
    assert late.state is RunState.FAILED and "expired" in late.error["message"]


@in_town
async def test_who_waits_is_told_for_what(town: Town) -> None:
    town.act("big", value(1, seconds=100.0))
    first = await town.submit(function("big", resources={"cpu": 1.5}))
    await town.until(first, RunState.RUNNING)
    waiting = await town.submit(function("big", resources={"cpu": 1}))
    behind = await town.submit(function("big", resources={"cpu": 1, "memory": "1GiB"}))
    await town.turn()
    assert town.run(waiting).waiting == "pool 'local': needs 1 CPU, 0.5 free"
    assert town.run(behind).waiting == "pool 'local': needs 1 CPU, 0.5 free; 1 ahead of it"
    lines = {each.id: each for each in town.here.front.page(RunFilter(), 50, "").runs}
    assert lines[waiting].waiting.endswith("0.5 free")
    await town.settle()
    assert town.run(behind).waiting == ""


@in_town
async def test_first_come_first_served(town: Town) -> None:
    town.act("one", value(1, seconds=10.0))
    specs = [{"spec": function("one", resources={"cpu": 2})} for _ in range(12)]
    runs = await town.here.front.accept(specs, "me")
    await town.settle()
    began = {run.id: town.run(run.id).started for run in runs}
    assert sorted(began, key=lambda run: began[run]) == [run.id for run in runs]


@pytest.mark.slow
@in_town
async def test_a_thousand_runs_all_end_and_none_twice(town: Town) -> None:
    room = Node(name="one", cpu=250_000, memory=2**40)
    town.here.places.machine.feed([PoolChanged(pool="local", nodes=(room,))])
    runs = await town.here.front.accept([{"spec": function("one")} for _ in range(1000)], "me")
    await town.settle()
    assert town.here.store.runs.counts() == {RunState.SUCCEEDED: 1000}
    assert len(town.started) == len(runs) == 1000
    assert not town.here.store.placements.live()


@in_town
async def test_the_same_request_twice_is_one_run(town: Town) -> None:
    one = await town.submit(function("one"), request_key="k")
    two = await town.submit(function("one"), request_key="k")
    assert one == two
    await town.settle()
    assert len(town.started) == 1


@in_town
async def test_a_function_that_may_be_cached_is_not_run_again(town: Town) -> None:
    town.act("one", value({"n": 1}))
    first = await town.result(function("one", cache=True, params={"a": 1}))
    again = await town.result(function("one", cache=True, params={"a": 1}, performance="60s"))
    third = await town.result(function("one", cache=True, params={"a": 1}))
    assert again.state is RunState.SUCCEEDED and again.result == first.result
    assert again.cached_from == third.cached_from == first.id
    assert len(town.started) == 1 and again.price == 0
    other = await town.result(function("one", cache=True, params={"a": 2, "b": 3}))
    assert not other.cached_from
    assert other.memory["changed"] == ["parameter a", "parameter b"]
    assert other.memory["explain"] == ["parameter a: 1 → 2", "parameter b: nothing → 3"]
    assert town.here.front.details(other)["explain"] == other.memory["explain"]


@in_town
async def test_a_cached_result_is_never_that_of_another_output(town: Town) -> None:
    town.act("one", table())
    await town.result(function("one", cache=True))
    other = await town.result(function("one", cache=True, output="elsewhere"))
    assert not other.cached_from and other.result["output"]["name"] == "elsewhere"


@in_town
async def test_dependencies_are_resolved_once_for_all_who_wait(town: Town) -> None:
    asked = []
    town.locks["numpy"] = "numpy==2.0.0\n"
    resolve = town.here.loop._stepper.road.pinner

    def counted(requirements: list[str], python: str) -> str:
        asked.append(requirements)
        return "numpy==2.0.0\n"

    resolve.resolve = counted
    specs = [{"spec": function("one", dependencies=["numpy"])} for _ in range(5)]
    runs = await town.here.front.accept(specs, "me")
    began = town.clock.now()
    await town.settle()
    ended = [town.run(run.id) for run in runs]
    assert {run.state for run in ended} == {RunState.SUCCEEDED}
    assert max(run.ended for run in ended) - began < 10.0, "none slept through it"
    assert asked == [["numpy"]]
    lock = ended[0].pinned["environment"]["lock"]
    assert town.here.blobs.path(lock).read_text() == "numpy==2.0.0\n"


@in_town
async def test_dependencies_resolved_since_a_run_looked_are_not_resolved_again(town: Town) -> None:
    pinner = town.here.loop._stepper.road.pinner
    asked = []

    def counted(requirements: list[str], python: str) -> str:
        asked.append(requirements)
        return "numpy==2.0.0\n"

    pinner.resolve = counted
    spec = {"kind": "function", "dependencies": ["numpy"]}
    with pytest.raises(NotYet) as first:
        pinner._environment(spec, "")
    with pytest.raises(NotYet) as second:  # it looked before the first had ended
        pinner._environment(spec, "")
    first.value.work()
    second.value.work()
    assert asked == [["numpy"]] and pinner._environment(spec, "").lock


@in_town
async def test_a_resolver_that_fails_is_quoted_to_all_who_wait(town: Town) -> None:
    from tradewind.base.errors import UserError

    def fail(requirements: list[str], python: str) -> str:
        raise UserError("no version of numpi matches")

    town.here.loop._stepper.road.pinner.resolve = fail
    specs = [{"spec": function("one", dependencies=["numpi"])} for _ in range(3)]
    runs = await town.here.front.accept(specs, "me")
    await town.settle(20.0)
    assert {town.run(run.id).error.get("message") for run in runs} == {
        "no version of numpi matches"
    }


@in_town
async def test_a_launch_that_is_refused_is_the_users_error(town: Town) -> None:
    from tradewind.base.errors import UserError

    async def refuse(*_: Any) -> Any:
        raise UserError("this engine takes no such thing", hint="write another")

    swap(town.engine, "launch", refuse)
    run = await town.result(function("one", retries=5))
    assert run.state is RunState.FAILED and run.number == 1
    assert run.error["hint"] == "write another"


@in_town
async def test_a_launch_that_breaks_in_our_code_ends_and_does_not_hang(town: Town) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("x")

    swap(town.engine, "render", broken)
    run = await town.result(function("one"))
    assert run.state is RunState.FAILED and "launch failed" in run.error["message"]


@in_town
async def test_a_second_server_cannot_place_on_the_same_pool(town: Town) -> None:
    from tradewind.control.assemble import Settings, assemble

    store = f"sqlite:///{town.here.settings.data / 'tradewind.db'}"
    with pytest.raises(Conflict, match="another server places on pool 'local'"):
        assemble(
            Settings(data=town.here.settings.data / "other", store=store),
            clock=town.clock,
            engines={"local": town.engine},
        )


@in_town
async def test_what_runs_now_is_listed(town: Town) -> None:
    town.act("one", value(1, seconds=100.0))
    run = await town.submit(function("one"))
    await town.until(run, RunState.RUNNING)
    [line] = await town.here.top()
    assert (line["run"], line["name"], line["kind"], line["pool"], line["state"]) == (
        run, "one", "function", "local", "running",
    )  # fmt: skip
    assert line["demand"]["cpu"] == 0.125


@in_town
async def test_a_stale_claim_writes_nothing(town: Town) -> None:
    """A server that was held up comes back after its claim was taken by another."""
    run = await town.submit(function("one"))
    stepper = town.here.loop._stepper
    store = town.here.store.runs
    apply = store.apply
    stolen: list[Claim] = []

    def late(changes: Any) -> set[str]:
        if not stolen:
            town.clock.advance(3600.0)
            stolen.extend(store.claim("thief", LIVE, 10, town.clock.now(), 1.0))
        return apply(changes)

    swap(store, "apply", late)
    try:
        stepper.step()
    finally:
        swap(store, "apply", apply)
    assert [claim.run.id for claim in stolen] == [run]
    assert town.run(run).state is RunState.ACCEPTED and not town.placements(run)
    town.clock.advance(10.0)
    await town.settle()
    assert town.run(run).state is RunState.SUCCEEDED
    assert len(town.started) == 1


def test_the_digest_of_the_default_environment_is_explained(tmp_path: Any) -> None:
    @in_town
    async def story(town: Town) -> None:
        run = await town.result(function("one"))
        digest = run.pinned["environment"]["digest"]
        told = town.here.store.settings.get(f"environment:{digest}")
        assert digest_json(told) == digest
        assert any(each.startswith("pydantic-") for each in told["packages"])
        assert [each.state for each in town.placements(run.id)] == [PlacementState.SUCCEEDED]

    story(tmp_path)


@in_town
async def test_it_says_where_its_time_went(town: Town) -> None:
    town.act("one", value(7, seconds=10.0))
    first = await town.submit(function("big", resources={"cpu": 2}))
    town.act("big", value(1, seconds=5.0))
    run = await town.result(function("one"))
    phases = {each["name"]: each["seconds"] for each in town.here.front.details(run)["phases"]}
    assert phases["wait"] == town.run(first).ended - run.created
    assert phases["start"] == 0.0
