"""A pool spec holds from the moment it is applied."""

from __future__ import annotations

import pytest

from tests.road.town import Town, function, in_town, value
from tradewind.base.errors import Refused
from tradewind.records.states import RunState


@in_town
async def test_an_applied_price_and_capacity_hold_at_once(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    documents = [
        {"kind": "pool", "name": "local", "price": "$8/h", "capacity": {"cpu": 1, "memory": "1GiB"}}
    ]
    await town.here.apply(documents, "me")
    run = await town.result(function("one", resources={"cpu": 0.5}))
    assert run.price == 4_000_000_000  # an hour of half the pool
    large = await town.result(function("large", resources={"cpu": 2}))
    assert large.state is RunState.FAILED and "'local' cannot hold this" in large.error["message"]


@in_town
async def test_a_pool_that_cannot_be_is_refused_and_not_stored(town: Town) -> None:
    cloud = {"kind": "pool", "name": "cloud", "engine": "clouds"}
    second = {"kind": "pool", "name": "second"}
    local = {"kind": "pool", "name": "local", "engine": "fake"}
    for document, words in ((cloud, "no engine 'clouds'"), (second, "cores away twice"),
                            (local, "server's own machine")):  # fmt: skip
        with pytest.raises(Refused, match=words):
            await town.here.apply([document], "me")
    assert [each["name"] for each in town.here.shelf.specs("", "pool")] == ["local"]
