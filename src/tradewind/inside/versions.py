"""Two versions of a function, called side by side with the same samples: what a change to it did.

Each version has a process of its own, forked before either is imported, and all that probes have
(`probing`): a few calls, and little time. First each finds how large a sample it has time for; then
both are called with the smaller one, at the same time and on one core: every few milliseconds the
kernel gives it to the other, and what else the machine does meets them alike. In these calls the
lines are looked at. What one version does wrong, to its death, is a problem told, and the other is
measured all the same.

Measured on a crowded host, half a second of equal work in two processes: one after the other their
CPU seconds differ by 15 % (standard deviation of the logarithm), on one core by 1 %; beside three
busy neighbours by 12 and 3 to 4 %.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
import traceback
from typing import Any, Sequence

from . import linux, measure, outputs, probing, profiling
from .ends import of_exception, of_system_exit
from .groups import Group
from .loading import Failure, load

# Where the code of before lies in a bundle that has both.
FOLDER = ".against"
# Calls of both with the same sample, after the first.
TURNS = 2
# What computes on more than so many cores at once has all of them: threads that wait for each other
# would wait for the one core.
NARROW = 1.2
# Seconds until a version that says nothing is given up: its imports, and its probes so many times.
PATIENCE, TIMES = 60.0, 6.0
# And so many for a call that takes next to none.
LEAST = 1.0
# What is told in one report: so many lines of each.
MOST_LINES = 80
_Told = profiling.Told


def carry_out(start: dict[str, Any], phases: dict[str, float]) -> dict[str, Any]:
    """Slot → the findings of the present version as `probing` tells them, and in `against` those of
    the earlier one, with `samples`: each version's calls with the same sample, and their lines."""
    began = time.perf_counter()
    call = start["entry"]["call"]["probe"]
    patience = PATIENCE + TIMES * float(call["seconds"])
    with probing.silenced(start["out"]) as folder:
        both: dict[str, Version] = {}
        try:
            for name, told in (("now", _without(start)), ("before", _earlier(start))):
                known = [fd for other in both.values() for fd in other.fds]
                both[name] = Version(told, os.path.join(folder, name), patience, known)
            found = _compared(both)
        finally:
            for each in both.values():
                each.end()
    phases["call"] = time.perf_counter() - began
    return outputs.keep(found, start)


def _compared(both: dict[str, Version]) -> dict[str, Any]:
    chosen = {name: each.ask("prepare") for name, each in both.items()}
    found = {name: told["sample"] for name, told in chosen.items() if told.get("sample")}
    if len(found) == len(both):
        sample = min(found.values(), key=_rows)
        given = int(os.environ.get("TRADEWIND_MEMORY") or 0)
        room = not given or sum(told["memory"] for told in chosen.values()) < given
        for _ in range(TURNS):
            if not _called(list(both.values()), sample, room):
                break
    else:
        for name, sample in found.items():
            both[name].ask("alone", sample)
    ends = {name: each.ask("tell") for name, each in both.items()}
    if "input" not in ends["now"]:  # then there is nothing to quote
        raise Failure("error", ends["now"]["problems"][0]["message"])
    samples = {name: told.pop("samples", {}) for name, told in ends.items()}
    return {**ends["now"], "against": {**ends["before"], "samples": samples}}


def _called(both: Sequence[Version], sample: Any, room: bool) -> bool:
    """Call both with this sample, at the same time if the task has `room` for the memory of both;
    whether they came back."""
    core, told = linux.a_core(), []
    for some in [both] if room else [[each] for each in both]:
        ordered = [each for each in some if each.order("call", sample, core)]
        told += [each.answer() for each in ordered]
    return len(told) == len(both) and all(each and each["came"] for each in told)


def _rows(sample: list[Any]) -> int:
    return sum(Group(*group).rows for group in sample[1])


def _without(start: dict[str, Any]) -> dict[str, Any]:
    """The start of the present version, as if there were no other."""
    entry = start["entry"]
    probe = {key: value for key, value in entry["call"]["probe"].items() if key != "against"}
    return {**start, "entry": {**entry, "call": {**entry["call"], "probe": probe}}}


def _earlier(start: dict[str, Any]) -> dict[str, Any]:
    """The start of the earlier version: its own code, called as it was, with what is given now."""
    made = _without(start)
    against = start["entry"]["call"]["probe"]["against"]
    call = {**against["entry"]["call"], "probe": made["entry"]["call"]["probe"]}
    made["entry"] = {**made["entry"], **against["entry"], "call": call}
    made["params"] = against["params"]
    made["bundle"] = os.path.join(start["bundle"], FOLDER) if start.get("bundle") else ""
    return made


