"""Checkpoints that trainings write: who gives way then, who does not, and what is kept."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from tests.road.town import Town, far, function, in_town, value
from tradewind.blobs.checkpoints import Checkpoints
from tradewind.records.states import RunState
from tradewind.supervisor.layout import Layout


def training(project: str, cpu: float = 4.0, **fields: Any) -> dict[str, Any]:
    asked = {"project": project, "pool": "far", "resources": {"cpu": cpu}}
    return {"kind": "training", "name": "fit", "entry": "tradewind.components:fit", **asked,
            **fields}  # fmt: skip


def save(town: Town, run: str, at: float, name: str = "state.pt") -> None:
    """As tasks of this machine write a checkpoint."""
    layout = Layout(str(town.here.settings.data))
    folder = Path(layout.checkpoint({"run": run, "task": "main"}, "worker", 0))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    os.utime(folder / name, (at, at))


async def hour(town: Town) -> None:
    town.clock.advance(3600.0)
    for pool in town.here.places.leases:
        town.here.connections.leases.renew(pool)
    await town.here.saves.look()
    await town.settle(1.0)


@in_town
async def test_whoever_has_saved_gives_way_to_a_project_that_has_less(town: Town) -> None:
    town.act("fit", value(1, seconds=10 * 3600.0))
    await town.here.apply([far()], "me")
    first = await town.submit(training("a"))
    await town.settle(60.0)
    second = await town.submit(training("a"))
    await town.settle(60.0)
    other = await town.submit(training("b"))
    await hour(town)
    assert town.run(other).state is RunState.QUEUED, "whoever works would lose an hour"
    save(town, first, town.clock.now() - 60.0)
    save(town, second, town.clock.now() - 600.0)
    await town.here.saves.look()
    await town.settle(30.0)
    assert town.run(other).state is RunState.RUNNING
    assert town.run(first).state is RunState.QUEUED, "it loses a minute, the other one ten"
    assert "run.preempted" in town.events(first)
    kept = town.run(first).memory["kept"]
    assert 3400.0 < kept < 3660.0 and town.run(first).losses == town.run(first).tries == 0
    await hour(town)
    assert town.run(other).state is RunState.RUNNING, "shares are equal"


@in_town
async def test_a_checkpoint_of_long_ago_or_of_an_earlier_try_is_none(town: Town) -> None:
    town.act("fit", value(1, seconds=100 * 3600.0))
    await town.here.apply([far()], "me")
    runs = [await town.submit(training("a")) for _ in range(2)]
    await town.settle(60.0)
    for run in runs:
        save(town, run, town.clock.now() - 7200.0)
    other = await town.submit(training("b"))
    await hour(town)
    assert town.run(other).state is RunState.QUEUED, "that was before it began"
    for run in runs:
        save(town, run, town.clock.now() - 3000.0)
    await hour(town)
    assert town.run(other).state is RunState.QUEUED, "more would be lost than was saved"
    save(town, runs[1], town.clock.now() - 1.0)
    await town.here.saves.look()
    assert town.run(other).state is RunState.QUEUED, "it may not be whole yet"
    town.clock.advance(5.0)
    await town.here.saves.look()
    await town.settle(30.0)
    assert town.run(other).state is RunState.RUNNING
    assert town.run(runs[1]).state is RunState.QUEUED


@in_town
async def test_who_saves_all_the_time_has_saved(town: Town) -> None:
    """No file of his ever rests, as each takes the place of the one before; one that is written
    for long is not whole."""
    town.act("fit", value(1, seconds=10 * 3600.0))
    await town.here.apply([far()], "me")
    runs = [await town.submit(training("a")) for _ in range(2)]
    await town.settle(60.0)
    town.clock.advance(3600.0)
    held = town.here.places.machine.held
    for step in range(3):
        now = town.clock.now()
        save(town, runs[0], now, f"{step}.new")
        folder = Path(Layout(str(town.here.settings.data)).checkpoint(
            {"run": runs[0], "task": "main"}, "worker", 0))  # fmt: skip
        (folder / f"{step}.new").rename(folder / "state.pt")
        save(town, runs[1], now)
        await town.here.saves.look()
        assert held[runs[0]].saved == (now - 1.0 if step else -math.inf)
        assert held[runs[1]].saved == -math.inf
        town.clock.advance(1.0)


@in_town
async def test_what_functions_write_there_is_not_all_of_their_work(town: Town) -> None:
    town.act("one", value(1, seconds=10 * 3600.0))
    await town.here.apply([far()], "me")
    asked = {"pool": "far", "resources": {"cpu": 4}}
    runs = [await town.submit(function("one", project="a", **asked)) for _ in range(2)]
    await town.settle(60.0)
    other = await town.submit(function("one", project="b", **asked))
    await hour(town)
    for run in runs:
        save(town, run, town.clock.now() - 10.0)
    await hour(town)
    assert town.run(other).state is RunState.QUEUED


@in_town
async def test_after_a_start_priorities_and_work_so_far_are_known(town: Town) -> None:
    town.act("fit", value(1, seconds=10 * 3600.0))
    await town.here.apply([far()], "me")
    old = await town.submit(training("a"))
    await town.settle(60.0)
    await hour(town)
    high = await town.submit(training("a", priority=2))
    await town.settle(60.0)
    await hour(town)
    await town.down()
    await town.up()
    await town.here.connections.look()
    urgent = await town.submit(training("a", priority=1))
    await town.settle(60.0)
    states = [town.run(run).state for run in (old, high, urgent)]
    assert states == [RunState.QUEUED, RunState.RUNNING, RunState.RUNNING]


@in_town
async def test_who_holds_what_is_cheaper_goes_first(town: Town) -> None:
    """Of two that would lose as much time the one on the cheaper devices."""
    town.act("fit", value(1, seconds=10 * 3600.0))
    town.cloud.machines, town.cloud.accelerators = 1, {"nvidia-a100": 1, "nvidia-l4": 1}
    await town.here.apply([far()], "me")
    runs = {}
    for model in ("nvidia-a100", "nvidia-l4"):
        asked = {"cpu": 1, "accelerators": {model: 1}}
        runs[model] = await town.submit(training("a", resources=asked))
    await town.settle(60.0)
    await hour(town)
    urgent = await town.submit(training("a", cpu=3, priority=1))
    await town.settle(60.0)
    assert town.run(urgent).state is RunState.QUEUED, "somebody might end"
    await hour(town)
    await town.settle(60.0)
    assert town.run(urgent).state is RunState.RUNNING
    assert town.run(runs["nvidia-a100"]).state is RunState.RUNNING
    assert town.run(runs["nvidia-l4"]).state is RunState.QUEUED


def test_what_pods_have_kept_tells_when_it_was_written(tmp_path: Path) -> None:
    everything = Checkpoints(tmp_path)
    assert everything.runs() == [] and everything.written("r1") == 0.0
    kept = everything.of("r1", "main", "worker", 0)
    kept.claim((1, 1, 1), 0, "pod")
    assert everything.runs() == ["r1"] and everything.written("r1") == 0.0, "nothing was written"
    digest = kept.blobs.put_bytes(b"x")
    told = {"path": "x", "digest": digest, "size": 1, "mode": 0o600}
    kept.change(0, "pod", [{**told, "mtime": 1_000_000_000_500_000_000}], [])
    assert everything.written("r1") == 1_000_000_000.5
    kept.change(0, "pod", [{**told, "mtime": 9_000_000_000_000_000_000}], [])
    assert everything.written("r1") < 8e9, "a clock of elsewhere may be ahead"
