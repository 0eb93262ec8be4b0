"""`kill -9` of every process that takes part. Nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

from tests.unit.node.machine import Machine, gone, kill, sh, until_gone
from tradewind.base import errors
from tradewind.engines.local import LocalEngine
from tradewind.records.tasks import Array, Restart, Stop
from tradewind.testing.engine_suite import Session, Told, a_placement


async def status(session: Session) -> dict[str, Any]:
    assert isinstance(session.engine, LocalEngine)
    return await session.engine.status()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def running(session: Session, name: str, role: Any) -> int:
    """Launch, and the pid of its first process."""
    await session.launch(a_placement(name, role))

    def pids(told: Told) -> list[int]:
        return [r.body["pid"] for r in told if r.body.get("pid") and r.placement == name]

    return pids(await session.until(lambda told: bool(pids(told))))[0]


def test_the_node_dies_and_the_work_goes_on(machine: Machine, tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def test(session: Session) -> None:
        script = f"while [ ! -e {go} ]; do sleep 0.05; done; echo done"
        pid = await running(session, "p1", sh(script))
        await running(session, "p2", sh("exec sleep 600"))
        node = (await status(session))["pid"]
        kill(node)
        await until_gone(node)
        assert not gone(pid)
        assert list(await session.engine.known()) == ["p1", "p2"]
        assert (await status(session))["pid"] != node
        await session.engine.stop("p2", Stop())
        go.touch()
        told = await session.end("p1", "p2")
        assert told.ends() == {"p1": "succeeded", "p2": "stopped"}
        assert [state for _, state in told.states()].count("succeeded") == 1

    machine.run(test)


def test_what_ended_while_no_node_lived_is_told(machine: Machine, tmp_path: Path) -> None:
    async def test(session: Session) -> None:
        pid = await running(session, "p1", sh("sleep 0.3"))
        kill((await status(session))["pid"])
        await until_gone(pid)
        assert (await session.end("p1")).ends() == {"p1": "succeeded"}

    machine.run(test)


def test_a_dead_supervisor_takes_its_task_with_it(machine: Machine) -> None:
    async def test(session: Session) -> None:
        pid = await running(session, "p1", sh("sleep 600 & exec sleep 600"))
        kill((await status(session))["placements"]["p1"]["supervisor"])
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"}
        await until_gone(pid)

    machine.run(test)


def test_node_and_supervisor_die_together(machine: Machine) -> None:
    async def test(session: Session) -> None:
        pid = await running(session, "p1", sh("exec sleep 600"))
        found = await status(session)
        kill(found["placements"]["p1"]["supervisor"])
        kill(found["pid"])
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"}
        await until_gone(pid)

    machine.run(test)


def test_a_dead_keeper_loses_the_unit_and_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    orphan = tmp_path / "orphan"

    async def test(session: Session) -> None:
        script = f"setsid sleep 600 & echo $! > {orphan}; exec sleep 600"
        pid = await running(session, "p1", sh(script))
        while not orphan.exists() or not orphan.read_text():
            await asyncio.sleep(0.01)
        kill(parent(pid))
        told = await session.end("p1")
        assert told.ends() == {"p1": "lost"}
        await until_gone(pid)
        await until_gone(int(orphan.read_text()))

    machine.run(test)


def test_a_lost_item_is_tried_again_and_does_not_count(machine: Machine) -> None:
    async def test(session: Session) -> None:
        script = '[ "$TRADEWIND_ATTEMPT" -gt 1 ] || exec sleep 600'
        role = sh(script, shape=Array(count=1), restart=Restart(most=0))
        pid = await running(session, "p1", role)
        kill(parent(pid))
        told = await session.end("p1")
        assert told.ends() == {"p1": "succeeded"}
        assert [state for _, state in told.states()] == ["running", "lost", "running", "succeeded"]

    machine.run(test)


def test_a_dead_zygote_is_replaced(machine: Machine) -> None:
    async def test(session: Session) -> None:
        pid = await running(session, "p1", sh("exec sleep 600"))
        zygote = (await status(session))["warm"][0]["pid"]
        kill(zygote)
        await until_gone(zygote)
        assert not gone(pid)
        for number in range(3):
            await session.launch(a_placement(f"q{number}", sh("true")))
        told = await session.end("q0", "q1", "q2")
        assert set(told.ends().values()) == {"succeeded"}
        await session.engine.stop("p1", Stop())
        await session.end("p1")

    machine.run(test)


def test_a_killed_task_says_so(machine: Machine) -> None:
    async def test(session: Session) -> None:
        pid = await running(session, "p1", sh("exec sleep 600"))
        kill(pid)
        told = await session.end("p1")
        assert told.ends() == {"p1": "failed"}
        assert told.reason()["signal"] == "SIGKILL"

    machine.run(test)


def test_a_node_that_dies_in_the_middle_of_a_launch(machine: Machine) -> None:
    """A folder with a request and no journal is begun by the next node; one that is torn goes."""

    async def test(session: Session) -> None:
        assert isinstance(session.engine, LocalEngine)
        node = (await session.engine.begin())["pid"]
        kill(node)
        await until_gone(node)
        attempts = machine.data / "node" / "attempts"
        for name, keep in (("whole", None), ("torn", 20)):
            (attempts / name).mkdir()
            text = json.dumps(session.engine.render(a_placement(name, sh("true"))))
            (attempts / name / "request.json").write_text(text[:keep])
        told = await session.end("whole")
        assert told.ends() == {"whole": "succeeded"}
        assert not (attempts / "torn").exists()
        await session.launch(a_placement("torn", sh("true")))
        assert (await session.end("torn")).ends()["torn"] == "succeeded"

    machine.run(test)


def test_random_kills(machine: Machine, tmp_path: Path) -> None:
    """Whatever dies, every placement ends, and what succeeded has done its work once."""
    chance = random.Random(7)
    done = tmp_path / "done"
    done.mkdir()

    async def test(session: Session) -> None:
        names = [f"p{number}" for number in range(24)]
        killer = asyncio.create_task(kill_around(session, chance))
        for name in names:
            role = sh(f"sleep 0.1; echo x >> {done}/{name}")
            await persistent(session.launch, a_placement(name, role))
        await persistent(session.end, *names)
        killer.cancel()
        ends = session.told.ends()
        assert set(ends.values()) <= {"succeeded", "lost", "failed"}
        for name, state in ends.items():
            written = (done / name).read_text() if (done / name).exists() else ""
            assert written in ("", "x\n")
            assert written or state != "succeeded"

    machine.run(test)


async def persistent(act: Any, *args: Any) -> None:
    """As the control plane does: what could not be reached is asked again."""
    for _try in range(50):
        try:
            await act(*args)
            return
        except (errors.Unreachable, errors.Broken):
            await asyncio.sleep(0.05)
    raise AssertionError("the node does not come back")


async def kill_around(session: Session, chance: random.Random) -> None:
    """Kill something of this machine every now and then."""
    assert isinstance(session.engine, LocalEngine)
    mine = LocalEngine(session.engine._places.data)
    for _turn in range(25):
        await asyncio.sleep(chance.random() * 0.15)
        try:
            found = await mine.status()
        except errors.TradewindError:
            continue
        supervisors = [each["supervisor"] for each in found["placements"].values()]
        victims = [found["pid"], *supervisors, *(warm["pid"] for warm in found["warm"])]
        victim = chance.choice(victims)
        if victim and victim != os.getpid():
            kill(victim)
    await mine.close()