class Version:
    """The process of one version, as seen from the one that orders the calls."""

    def __init__(
        self, start: dict[str, Any], folder: str, patience: float, known: Sequence[int]
    ) -> None:
        """`known` are the descriptors of other versions, which are none of its business."""
        os.mkdir(folder)
        self._patience, self._gone = patience, ""
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            for fd in (self._orders, self._answers, *known):
                os.close(fd)
            linux.die_with_parent(parent)
            _live(start, folder, orders, answers)
        os.close(orders)
        os.close(answers)
        self._left = b""

    @property
    def fds(self) -> tuple[int, int]:
        """Its descriptors here."""
        return self._orders, self._answers

    def ask(self, what: str, sample: Any = None) -> dict[str, Any]:
        """Order something, and wait for what is told. A version that died says that."""
        told = self.answer() if self.order(what, sample) else None
        if told is not None:
            return told
        problems = [{"kind": "died", "message": self._gone}]
        return {"problems": problems, "calls": []} if what == "tell" else {}

    def order(self, what: str, sample: Any = None, core: int = 0) -> bool:
        """Order something; False if the version has died."""
        order = json.dumps({"do": what, "sample": sample, "core": core}).encode() + b"\n"
        try:
            view = memoryview(b"" if self._gone else order)
            while view:
                view = view[os.write(self._orders, view) :]
        except OSError as error:
            self._die(error)
        return not self._gone

    def answer(self) -> dict[str, Any] | None:
        """What is told, when it is; None if the version dies."""
        try:
            return self._answer()
        except (OSError, ValueError, EOFError) as error:
            self._die(error)
        return None

    def _die(self, error: BaseException) -> None:
        self._gone = _how(self.end(kill=not isinstance(error, EOFError)), error)

    def _answer(self) -> dict[str, Any]:
        until = time.monotonic() + self._patience
        while b"\n" not in self._left:
            ready = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]
            if not ready:
                raise TimeoutError(f"it said nothing for {self._patience:g} s")
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise EOFError
            self._left += part
        line, _newline, self._left = self._left.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def end(self, kill: bool = True) -> int:
        """End the process, or wait for one that ends; how it did, as `waitpid` has it."""
        if not self._pid:
            return 0
        for fd in self.fds:
            os.close(fd)
        if kill:
            os.kill(self._pid, signal.SIGKILL)
        _pid, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return status


def _how(status: int, error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return str(error)
    if os.WIFSIGNALED(status):
        return "its process was killed by " + signal.Signals(os.WTERMSIG(status)).name
    return f"its process ended with status {os.WEXITSTATUS(status)}"


# -- in the process of a version -------------------------------------------------------------------


def _live(start: dict[str, Any], folder: str, orders: int, answers: int) -> None:
    """Obey until nobody orders any more. Does not return."""
    status = 1
    try:
        with os.fdopen(orders, "rb") as hears, os.fdopen(answers, "wb") as says:
            _obey(start, folder, hears, says)
        status = 0
    except BrokenPipeError:
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)


def _obey(start: dict[str, Any], folder: str, hears: Any, says: Any) -> None:
    _settle(start, folder)
    probe: Watched | None = None
    problem: dict[str, Any] = {}
    since = measure.busy()
    for line in hears:
        order = json.loads(line)
        if probe is not None:
            probe.waited(since)
        told: dict[str, Any] = {}
        if order["do"] == "prepare":
            probe, problem = _loaded(start, folder)
            sample = probe.first() if probe is not None else None
            told = {"sample": sample, "memory": probe.peak() if probe is not None else 0}
        elif probe is None:
            told = {"problems": [problem], "calls": []}
        elif order["do"] == "tell":
            told = {**probe.told(), "samples": probe.samples}
        else:
            files, groups = order["sample"]
            sample = files, [Group(*group) for group in groups]
            if order["do"] == "call":
                told = {"came": probe.beside(sample, order["core"])}
            else:
                probe.repeat(sample)
        says.write(json.dumps(told).encode() + b"\n")
        says.flush()
        since = measure.busy()


def _settle(start: dict[str, Any], folder: str) -> None:
    """A folder of its own to work in, and its own code on the path."""
    bundle = start.get("bundle", "")
    start["out"] = os.path.join(folder, "out")
    work = os.path.join(folder, "work")
    os.mkdir(work)
    for name in os.listdir(bundle) if os.path.isdir(bundle) else ():
        if name != FOLDER:
            os.symlink(os.path.join(bundle, name), os.path.join(work, name))
    os.chdir(work)
    sys.path[:] = [path for path in sys.path if path not in start.get("path", ())]
    if bundle:
        sys.path.insert(0, bundle)
    for name, value in (("BUNDLE", bundle), ("PARAMS", json.dumps(start.get("params") or {}))):
        os.environ["TRADEWIND_" + name] = value


