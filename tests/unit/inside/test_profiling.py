"""Whose time it was: looks at stacks become lines, and what user code may do beside."""

from __future__ import annotations

import dis
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.inside import places, profiling

HOT = """\
def loop(n):
    x = 1
    for i in range(n):
        x = (x * 31 + i * i) % 1000003  # hot
        if x == 0:
            n += 1
    return x

def feed(n):
    for i in range(n):
        v = (i ** 3 + i ** 5) % 1007  # fed
        yield v

def eat(n):
    t = 0
    for v in feed(n):
        t += v
    return t
"""


@pytest.fixture
def hot(tmp_path: Path) -> Any:
    return loaded(tmp_path, HOT)


def loaded(folder: Path, text: str) -> Any:
    path = folder / "hot.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("hot", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line_of(text: str, what: str) -> int:
    return 1 + next(n for n, line in enumerate(text.splitlines()) if what in line)


def where(code: Any, name: str) -> int:
    """The last instruction of that kind."""
    return max(step.offset for step in places._steps(code) if step.name.startswith(name))


def test_the_end_of_a_loops_round_is_the_time_of_its_lines(hot: Any) -> None:
    code = hot.loop.__code__
    found = places.spread(code, {where(code, "JUMP_BACKWARD"): 8.0}, {})
    assert sum(found.values()) == pytest.approx(8.0)
    assert max(found, key=lambda each: found[each]) == (code, line_of(HOT, "# hot"))


def test_a_generator_takes_its_part_of_the_loop_that_eats_it(hot: Any) -> None:
    eat, feed = hot.eat.__code__, hot.feed.__code__
    seen = {where(eat, "JUMP_BACKWARD"): 4.0}
    alone = places.spread(eat, seen, {})
    assert {code for code, _line in alone} == {eat}
    fed = places.spread(eat, seen, {where(eat, "FOR_ITER"): feed})
    assert sum(fed.values()) == pytest.approx(4.0)
    assert max(fed, key=lambda each: fed[each]) == (feed, line_of(HOT, "# fed"))


def test_a_generator_that_was_never_seen_takes_its_part_by_its_name(tmp_path: Path) -> None:
    module = loaded(tmp_path, HOT)
    sampler = profiling.Sampler(str(tmp_path), lambda told: None)
    sampler._ready()
    sampler._globals[module.eat.__code__] = vars(module)
    sampler._add((module.eat.__code__, where(module.eat.__code__, "JUMP_BACKWARD"), ""), 1.0)
    sampler._looks = 1
    told = sampler.told()
    assert told[f"{profiling.MARK}hot.py\t{line_of(HOT, '# fed')}\t"] > 0.5
    sampler._globals.clear()
    assert f"{profiling.MARK}hot.py\t{line_of(HOT, '# fed')}\t" not in sampler.told()


def test_plain_code_before_a_call_costs_what_it_costs_elsewhere_in_the_loop(tmp_path: Path) -> None:
    text = (
        "def f(work, n):\n    for i in range(n):\n        a = i * 2 + 1\n        work(a)\n"
        "        b = a * 2 + 1\n"
    )
    code = loaded(tmp_path, text).f.__code__
    seen = {where(code, "CALL"): 100.0, where(code, "JUMP_BACKWARD"): 1.0}
    found = {line: seconds for (_code, line), seconds in places.spread(code, seen, {}).items()}
    assert found[4] > 95.0 and 0.0 < found[3] < 5.0
    assert sum(found.values()) == pytest.approx(101.0)


@given(st.data())
def test_what_goes_in_comes_out(data: st.DataObject) -> None:
    function: Any = data.draw(st.sampled_from([st.lists, subprocess.run, os.walk, Path.read_text]))
    code = getattr(function, "__wrapped__", function).__code__
    offsets = st.integers(-1, len(code.co_code))
    seen = data.draw(st.dictionaries(offsets, st.floats(0.0, 1e6), max_size=5))
    found = places.spread(code, seen, {})
    assert sum(found.values()) == pytest.approx(sum(seen.values()))
    assert all(seconds >= 0 for seconds in found.values())


