"""What a pool's trouble leaves in the log: each thing once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.road.town import Town, far, function, in_town, value
from tradewind.base.errors import TradewindError, Unauthenticated, Unreachable
from tradewind.records.states import RunState


@pytest.mark.parametrize("why", [Unreachable("no answer"), Unauthenticated("this sign-in is old")])
def test_a_stop_that_is_tried_again_and_again_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, why: TradewindError
) -> None:
    tried: list[str] = []

    async def stop(placement: str, how: object) -> None:
        tried.append(placement)
        raise why

    @in_town
    async def test(town: Town) -> None:
        town.act("one", value(1, seconds=1e5))
        await town.here.apply([far()], "me")
        run = await town.submit(function("one", pool="far"))
        await town.until(run, RunState.RUNNING)
        town.cloud.engines[0].stop = stop  # type: ignore[assignment, method-assign]
        await town.here.front.stop(run, "me")
        await town.settle(60.0)
        assert len(tried) > 5
        said = [each for each in caplog.messages if why.message in each]
        assert len(said) == 1 and tried[0] in said[0]

    with caplog.at_level(logging.INFO, "tradewind"):
        test(tmp_path)
