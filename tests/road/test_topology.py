"""How the processes of a run stand to each other, from its spec to its places."""

from __future__ import annotations

from typing import Any

import pytest

from tests.road.town import Document, Town, far, function, in_town, value
from tradewind.base.errors import InvalidSpec
from tradewind.records.placements import Seat
from tradewind.records.states import RunState
from tradewind.records.tasks import Layout
from tradewind.testing.fake_engine import Outcome

RACKS = ("r1", "r1", "r2", "r2", "r2")


def web(town: Town, replicas: int, **more: Any) -> Document:
    bundle = town.bundle({"app.py": "def serve(): ..."})
    return {"kind": "service", "name": "web", "entry": "app.py:serve", "bundle": bundle,
            "replicas": replicas, "resources": {"cpu": 2}, "pool": "far", **more}  # fmt: skip


def racks(town: Town, run: str) -> list[str]:
    """That of each process."""
    [placement] = town.placements(run)
    return [seat.node.split(" in ")[1].split()[0] for seat in placement.seats]


async def begin(town: Town) -> None:
    town.act("serve", Outcome(seconds=None, ready_after=0.0))
    town.act("one", value(1, seconds=600.0))
    town.cloud.machines, town.cloud.racks = len(RACKS), RACKS
    await town.here.apply([far()], "me")


@in_town
async def test_what_must_be_in_one_rack_waits_for_one_and_says_so(town: Town) -> None:
    await begin(town)
    small = {"topology": {"together": "rack", "required": True}}
    first = await town.submit(web(town, 3, **small))
    await town.until(first, RunState.RUNNING)
    assert racks(town, first) == ["r1"] * 3, "the smaller one holds it"
    holds = await town.submit(function("one", pool="far", resources={"cpu": 3}))
    await town.settle(60.0)
    second = await town.submit(web(town, 5, **small, name="two"))
    await town.settle(60.0)
    assert town.run(second).waiting == (
        "pool 'far': no rack has room for all 5 processes of this; the largest room is in 'r2', "
        "for 4 processes"
    )
    told = await town.here.outlook.would(town.run(second), {"preferred": True})
    assert told["starts"]
    await town.settle(600.0)
    assert town.run(holds).state is RunState.SUCCEEDED
    await town.until(second, RunState.RUNNING)
    assert racks(town, second) == ["r2"] * 5


@in_town
async def test_what_requires_nothing_cannot_be_only_preferred(town: Town) -> None:
    await begin(town)
    await town.submit(web(town, 10))
    run = await town.submit(function("one", pool="far", resources={"cpu": 1}))
    await town.settle(60.0)
    with pytest.raises(InvalidSpec, match="requires no topology"):
        await town.here.outlook.would(town.run(run), {"preferred": True})


@in_town
async def test_a_server_that_starts_again_knows_how_a_run_stands(town: Town) -> None:
    await begin(town)
    run = await town.submit(web(town, 2, topology={"together": "rack", "required": True}))
    await town.until(run, RunState.RUNNING)
    await town.down()
    await town.up()
    await town.here.connections.look()
    await town.settle(0.0)
    held = town.here.places.machine.held[run]
    assert held.asked.layout == Layout(together="rack", strictly=True)


@in_town
async def test_what_no_rack_could_hold_names_the_largest(town: Town) -> None:
    await begin(town)
    run = await town.submit(web(town, 7, topology={"together": "rack", "required": True}))
    await town.settle(60.0)
    assert town.run(run).waiting == (
        "pool 'far': no rack has room for all 7 processes of this; the largest room is in 'r2', "
        "for 6 processes; it waits until there is more"
    )
    told = await town.here.outlook.of(town.run(run))
    words = [each["change"] for each in told["changes"]]
    assert "with 6 processes instead of 7" in words
    assert "with its processes in one rack where there is room, not only so" in words
    told = await town.here.outlook.would(town.run(run), {"preferred": True})
    assert told["starts"]


@in_town
async def test_replicas_that_are_to_survive_a_machine_are_on_several(town: Town) -> None:
    await begin(town)
    plain = await town.submit(web(town, 2))
    await town.until(plain, RunState.RUNNING)
    assert len({seat.node for seat in town.placements(plain)[0].seats}) == 1
    safe = await town.submit(web(town, 2, name="safe", availability="zone"))
    await town.until(safe, RunState.RUNNING)
    [placement] = town.placements(safe)
    assert placement.task.layout == Layout(spread="node")
    assert len({seat.node for seat in placement.seats}) == 2
    apart = await town.submit(web(town, 2, name="apart", topology={"spread": "rack"}))
    await town.until(apart, RunState.RUNNING)
    assert sorted(racks(town, apart)) == ["r1", "r2"]


@in_town
async def test_a_pool_tells_where_it_is_for_machines_that_do_not(town: Town) -> None:
    await begin(town)
    asks = {"topology": {"together": "zone", "required": True}}
    run = await town.submit(function("one", pool="far", resources={"cpu": 1}, **asks))
    await town.settle(30.0)
    assert town.run(run).waiting == (
        "pool 'far': no machine tells its zone; it waits until there is more"
    )
    await town.here.apply([far(where={"zone": "a"})], "me")
    await town.pass_by(60.0)
    await town.until(run, RunState.RUNNING)
    assert town.placements(run)[0].seats == (Seat("4 CPU, 8 GiB in r1 #1"),)


@pytest.mark.parametrize("said", [
    {}, {"required": True}, {"together": "rack", "spread": "rack"},
    {"together": "node", "spread": "rack"}, {"together": ""}, {"required": "yes"}, "rack",
])  # fmt: skip
def test_a_topology_that_says_nothing_or_contradicts_itself(said: Any) -> None:
    from tradewind.specs import from_document

    with pytest.raises(InvalidSpec):
        from_document({"kind": "function", "name": "f", "entry": "f.py:f", "topology": said})


def test_a_pool_does_not_tell_nodes() -> None:
    from tradewind.specs import from_document

    with pytest.raises(InvalidSpec, match="node of its own"):
        from_document({"kind": "pool", "name": "p", "where": {"node": "a"}})
