"""An engine in memory, on a clock that jumps from event to event: hours of work in no time.

What a task does is scripted: `script(request, role, index, attempt)` gives an `Outcome`. What an
outcome means (restarts, gangs, the placement's end) is decided by the same code as on a real
machine (`supervisor.roles`); processes, files and time are fake. The world outlives the engine
object, as a node outlives a server.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tradewind.base.errors import NotFound
from tradewind.engines.base import Handle, Request, Support
from tradewind.records import codec
from tradewind.records.load import Load
from tradewind.records.placements import Placement
from tradewind.records.reports import Report
from tradewind.records.tasks import Stop
from tradewind.supervisor import roles
from tradewind.testing.clock import FakeClock

__all__ = ["FakeClock", "FakeEngine", "FakePlacement", "FakeUnit", "Outcome", "World", "succeed"]

Call = Callable[[], None]
_LOST = {"reason": "lost", "message": "the machine is gone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one unit does. `seconds` of None: it goes on until it is stopped; `cpu` of None: as many
    CPU seconds as it takes. `progress`: after so many seconds, how much is done of how much."""

    seconds: float | None = 0.0
    exit: dict[str, Any] = field(default_factory=lambda: {"reason": "ok", "status": 0})
    outputs: dict[str, Any] = field(default_factory=dict)
    log: bytes = b""
    metrics: tuple[tuple[str, float, int], ...] = ()
    ready_after: float | None = 0.0
    stubborn: bool = False
    memory: int = 1 << 20
    cpu: float | None = None
    progress: tuple[tuple[float, float, float], ...] = ()


Script = Callable[[Request, dict[str, Any], int, int], Outcome]


def succeed(_request: Request, _role: dict[str, Any], _index: int, _attempt: int) -> Outcome:
    """The script of a world where everything works at once."""
    return Outcome()


class World:
    """What a fake engine launches into: placements, and events to come."""

    def __init__(self, clock: FakeClock | None = None, script: Script = succeed) -> None:
        self.clock = clock or FakeClock()
        self.script = script
        self.placements: dict[str, FakePlacement] = {}
        self.load: Load | None = None
        self._events: list[tuple[float, int, Call]] = []
        self._order = itertools.count()

    def after(self, seconds: float, call: Call) -> None:
        """Let something happen later."""
        at = self.clock.now() + max(0.0, seconds)
        heapq.heappush(self._events, (at, next(self._order), call))

    def run(self) -> None:
        """Everything that is due."""
        while self._events and self._events[0][0] <= self.clock.now():
            heapq.heappop(self._events)[2]()

    def jump(self, most: float) -> bool:
        """Go to the next event, if it is at most so many seconds away."""
        if not self._events or self._events[0][0] > self.clock.now() + most:
            return False
        self.clock.advance(max(0.0, self._events[0][0] - self.clock.now()))
        self.run()
        return True

    def lose(self, placement: str) -> None:
        """The machine under a placement is gone."""
        self.placements[placement].lose()


class FakeUnit:
    """A process that is an outcome (`supervisor.roles.Unit`)."""

    def __init__(
        self,
        place: FakePlacement,
        role: dict[str, Any],
        index: int,
        attempt: int,
        ended: Callable[[Any], None],
    ) -> None:
        self.place, self.role, self.index, self.attempt = place, role, index, attempt
        self.outcome = place.world.script(place.request, role, index, attempt)
        self.pid = 0
        self.exit: roles.Exit = {}
        self.usage: dict[str, float] = {}
        self.outputs: dict[str, Any] = {}
        self.phases: dict[str, float] = {}
        self.on_start: Callable[[Any], None] = lambda unit: None
        self._ended, self._over = ended, False
        self._began = place.world.clock.now()

    def start(self) -> None:
        world = self.place.world
        world.after(0.0, self._begin)

    def _begin(self) -> None:
        if self._over:
            return
        world, outcome = self.place.world, self.outcome
        self.pid = next(self.place.pids)
        key = (self.role["name"], self.index)
        self.place.logs[key] = self.place.logs.get(key, b"") + outcome.log
        self.on_start(self)
        for name, value, step in outcome.metrics:
            body = {"name": name, "value": value, "step": step}
            self.place.report("metric", body, self.role["name"], self.index, self.attempt)
        for seconds, done, total in outcome.progress:
            world.after(seconds, partial(self._tell, {"done": done, "total": total}))
        timeout = float(self.role.get("timeout") or 0)
        if timeout and (outcome.seconds is None or outcome.seconds > timeout):
            late = {"reason": "timeout", "message": f"ran longer than {timeout:g}s"}
            world.after(timeout, lambda: self._finish(late))
        elif outcome.seconds is not None:
            world.after(outcome.seconds, lambda: self._finish(outcome.exit))

    def _tell(self, body: dict[str, Any]) -> None:
        if not self._over and not self.place.over:
            self.place.report("progress", body, self.role["name"], self.index, self.attempt)

    def _finish(self, ended: roles.Exit) -> None:
        if self._over or self.place.over:
            return
        self._over = True
        seconds = self.place.world.clock.now() - self._began
        self.exit = dict(ended)
        cpu = seconds if self.outcome.cpu is None else self.outcome.cpu
        self.usage = {"cpu": cpu, "memory": self.outcome.memory, "wall": seconds}
        if ended["reason"] == "ok":
            self.outputs = dict(self.outcome.outputs)
        self._ended(self)

    def kill(self, cause: roles.Exit) -> None:
        self.place.world.after(0.0, lambda: self._finish(cause))

    def terminate(self, cause: roles.Exit, grace: float) -> None:
        wait = grace if self.outcome.stubborn else 0.0
        self.place.world.after(wait, lambda: self._finish(cause))


