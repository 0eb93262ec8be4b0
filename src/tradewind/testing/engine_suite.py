"""The exam of an engine. An engine passes when a subclass with a `pupil` fixture does.

    class TestMine(EngineSuite):
        @pytest.fixture
        def pupil(self, tmp_path):
            pupil = MyPupil(tmp_path)
            yield pupil
            pupil.close()

A pupil says how its engine is made and how a few behaviours are written for it; everything else is
asked through the boundary, `engines.base.Engine`.
"""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest

from tradewind.engines.base import Engine
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import (
    Array,
    Entry,
    Environment,
    Gang,
    Readiness,
    Replicas,
    Restart,
    Role,
    Stop,
    Task,
)

Result = TypeVar("Result")
# How long an answer may take before the exam calls it missing.
PATIENCE = 60.0


class Pupil(ABC):
    """An engine and the way to make it do things."""

    @abstractmethod
    def engine(self) -> Engine:
        """An engine object. Every call gives another one on the same place, as a server that
        comes back would make."""

    @abstractmethod
    def entry(self, behaviour: str, **options: Any) -> Entry:
        """An entry point that behaves like this:

        - `done`: writes `log` and succeeds.   - `fail`: the first `times` tries fail.
        - `rank`: succeeds at being stopped, but the gang's member 1 fails at once.
        - `stay`: writes `log`, goes on until stopped; `stubborn`: ignores the request to end.
        - `serve`: opens its port and goes on until stopped.
        - `resume`: writes a file into its checkpoint folder and fails; succeeds if it finds that.
        """

    @abstractmethod
    async def lose(self, placement: str) -> None:
        """Take away what keeps this placement going, without a word."""


class Told(list[Report]):
    """Reports, and questions to them."""

    def ends(self) -> dict[str, str]:
        """Placement → the state it ended in."""
        found = {}
        for report in self:
            if report.kind == "placement" and report.body["state"] != "running":
                found[report.placement] = report.body["state"]
        return found

    def reason(self) -> dict[str, Any]:
        """Why the last placement ended."""
        reasons = [r.body["reason"] for r in self if r.kind == "placement" and "reason" in r.body]
        found: dict[str, Any] = reasons[-1]
        return found

    def states(self, index: int = 0, role: str = "main") -> list[tuple[int, str]]:
        """(attempt, state) of one unit, in order."""
        return [
            (report.attempt, report.body["state"])
            for report in self
            if report.kind == "attempt" and (report.role, report.index) == (role, index)
        ]


def a_role(entry: Entry, shape: Any = None, **fields: Any) -> Role:
    """The role `main`."""
    return Role(**{"name": "main", "shape": shape or Gang(), "entry": entry, **fields})


def a_placement(
    name: str, *roles: Role, done: tuple[int, ...] = (), run: str = "", number: int = 1
) -> Placement:
    """A placement of the task `t`."""
    task = Task(name="t", roles=roles, environment=Environment(digest="default"))
    return Placement(
        id=name,
        run=run or "r" + name,
        task=task,
        number=number,
        pool="p",
        engine="e",
        lease=1,
        demand=task.demand(),
        done=done,
    )


