"""The three shapes: what is started, what an end means, what is started again.

A role owns its units. It tells its host of attempts (`host.attempt`) and its course, once, of its
own end (`course.role_ended`). A role is `finite` unless it is kept alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Exit = dict[str, Any]


class Unit(Protocol):
    """One process, as a role sees it (`unit.Unit`; `testing.fake_engine` has another)."""

    index: int
    attempt: int
    pid: int
    exit: Exit
    usage: dict[str, float]
    outputs: dict[str, Any]
    phases: dict[str, float]
    on_start: Callable[[Any], None]

    def start(self) -> None: ...

    def kill(self, cause: Exit, /) -> None: ...

    def terminate(self, cause: Exit, grace: float, /) -> None: ...


class Host(Protocol):
    """Who carries out what a role decides: the supervisor, or a fake one."""

    request: dict[str, Any]

    def unit(
        self,
        role: dict[str, Any],
        index: int,
        attempt: int,
        ended: Callable[[Any], None],
        extra: dict[str, str],
        /,
    ) -> Unit: ...

    def after(self, seconds: float, call: Callable[[], None], /) -> None: ...

    def port(self) -> int: ...

    def probe(
        self,
        port: int,
        rule: dict[str, Any],
        alive: Callable[[], bool],
        ready: Callable[[], None],
        never: Callable[[str], None],
        /,
    ) -> None: ...

    def attempt(
        self, role: dict[str, Any], index: int, number: int, body: dict[str, Any], /
    ) -> None: ...

    def end(self, state: str, reason: Exit, /) -> None: ...


STOPPED: Exit = {"reason": "stopped", "message": "stopped on request"}
_STATES = {"ok": "succeeded", "stopped": "stopped", "lost": "lost"}


def state_of(ended: Exit) -> str:
    """The attempt's state for an exit."""
    return _STATES.get(ended["reason"], "failed")


def delay(rule: dict[str, Any], tries: int) -> float:
    """Seconds to wait after `tries` failed tries (`records.tasks.Restart.delay`)."""
    wait = float(rule.get("backoff", 1.0)) * float(rule.get("factor", 2.0)) ** min(tries - 1, 60)
    return min(float(rule.get("ceiling", 300.0)), wait)


class Shape:
    """What the three have in common."""

    finite = True

    def __init__(self, course: Course, role: dict[str, Any]) -> None:
        self.course, self.host, self.role = course, course.host, role
        self.name: str = role["name"]
        self.units: list[Unit] = []
        self.stopping = False
        self.over = False
        self.state = ""
        self.exit: Exit = {}
        self._seats: dict[int, int] = {}

    def _shown(self, index: int) -> dict[str, str]:
        """To a process that begins, the environment that shows it the devices that it holds: those
        of the first seat of its role that nobody has. An item follows another one there."""
        devices = self.host.request.get("devices", {}).get(self.name, ())
        taken = {self._seats.get(unit.index) for unit in self.units}
        seat = next(seat for seat in range(len(taken) + 1) if seat not in taken)
        self._seats[index] = seat
        return dict(devices[min(seat, len(devices) - 1)]) if devices else {}

    def begin(self) -> None:
        raise NotImplementedError

    def resize(self, width: int) -> None:
        raise NotImplementedError

    def stop(self, way: str, grace: float) -> None:
        """End all units; begin nothing new."""
        self.stopping = True
        for unit in list(self.units):
            self._stop_unit(unit, way, grace)
        self._check()

    def _stop_unit(self, unit: Unit, way: str, grace: float, cause: Exit = STOPPED) -> None:
        if way == "kill":
            unit.kill(cause)
        else:
            unit.terminate(cause, grace)

    def _check(self) -> None:
        raise NotImplementedError

    def _end(self, state: str, ended: Exit) -> None:
        if not self.over:
            self.over, self.state, self.exit = True, state, ended
            self.course.role_ended(self)