class Looking:
    """A sampler whose looks a test takes itself."""

    def __init__(self, folder: Path) -> None:
        self.told: list[profiling.Told] = []
        self.sampler = profiling.Sampler(str(folder), self.told.append)

    def at(self, frame: FrameType | None, seconds: float, waits: bool = False) -> None:
        assert frame is not None
        self.sampler._add(self.sampler._place(frame), seconds, waits)

    def lines(self) -> dict[tuple[str, str, str], float]:
        found = {}
        for name, seconds in self.sampler.told().items():
            file, line, called = name.removeprefix(profiling.MARK).split("\t")
            found[file, line, called] = seconds
        for name in (profiling.SAMPLES, profiling.WAITED):
            found.pop(("", "", name))
        return found


def frame_in(module: Any, source: str) -> FrameType:
    """A frame below a call that user code makes, with the frames of the library kept."""
    scope: dict[str, Any] = {"__name__": "lib.inner"}
    exec(compile(source, "/elsewhere/lib/inner.py", "exec"), scope)
    made: FrameType = module.through(scope["work"])
    return made


CALLS = "def through(call):\n    return call()\n"


def test_work_of_a_library_is_the_line_that_calls_it_and_its_name(tmp_path: Path) -> None:
    looking, module = Looking(tmp_path), loaded(tmp_path, CALLS)
    source = "import sys\ndef work():\n    return deep()\ndef deep():\n    return sys._getframe()\n"
    looking.at(frame_in(module, source), 2.0)
    assert looking.lines() == {("hot.py", "2", "lib.work"): 2.0}


def test_a_wrapper_is_not_named(tmp_path: Path) -> None:
    looking, module = Looking(tmp_path), loaded(tmp_path, CALLS)
    source = (
        "import sys\ndef wrap(f):\n    def wrapper():\n        return f()\n    return wrapper\n"
        "@wrap\ndef work():\n    return sys._getframe()\n"
    )
    looking.at(frame_in(module, source), 2.0)
    assert looking.lines() == {("hot.py", "2", "lib.work"): 2.0}


def test_what_no_line_of_the_user_does_has_a_name(tmp_path: Path) -> None:
    looking = Looking(tmp_path / "nothing")
    looking.at(sys._getframe(), 1.0)
    looking.at(sys._getframe(), 2.0, waits=True)
    assert looking.lines() == {
        ("", "", profiling.OUTSIDE): 1.0,
        ("", "", profiling.IDLE): 2.0,
    }


def test_a_shot_that_arithmetic_of_arrays_held_up_is_that_line(tmp_path: Path) -> None:
    text = "def f(a, b):\n    for _ in a:\n        c = a @ b\n        total = float(c) + len(b)\n"
    code = loaded(tmp_path, text).f.__code__
    calls = [each.offset for each in dis.get_instructions(code) if each.opname.startswith("CALL")]
    [product, *_] = [each.offset for each in dis.get_instructions(code) if each.argrepr == "@"]
    sampler = profiling.Sampler(str(tmp_path), lambda told: None)
    aimed, near, far = ((code, at, "") for at in (product, calls[0], calls[1]))
    assert sampler._after(aimed, near) == aimed
    assert sampler._after(aimed, far) == far  # between them it was served for another one
    assert sampler._after((code, product, "numpy.sum"), near) == near
    assert sampler._after(("", profiling.OUTSIDE, ""), near) == near


def test_who_waits_is_where_it_is(hot: Any, tmp_path: Path) -> None:
    looking = Looking(tmp_path)
    place = (hot.loop.__code__, where(hot.loop.__code__, "COMPARE_OP"), "")
    looking.sampler._add(place, 3.0, waits=True)
    assert looking.lines() == {("hot.py", str(line_of(HOT, "if x == 0")), ""): 3.0}


def test_who_lets_threads_compute_that_are_not_pythons_does_not_wait(tmp_path: Path) -> None:
    """As for what a library of tables converts on all cores."""
    module = loaded(tmp_path, HOT)
    for native, words in ((0.0, profiling.WAITS), (1.0, "")):
        sampler = profiling.Sampler(str(tmp_path), lambda told: None)
        sampler._native = native
        active = sampler._computed(1.0, 0.0)
        place = (module.loop.__code__, where(module.loop.__code__, "STORE"), "")
        sampler._add(place, active)
        sampler._add(place, 1.0 - active, waits=True)
        assert sampler._seen[place[0], place[1], words] == 1.0
    assert sampler._computed(1.0, 1.0) == 0.0, "threads of Python are seen themselves"