class FakePlacement:
    """One launched request (`supervisor.roles.Host`)."""

    def __init__(self, world: World, request: Request) -> None:
        self.world, self.request = world, request
        self.reports: list[Report] = []
        self.acknowledged = 0
        self.over = False
        self.logs: dict[tuple[str, int], bytes] = {}
        self.pids = itertools.count(100)
        self._ports = itertools.count(20_000)
        self._running = False
        self._seq = itertools.count(1)
        self._open: dict[tuple[str, int, int], str] = {}
        self.course = roles.Course(self)

    def report(
        self, kind: str, body: dict[str, Any], role: str = "", index: int = 0, attempt: int = 1
    ) -> None:
        """Append one fact."""
        made = Report(
            placement=self.request["placement"],
            seq=next(self._seq),
            at=self.world.clock.now(),
            kind=kind,
            role=role,
            index=index,
            attempt=attempt,
            body=body,
        )
        self.reports.append(made)

    def attempt(self, role: dict[str, Any], index: int, number: int, body: dict[str, Any]) -> None:
        if body["state"] == "running" and not self._running:
            self._running = True
            self.report("placement", {"state": "running"})
        self._open[role["name"], index, number] = body["state"]
        self.report("attempt", body, role["name"], index, number)

    def end(self, state: str, reason: roles.Exit) -> None:
        if not self.over:
            self.over = True
            self.report("placement", {"state": state, "reason": reason})

    def lose(self) -> None:
        """End without a word from the supervisor."""
        if self.over:
            return
        for (role, index, number), state in self._open.items():
            if state in ("preparing", "running", "ready"):
                self.report("attempt", {"state": "lost", "exit": _LOST}, role, index, number)
        self.end("lost", _LOST)

    def unit(
        self,
        role: dict[str, Any],
        index: int,
        attempt: int,
        ended: Callable[[Any], None],
        _extra: dict[str, str],
    ) -> FakeUnit:
        return FakeUnit(self, role, index, attempt, ended)

    def after(self, seconds: float, call: Call) -> None:
        self.world.after(seconds, lambda: None if self.over else call())

    def port(self) -> int:
        return next(self._ports)

    def probe(
        self,
        _port: int,
        rule: dict[str, Any],
        alive: Callable[[], bool],
        ready: Call,
        never: Callable[[str], None],
    ) -> None:
        """A fake replica is ready when its script says so."""
        newest = self.course.live()[-1]
        wait, limit = newest.outcome.ready_after, float(rule.get("timeout", 60.0))
        if wait is None or wait > limit:
            self.after(limit, lambda: never("not ready in time") if alive() else None)
        else:
            self.after(wait, lambda: ready() if alive() else None)


class FakeEngine:
    """The client of a world. With `jump`, waiting for reports moves the clock to the next event."""

    name = "fake"
    shapes: Mapping[str, Support] = {"gang": "yes", "array": "yes", "replicas": "yes"}

    def __init__(self, world: World, *, jump: bool = True) -> None:
        self.world = world
        self._jump = jump

    def render(self, placement: Placement) -> Request:
        task = placement.task
        return {
            "placement": placement.id,
            "run": placement.run,
            "task": task.name,
            "number": placement.number,
            "lease": placement.lease,
            "bundle": task.bundle,
            "environment": {"digest": task.environment.digest, "lock": task.environment.lock},
            "done": list(placement.done),
            "roles": [codec.to_json(role) for role in task.roles],
        }

    async def load(self) -> Load | None:
        return self.world.load

    async def launch(self, request: Request) -> Handle:
        name = request["placement"]
        if name not in self.world.placements:
            made = self.world.placements[name] = FakePlacement(self.world, request)
            made.course.begin()
        return {"placement": name}

    async def resize(self, placement: str, width: int, request: Request | None = None) -> None:
        found = self.world.placements.get(placement)
        if found is not None and not found.over:
            found.course.resize(width)

    async def stop(self, placement: str, stop: Stop) -> None:
        found = self.world.placements.get(placement)
        if found is not None and not found.over:
            found.course.stop(stop.way, stop.grace)

    async def observe(self, timeout: float) -> Sequence[Report]:
        await asyncio.sleep(0)
        self.world.run()
        waiting = self._waiting()
        while not waiting and self._jump and self.world.jump(timeout):
            waiting = self._waiting()
        return waiting

    def _waiting(self) -> list[Report]:
        return [
            report
            for placement in self.world.placements.values()
            for report in placement.reports
            if report.seq > placement.acknowledged
        ]

    async def acknowledge(self, reports: Sequence[Report]) -> None:
        for report in reports:
            found = self.world.placements[report.placement]
            found.acknowledged = max(found.acknowledged, report.seq)

    async def known(self) -> Sequence[str]:
        return sorted(
            name
            for name, placement in self.world.placements.items()
            if not placement.over or placement.reports[-1].seq > placement.acknowledged
        )

    async def logs(
        self, placement: str, role: str, index: int, *, offset: int, follow: bool
    ) -> AsyncIterator[bytes]:
        while True:
            found = self.world.placements.get(placement)
            over = found is None or found.over or not follow
            data = b"" if found is None else found.logs.get((role, index), b"")[offset:]
            if data:
                yield data
                offset += len(data)
            if over:
                return
            await asyncio.sleep(0)
            if self._jump:
                self.world.jump(3600.0)

    async def exec(
        self, placement: str, role: str, index: int, command: Sequence[str]
    ) -> AsyncIterator[bytes | int]:
        """Says what it was asked, and ends well."""
        found = self.world.placements.get(placement)
        if found is None or found.over or (role, index) not in found.logs:
            raise NotFound(f"no unit {role}[{index}] of {placement} runs")
        yield f"{role}[{index}]$ {' '.join(command)}\n".encode()
        yield 0

    async def close(self) -> None:
        return
