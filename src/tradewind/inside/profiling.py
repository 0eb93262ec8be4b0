"""Where the time of user code goes, line by line: a thread that looks at the stacks now and then.

Mostly a thread and not a signal's timer. Signals cut short what C libraries wait for, belong to the
user, and are served only once a call into C is over. A thread sees that call while it lasts, and
user code never meets it: it is unknown to `threading`, and gone while the process forks.

But a thread needs the interpreter's lock to look. Code that gives it away every few microseconds,
for a small write or a small array, would be seen only there. So where the main thread computes and
the lock was free at once, the look is left to one shot of a timer of CPU time (SIGPROF), which
comes at any moment, and never while the process waits. Where user code has such a timer or a
handler of its own, that is left alone.

A look costs 100 to 200 µs (benchmarks/bench_cost.py), and once looking has taken `ADVANCE` the pace
falls until the rest is `SHARE` of the time. Until user code has run for `FIRST` seconds there is
nothing but a thread that sleeps.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the names of `signal`, which cost
import contextlib
import functools
import inspect
import os
import sys
import threading
import time

# By their names of now: libraries that put threads of their own in the place of all others do it
# by changing the modules.
from _thread import allocate_lock, get_ident, start_new_thread
from types import CodeType, FrameType
from typing import Any, Callable, Dict, Iterable, Iterator, Tuple

from . import places

# What a name of a phase begins with that is a line: MARK file TAB line TAB callee. Without a file
# the last part is one of the buckets below; or SAMPLES, whose seconds are how often was looked, or
# WAITED, for how much of all the time the process hardly computed.
MARK = "at\t"
SAMPLES, WAITED, IDLE, OUTSIDE, IMPORTS, INPUTS, OUTPUTS, REST = (
    *("samples", "waited", "idle", "outside", "imports", "inputs", "outputs", "rest"),
)  # fmt: skip

FIRST = 0.25
# Seconds between two looks: at first, at last, and as a part of the time that it runs already.
SHORTEST, LONGEST, PART = 0.01, 0.05, 1 / 500
# The part of a core that the thread itself may take. What it costs besides, in locks that change
# hands, caches and the timer's looks, is about half as much again.
SHARE = 0.004
# Seconds of a core that come before that: else a program of a second is seen ten times, which names
# no line.
ADVANCE = 0.003
# What is told while it runs comes after this many seconds, then after twice as many, and so on.
TELL = 10.0
MOST_LINES, MOST_PLACES = 150, 5000
# CPU seconds until a timer's look, about: the kernel counts them in ticks.
SHOT = 0.002
# One that comes only after this many was held up by a call.
LONG = 0.015
WAITS = "\0"

_OWN = os.path.dirname(__file__) + os.sep
# What has these in front is nobody's code here; to follow its links would take milliseconds.
_INSTALLED = ("<", os.path.dirname(os.__file__) + os.sep, sys.prefix + os.sep + "lib")
_DOING = {
    "inputs": INPUTS, "tables": INPUTS, "groups": INPUTS, "styles": INPUTS,
    "outputs": OUTPUTS, "sink": OUTPUTS, "staged": OUTPUTS,
}  # fmt: skip
# What user code was seen at: a line with what it calls, or (code, instruction) while it calls none.
Place = Tuple[Any, Any, str]
Told = Dict[str, float]


@contextlib.contextmanager
def watching(bundle: str, post: Callable[[dict[str, Any]], Any]) -> Iterator[None]:
    """Look at what runs in here, and post it as phases; now and then while it lasts, too."""

    def tell(told: Told) -> None:
        with contextlib.suppress(ValueError):  # too long to report
            post({"kind": "phase", "phases": told})

    sampler = Sampler(bundle, tell) if bundle else None
    if sampler is not None:
        sampler.start()
    try:
        yield
    finally:
        if sampler is not None and (told := sampler.stop()):
            tell(told)


class Sampler:
    """Looks at this process from `start` to `stop`. Both in the thread that runs user code."""

    def __init__(self, bundle: str, tell: Callable[[Told], Any], first: float = FIRST) -> None:
        self._first = first
        self._bundle, self._roots, self._armed = bundle, [bundle + os.sep], False
        self._files: dict[str, str] = {}
        self._tell = tell
        self._seen: dict[Place, float] = {}
        self._looks = 0
        self._main = get_ident()
        self._cpu: dict[int, float] = {}
        self._bell, self._gone = allocate_lock(), allocate_lock()
        self._runs = False
        self._began = self._last = 0.0
        self._active, self._due, self._missed = 0.0, 0.0, 0
        self._aimed: tuple[Place, float] = (("", REST, ""), 0.0)
        self._own = self._own_before = 0.0
        self._primed = False
        self._idle = self._used = self._turned = self._native = 0.0
        self._replaced: dict[str, Callable[..., Any]] = {}
        self._waited, self._measured, self._crowd = (0, 0), 0.0, 1.0
        self._feeds: dict[tuple[CodeType, int], CodeType] = {}
        self._globals: dict[CodeType, dict[str, Any]] = {}
        self._next_tell = TELL
        self._dice = 1

    def start(self) -> None:
        """Begin. Most tasks are over before the first look, so nothing is made ready for it."""
        found = _signal.getsignal(_signal.SIGPROF)
        if found == _signal.SIG_DFL or isinstance(getattr(found, "__self__", None), Sampler):
            _signal.signal(_signal.SIGPROF, self._shot)  # only this thread can
            _signal.siginterrupt(_signal.SIGPROF, False)
            self._armed = True
        os.register_at_fork(  # a fork finds no second thread
            before=self._halt, after_in_parent=self._resume, after_in_child=self._forget
        )
        self._began = self._last = time.perf_counter()
        self._resume()

    def stop(self) -> Told:
        """End; what was seen, empty if it was too short."""
        if time.perf_counter() - self._began < 0.8 * self._first:
            if self._runs:
                self._bell.release()  # it sleeps, and wakes to find that it is over
            self._runs = False
        self._halt()
        for name, call in self._replaced.items():
            setattr(os, name, call)
        self._main = 0  # the handler stays: a shot may be on its way, and nobody's ends the process
        return self.told() if self._looks else {}

    def _ready(self) -> None:
        self._roots = [root + os.sep for root in {self._bundle, os.path.realpath(self._bundle)}]
        if self._armed and not self._replaced:
            for name in ("execv", "execve"):  # a timer would go on in what takes our place
                self._replaced[name] = getattr(os, name)
                setattr(os, name, self._unseen(self._replaced[name]))

    def _unseen(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def alone(*args: Any, **kwargs: Any) -> Any:
            self._halt()
            try:
                return call(*args, **kwargs)
            finally:
                self._resume()

        return alone

    def _halt(self) -> None:
        if self._runs:
            self._runs = False
            self._bell.release()
            self._gone.acquire()
            # Whatever is believed: a shot may have come while the next one was ordered.
            if _signal.getsignal(_signal.SIGPROF) == self._shot:
                _signal.setitimer(_signal.ITIMER_PROF, 0)
            self._missed = 0

    def _resume(self) -> None:
        if self._runs or not self._main or self._main != get_ident():
            return
        self._bell, self._gone = allocate_lock(), allocate_lock()
        self._bell.acquire()
        self._gone.acquire()
        try:
            start_new_thread(self._live, ())
            self._runs = True
        except RuntimeError:  # no room for a thread: then nothing is seen
            self._main = 0

    def _forget(self) -> None:
        self._runs, self._main = False, 0

    # -- looking ---------------------------------------------------------------------------------

    def _live(self) -> None:
        bell, gone, self._own_before = self._bell, self._gone, 0.0
        try:
            if self._looks or not bell.acquire(timeout=self._first):
                if not self._looks:
                    self._ready()
                self._last = max(self._last, time.perf_counter() - SHORTEST)
                self._used, self._turned = time.process_time(), self._last
                while not bell.acquire(timeout=self._pause()):
                    self._look()
                    self._measure_crowd(self._last)
                    if self._last - self._began > self._next_tell:
                        self._next_tell *= 2
                        self._tell(self.told())
        except Exception:  # whatever it is, user code goes on
            pass
        finally:
            gone.release()

    def _pause(self) -> float:
        """Uneven, so that nothing in the program has the same pace."""
        now = time.perf_counter()
        used = time.thread_time()
        self._own, self._own_before = self._own + used - self._own_before, used
        least = self._crowd * max(0.0, self._own - ADVANCE) / (self._looks + 10) / SHARE
        self._dice = self._dice * 1103515245 + 12345 & 0x7FFFFFFF
        middle = max(least, min(LONGEST, max(SHORTEST, (now - self._began) * PART)))
        pause = middle * (0.5 + self._dice / 0x7FFFFFFF)
        self._due = now + pause
        return pause

    def _look(self) -> None:
        now = time.perf_counter()
        frames = sys._current_frames()
        main = frames.pop(self._main, None)
        frames.pop(get_ident(), None)
        if main is None:
            return
        place = self._place(main)
        used = time.process_time()
        if used - self._used < 0.1 * (now - self._turned):
            self._idle += now - self._turned
        self._native += used - self._used
        self._used, self._turned = used, now
        passed, forced = now - self._last, now - self._due >= sys.getswitchinterval()
        self._active += self._spent(self._main)
        others = self._others(frames) if frames else []
        self._primed = True
        total = sum(cpu for _place, cpu in others)
        shoots = self._active * self._crowd > 0.05 * passed and not others and not forced
        active = self._computed(passed, total)
        if shoots and self._shoot(place):
            # The time that it waited is known; that it computed is the shot's.
            self._add(place, passed - active, waits=True)
            self._last = now - active
            return
        self._disarm()
        self._last, self._active, self._native = now, 0.0, 0.0
        self._looks += 1
        # Waiting costs time, so it is the main thread's; other threads count by what they compute.
        computed = total * self._crowd
        theirs = min(1.0, computed / max(passed, computed + active)) if total else 0.0
        for other, cpu in others:
            self._add(other, passed * theirs * cpu / total)
        self._add(place, active * (1.0 - theirs))
        self._add(place, (passed - active) * (1.0 - theirs), waits=True)

    def _computed(self, passed: float, others: float) -> float:
        """Of the seconds that passed those in which it computed: the main thread, or threads that
        are not Python's and work for what waits for them. `others` have used so much of a core."""
        native = self._native - self._active - others
        used = self._active + (native if native > 0.05 * passed else 0.0)  # less is the looks' own
        return min(passed, used * self._crowd)

    def _shoot(self, place: Place) -> bool:
        """Leave this look to a timer; False where it does not come, or is not ours to use."""
        left = _signal.getitimer(_signal.ITIMER_PROF)[0]
        if self._missed >= 3 or (left and not self._missed):
            return False
        if _signal.getsignal(_signal.SIGPROF) != self._shot:
            return False
        if not self._missed:
            self._aimed = place, time.process_time()
        self._missed += 1
        _signal.setitimer(_signal.ITIMER_PROF, SHOT)
        return True

    def _disarm(self) -> None:
        if self._missed:
            _signal.setitimer(_signal.ITIMER_PROF, 0)
            self._missed = 0

    def _shot(self, _number: int, frame: FrameType | None) -> None:
        now = time.perf_counter()
        if frame is None or not self._main or not self._missed:
            return
        (place, before), used = self._aimed, time.process_time()
        if used - before < LONG:
            place = self._after(place, self._place(frame))
        # Else it is served late, after a call into C that lasted: the one that was seen before.
        self._add(place, now - self._last)
        self._spent(self._main)
        self._last, self._active, self._native, self._missed = now, 0.0, 0.0, 0
        self._used, self._turned = used, now
        self._looks += 1

    def _after(self, aimed: Place, seen: Place) -> Place:
        """Whose time a shot found. If nothing can be seen between what had given the lock away and
        where the shot was served, it was served late: arithmetic of arrays takes milliseconds."""
        if isinstance(aimed[0], CodeType) and aimed[0] is seen[0] and not aimed[2] + seen[2]:
            return aimed if places.is_between(seen[0], aimed[1], seen[1]) else seen
        return seen

    def _measure_crowd(self, now: float) -> None:
        """How much longer it takes to compute here for want of a free core. The lock goes to others
        meanwhile, and the kernel's files cost more than a look: so now and then."""
        if now - self._measured < 0.5:
            return
        self._measured = now
        ran = waited = 0
        threads = list(threading._active.values())[:8]  # type: ignore[attr-defined]
        for number in {thread.native_id for thread in threads}:
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/self/task/{number}/schedstat") as file:
                    each = [int(word) for word in file.read().split()]
                ran, waited = ran + each[0], waited + each[1]
        (before, old), self._waited = self._waited, (ran, waited)
        if ran - before > 1_000_000 and waited >= old:  # else it hardly ran, or threads are gone
            self._crowd = 1.0 + (waited - old) / (ran - before)

    def _others(self, frames: dict[int, FrameType]) -> list[tuple[Place, float]]:
        spent = ((frame, self._spent(ident)) for ident, frame in frames.items())
        return [(self._place(frame), cpu) for frame, cpu in spent if cpu > 0]

    def _spent(self, ident: int) -> float:
        """Seconds of a core that a thread has used since it was asked last."""
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        number = getattr(thread, "native_id", None)
        if not number:
            return 0.0
        try:
            # The kernel's name for the clock of a thread; an error once that has ended.
            used = time.clock_gettime((~number << 3) | 6)
        except OSError:
            return 0.0
        # A thread that is new since the first look has spent all of it since then.
        before = self._cpu.get(number, 0.0 if self._primed else used)
        self._cpu[number] = used
        return used - before if used >= before else used

    # -- whose time it is ------------------------------------------------------------------------

    def _add(self, place: Place, seconds: float, waits: bool = False) -> None:
        if waits and isinstance(place[0], CodeType) and places.is_turn(place[0], place[1]):
            waits = False  # nobody waits between two lines
        if waits and place[0]:
            place = (place[0], place[1], place[2] or WAITS)
        elif waits:
            place = ("", IDLE, "")
        if place not in self._seen and len(self._seen) >= MOST_PLACES:
            place = ("", REST, "")
        self._seen[place] = self._seen.get(place, 0.0) + seconds

    def _place(self, leaf: FrameType) -> Place:
        """The innermost line of the user, and what it calls elsewhere."""
        frame: FrameType | None = leaf
        called: FrameType | None = None
        inner: FrameType | None = None
        while frame is not None and not self._file(frame.f_code.co_filename):
            inner, called = called, frame
            frame = frame.f_back
        if frame is None:
            return ("", _bucket(leaf), "")
        if called is None:
            back = frame.f_back
            if back is not None and frame.f_code.co_flags & inspect.CO_GENERATOR:
                self._feeds[back.f_code, back.f_lasti] = frame.f_code
            if back is not None and places.just_begun(frame.f_code, frame.f_lasti):
                # It has done nothing yet: the time went into getting there.
                frame = back if self._file(back.f_code.co_filename) else frame
            self._globals.setdefault(frame.f_code, frame.f_globals)
            return (frame.f_code, frame.f_lasti, "")
        if called.f_code.co_filename.startswith("<frozen importlib"):
            return ("", IMPORTS, "")
        return (self._file(frame.f_code.co_filename), frame.f_lineno or 0, _name(called, inner))

    def _file(self, name: str) -> str:
        """The path in the bundle, empty for what is not of it."""
        found = self._files.get(name)
        if found is None:
            found = "" if name.startswith(_INSTALLED) else self._in_bundle(name)
            self._files[name] = found
        return found

    def _likely_feeds(self, by: CodeType, seen: Iterable[int]) -> dict[int, CodeType]:
        """Generators that loops are likely to go over, by what they call: a round that is short
        is hardly ever seen in its generator."""
        found: dict[int, CodeType] = {}
        known = self._globals.get(by, {})
        for head, names in places.iterated(by, seen).items():
            for name in names:
                made = known.get(name)
                code = made.__code__ if inspect.isfunction(made) else None
                if code and code.co_flags & inspect.CO_GENERATOR and self._file(code.co_filename):
                    found[head] = code
        return found

    def _in_bundle(self, name: str) -> str:
        found = ""
        for path in (name, os.path.realpath(name)):
            for root in self._roots:
                if path.startswith(root) and not found:
                    found = path[len(root) :]
        return "" if "\t" in found or "\n" in found or "site-packages" in found else found

    # -- what is told ----------------------------------------------------------------------------

    def told(self) -> Told:
        """The lines that took most, the rest of them as one, and the buckets."""
        lines: dict[tuple[str, int, str], float] = {}
        codes: dict[CodeType, dict[int, float]] = {}
        made: Told = {
            f"{MARK}\t\t{SAMPLES}": float(self._looks),
            f"{MARK}\t\t{WAITED}": round(self._idle, 6),
        }
        for (what, number, called), seconds in list(self._seen.items()):
            if isinstance(what, CodeType) and not called:
                seen = codes.setdefault(what, {})
                seen[number] = seen.get(number, 0.0) + seconds
            elif isinstance(what, CodeType):
                key = (self._file(what.co_filename), places.line(what, number), "")
                lines[key] = lines.get(key, 0.0) + seconds
            elif what:
                key = (what, number, called)
                lines[key] = lines.get(key, 0.0) + seconds
            else:
                made[f"{MARK}\t\t{number}"] = round(seconds, 6)
        for code, seen in codes.items():
            feeds = {at: each for (by, at), each in list(self._feeds.items()) if by is code}
            feeds = {**self._likely_feeds(code, seen), **feeds}
            for (where, line), seconds in places.spread(code, seen, feeds).items():
                key = (self._file(where.co_filename), line, "")
                lines[key] = lines.get(key, 0.0) + seconds
        order = sorted(lines, key=lambda key: -lines[key])
        for file, line, called in order[:MOST_LINES]:
            name = f"{MARK}{file}\t{line}\t{called}"
            made[name] = round(lines[file, line, called], 6)
        if rest := sum(lines[key] for key in order[MOST_LINES:]):
            name = f"{MARK}\t\t{REST}"
            made[name] = round(made.get(name, 0.0) + rest, 6)
        return made


def _bucket(leaf: FrameType) -> str:
    """What work without a line of the user is for."""
    frame: FrameType | None = leaf
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return IMPORTS
        if name.startswith(_OWN):
            return _DOING.get(os.path.basename(name)[:-3], OUTSIDE)
        frame = frame.f_back
    return OUTSIDE


def _name(called: FrameType, inner: FrameType | None) -> str:
    """What the user's line calls, as the user knows it: the package and the function. A wrapper
    that was put around it has no name of its own."""
    code = called.f_code
    name = getattr(code, "co_qualname", code.co_name)
    if inner is not None and (
        "<locals>" in name or code.co_name in ("wrapper", "wrapped", "inner")
    ):
        return _name(inner, None)
    package = str(called.f_globals.get("__name__", "")).partition(".")[0]
    return f"{package}.{name}"[:100].replace("\t", " ").replace("\n", " ")
