"""What may be let go, and what never is."""

from __future__ import annotations

import pytest

from tests.road.town import Town, function, in_town, table, value
from tradewind.base.errors import Conflict, NotFound
from tradewind.base.ids import digest_bytes
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.control import retention
from tradewind.records.states import RunState


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
    freed = retention.prune(store, blobs, Checkpoints(town.here.desk.blobs), town.clock, 0.0, 0)
    assert freed["blobs"] == 1 and freed["bytes"] == len(b"nobody's")
    assert not blobs.exists(stray) and blobs.exists(kept)
    assert stray == digest_bytes(b"nobody's")


@in_town
async def test_approvals_go_when_their_runs_have_ended(town: Town) -> None:
    town.act("one", value(1, seconds=3600.0))
    await town.result(function("one", resources={"cpu": 2}))
    asking = function("one", resources={"cpu": 2}, value="$1")
    over, soon = [await town.submit(asking) for _ in range(2)]
    await town.settle(1.0)
    store, checkpoints = town.here.store, Checkpoints(town.here.desk.blobs)

    async def left_after(run: str) -> set[str]:
        await town.here.front.approve(run, "me")
        retention.prune(store, town.here.blobs, checkpoints, town.clock, 1e9, 100)
        return set(store.settings.all("approved:"))

    assert await left_after(over) == {f"approved:{over}"}
    await town.settle()
    assert town.run(over).state is RunState.SUCCEEDED
    assert await left_after(soon) == {f"approved:{soon}"}
    await town.settle()
    town.here.front.forget(soon)
    retention.prune(store, town.here.blobs, checkpoints, town.clock, 1e9, 100)
    assert store.settings.all("approved:") == {}


@in_town
async def test_checkpoints_go_with_their_run(town: Town) -> None:
    town.act("one", value(1))
    run = await town.result(function("one"))
    checkpoints = Checkpoints(town.here.desk.blobs)
    kept = [checkpoints.of(name, "t", "main", 0) for name in (run.id, "r-before")]
    for each in kept:
        each.claim((1, 1, 1), 0, "pod")
        digest = each.blobs.put_bytes(b"step 1")
        one = {"path": "step", "digest": digest, "size": 6, "mtime": 1, "mode": 0o600}
        each.change(0, "pod", [one], [])

    def left() -> list[bool]:
        retention.prune(town.here.store, town.here.blobs, checkpoints, town.clock, 100.0, 0)
        return [each.blobs.exists(digest) for each in kept]

    town.clock.advance(30 * 365 * 86400.0)
    town.act("one", value(1))
    later = await town.result(function("one"))
    kept.append(checkpoints.of(later.id, "t", "main", 0))
    kept[-1].blobs.put_bytes(b"step 1")
    assert left() == [False, False, True]
