"""What may be let go, and what never is."""

from __future__ import annotations

import pytest

from tests.road.town import Town, function, in_town, table, value
from tradewind.base.errors import Conflict, NotFound
from tradewind.base.ids import digest_bytes
from tradewind.control import retention


@in_town
async def test_an_ended_run_can_be_deleted_and_its_version_stays(town: Town) -> None:
    town.act("one", table())
    run = await town.result(function("one"))
    town.here.front.forget(run.id)
    with pytest.raises(NotFound):
        town.here.front.find(run.id)
    assert town.here.shelf.dataset("default", "one")["number"] == 1


@in_town
async def test_a_live_run_is_not_deleted(town: Town) -> None:
    town.act("one", value(1, seconds=1000.0))
    [run] = await town.here.front.accept([{"spec": function("one")}], "me")
    with pytest.raises(Conflict, match="has not ended"):
        town.here.front.forget(run.id)


@in_town
async def test_bytes_that_nothing_names_go_and_others_stay(town: Town) -> None:
    blobs, store = town.here.blobs, town.here.store
    stray = blobs.put_bytes(b"nobody's")
    kept = blobs.put_bytes(b"a lock")
    store.settings.put("lock:x", kept)
    town.clock.advance(30 * 365 * 86400.0)  # bytes are put by the machine's clock
    freed = retention.prune(store, blobs, town.clock, 0.0, 0)
    assert freed["blobs"] == 1 and freed["bytes"] == len(b"nobody's")
    assert not blobs.exists(stray) and blobs.exists(kept)
    assert stray == digest_bytes(b"nobody's")
