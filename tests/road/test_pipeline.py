"""Pipelines: steps in order, chosen, repeated, failed, stopped; every one a child run."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from tests.road.town import Act, Document, Town, failure, function, in_town, table, value
from tradewind.records.states import ENDED, RunState
from tradewind.testing.fake_engine import Outcome


def pipeline(*steps: Document, **more: Any) -> Document:
    return {"kind": "pipeline", "name": "flow", "steps": list(steps), **more}


def step(name: str, **fields: Any) -> Document:
    fields.setdefault("uses", f"tradewind.components:{name}")
    return {"name": name, **fields}


def watched(seen: list[Any], what: str) -> Act:
    """A task that notes what it was given."""

    def act(_request: Document, role: Document, _index: int, _attempt: int) -> Outcome:
        seen.append(role[what])
        return value(1)

    return act


def better(counts: list[int]) -> Act:
    """A training whose loss falls each time it is asked."""

    def act(*_: Any) -> Outcome:
        counts.append(1)
        return value({"loss": 1.0 / len(counts)})

    return act


@in_town
async def test_steps_run_in_order_and_side_by_side_where_they_may(town: Town) -> None:
    for name in ("a", "b", "c", "d"):
        town.act(name, value(name, seconds=10.0))
    run = await town.result(
        pipeline(
            step("d", after=["b", "c"]), step("b", after=["a"]), step("c", after=["a"]), step("a")
        )
    )
    assert run.state is RunState.SUCCEEDED
    lines = town.children(run.id)
    assert lines["b"].started == lines["c"].started
    assert lines["a"].ended <= lines["b"].started and lines["c"].ended <= lines["d"].started
    assert run.result["output"]["value"] == "d"
    assert all(line.root == run.id and line.parent == run.id for line in lines.values())


@in_town
async def test_the_price_is_the_sum_of_the_steps(town: Town) -> None:
    town.act("a", value(1, seconds=7.0))
    town.act("b", value(1, seconds=13.0))
    run = await town.result(pipeline(step("a"), step("b", after=["a"])))
    prices = [line.price for line in town.children(run.id).values()]
    assert town.here.front.details(run)["price"] == sum(prices) > 0
    assert town.here.store.ledger.bill_of_tree(run.id).nanodollars == sum(prices)


@in_town
async def test_values_params_and_nested_references_reach_the_next_step(town: Town) -> None:
    town.act("a", value({"auc": 0.7, "best": {"depth": [3, 5]}}))
    seen: list[Any] = []
    town.act("b", watched(seen, "params"))
    run = await town.result(
        pipeline(
            step("a"),
            step(
                "b",
                params={
                    "depth": "$a.output.best.depth.1",
                    "year": "$params.year",
                    "text": "$$5",
                    "deep": {"x": ["$a.output.auc"]},
                },
                input={"whole": "$a.output"},
            ),
            params={"year": 2013},
        )
    )
    assert run.state is RunState.SUCCEEDED, run.error
    assert seen == [
        {"depth": 5, "year": 2013, "text": "$5", "deep": {"x": [0.7]},
         "whole": {"auc": 0.7, "best": {"depth": [3, 5]}}}
    ]  # fmt: skip


@in_town
async def test_a_step_that_reads_what_returned_nothing_fails_unless_it_says_null(
    town: Town,
) -> None:
    town.act("a", value(None))
    seen: list[Any] = []
    town.act("b", watched(seen, "params"))
    run = await town.result(pipeline(step("a"), step("b", input={"rows": "$a.output"})))
    assert run.state is RunState.FAILED and not seen
    assert "step a returned None (nothing): let it return a table" in run.error["message"]
    flow = pipeline(step("a"), step("b", input={"rows": "$a.output | null"}))
    assert (await town.result(flow)).state is RunState.SUCCEEDED
    assert seen == [{"rows": None}]


@in_town
async def test_a_dataset_a_model_and_a_file_are_handed_on_as_inputs(town: Town) -> None:
    file = {"path": "notes.txt", "digest": "sha256:" + "c" * 64, "size": 5}
    manifest = town.here.blobs.put_bytes(b'{"format": "sklearn", "metrics": {"auc": 0.7}}')
    model = {"kind": "folder", "files": [{"path": "model.json", "digest": manifest, "size": 9}]}
    town.act("a", table())
    town.act(
        "fit.py",
        Outcome(seconds=1.0, outputs={
            "output": {"kind": "json", "value": {"loss": 0.1}}, "model": model,
            "extra": {"kind": "file", "files": [file]},
        }),
    )  # fmt: skip
    seen: list[Any] = []
    town.act("c", watched(seen, "inputs"))
    bundle = town.bundle({"fit.py": "print(1)\n"})
    run = await town.result(
        pipeline(
            step("a"),
            step(
                "fit",
                uses={"kind": "training", "entry": "fit.py", "model": "late"},
                input={"data": "$a.output"},
            ),
            step("c", input={"data": "$a.output", "model": "$fit.model"}),
            outputs={"model": "$fit.model", "loss": "$fit.output.loss"},
            bundle=bundle,
        )
    )
    assert run.state is RunState.SUCCEEDED, run.error
    [inputs] = seen
    assert (inputs["data"]["kind"], inputs["data"]["source"]) == ("table", "a@1")
    assert (inputs["model"]["kind"], inputs["model"]["source"]) == ("folder", "late/1")
    assert run.result["loss"] == {"kind": "json", "value": 0.1}
    assert (run.result["model"]["name"], run.result["model"]["version"]) == ("late", 1)
    stored = town.here.store.registry.model("default", "late")
    assert stored.metrics == {"auc": 0.7} and stored.format == "sklearn"
    assert [str(each) for each in stored.sources if each.kind == "dataset"] == ["a@1"]


@in_town
async def test_a_step_is_skipped_unless_its_condition_holds(town: Town) -> None:
    town.act("train", value({"auc": 0.65}))
    seen: list[Any] = []
    town.act("last", watched(seen, "params"))
    run = await town.result(
        pipeline(
            step("train"),
            step("good", when="$train.output.auc >= 0.6"),
            step("bad", when="$train.output.auc < 0.6"),
            step("last", params={"bad": "$bad.output | null", "good": "$good.output | null"}),
        )
    )
    assert run.state is RunState.SUCCEEDED, run.error
    assert set(town.children(run.id)) == {"train", "good", "last"}
    assert seen == [{"bad": None, "good": None}]


@in_town
async def test_foreach_runs_once_for_each_item_some_at_once(town: Town) -> None:
    town.act("list", value([{"n": 1}, {"n": 2}, {"n": 3}]))
    town.act("one", lambda _r, role, *_: value(role["params"]["n"] * 10, seconds=10.0))
    town.act("sum", lambda _r, role, *_: value(sum(role["params"]["all"])))
    run = await town.result(
        pipeline(
            step("list"),
            step("one", foreach="$list.output", at_once=2, params={"n": "$item.n"}),
            step("sum", params={"all": "$one.output"}),
        )
    )
    assert run.state is RunState.SUCCEEDED, run.error
    assert run.result["output"]["value"] == 60
    lines = town.children(run.id)
    assert {"one#0", "one#1", "one#2"} <= set(lines)
    assert lines["one#2"].created >= min(lines["one#0"].ended, lines["one#1"].ended)


@in_town
async def test_foreach_over_nothing_gives_an_empty_list(town: Town) -> None:
    town.act("list", value([]))
    town.act("sum", lambda _r, role, *_: value(role["params"]["all"]))
    run = await town.result(
        pipeline(
            step("list"),
            step("one", foreach="$list.output"),
            step("sum", params={"all": "$one.output"}),
        )
    )
    assert (run.state, run.result["output"]["value"]) == (RunState.SUCCEEDED, [])


@in_town
async def test_foreach_over_what_is_no_list_and_items_without_the_key_are_the_users(
    town: Town,
) -> None:
    town.act("list", value({"n": 1}))
    steps = [step("list"), step("one", foreach="$list.output")]
    run = await town.result(pipeline(*steps))
    assert run.state is RunState.FAILED
    assert "step 'one' failed" in run.error["message"] and "not a list" in run.error["message"]
    town.act("list", value([{"n": 1}]))
    steps = [
        step("list", cache=False),
        step("one", foreach="$list.output", params={"x": "$item.m"}),
    ]
    run = await town.result(pipeline(*steps))
    assert run.state is RunState.FAILED and run.error["code"] == "user_error"
    assert "no 'm' in it" in run.error["message"]


@in_town
async def test_until_repeats_until_it_holds_or_the_bound_is_reached(town: Town) -> None:
    counts: list[int] = []
    town.act("train", better(counts))
    until = {"condition": "$train.output.loss < 0.3", "max": 9}
    run = await town.result(pipeline(step("train", until=until, cache=False)))
    assert run.state is RunState.SUCCEEDED and len(counts) == 4
    assert set(town.children(run.id)) == {f"train~{i}" for i in range(4)}
    assert "run.noted" not in town.events(run.id)
    counts.clear()
    until["max"] = 2
    run = await town.result(pipeline(step("train", until=until, cache=False)))
    assert run.state is RunState.SUCCEEDED and len(counts) == 2
    [noted] = [each for each in town.here.store.events.after(0, run=run.id)
               if each.type == "run.noted"]  # fmt: skip
    words = "step 'train' ended after its 2 rounds (`max`): $train.output.loss < 0.3 never held"
    assert noted.body == {"text": words}
    assert town.here.front.details(run)["notes"] == [words]


@in_town
async def test_what_is_noted_is_noted_once_however_long_the_rest_goes_on(town: Town) -> None:
    town.act("train", better([]))
    town.act("later", value(1, seconds=50.0))
    until = {"condition": "$train.output.loss < 0.3", "max": 1}
    steps = [
        step("train", until=until),
        step("later", after=["train"]),
        step("last", after=["later"]),
    ]
    run = await town.result(pipeline(*steps))
    assert run.state is RunState.SUCCEEDED
    assert town.events(run.id).count("run.noted") == 1


@in_town
async def test_until_is_not_fooled_by_its_own_cache(town: Town) -> None:
    counts: list[int] = []
    town.act("train", better(counts))
    until = {"condition": "$train.output.loss < 0.3", "max": 9}
    run = await town.result(pipeline(step("train", until=until)))
    assert run.state is RunState.SUCCEEDED and len(counts) == 4


@in_town
async def test_a_failed_step_names_itself_lets_siblings_end_and_starts_nothing(town: Town) -> None:
    town.act("bad", failure("no such column"))
    town.act("slow", value(1, seconds=100.0))
    run = await town.result(
        pipeline(
            step("bad"),
            step("slow"),
            step("after_bad", after=["bad"]),
            step("after_slow", after=["slow"]),
        )
    )
    lines = town.children(run.id)
    assert run.state is RunState.FAILED
    assert run.error["message"] == "step 'bad' failed: no such column"
    assert (run.error["step"], run.error["run"]) == ("bad", lines["bad"].id)
    assert lines["slow"].state is RunState.SUCCEEDED
    assert set(lines) == {"bad", "slow"}
    assert run.ended >= lines["slow"].ended


@in_town
async def test_a_failed_item_names_its_run(town: Town) -> None:
    town.act("one", lambda _r, role, *_: failure("odd") if role["params"]["n"] == 2 else value(1))
    run = await town.result(pipeline(step("one", foreach=[1, 2, 3], params={"n": "$item"})))
    assert run.error["step"] == "one"
    assert run.error["run"] == town.children(run.id)["one#1"].id


@in_town
async def test_a_step_is_tried_again_by_its_own_rule(town: Town) -> None:
    town.act("a", lambda request, *_: value(1) if request["number"] == 3 else failure())
    run = await town.result(pipeline(step("a", retries={"max": 2, "backoff": "5s"})))
    assert run.state is RunState.SUCCEEDED
    assert town.children(run.id)["a"].tries == 2


@in_town
async def test_a_stop_stops_the_children_too(town: Town) -> None:
    for name in ("a", "b"):
        town.act(name, value(1, seconds=1e6))
    run = await town.submit(pipeline(step("a"), step("b"), step("c", after=["a"])))
    await town.settle(5.0)
    await town.here.front.stop(run, "me")
    await town.settle(100.0)
    assert town.run(run).state is RunState.STOPPED
    assert {line.state for line in town.children(run).values()} == {RunState.STOPPED}
    assert not town.here.store.placements.live()


@in_town
async def test_a_pipeline_over_its_time_stops_its_steps_and_says_so(town: Town) -> None:
    town.act("a", value(1, seconds=1e6))
    run = await town.result(pipeline(step("a"), timeout="1h"))
    assert run.state is RunState.FAILED and run.error["reason"] == "timeout"
    assert run.ended - run.started == 3600.0
    assert town.children(run.id)["a"].state is RunState.STOPPED


@in_town
async def test_a_pipeline_keeps_or_breaks_its_promise_with_the_price_of_its_tree(
    town: Town,
) -> None:
    town.act("a", value(1, seconds=50.0))
    run = await town.result(pipeline(step("a"), performance="60s", budget="$0.001"))
    promise = town.here.store.ledger.promise(run.id)
    assert promise is not None and promise.outcome == "broken"
    assert promise.actual_price == 1_000_000 and promise.actual_seconds == 16.0, "it was ended"
    kept = await town.result(pipeline(step("a"), performance="60s"))
    promise = town.here.store.ledger.promise(kept.id)
    assert promise is not None and promise.outcome == "kept"


@in_town
async def test_steps_are_cached_and_what_changed_is_said(town: Town) -> None:
    town.act("a", table())
    flow = pipeline(step("a"), step("b", input={"data": "$a.output"}, params={"k": 1}))
    await town.result(flow)
    began = len(town.started)
    again = await town.result(flow)
    assert len(town.started) == began
    assert all(line.cached_from for line in town.children(again.id).values())
    flow["steps"][1]["params"] = {"k": 2}
    third = await town.result(flow)
    lines = town.children(third.id)
    assert lines["a"].cached_from and not lines["b"].cached_from
    assert town.run(lines["b"].id).memory["explain"] == ["parameter k: 1 → 2"]
    town.act("a", table(content="b"))
    flow["steps"][0]["cache"] = False
    fourth = await town.result(flow)
    changed = town.run(town.children(fourth.id)["b"].id).memory["explain"]
    assert changed == ["input data: a@1 → a@2"]


@in_town
async def test_a_pipeline_inside_a_pipeline(town: Town) -> None:
    town.act("inner", lambda _r, role, *_: value(role["params"]["n"] + 1))
    inner = {
        "kind": "pipeline", "name": "sub", "params": {"n": 1},
        "steps": [step("inner", params={"n": "$params.n"})],
        "outputs": {"output": "$inner.output"},
    }  # fmt: skip
    town.here.shelf.apply([inner], "me", False)
    run = await town.result(
        pipeline(
            step("sub", uses="pipeline/sub", params={"n": 41}),
            step("out", params={"x": "$sub.output"}),
            outputs={"answer": "$sub.output"},
        )
    )
    assert run.state is RunState.SUCCEEDED, run.error
    assert run.result["answer"]["value"] == 42
    [leaf] = town.children(town.children(run.id)["sub"].id).values()
    assert leaf.root == run.id


@in_town
async def test_a_step_uses_an_applied_function_with_its_own_settings(town: Town) -> None:
    town.act("real", lambda _r, role, *_: value(role["env"]))
    town.here.shelf.apply([function("real", env={"A": "1"}, cache=False)], "me", False)
    run = await town.result(pipeline(step("real", uses="function/real")))
    assert run.result["output"]["value"] == {"A": "1"}
    gone = await town.result(pipeline(step("x", uses="function/none")))
    assert gone.state is RunState.FAILED and gone.error["code"] == "not_found"


@in_town
async def test_a_service_step_ends_when_it_is_ready_and_goes_on(town: Town) -> None:
    town.act("serve", Outcome(seconds=None, ready_after=20.0))
    bundle = town.bundle({"app.py": "def serve(): pass\n"})
    run = await town.submit(
        pipeline(
            step("deploy", uses={"kind": "service", "entry": "app.py:serve"}),
            step("after", after=["deploy"]),
            bundle=bundle,
        )
    )
    await town.settle(3600.0)
    ended = town.run(run)
    lines = town.children(run)
    assert ended.state is RunState.SUCCEEDED, ended.error
    assert lines["deploy"].state is RunState.RUNNING
    assert lines["after"].created - lines["deploy"].started >= 20.0
    await town.here.front.stop(lines["deploy"].id, "me")
    await town.settle(3600.0)
    assert town.run(lines["deploy"].id).state is RunState.STOPPED


@in_town
async def test_a_replay_submits_nothing_twice(town: Town) -> None:
    """The same decisions again, as after a write whose answer was lost."""
    from tradewind.control.draft import Draft
    from tradewind.records.steering import Submit

    town.act("a", value(1, seconds=1000.0))
    run = await town.submit(pipeline(step("a")))
    await town.until(run, RunState.RUNNING)
    await town.settle(5.0)
    store, road = town.here.store, town.here.loop._stepper.road
    store.runs.poke([run])
    [claim] = store.runs.claim("me", [RunState.RUNNING], 1, town.clock.now(), 60.0)
    draft = Draft.of(claim, town.clock.now())
    again = Submit(key="a", spec=function("a"))
    road._submit(draft, again.key, again.spec)
    store.runs.apply([draft.change()])
    assert len(town.children(run)) == 1


@in_town
async def test_children_are_announced_when_they_are_accepted(town: Town) -> None:
    run = await town.result(pipeline(step("a")))
    child = town.children(run.id)["a"]
    assert town.events(child.id)[0] == "run.accepted"
    told = town.here.store.events.after(0, root=run.id)
    [accepted] = [e for e in told if e.run == child.id and e.type == "run.accepted"]
    assert accepted.body == {"kind": "function", "name": "a", "parent": run.id, "key": "a"}


@in_town
async def test_a_path_becomes_a_dataset_by_a_child_run(town: Town) -> None:
    path = town.here.settings.data / "flights.csv"
    path.write_text("x\n1\n")
    town.act("import_table", table(rows=1))
    seen: list[Any] = []
    town.act("one", watched(seen, "inputs"))
    run = await town.submit(function("one", input={"data": str(path)}))
    for _ in range(3):
        await town.turn()
    assert town.run(run).waiting == f"importing {path}"
    town.here.store.runs.poke([run])  # looked at again before the import has ended
    await town.settle()
    ended = town.run(run)
    assert ended.state is RunState.SUCCEEDED, ended.error
    assert seen[0]["data"]["source"] == "one-data@1"
    [child] = town.children(run).values()
    assert (child.kind, child.key) == ("dataset", "input:data")
    again = await town.result(function("one", input={"data": str(path)}))
    assert town.children(again.id)["input:data"].cached_from == child.id
    path.write_text("x\n1\n2\n")
    third = await town.result(function("one", input={"data": str(path)}))
    assert not town.children(third.id)["input:data"].cached_from


@in_town
async def test_an_import_that_fails_or_is_stopped_is_told_with_the_input(town: Town) -> None:
    path = town.here.settings.data / "bad.csv"
    path.write_text("x\n")
    town.act("import_table", failure("line 2: two columns"))
    run = await town.result(function("one", input={"data": str(path)}))
    assert run.state is RunState.FAILED
    assert run.error["message"] == "input 'data': line 2: two columns"
    town.act("import_table", value(1, seconds=1e5))
    waiting = await town.submit(function("one", input={"data": str(path)}))
    await town.settle(5.0)
    await town.here.front.stop(town.children(waiting)["input:data"].id, "me")
    await town.settle(60.0)
    assert town.run(waiting).state is RunState.FAILED
    assert "was stopped" in town.run(waiting).error["message"]


@in_town
async def test_a_stop_of_who_waits_for_an_import_stops_the_import(town: Town) -> None:
    path = town.here.settings.data / "x.csv"
    path.write_text("x\n")
    town.act("import_table", value(1, seconds=1e5))
    run = await town.submit(function("one", input={"data": str(path)}))
    await town.settle(5.0)
    await town.here.front.stop(run, "me")
    await town.settle(60.0)
    assert town.run(run).state is RunState.STOPPED
    assert town.children(run)["input:data"].state is RunState.STOPPED


@in_town
async def test_a_newer_service_takes_the_place_of_the_older_one(town: Town) -> None:
    waits = {1: 50.0, 2: 5.0}
    began = itertools.count(1)
    town.act(
        "serve",
        lambda *_: Outcome(seconds=None, ready_after=waits[next(began)]),
    )
    bundle = town.bundle({"app.py": "def serve(): pass\n"})
    service = {"kind": "service", "name": "web", "entry": "app.py:serve", "bundle": bundle}
    old = await town.submit(service)
    await town.until(old, RunState.RUNNING)
    new = await town.submit({**service, "params": {"v": 2}})
    await town.settle(3600.0)
    assert town.run(old).state is RunState.STOPPED, "slow to be ready, it stops no newer one"
    assert town.run(new).state is RunState.RUNNING
    [line] = town.here.services.all()
    assert line["run"] == new and line["replicas"][0]["state"] == "ready"
    third = await town.result(service)
    waits[3] = 1.0
    await town.settle(3600.0)
    assert town.run(new).state is (RunState.STOPPED if third.result else RunState.RUNNING)


def test_a_server_that_comes_back_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    """Closed at every single pass of a pipeline's life: each step is done exactly once."""

    async def story() -> None:
        town = await Town(tmp_path / "data").up()
        town.act("a", value(3, seconds=10.0))
        town.act("b", lambda _r, role, *_: value(role["params"]["x"] + 1, seconds=10.0))
        flow = pipeline(step("a"), step("b", foreach=[1, 2], params={"x": "$a.output"}))
        run = await town.submit(flow)
        for _ in range(200):
            if town.run(run).state in ENDED:
                break
            await town.down()
            await town.up()
            await town.turn()
            town.clock.advance(2.5)
        ended = town.run(run)
        assert ended.state is RunState.SUCCEEDED, ended.error
        assert sorted(name for name, *_ in town.started) == ["a", "b", "b"]
        assert len(town.children(run)) == 3
        assert {line.losses for line in town.children(run).values()} == {0}
        await town.down()

    asyncio.run(story())