def test_many_lines_become_the_largest_and_the_rest(tmp_path: Path) -> None:
    looking = Looking(tmp_path)
    for number in range(1, profiling.MOST_LINES + 11):
        looking.sampler._add(("a.py", number, "f"), float(number))
    lines = looking.lines()
    assert len(lines) == profiling.MOST_LINES + 1
    assert lines["", "", profiling.REST] == sum(range(1, 11))


def test_files_are_named_by_their_path_in_the_bundle_however_they_were_reached(
    tmp_path: Path,
) -> None:
    bundle, beside = tmp_path / "b", tmp_path / "work"
    (bundle / "pkg").mkdir(parents=True)
    beside.mkdir()
    (bundle / "pkg" / "x.py").write_text("")
    (beside / "pkg").symlink_to(bundle / "pkg")
    sampler = profiling.Sampler(str(bundle), lambda told: None)
    assert sampler._file(str(bundle / "pkg" / "x.py")) == "pkg/x.py"
    assert sampler._file(str(beside / "pkg" / "x.py")) == "pkg/x.py"
    assert sampler._file(str(tmp_path / "b2" / "x.py")) == ""
    assert sampler._file(str(bundle / "lib/site-packages/x.py")) == ""


def beside(call: Callable[[], Any], tmp_path: Path) -> list[dict[str, Any]]:
    posted: list[dict[str, Any]] = []
    with profiling.watching(str(tmp_path), posted.append):
        call()
    return posted


def test_what_is_short_is_not_looked_at(tmp_path: Path) -> None:
    assert beside(lambda: None, tmp_path) == []
    assert beside(lambda: None, Path("")) == []


def test_user_code_does_not_meet_the_thread(tmp_path: Path) -> None:
    seen: list[Any] = []

    def fork() -> None:
        seen.append((threading.active_count(), [each.name for each in threading.enumerate()]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pid = os.fork()
            if pid == 0:
                os._exit(len(os.listdir("/proc/self/task")))
        seen.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    before = (threading.active_count(), [each.name for each in threading.enumerate()])
    beside(fork, tmp_path)
    assert seen == [before, 1]


def test_a_handler_of_the_user_is_left_alone(tmp_path: Path) -> None:
    def mine(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError("nobody asked for it")

    before = signal.signal(signal.SIGPROF, mine)
    try:
        until = time.process_time() + 0.6
        beside(lambda: [None for _ in iter(lambda: time.process_time() < until, False)], tmp_path)
        assert signal.getsignal(signal.SIGPROF) == mine
    finally:
        signal.signal(signal.SIGPROF, before or signal.SIG_DFL)


def test_an_error_of_user_code_is_theirs_and_what_was_seen_is_told(tmp_path: Path) -> None:
    module = loaded(
        tmp_path,
        "import time\ndef f():\n    until = time.monotonic() + 0.6\n"
        "    while time.monotonic() < until:\n        pass\n    raise KeyError('mine')\n",
    )
    posted: list[dict[str, Any]] = []
    with pytest.raises(KeyError, match="mine"), profiling.watching(str(tmp_path), posted.append):
        module.f()
    [last] = posted
    assert last["kind"] == "phase"
    assert any(name.startswith(profiling.MARK + "hot.py\t4") for name in last["phases"])


def test_what_takes_the_place_of_the_process_is_not_shot(tmp_path: Path) -> None:
    """A timer of CPU time would go on in it, and end it."""
    code = (
        "import os, sys, time\nfrom tradewind.inside import profiling\n"
        "s = profiling.Sampler(sys.argv[1], lambda told: None)\ns.start()\n"
        "until = time.process_time() + 0.7\n"
        "while time.process_time() < until or not s._missed: os.stat('.')\n"
        "loop = 'import time\\nwhile time.process_time() < 0.2: pass\\nprint(1)'\n"
        "os.execv(sys.executable, [sys.executable, '-c', loop])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_nothing_of_it_is_left(tmp_path: Path) -> None:
    before = (os.execv, os.execve)
    until = time.process_time() + 0.6
    beside(
        lambda: [os.stat(".") for _ in iter(lambda: time.process_time() < until, False)], tmp_path
    )
    assert (os.execv, os.execve) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_a_shot_that_came_while_the_next_was_ordered_leaves_no_timer(tmp_path: Path) -> None:
    sampler = profiling.Sampler(str(tmp_path), lambda told: None)
    sampler.start()
    signal.setitimer(signal.ITIMER_PROF, 100.0)  # as the thread would, after the handler was here
    sampler._began -= profiling.FIRST
    sampler.stop()
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