class Gang(Shape):
    """All or none, as one attempt with index 0. The first member's failure ends all; the control
    plane decides about another try. A resize stops the members and starts the next epoch."""

    def __init__(self, course: Course, role: dict[str, Any]) -> None:
        super().__init__(course, role)
        self.width = int(role["shape"].get("least", 1))
        self.epoch = 1
        self._next_width = 0
        self._failure: Exit | None = None
        self._ended: list[Unit] = []
        self._started = 0

    def begin(self) -> None:
        self._ended, self._started = [], 0
        world = {"WORLD_SIZE": str(self.width), "TRADEWIND_EPOCH": str(self.epoch)}
        if self.width > 1 or self.role["shape"].get("most", 1) > 1:
            world["MASTER_ADDR"] = "127.0.0.1"
            world["MASTER_PORT"] = str(self.host.port())
        for rank in range(self.width):
            extra = {**self._shown(rank), **world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            extra.update(named_ports(self.host, self.role)[1])
            unit = self.host.unit(self.role, rank, self.epoch, self._unit_ended, extra)
            unit.on_start = self._unit_started
            self.units.append(unit)
        for unit in list(self.units):
            unit.start()

    def _unit_started(self, unit: Unit) -> None:
        self._started += 1
        if self._started == self.width and self._failure is None:
            pid = self.units[0].pid
            self.host.attempt(self.role, 0, 1, {"state": "running", "pid": pid, **self._epoch()})

    def _epoch(self) -> dict[str, Any]:
        return (
            {"epoch": self.epoch, "width": self.width} if self.width > 1 or self.epoch > 1 else {}
        )

    def _unit_ended(self, unit: Unit) -> None:
        self.units.remove(unit)
        self._ended.append(unit)
        fine = unit.exit["reason"] == "ok"
        if not fine and self._failure is None and not self._next_width:
            self._failure = dict(unit.exit)
            if self.width > 1 and not self.stopping:
                self._failure["rank"] = unit.index
                words = unit.exit.get("message", unit.exit["reason"])
                self._failure["message"] = f"member {unit.index} of {self.width}: {words}"
            for other in list(self.units) if not self.stopping else ():
                other.kill({"reason": "stopped", "message": f"member {unit.index} failed"})
        self._check()

    def _check(self) -> None:
        if self.units or self.over:
            return
        cut_short = any(unit.exit["reason"] == "stopped" for unit in self._ended)
        if self._next_width and cut_short and not self.stopping:
            self.width, self._next_width, self.epoch = self._next_width, 0, self.epoch + 1
            self.begin()
            return
        ended = self._failure or (STOPPED if self.stopping and not self._ended else {})
        first = min(self._ended, key=lambda unit: unit.index, default=None)
        if not ended:
            ended = first.exit if first else STOPPED
        body = end_body(ended, first)
        body["usage"] = _together([unit.usage for unit in self._ended])
        self.host.attempt(self.role, 0, 1, body)
        self._end(body["state"], ended)

    def resize(self, width: int) -> None:
        shape = self.role["shape"]
        wanted = max(int(shape.get("least", 1)), min(int(shape.get("most", 1)), width))
        if wanted == (self._next_width or self.width) or self.stopping or self.over:
            return
        self._next_width = wanted
        stop = self.role.get("stop", {})
        for unit in list(self.units):
            self._stop_unit(unit, stop.get("way", "kill"), float(stop.get("grace", 10.0)))


class Array(Shape):
    """Each item once, some at the same time; a failed item is tried again by the restart rule."""

    def __init__(self, course: Course, role: dict[str, Any]) -> None:
        super().__init__(course, role)
        count = int(role["shape"]["count"])
        done = {int(index) for index in self.host.request.get("done", ())}
        self.at_once = max(1, int(role["shape"].get("at_once", 1)))
        self._todo = [index for index in range(count) if index not in done]
        self._todo.reverse()
        self._tries: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._deaths: dict[int, int] = {}
        self._failed: dict[int, Exit] = {}
        self._waiting = 0

    def begin(self) -> None:
        self._fill()
        self._check()

    def _fill(self) -> None:
        while self._todo and len(self.units) < self.at_once and not self.stopping:
            index = self._todo.pop()
            self._tries[index] = self._tries.get(index, 0) + 1
            shown = self._shown(index)
            unit = self.host.unit(self.role, index, self._tries[index], self._unit_ended, shown)
            unit.on_start = self._unit_started
            self.units.append(unit)
            unit.start()

    def _unit_started(self, unit: Unit) -> None:
        body = {"state": "running", "pid": unit.pid}
        self.host.attempt(self.role, unit.index, unit.attempt, body)

    def _unit_ended(self, unit: Unit) -> None:
        self.units.remove(unit)
        body = end_body(unit.exit, unit)
        again = self._again(unit)
        if again is not None:
            body["retry_in"] = again
            self._waiting += 1
            self.host.after(again, lambda: self._retry(unit.index))
        elif body["state"] != "succeeded":
            self._failed[unit.index] = unit.exit
        self.host.attempt(self.role, unit.index, unit.attempt, body)
        self._fill()
        self._check()

    def _again(self, unit: Unit) -> float | None:
        """Seconds until the next try, or None if there is none."""
        if self.stopping or unit.exit["reason"] in ("ok", "stopped"):
            return None
        if unit.exit["reason"] == "lost":  # not the user's fault: does not count
            return 0.1 if unit.attempt < 20 else None
        rule = self.role.get("restart", {})
        deaths = self._deaths.get(unit.index, 0)
        if unit.exit.get("signal") == "SIGKILL" and deaths < int(rule.get("deaths", 0)):
            self._deaths[unit.index] = deaths + 1
            return 0.1
        failures = self._failures[unit.index] = self._failures.get(unit.index, 0) + 1
        return delay(rule, failures) if failures <= int(rule.get("most", 0)) else None

    def _retry(self, index: int) -> None:
        self._waiting -= 1
        if not self.stopping:
            self._todo.append(index)
        self._fill()
        self._check()

    def _check(self) -> None:
        if self.units or self.over or (not self.stopping and (self._todo or self._waiting)):
            return
        if self.stopping and (self._todo or self._waiting or self._stopped_some()):
            self._end("stopped", STOPPED)
        elif self._failed:
            index = min(self._failed)
            first, total = self._failed[index], int(self.role["shape"]["count"])
            words = first.get("message", first["reason"])
            text = f"{len(self._failed)} of {total} items failed; item {index}: {words}"
            self._end("failed", {**first, "message": text, "items": sorted(self._failed)[:1000]})
        else:
            self._end("succeeded", {"reason": "ok"})

    def _stopped_some(self) -> bool:
        return any(ended["reason"] == "stopped" for ended in self._failed.values())

    def resize(self, width: int) -> None:
        self.at_once = max(1, width)
        self._fill()


class Replicas(Shape):
    """Kept alive until stopped. A replica that fails more often in a row than its restart rule
    allows is given up; the role fails when none is left."""

    finite = False
    # A replica that ran this long starts counting its failures anew.
    SETTLED = 60.0

    def __init__(self, course: Course, role: dict[str, Any]) -> None:
        super().__init__(course, role)
        self.count = int(role["shape"]["count"])
        self._tries: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._given_up: dict[int, Exit] = {}

    def begin(self) -> None:
        for index in range(self.count):
            self._start(index)
        self._check()

    def _start(self, index: int) -> None:
        self._waiting.discard(index)
        taken = any(unit.index == index for unit in self.units)
        if self.stopping or index >= self.count or taken:
            self._check()
            return
        self._tries[index] = self._tries.get(index, 0) + 1
        port, extra = named_ports(self.host, self.role)
        extra.update(self._shown(index))
        unit = self.host.unit(self.role, index, self._tries[index], self._unit_ended, extra)
        address = f"127.0.0.1:{port}"

        def ready() -> None:
            body = {"state": "ready", "address": address}
            self.host.attempt(self.role, index, unit.attempt, body)

        def never(message: str) -> None:
            unit.kill({"reason": "timeout", "message": message})

        def started(_unit: Unit) -> None:
            body = {"state": "running", "pid": unit.pid, "address": address}
            self.host.attempt(self.role, index, unit.attempt, body)
            rule = self.role.get("readiness")
            if rule is not None:
                self.host.probe(port, rule, lambda: unit in self.units, ready, never)

        unit.on_start = started
        self.units.append(unit)
        unit.start()

    def _unit_ended(self, unit: Unit) -> None:
        self.units.remove(unit)
        surplus = unit.index >= self.count
        ended = unit.exit
        if ended["reason"] == "ok" and not self.stopping and not surplus:
            ended = {**ended, "message": "ended by itself; a replica is kept alive"}
        body = end_body(ended, unit)
        if not self.stopping and not surplus:
            again = self._again(unit)
            if again is None:
                self._given_up[unit.index] = ended
            else:
                body["retry_in"] = again
                self._waiting.add(unit.index)
                self.host.after(again, lambda: self._start(unit.index))
        self.host.attempt(self.role, unit.index, unit.attempt, body)
        self._check()

    def _again(self, unit: Unit) -> float | None:
        rule, index = self.role.get("restart", {}), unit.index
        if unit.usage.get("wall", 0.0) > self.SETTLED:
            self._failures[index] = 0
        if unit.exit["reason"] == "lost":
            return 0.1
        self._failures[index] = self._failures.get(index, 0) + 1
        allowed = self._failures[index] <= int(rule.get("most", 0))
        return delay(rule, self._failures[index]) if allowed else None

    def _check(self) -> None:
        if self.units or self.over or (self._waiting and not self.stopping):
            return
        if self.stopping or self.count == 0:
            self._end("stopped", STOPPED)
        elif self._given_up:
            index = min(self._given_up)
            first = self._given_up[index]
            words = first.get("message", first["reason"])
            text = f"no replica is left; replica {index}: {words}"
            self._end("failed", {**first, "message": text})

    def resize(self, width: int) -> None:
        before, self.count = self.count, max(0, width)
        stop = self.role.get("stop", {})
        for unit in list(self.units):
            if unit.index >= self.count:
                self._stop_unit(unit, stop.get("way", "kill"), float(stop.get("grace", 10.0)))
        for index in range(before, self.count):
            self._given_up.pop(index, None)
            self._start(index)
        self._check()


_SHAPES: dict[str, type[Shape]] = {"gang": Gang, "array": Array, "replicas": Replicas}


class Course:
    """The roles of one placement, from their beginning to the placement's end.

    It is over when all finite roles are; what is kept alive is then drained. The first role that
    fails ends the others.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.roles: list[Shape] = []
        self._over = False

    def begin(self) -> None:
        """Start everything."""
        self.roles = [
            _SHAPES[role["shape"]["shape"]](self, role) for role in self.host.request["roles"]
        ]
        for shape in self.roles:
            if not shape.over:
                shape.begin()

    def role_ended(self, shape: Shape) -> None:
        """See whether that was the last one that mattered."""
        if shape.state in ("failed", "lost"):
            self._stop_rest("kill")
        live = [each for each in self.roles if not each.over]
        finite = any(each.finite for each in self.roles)
        if live and finite and not any(each.finite for each in live):
            self._stop_rest("drain")
            live = [each for each in self.roles if not each.over]
        if not live and not self._over:
            self._over = True
            self.host.end(*self._outcome())

    def _stop_rest(self, way: str) -> None:
        for shape in self.roles:
            if not shape.over and not shape.stopping:
                rule = shape.role.get("stop", {})
                shape.stop(way, float(rule.get("grace", 10.0)) if way != "kill" else 0.0)

    def _outcome(self) -> tuple[str, Exit]:
        finite = [shape for shape in self.roles if shape.finite] or self.roles
        for state in ("failed", "lost", "stopped"):
            for shape in finite if state == "stopped" else self.roles:
                if shape.state == state:
                    return state, shape.exit
        return "succeeded", {"reason": "ok"}

    def stop(self, way: str, grace: float) -> None:
        """Somebody asked for the end."""
        for shape in self.roles:
            if not shape.over:
                shape.stop(way, grace)

    def resize(self, width: int) -> None:
        """The first role is the one whose width is meant."""
        self.roles[0].resize(width)

    def live(self) -> list[Any]:
        """The units that run now."""
        return [unit for shape in self.roles for unit in shape.units]


def end_body(ended: Exit, unit: Unit | None) -> dict[str, Any]:
    """The body of an attempt's end."""
    body: dict[str, Any] = {"state": state_of(ended), "exit": ended}
    if unit is not None:
        body["usage"], body["outputs"] = unit.usage, unit.outputs
        body["phases"] = {name: round(value, 6) for name, value in unit.phases.items()}
    return body


def named_ports(host: Host, role: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Fresh ports for the role's names; the first is `PORT` too. Replicas have at least one. `HOST`
    is where to listen: here, for this machine alone."""
    names = list(role.get("ports") or ())
    if not names and role["shape"]["shape"] == "replicas":
        names = ["http"]
    numbers = {name: host.port() for name in names}
    if not numbers:
        return 0, {}
    first = next(iter(numbers.values()))
    env = {"HOST": "127.0.0.1", "PORT": str(first)}
    for name, number in numbers.items():
        env["PORT_" + name.upper().replace("-", "_")] = str(number)
    return first, env


def _together(usages: list[dict[str, float]]) -> dict[str, float]:
    """The usage of a gang: core-seconds and memory add up."""
    return {
        "cpu": round(sum(usage.get("cpu", 0.0) for usage in usages), 6),
        "memory": sum(usage.get("memory", 0) for usage in usages),
        "wall": max((usage.get("wall", 0.0) for usage in usages), default=0.0),
    }