def test_a_launch_that_the_last_server_only_wrote_down_is_sent_by_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        town = await Town(tmp_path / "data").up()
        run = await town.submit(function("a"))
        actions = town.here.loop._stepper.step().actions
        assert len(actions) == 1 and not town.started
        assert town.run(run).state is RunState.PLACED
        await town.down()
        await town.up()
        await town.settle()
        assert town.run(run).state is RunState.SUCCEEDED
        assert len(town.started) == len(town.placements(run)) == 1
        await town.down()

    asyncio.run(story())


def test_what_the_engine_forgot_is_lost_and_what_nobody_asked_for_is_stopped(
    tmp_path: Path,
) -> None:
    from tradewind.control import report

    async def story() -> None:
        town = await Town(tmp_path / "data").up()
        town.act("a", value(1, seconds=50.0))
        run = await town.submit(function("a"))
        await town.until(run, RunState.RUNNING)
        [mine] = town.world.placements
        forgotten = town.world.placements.pop(mine)
        forgotten.request["placement"] = "r-main-9"
        town.world.placements["r-main-9"] = forgotten
        town.clock.advance(20.0)
        here = town.here
        await report.reconcile(here.store, town.clock, "local", town.engine, here.loop.wake)
        await town.settle()
        assert town.run(run).state is RunState.SUCCEEDED
        assert town.run(run).losses == 1
        assert forgotten.over
        await town.down()

    asyncio.run(story())
