"""The exam of engines, over the one that runs processes and the one in memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tradewind.engines.base import Request
from tradewind.engines.local import LocalEngine
from tradewind.records.devices import Device
from tradewind.records.placements import Seat
from tradewind.records.tasks import Array, Entry, Gang, Shape
from tradewind.testing.engine_suite import EngineSuite, Pupil, Session, a_placement, a_role
from tradewind.testing.fake_engine import FakeEngine, Outcome, World

_LISTEN = (
    "import os, socket, time;"
    "s = socket.create_server(('127.0.0.1', int(os.environ['PORT'])));"
    "time.sleep(600)"
)
_RESUME = """
cd "$TRADEWIND_CHECKPOINTS" && [ -e deep/step ] && exit
mkdir -p "$TRADEWIND_CHECKPOINTS/deep" && echo 1 >"$TRADEWIND_CHECKPOINTS/deep/step"
exit 3
"""


class LocalPupil(Pupil):
    def __init__(self, data: Path) -> None:
        self.data = data

    def engine(self) -> LocalEngine:
        return LocalEngine(self.data)

    def entry(self, behaviour: str, **options: Any) -> Entry:
        if behaviour == "serve":
            return Entry(kind="command", args=(sys.executable, "-c", _LISTEN))
        log = shlex.quote(options.get("log", ""))
        scripts = {
            "done": f"printf %s {log}",
            "fail": f'[ "$TRADEWIND_ATTEMPT" -gt {options.get("times", 0)} ] || exit 3',
            "rank": '[ "$RANK" != 1 ] || exit 3; exec sleep 600',
            "resume": _RESUME,
            "stay": f"printf %s {log}; exec sleep 600",
        }
        script = scripts[behaviour]
        if options.get("stubborn"):
            script = f"trap '' TERM; printf %s {log}; while :; do sleep 600; done"
        return Entry(kind="command", args=("sh", "-c", script))

    async def lose(self, placement: str) -> None:
        engine = self.engine()
        status = await engine.status()
        os.kill(status["placements"][placement]["supervisor"], signal.SIGKILL)
        await engine.close()

    def close(self) -> None:
        async def end() -> None:
            engine = self.engine()
            await engine.shutdown(stop=True)
            await engine.close()

        with contextlib.suppress(OSError):
            asyncio.run(end())


class TestLocal(EngineSuite):
    @pytest.fixture
    def pupil(self, tmp_path: Path) -> Iterator[LocalPupil]:
        pupil = LocalPupil(tmp_path)
        yield pupil
        pupil.close()

    @pytest.mark.parametrize(
        ("shape", "shown"),
        [(Gang(least=1, most=3), ["0", "2", "2"]), (Array(count=3, at_once=1), ["0", "2"])],
    )
    def test_who_is_more_sees_the_devices_of_more(
        self, pupil: LocalPupil, shape: Shape, shown: list[str]
    ) -> None:
        """A gang begins anew with both, an array goes on."""
        shows = "printf %s $SLICES >>$OUT/$TRADEWIND_EPOCH-$TRADEWIND_INDEX; exec sleep 600"
        entry = Entry(kind="command", args=("sh", "-c", shows))
        out = pupil.data / "out"
        out.mkdir()

        def said() -> list[str]:
            return sorted(char for each in out.iterdir() for char in each.read_text())

        async def test(session: Session) -> None:
            engine = session.engine
            assert isinstance(engine, LocalEngine)
            engine.has([Device(str(number), "slice", "SLICES") for number in range(3)])
            role = a_role(entry, shape, env={"OUT": str(out)})
            placed = replace(a_placement("p1", role), seats=(Seat("here", (2,)),))
            await session.launch(placed)
            await session.until(lambda _: said() == ["2"])
            wider = replace(placed, seats=(*placed.seats, Seat("here", (0,))))
            await engine.resize("p1", 2, engine.render(wider))
            await session.until(lambda _: said() == shown)

        self.sit(pupil, test)


class FakePupil(Pupil):
    def __init__(self) -> None:
        self.world = World(script=self.script)
        self.checkpoints: set[tuple[str, str, int]] = set()

    def engine(self) -> FakeEngine:
        return FakeEngine(self.world)

    def entry(self, behaviour: str, **options: Any) -> Entry:
        words = [behaviour, str(options.get("times", 0)), options.get("log", "")]
        return Entry(kind="command", args=(*words, "stubborn" if options.get("stubborn") else ""))

    def script(self, request: Request, role: dict[str, Any], index: int, attempt: int) -> Outcome:
        behaviour, times, log, stubborn = role["entry"]["args"]
        broken = {"reason": "error", "status": 3, "message": "exit status 3"}
        if behaviour == "fail" and attempt <= int(times):
            return Outcome(seconds=0.1, exit=broken)
        unit = (request["run"], role["name"], index)
        if behaviour == "resume" and unit not in self.checkpoints:
            self.checkpoints.add(unit)
            return Outcome(seconds=0.1, exit=broken)
        if behaviour == "rank" and index == 1:
            return Outcome(seconds=0.1, exit=broken)
        if behaviour in ("stay", "serve", "rank"):
            return Outcome(seconds=None, log=log.encode(), stubborn=bool(stubborn))
        return Outcome(log=log.encode())

    async def lose(self, placement: str) -> None:
        self.world.lose(placement)


class TestFake(EngineSuite):
    @pytest.fixture
    def pupil(self) -> FakePupil:
        return FakePupil()
