"""Services whose replicas do not come up: what people are told, and where."""

from __future__ import annotations

from typing import Any

from tests.road.test_probing import ROWS, acts, measured, quoted
from tests.road.town import Document, Town, in_town, table
from tradewind.records.states import RunState
from tradewind.store.rows import RunFilter
from tradewind.testing.fake_engine import Outcome

CRASH = {"reason": "error", "message": "ModuleNotFoundError: no module named 'x'\nline 2"}


def web(town: Town) -> Document:
    bundle = town.bundle({"app.py": "def serve(): ..."})
    return {"kind": "service", "name": "web", "entry": "app.py:serve", "bundle": bundle,
            "replicas": 2}  # fmt: skip


def told(town: Town, run: str) -> set[str]:
    """What is said of the run wherever one looks."""
    [line] = town.here.front.page(RunFilter(kind="service"), 10, "").runs
    return {line.waiting, town.run(run).waiting,
            town.here.front.details(town.run(run))["waiting"]}  # fmt: skip


@in_town
async def test_replicas_that_keep_failing_are_told(town: Town) -> None:
    town.act("serve", Outcome(seconds=1.0, ready_after=None, exit=CRASH))
    run = await town.submit(web(town))
    await town.until(run, RunState.RUNNING)
    await town.settle(10.0)
    words = "ModuleNotFoundError: no module named 'x'"
    assert told(town, run) == {f"0 of 2 ready: {words}"}
    [service] = town.here.services.all()
    assert (service["width"], service["why"]) == (2, words)
    await town.settle(40.0)  # while the next try goes on, how the last one ended is still the news
    assert told(town, run) == {f"0 of 2 ready: {words}"}


@in_town
async def test_one_that_fails_among_those_that_answer_is_told_until_it_answers(town: Town) -> None:
    def act(_request: Any, _role: Any, index: int, attempt: int) -> Outcome:
        broken = index == 0 and attempt < 6
        return Outcome(seconds=1.0, ready_after=None, exit=CRASH) if broken else Outcome(
            seconds=None, ready_after=0.0)  # fmt: skip

    town.act("serve", act)
    run = await town.submit(web(town))
    await town.until(run, RunState.RUNNING)
    await town.settle(5.0)
    assert told(town, run) == {"1 of 2 ready: ModuleNotFoundError: no module named 'x'"}
    await town.settle(300.0)
    assert told(town, run) == {""}
    [service] = town.here.services.all()
    assert (service["width"], service["why"]) == (2, "")


@in_town
async def test_what_its_pool_cannot_give_is_told_of_the_service(town: Town) -> None:
    town.act("serve", Outcome(seconds=None, ready_after=0.0))
    run = await town.submit({**web(town), "availability": "region"})
    await town.until(run, RunState.RUNNING)
    [service] = town.here.services.all()
    assert service["not_given"].startswith("availability: region, since")
    assert town.run(run).plan["not_given"] == service["not_given"]


@in_town
async def test_those_that_only_start_are_counted(town: Town) -> None:
    town.act("serve", Outcome(seconds=None, ready_after=20.0))
    run = await town.submit(web(town))
    await town.until(run, RunState.RUNNING)
    await town.settle(5.0)
    assert told(town, run) == {"0 of 2 ready"}


@in_town
async def test_a_plan_does_not_count_on_what_a_service_holds(town: Town) -> None:
    acts(town, measured(5e-5), table(ROWS))
    town.act("serve", Outcome(seconds=None, ready_after=0.0))
    service = await town.submit({**web(town), "replicas": 1, "resources": {"cpu": 0.25}})
    await town.until(service, RunState.RUNNING)
    held = {plan.option.width * plan.option.resources.cpu for plan in (await quoted(town, 0)).plans}
    assert held == {1.0}, "of two cores"
