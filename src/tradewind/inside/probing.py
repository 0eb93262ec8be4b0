"""Measured calls of the user's function on samples of its input: what a quote is made from.

First one of a few rows, in which the function makes ready what it needs once in its process (a
library, a model): what the process took until then is the start of every one, and no time of its
rows. Then at
most five: one without rows, one of a thousand, and the largest that the time allows three times (if
a thousand rows had said too much, a smaller one first and the largest twice).
What the function does wrong is a problem told, never an end. Nothing that a call returns is kept,
and what it logs as metrics is not recorded; that it writes a result like that of the run, to a file
that is thrown away, is part of what is measured.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from . import counting, explain, groups, inputs, measure, outputs, samples, styles
from .ends import text_of
from .groups import Group
from .keysample import Keys

SMALL = 1000
LARGEST = 3
MOST = 5
# The part of all seconds that a thousand rows may take, and the rows that are tried if they do not
# come back in that time.
PATIENCE, FEW, FEWER = 0.4, 20, 100
# Their calls are counted: a row's are its rows, and a query is made in none.
COUNTED_STYLES = ("batch", "group", "table")
# Keys are counted in so many row groups, and taken from as many, or from more that are small, as
# far as this part of the time left is enough to read them.
COUNTED = 8
READING = 0.35
# So many times the seconds may pass until the function has made itself ready.
READY = 3.0
# No process starts in less; none at all means that it was not measured.
MEASURED = 0.01
# Fewer seconds until a function is ready are those of a disk that is read for the first time.
ASLEEP = 0.5
# The part of the time left in which the largest sample has to come back, or a smaller one is taken.
SOON = 0.45
# A second call of the largest sample may take so many times as long as the first, even if there is
# no more time.
AGAIN = 2.0
# Styles that a database plans.
PLANNED = ("expression", "sql")
# What would be less than so many times as large tells no more.
GROWTH = 1.5
# So often a larger sample of keys is tried.
GROWN = 3
# A table this many times smaller than the largest is given whole.
SMALLER = 4
# Input → the files of its sample, and the row groups in all of them.
Sample = Tuple[Dict[str, List[str]], List[Group]]


def carry_out(
    function: Callable[..., Any], start: dict[str, Any], phases: dict[str, float]
) -> dict[str, Any]:
    """Slot → the findings, as a JSON value (the contract: input, style, backend, family, calls,
    operators, problems, load)."""
    began = time.perf_counter()
    with silenced(start["out"]) as folder:
        asleep = phases.get("import", 0.0) - measure.cpu_seconds() - measure.delayed()
        found = Probe(function, start, folder, asleep).findings()
    phases["call"] = time.perf_counter() - began
    return outputs.keep(found, start)


@contextlib.contextmanager
def silenced(out: str) -> Iterator[str]:
    """A folder for results, and no way to tell anything to the run: what it prints is lost too."""
    os.makedirs(out, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="probe-", dir=out)
    names = ("TRADEWIND_CHANNEL", "TRADEWIND_OUT")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ["TRADEWIND_OUT"] = os.path.join(folder, "out")
    try:
        with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as lost:
            lost.enter_context(contextlib.redirect_stdout(nowhere))
            lost.enter_context(contextlib.redirect_stderr(nowhere))
            yield folder
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


class Probe:
    """The calls for one function."""

    def __init__(
        self,
        function: Callable[..., Any],
        start: dict[str, Any],
        folder: str,
        asleep: float = 0.0,
    ) -> None:
        """`start` is what the unit was told; its `entry.call.probe` says how much time there is.
        `asleep`: the seconds in which the import did not compute."""
        asked = start["entry"]["call"]["probe"]
        call = {key: value for key, value in start["entry"]["call"].items() if key != "probe"}
        self.start = {**start, "entry": {**start["entry"], "call": call}}
        if "item" in asked:
            self.start["item"] = asked["item"]
        self.function, self.folder = function, folder
        self._counted = counting.Counted(function) if call["style"] in COUNTED_STYLES else None
        self._carried = self._counted.call if self._counted else function
        self.seconds, self.share = float(asked["seconds"]), float(asked["share"])
        self.calls: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self.ready, self.asleep = 0.0, max(0.0, asleep)
        self.keys: dict[str, float] = {}
        self._keys: Keys | None = None
        self.by: list[str] = call.get("by", [])
        self._began = time.monotonic()
        self._load, self._own = measure.busy(), measure.cpu_seconds()
        self.tables: dict[str, list[Group]] = {}
        self._operators: list[str] = []
        self._family = "table"

    def findings(self) -> dict[str, Any]:
        """Make the calls, and say what was found."""
        chosen = self.prepare()
        if chosen is not None:
            self.repeat(chosen)
        return self.told()

    def prepare(self) -> Sample | None:
        """The calls up to the first of the largest sample, and that; None if there is none."""
        chosen: Sample | None = self._tried(self._prepared)
        return chosen

    def repeat(self, sample: Sample, times: int = MOST) -> None:
        """Call it again with that sample, so often or as long as there is time."""
        self._tried(lambda: self._repeated(sample, times))

    def told(self) -> dict[str, Any]:
        """What was found."""
        call = self.start["entry"]["call"]
        if self.by and any(each["rows"] for each in self.calls):
            self.keys = self._tried(self._all_keys) or {}
        return {
            "input": _size([group for each in self.tables.values() for group in each]),
            "style": call["style"],
            "backend": call.get("backend", "python"),
            "family": self._family,
            "start": self.ready,
            "asleep": self.asleep if self.asleep > ASLEEP else 0.0,
            "page": measure.page_seconds(),
            **self.keys,
            **self._times(),
            "calls": self.calls,
            "operators": self._operators,
            "problems": self.problems,
            "load": measure.others(self._load, measure.cpu_seconds() - self._own),
        }

    def _prepared(self) -> Sample | None:
        self.tables = self._sampled()
        self._operators, self._family = explain.of(self.function, self.start)
        return self._measure()

    def _tried(self, call: Callable[[], Any]) -> Any:
        """What it returns; what it raises is a problem told."""
        try:
            return call()
        except measure.Overdue:
            self._problem("slow", "it does not end when it is told to")
        except Exception as error:
            self._problem(_kind(error), _words(error))
        return None

    def _sampled(self) -> dict[str, list[Group]]:
        """The inputs of which samples are taken, with their row groups: what streams, or the
        largest tables. The others are given whole."""
        slots = {n: s for n, s in self.start["inputs"].items() if s["kind"] == "table"}
        if self._streams():
            name = styles.streamed(self.function, self.start)
            slots = {name: slots[name]}
        found = {name: groups.listed(slot["files"]) for name, slot in slots.items()}
        sizes = {name: _size(each)["bytes"] for name, each in found.items()}
        largest = max(sizes.values(), default=0)
        return {name: each for name, each in found.items() if sizes[name] * SMALLER >= largest}

    # -- the calls -----------------------------------------------------------------------------

    def _measure(self) -> Sample | None:
        if not any(group.rows for each in self.tables.values() for group in each):
            self._call(self._whole(), self._left())  # nothing to sample
            return None
        cold = self._cold()
        if cold is None and self.problems:
            return None
        self._empty()
        first = self._first()
        if first is None:
            return None
        if cold is not None:
            self.ready = max(MEASURED, self.ready - first["cpu"])
            self.asleep += max(0.0, cold["wall"] - cold["cpu"] - first["wall"] + first["cpu"])
        chosen = self._within_time(first)
        return chosen and self._grown(chosen)

    def _repeated(self, sample: Sample, times: int) -> None:
        rows = _size(sample[1])["rows"]
        for _ in range(min(times, MOST - len(self.calls))):
            took, left = self.calls[-1]["wall"], self._left()
            if sum(call["rows"] == rows for call in self.calls) < 2:
                # The first of a size meets cold caches: alone it says too much. How long it takes
                # is known.
                left = max(left, AGAIN * took)
            if took > left or not self._in_time(sample, left):
                break

    def _cold(self) -> dict[str, Any] | None:
        """A few rows, before anything is timed. None if they did not come back: a problem only if
        they took too long. What else is wrong, more rows will tell."""
        made = self._call(self._rows(FEW), self.seconds * READY)
        self.ready = measure.cpu_seconds()
        self.problems = [each for each in self.problems if each["kind"] == "slow"]
        self.calls.clear()
        for found in self.tables.values():  # a thousand row groups: their footer is read here
            samples.of_groups(found[:1], self._folder("footer"))
        self._began = time.monotonic()
        return made

    def _within_time(self, first: dict[str, Any]) -> Sample | None:
        """The largest sample that comes back in time, called once. A thousand rows say little of
        many: what turns out to be too large is cut off, and a smaller one is taken."""
        each = self._each(first)
        for part in (SOON, 1.0):
            chosen, seconds = self._largest(each, first["rows"]), self._left() * part
            if self._in_time(chosen, seconds):
                return chosen
            each = 2 * seconds / max(1, _size(chosen[1])["rows"])
        return None

    def _grown(self, chosen: Sample) -> Sample:
        """The largest that there turns out to be time for, called once: beside a neighbour a
        thousand rows may take as long as a hundred thousand. What a key takes with all its rows is
        told by few, and better by more."""
        first, each = len(self.calls), self._each(self.calls[-1])
        for _ in range(GROWN if self.by else 1):
            larger, seconds = self._largest(each, self.calls[-1]["rows"]), self._left() * SOON
            rows = _size(larger[1])["rows"]
            if rows < GROWTH * _size(chosen[1])["rows"]:
                break
            if self._in_time(larger, seconds):
                chosen, each = larger, self._each(self.calls[-1])
            else:
                each = 2 * seconds / rows
        del self.calls[first - 1 : -2]  # of the smaller ones the last is enough
        return chosen

    def _each(self, call: dict[str, Any]) -> float:
        """Seconds for a row, by this call and the one without rows."""
        base = self.calls[0]["wall"] if not self.calls[0]["rows"] else 0.0
        took = float(call["wall"])
        return max(took - base, took / 50) / max(1, int(call["rows"]))

    def _in_time(self, sample: Sample, seconds: float) -> bool:
        """Whether it came back. If it was cut off by our own clock, how long it takes was told by
        the calls before."""
        if self._call(sample, seconds) is not None:
            return True
        self.problems = [each for each in self.problems if each["kind"] != "slow"]
        return False

    def _empty(self) -> None:
        """Without rows. That a function cannot do that is no fault of it."""
        problems = list(self.problems)
        if self._groups():
            self._of_no_key()
        else:
            files = {n: self._sample(n, samples.of_nothing, self._files(n)) for n in self.tables}
            # A part of a table may have no rows and no known columns.
            part = {"item": {"part": 0, "of": 2}} if self._streams() else {}
            self._call((files, []), self.seconds * PATIENCE, **part)
        self.problems = problems

    def _of_no_key(self) -> None:
        """What a call takes whatever its keys: one with a single row, which counts as none, but for
        the function's own time. Without any key nothing is put in order or written, and that took
        half as long."""
        made = self._call(self._rows(1), self.seconds * PATIENCE)
        if made is not None:
            for whole, own in (("wall", "inside"), ("cpu", "inside_cpu")):
                made[whole] = max(0.0, made[whole] - made[own])
            made.update(rows=0, groups=0, bytes=0, keys=0, times=0, inside=0.0, inside_cpu=0.0)

    def _first(self) -> dict[str, Any] | None:
        """A thousand rows; a few if these take too long. None if there is no use in more."""
        small = FEWER if self.by else SMALL  # each of them with a key of its own, if there are
        for rows, part in ((small, PATIENCE), (FEW, PATIENCE / 2)):
            seconds = self.seconds * part
            sample = self._rows(rows, many=self._groups())
            made = self._call(sample, seconds)
            if made is not None:
                if rows == FEW:
                    self.problems.clear()
                    self._problem("slow", f"{small:,} rows took longer than {seconds * 2:.1f} s")
                return self._again(sample, made) if self.by else made
            if self.problems[-1]["kind"] != "slow":
                return self._as_a_run()
        return None

    def _as_a_run(self) -> dict[str, Any] | None:
        """What did wrong with a thousand rows, with as many as a run gives it at once: it may need
        them. None if it does no better; then a run can only fail."""
        if self.start["entry"]["call"]["style"] != "batch" or self.problems[-1].get("sure"):
            return None
        made = self._call(self._rows(groups.ROWS), self._left())
        if made is not None:
            self.problems.clear()
        elif self.problems.pop()["kind"] != "slow":
            self.problems[-1]["sure"] = True
        return made

    def _again(self, sample: Sample, made: dict[str, Any]) -> dict[str, Any]:
        """The lesser of two calls: what a key takes is told by few, and the first is a cold one."""
        if made["wall"] > self._left() * SOON / 2 or not self._in_time(sample, self._left() * SOON):
            return made
        self.calls[-2:] = [min(self.calls[-2:], key=lambda call: float(call["cpu"]))]
        return self.calls[-1]

    def _largest(self, each: float, least: int) -> Sample:
        """As many whole row groups as three calls have time for at `each` seconds a row, within the
        share; of one row group the first rows if there is no time for all of it."""
        rows = int(0.8 * self._left() / LARGEST / max(each, 1e-9))
        every = [group for found in self.tables.values() for group in found]
        size = sum(group.rows for group in every) / len(every)
        # A whole row group may have as many rows, but has less of each key.
        if self._keys is not None and self._keys.whole:
            return self._rows(max(least, min(rows, self._keys.rows)), keyed=True)
        if rows < size * len(self.tables):
            return self._rows(max(least, rows // len(self.tables)), keyed=bool(self.by))
        part = min(1.0, rows / size / len(every))
        files, chosen = {}, []
        for name, found in self.tables.items():
            count = max(1, int(min(part, self.share) * len(found)))
            picked = groups.spread(_typical(found), count)
            files[name] = self._sample(name, samples.of_groups, picked)
            chosen += picked
        if _size(chosen)["rows"] <= least:  # the share of a small table is less
            return self._rows(least)
        return files, chosen

    def _rows(self, rows: int, keyed: bool = False, many: bool = False) -> Sample:
        """About so many rows of each table, `keyed` those of some keys, or of as `many` as can be;
        of a small one all."""
        files, chosen = {}, []
        for name, found in self.tables.items():
            total = _size(found)["rows"]
            if total <= rows:
                files[name] = self._files(name)
                chosen += found
                continue
            group = max(groups.spread(found, 3), key=lambda each: each.rows)
            count = min(rows, group.rows)
            if keyed or many:
                kept, folder = self._kept(found), self._folder(name)
                files[name], count = kept.many(rows, folder) if many else kept.some(rows, folder)
            else:
                files[name] = self._sample(name, samples.of_rows, group, count)
            chosen.append(group._replace(rows=count, bytes=group.bytes * count // group.rows))
        return files, chosen

    def _sample(self, name: str, make: Callable[..., list[str]], *of: Any) -> list[str]:
        """Files of a sample of this table; what a database is given is as large as the table."""
        folder = self._folder(name)
        made = make(*of, folder)
        if self.start["entry"]["call"]["style"] in PLANNED:
            made = samples.as_large(made, _size(self.tables[name])["rows"], folder)
        return made

    def _groups(self) -> bool:
        """Whether it is called for each key, and there are such columns."""
        names = (set(groups.schema_of(self._files(name)).names) for name in self.tables)
        return bool(self.by) and all(set(self.by) <= each for each in names)

    def _kept(self, found: list[Group]) -> Keys:
        """Some keys with all rows of several row groups, read once."""
        if self._keys is None:
            typical = _typical(found)
            most = COUNTED * max(1, groups.ROWS // max(group.rows for group in typical))
            some, seconds = groups.spread(typical, most), READING * self._left()
            self._keys = Keys(some, self.by, self._folder("keys"), seconds)
        return self._keys

    def _all_keys(self) -> dict[str, float]:
        """How many keys the whole table has, and the power of the rows with which they grow, by
        those of one row group and of several."""
        [found] = self.tables.values()
        one, some = groups.spread(found, 1), groups.spread(found, COUNTED)
        few, many = (
            samples.distinct(samples.of_groups(each, self._folder("keys")), self.by)
            for each in (one, some)
        )
        more = math.log(max(1, many) / max(1, few))
        growth = min(1.0, more / math.log(len(some))) if len(some) > 1 else 1.0
        return {"keys": many * (len(found) / len(some)) ** growth, "growth": growth}

    def _times(self) -> dict[str, int]:
        """How often a run will call the function; what is grouped, once for each key."""
        if self._counted is None or self.by or not self.calls:
            return {}
        found = next(iter(self.tables.values()), [])
        return {"times": counting.times(self.function, self.start, found)}

    def _whole(self) -> Sample:
        every = [group for found in self.tables.values() for group in found]
        return {name: self._files(name) for name in self.tables}, every

    def _call(self, sample: Sample, seconds: float, **more: Any) -> dict[str, Any] | None:
        """Measure one; None if it did not come back, which is a problem told."""
        files, chosen = sample
        start = {**self.start, **more}
        start["inputs"] = dict(start["inputs"])
        for name, paths in files.items():
            start["inputs"][name] = {**start["inputs"][name], "files": paths}
        start["out"] = tempfile.mkdtemp(dir=self.folder)
        rows = _size(chosen)["rows"]
        if self._counted:
            self._counted.told()
        try:
            staged, took = measure.taken(
                lambda: styles.carry_out(self._carried, start, {}), seconds
            )
            made = {**_size(chosen), **took, **_written(staged)}
            if self._counted:
                made.update(self._counted.told())
            if self.by:
                made["keys"] = sum(samples.distinct(paths, self.by) for paths in files.values())
        except measure.Overdue:
            self._problem("slow", f"{rows:,} rows took longer than {seconds:.1f} s")
            return None
        except BaseException as error:
            self._problem(_kind(error), _words(error))
            return None
        finally:
            shutil.rmtree(start["out"], ignore_errors=True)
        self.calls.append(made)
        return made

    # -- small things --------------------------------------------------------------------------

    def _streams(self) -> bool:
        return self.start["entry"]["call"]["style"] in ("batch", "row", "group")

    def _left(self) -> float:
        return self._began + self.seconds - time.monotonic()

    def _files(self, name: str) -> list[str]:
        files: list[str] = self.start["inputs"][name]["files"]
        return files

    def _folder(self, name: str) -> str:
        return tempfile.mkdtemp(prefix="sample-", dir=self.folder)

    def _problem(self, kind: str, message: str) -> None:
        """`sure` is what a run cannot but meet as well: a row of the sample is one of the run."""
        row = self.start["entry"]["call"]["style"] == "row"
        sure = kind == "input" or (row and kind not in ("slow", "memory"))
        problem: dict[str, Any] = {"kind": kind, "message": message}
        self.problems.append({**problem, "sure": True} if sure else problem)


def _size(chosen: Sequence[Group]) -> dict[str, int]:
    return {
        "rows": sum(group.rows for group in chosen),
        "groups": len(chosen),
        "bytes": sum(group.bytes for group in chosen),
    }


def _typical(found: list[Group]) -> list[Group]:
    """Without what was left over for the end of a file: it stands for little."""
    mean = sum(group.rows for group in found) / len(found)
    return [group for group in found if 2 * group.rows >= mean]


def _written(staged: dict[str, Any]) -> dict[str, int]:
    """Rows and bytes of what a call staged."""
    rows = size = 0
    for output in staged.values():
        path = output.get("path", "")
        files = [path] if os.path.isfile(path) else []
        for folder, _folders, names in os.walk(path):
            files += [os.path.join(folder, name) for name in names]
        size += sum(os.path.getsize(file) for file in files)
        if output["kind"] == "table":
            rows += sum(group.rows for group in groups.listed(sorted(files)))
    return {"out_rows": rows, "out_bytes": size}


def _kind(error: BaseException) -> str:
    if isinstance(error, outputs.Unstorable):
        return "types" if "differ" in str(error) else "output"
    if isinstance(error, inputs.Unreadable):
        return "input"
    return "memory" if isinstance(error, MemoryError) else "raised"


def _words(error: BaseException) -> str:
    place = getattr(error, "tradewind_place", "")
    ours = isinstance(error, (outputs.Unstorable, inputs.Unreadable))
    text = text_of(error) if ours else f"{type(error).__name__}: {text_of(error)}"
    return (f"{text} (at {place})" if place else text)[:1000]