def _loaded(start: dict[str, Any], folder: str) -> tuple[Watched | None, dict[str, Any]]:
    """The probe of its function, or what went wrong when it was loaded."""
    try:
        return Watched(load(start), start, folder), {}
    except Failure as error:
        ended = error.exit
    except SystemExit as leaving:
        ended = of_system_exit(leaving)
    except BaseException as error:
        ended = of_exception(error, start)
        ended["message"] = "{}: {}".format(type(error).__name__, ended["message"])
    return None, {"kind": "import", "message": str(ended.get("message", "it ended"))[:1000]}


class Watched(probing.Probe):
    """A probe whose calls are looked at, line by line."""

    def __init__(self, function: Any, start: dict[str, Any], folder: str) -> None:
        super().__init__(function, start, folder)
        self._longest = 0.0
        self._seen: list[tuple[dict[str, Any], _Told]] = []
        self._turns: list[tuple[dict[str, Any], _Told]] = []
        self.samples: dict[str, Any] = {}

    def waited(self, since: tuple[float, float]) -> None:
        """Since then it was another's turn, which is no time of ours and no neighbour."""
        now = measure.busy()
        self._began += now[0] - since[0]
        self._load = (self._load[0] + now[0] - since[0], self._load[1] + now[1] - since[1])

    def first(self) -> probing.Sample | None:
        """The largest sample that it has time for; without any table to sample all of it."""
        chosen = self.prepare()
        if chosen is None and len(self.calls) == 1 and not self.tables:
            chosen = self._whole()
        return chosen

    def peak(self) -> int:
        """Bytes that it had in memory at most."""
        return max((int(call["memory"]) for call in self.calls), default=0)

    def beside(self, sample: probing.Sample, core: int) -> bool:
        """A call with this sample, while the other version makes the same; whether it came back.
        What was called with a larger one is left out, so that both are quoted by the same."""
        rows = sum(group.rows for group in sample[1])
        longest = max(self.calls, key=lambda call: float(call["wall"]))
        self._longest = max(self._longest, float(longest["wall"]))
        self.calls[:] = [call for call in self.calls if call["rows"] <= rows]
        if longest["cpu"] <= NARROW * longest["wall"]:
            linux.only_on(core)
        since, own, before = measure.busy(), measure.cpu_seconds(), len(self._seen)
        delayed = measure.delayed()
        self._tried(lambda: self._in_time(sample, 2 * probing.AGAIN * self._longest + LEAST))
        self.waited(since)
        self._own += measure.cpu_seconds() - own
        for made, _told in self._seen[before:]:
            # While the other one has the core it is not called.
            called = max(made["cpu"], made["wall"] - measure.delayed() + delayed)
            if called < made["wall"]:
                made["inside"] = made.get("inside", 0.0) * called / made["wall"]
                made["wall"] = called
        self._turns += self._seen[before:]
        self.samples = self._compared(rows, self._turns)
        return len(self._seen) > before

    @staticmethod
    def _compared(rows: int, mine: list[tuple[dict[str, Any], _Told]]) -> dict[str, Any]:
        """These calls with what was seen in all of them. The first of that size is not among them:
        it touches its memory afresh."""
        lines: dict[str, float] = {}
        looks, works = 0.0, []
        for made, told in mine:
            rest = dict(told)
            looks += rest.pop(f"{profiling.MARK}\t\t{profiling.SAMPLES}", 0.0)
            rest.pop(f"{profiling.MARK}\t\t{profiling.WAITED}", None)
            works.append({"cpu": made["cpu"], "wall": made["wall"]})
            for name, seconds in rest.items():
                lines[name] = lines.get(name, 0.0) + seconds
        most = sorted(lines, key=lambda name: -lines[name])[:MOST_LINES]
        seen = {name: round(lines[name], 6) for name in most}
        return {"rows": rows, "works": works, "looks": int(looks), "lines": seen}

    def _call(self, sample: probing.Sample, seconds: float, **more: Any) -> dict[str, Any] | None:
        bundle = self.start.get("bundle", "")
        if not bundle:
            made = super()._call(sample, seconds, **more)
            told: _Told = {}
        else:
            sampler = profiling.Sampler(bundle, lambda _told: None, profiling.SHORTEST)
            sampler.start()
            try:
                made = super()._call(sample, seconds, **more)
            finally:
                told = sampler.stop()
        if made is not None:
            self._seen.append((made, told))
        return made
