"""What a pipeline promises of its steps: whose loss they survive, and what they cost together."""

from __future__ import annotations

from typing import Any

from tests.road.town import Document, Town, function, in_town
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