class Session:
    """An engine in use by one test."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.told = Told()

    async def launch(self, placement: Placement) -> None:
        await self.engine.launch(self.engine.render(placement))

    async def until(self, wanted: Callable[[Told], bool]) -> Told:
        """Observe and acknowledge until this holds."""
        limit = time.monotonic() + PATIENCE
        while not wanted(self.told):
            assert time.monotonic() < limit, f"waited too long; told so far: {list(self.told)}"
            reports = await self.engine.observe(1.0)
            self.told.extend(reports)
            await self.engine.acknowledge(reports)
        return self.told

    async def end(self, *names: str) -> Told:
        """Until these placements have ended."""
        return await self.until(lambda told: set(names) <= set(told.ends()))

    async def reached(self, state: str, index: int = 0, attempt: int = 1) -> Told:
        """Until a unit was in this state."""
        return await self.until(lambda told: (attempt, state) in told.states(index))

    async def log(self, name: str, wanted: bytes) -> bytes:
        """Follow a log until these bytes are in it."""
        seen = b""
        async for data in self.engine.logs(name, "main", 0, offset=0, follow=True):
            seen += data
            if wanted in seen:
                break
        return seen


class EngineSuite:
    """Every promise of `engines.base`."""

    @pytest.fixture
    def pupil(self) -> Pupil:
        raise NotImplementedError("give a `pupil` fixture")

    def sit(self, pupil: Pupil, test: Callable[[Session], Awaitable[Result]]) -> Result:
        """Carry out a test's coroutine with an engine of its own."""

        async def whole() -> Result:
            engine = pupil.engine()
            try:
                return await test(Session(engine))
            finally:
                await engine.close()

        return asyncio.run(whole())

    # -- requests --------------------------------------------------------------------------------

    def test_declares_every_shape(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            assert set(session.engine.shapes) == {"gang", "array", "replicas"}
            assert set(session.engine.shapes.values()) <= {"yes", "notimpl", "notyet", "never"}

        self.sit(pupil, test)

    def test_render_is_pure_and_printable(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            placed = a_placement("p1", a_role(pupil.entry("done"), Array(count=2)))
            request = session.engine.render(placed)
            assert request == session.engine.render(placed)
            assert json.loads(json.dumps(request)) == request
            assert await session.engine.known() == []

        self.sit(pupil, test)

    def test_launching_twice_is_launching_once(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            request = session.engine.render(a_placement("p1", a_role(pupil.entry("done"))))
            first = await session.engine.launch(request)
            assert await session.engine.launch(request) == first
            told = await session.end("p1")
            assert await session.engine.launch(request) == first
            assert not await session.engine.observe(0.2)
            assert told.states().count((1, "running")) == 1

        self.sit(pupil, test)

    # -- gangs -----------------------------------------------------------------------------------

    def test_a_gang_of_one(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("done"))))
            told = await session.end("p1")
            assert told.ends() == {"p1": "succeeded"}
            assert told.states() == [(1, "running"), (1, "succeeded")]
            last = [report for report in told if report.kind == "attempt"][-1]
            assert last.body["exit"]["reason"] == "ok"
            assert {"cpu", "memory"} <= set(last.body["usage"])

        self.sit(pupil, test)

    def test_a_failure_says_why(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("fail", times=9))))
            told = await session.end("p1")
            assert told.ends() == {"p1": "failed"}
            assert told.reason()["reason"] == "error" and told.reason()["message"]

        self.sit(pupil, test)

    def test_a_gang_is_all_or_none(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(
                pupil.entry("rank"), Gang(least=3, most=3), restart=Restart(most=5, backoff=0.0)
            )
            await session.launch(a_placement("p1", role))
            told = await session.end("p1")
            assert told.ends() == {"p1": "failed"}
            ends = [r for r in told if r.kind == "attempt" and r.body["state"] == "failed"]
            assert [(r.index, r.attempt) for r in ends] == [(0, 1)]
            assert told.reason()["rank"] == 1

        self.sit(pupil, test)

    def test_a_resized_gang_opens_an_epoch(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(pupil.entry("stay"), Gang(least=1, most=3))
            await session.launch(a_placement("p1", role))
            await session.reached("running")
            await session.engine.resize("p1", 3)
            told = await session.until(lambda told: len(told.states()) == 2)
            assert told.states() == [(1, "running")] * 2
            assert told[-1].body["epoch"] == 2 and told[-1].body["width"] == 3
            await session.engine.stop("p1", Stop())
            assert (await session.end("p1")).ends() == {"p1": "stopped"}

        self.sit(pupil, test)

    def test_a_timeout(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay"), timeout=0.2)))
            told = await session.end("p1")
            assert told.ends() == {"p1": "failed"}
            assert told.reason()["reason"] == "timeout"

        self.sit(pupil, test)

    # -- arrays ----------------------------------------------------------------------------------

    def test_each_item_once_and_few_at_a_time(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(pupil.entry("done"), Array(count=7, at_once=2))
            await session.launch(a_placement("p1", role))
            told = await session.end("p1")
            assert told.ends() == {"p1": "succeeded"}
            for index in range(7):
                assert told.states(index) == [(1, "running"), (1, "succeeded")]
            live, most = 0, 0
            for report in told:
                if report.kind == "attempt":
                    live += 1 if report.body["state"] == "running" else -1
                    most = max(most, live)
            assert most <= 2

        self.sit(pupil, test)

    def test_done_items_are_skipped(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(pupil.entry("done"), Array(count=4, at_once=4))
            await session.launch(a_placement("p1", role, done=(0, 2)))
            await session.launch(a_placement("p2", role, done=(0, 1, 2, 3)))
            told = await session.end("p1", "p2")
            assert told.ends() == {"p1": "succeeded", "p2": "succeeded"}
            assert {r.index for r in told if r.kind == "attempt"} == {1, 3}

        self.sit(pupil, test)

    def test_an_item_is_tried_again(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            again = Restart(most=2, backoff=0.01)
            role = a_role(pupil.entry("fail", times=1), Array(count=2), restart=again)
            await session.launch(a_placement("p1", role))
            told = await session.end("p1")
            assert told.ends() == {"p1": "succeeded"}
            expected = [(1, "running"), (1, "failed"), (2, "running"), (2, "succeeded")]
            assert told.states(0) == told.states(1) == expected

        self.sit(pupil, test)

    def test_an_item_fails_for_good_and_the_others_go_on(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(
                pupil.entry("fail", times=9), Array(count=2), restart=Restart(most=1, backoff=0.01)
            )
            await session.launch(a_placement("p1", role))
            told = await session.end("p1")
            assert told.ends() == {"p1": "failed"}
            assert [state for _try, state in told.states(1)] == ["running", "failed"] * 2
            assert "2 of 2 items failed" in told.reason()["message"]

        self.sit(pupil, test)

    def test_an_array_is_widened(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(pupil.entry("stay"), Array(count=3, at_once=1))
            await session.launch(a_placement("p1", role))
            await session.reached("running")
            await session.engine.resize("p1", 3)
            await session.reached("running", index=1)
            await session.reached("running", index=2)
            await session.engine.stop("p1", Stop())
            assert (await session.end("p1")).ends() == {"p1": "stopped"}

        self.sit(pupil, test)

    # -- checkpoints -----------------------------------------------------------------------------

    def test_an_item_goes_on_from_its_checkpoint(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            again = Restart(most=1, backoff=0.01)
            role = a_role(pupil.entry("resume"), Array(count=2), restart=again)
            await session.launch(a_placement("p1", role))
            told = await session.end("p1")
            assert told.ends() == {"p1": "succeeded"}
            expected = [(1, "running"), (1, "failed"), (2, "running"), (2, "succeeded")]
            assert told.states(0) == told.states(1) == expected

        self.sit(pupil, test)

    def test_a_gang_goes_on_from_its_checkpoint(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(pupil.entry("resume"), Gang(least=2, most=2))
            for number, ends in ((1, "failed"), (2, "succeeded")):
                name = f"p{number}"
                await session.launch(a_placement(name, role, run="r", number=number))
                assert (await session.end(name)).ends()[name] == ends

        self.sit(pupil, test)

    # -- replicas --------------------------------------------------------------------------------

    def test_replicas_become_ready_and_stay_until_stopped(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(
                pupil.entry("serve"), Replicas(count=2), ports=("http",), readiness=Readiness()
            )
            await session.launch(a_placement("p1", role))
            await session.reached("ready", 0)
            told = await session.reached("ready", 1)
            addresses = {r.body["address"] for r in told if r.body.get("state") == "ready"}
            assert len(addresses) == 2
            await session.engine.stop("p1", Stop(way="drain", grace=5.0))
            told = await session.end("p1")
            assert told.ends() == {"p1": "stopped"}
            assert told.states(0)[-1] == told.states(1)[-1] == (1, "stopped")

        self.sit(pupil, test)

    def test_replicas_are_resized(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay"), Replicas(count=1))))
            await session.reached("running", 0)
            await session.engine.resize("p1", 2)
            await session.reached("running", 1)
            await session.engine.resize("p1", 1)
            await session.reached("stopped", 1)
            assert (1, "stopped") not in session.told.states(0)
            await session.engine.stop("p1", Stop())
            await session.end("p1")

        self.sit(pupil, test)

    def test_a_replica_that_ends_is_started_again(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            role = a_role(
                pupil.entry("fail", times=9),
                Replicas(count=1),
                restart=Restart(most=2, backoff=0.01),
            )
            await session.launch(a_placement("p1", role))
            told = await session.end("p1")
            assert told.ends() == {"p1": "failed"}
            assert [number for number, state in told.states() if state == "failed"] == [1, 2, 3]

        self.sit(pupil, test)

    def test_replicas_go_when_the_work_beside_them_is_done(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            beside = Role(name="beside", shape=Replicas(count=1), entry=pupil.entry("stay"))
            await session.launch(a_placement("p1", a_role(pupil.entry("done")), beside))
            told = await session.end("p1")
            assert told.ends() == {"p1": "succeeded"}
            assert told.states(0, "beside")[-1] == (1, "stopped")

        self.sit(pupil, test)

    # -- stopping --------------------------------------------------------------------------------

    @pytest.mark.parametrize("way", ["kill", "drain", "checkpoint"])
    def test_stopping(self, pupil: Pupil, way: Any) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay", log="up"))))
            await session.reached("running")
            await session.log("p1", b"up")
            await session.engine.stop("p1", Stop(way=way, grace=30.0))
            told = await session.end("p1")
            assert told.ends() == {"p1": "stopped"}
            assert told.states()[-1] == (1, "stopped")

        self.sit(pupil, test)

    def test_who_does_not_listen_is_killed(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            entry = pupil.entry("stay", log="up", stubborn=True)
            await session.launch(a_placement("p1", a_role(entry)))
            await session.log("p1", b"up")
            await session.engine.stop("p1", Stop(way="drain", grace=0.2))
            assert (await session.end("p1")).ends() == {"p1": "stopped"}

        self.sit(pupil, test)

    def test_stopping_what_is_not_there(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.engine.stop("nobody", Stop())
            await session.engine.resize("nobody", 3)
            await session.launch(a_placement("p1", a_role(pupil.entry("done"))))
            await session.end("p1")
            await session.engine.stop("p1", Stop())
            assert not await session.engine.observe(0.2)

        self.sit(pupil, test)

    # -- reports ---------------------------------------------------------------------------------

    def test_reports_come_in_order_and_again_until_acknowledged(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            names = [f"p{number}" for number in range(5)]
            for name in names:
                await session.launch(a_placement(name, a_role(pupil.entry("done"))))
            await session.end(*names)
            streams: dict[tuple[str, str], list[int]] = {}
            for report in session.told:
                streams.setdefault((report.placement, report.stream), []).append(report.seq)
            assert {placement for placement, _ in streams} == set(names)
            assert all(numbers == sorted(set(numbers)) for numbers in streams.values())
            await session.launch(a_placement("again", a_role(pupil.entry("done"))))
            first: Sequence[Report] = ()
            while not Told(first).ends():
                first = await session.engine.observe(5.0)
            again = await session.engine.observe(5.0)
            assert list(again) == list(first)
            await session.engine.acknowledge(first[:1])
            assert list(await session.engine.observe(5.0)) == list(first[1:])
            await session.engine.acknowledge(first)
            assert not await session.engine.observe(0.1)

        self.sit(pupil, test)

    def test_known_until_the_end_is_acknowledged(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay"))))
            await session.launch(a_placement("p2", a_role(pupil.entry("done"))))
            await session.end("p2")
            assert list(await session.engine.known()) == ["p1"]
            await session.engine.stop("p1", Stop())
            await session.end("p1")
            assert list(await session.engine.known()) == []

        self.sit(pupil, test)

    def test_what_is_lost_is_reported(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay"))))
            await session.reached("running")
            await pupil.lose("p1")
            told = await session.end("p1")
            assert told.ends() == {"p1": "lost"}
            assert told.states()[-1] == (1, "lost")

        self.sit(pupil, test)

    # -- a server that comes back ----------------------------------------------------------------

    def test_another_engine_object_knows_as_much(self, pupil: Pupil) -> None:
        async def first(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay"))))
            await session.launch(a_placement("p2", a_role(pupil.entry("done"))))
            await session.until(lambda told: told.ends() == {"p2": "succeeded"})

        async def second(session: Session) -> None:
            assert list(await session.engine.known()) == ["p1"]
            placed = a_placement("p1", a_role(pupil.entry("stay")))
            await session.launch(placed)
            await session.engine.stop("p1", Stop())
            told = await session.end("p1")
            assert told.ends() == {"p1": "stopped"}
            assert (1, "stopped") in told.states()

        self.sit(pupil, first)
        self.sit(pupil, second)

    def test_reports_wait_for_who_comes_back(self, pupil: Pupil) -> None:
        async def first(session: Session) -> list[Report]:
            await session.launch(a_placement("p1", a_role(pupil.entry("done"))))
            seen: Sequence[Report] = ()
            while not Told(seen).ends():
                seen = await session.engine.observe(5.0)
            return list(seen)

        async def second(session: Session) -> list[Report]:
            return list(await session.end("p1"))

        assert self.sit(pupil, first) == self.sit(pupil, second)

    # -- logs ------------------------------------------------------------------------------------

    def test_logs_from_an_offset(self, pupil: Pupil) -> None:
        async def read(session: Session, offset: int) -> bytes:
            logs = session.engine.logs("p1", "main", 0, offset=offset, follow=False)
            return b"".join([data async for data in logs])

        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("done", log="0123456789"))))
            await session.end("p1")
            assert await read(session, 0) == b"0123456789"
            assert await read(session, 4) == b"456789"
            assert await read(session, 10) == b""
            assert await read(session, 99) == b""

        self.sit(pupil, test)

    def test_a_followed_log_ends_with_its_unit(self, pupil: Pupil) -> None:
        async def test(session: Session) -> None:
            await session.launch(a_placement("p1", a_role(pupil.entry("stay", log="up"))))
            assert await session.log("p1", b"up") == b"up"
            logs = session.engine.logs("p1", "main", 0, offset=1, follow=True)
            seen = [await anext(logs)]
            await session.engine.stop("p1", Stop())
            seen += [data async for data in logs]
            assert b"".join(seen) == b"p"

        self.sit(pupil, test)
