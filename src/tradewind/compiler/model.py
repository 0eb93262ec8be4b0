"""What a function takes for n rows: CPU seconds and memory, from probes and from earlier runs.

CPU seconds, because wall time beside a neighbour is off by 1.9 and CPU seconds by 1.0. Probes make
a line (`line.py`). Nothing is ever in proportion to its rows alone, and no formula bends the line:
elaborate ones were worse in every comparison (docs/rooms/compiler.md). What bends it is learned
(`learning.py`).

Earlier runs of the same function go before any line: one weighs `ONE_RUN`, two or more all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from tradewind.compiler import crowd
from tradewind.compiler.facts import Facts, PastRun
from tradewind.compiler.learning import TELLING, Learned, learn
from tradewind.compiler.line import ASLEEP, Line, line_of, shown
from tradewind.records.plans import Interval
from tradewind.specs.function import BY_ROWS

# CPU seconds that one process takes before it does anything, where no probe has measured it: a bare
# interpreter 0.02, pyarrow and duckdb imported 0.55 (Python 3.11, warm page cache). Every part of
# an array pays it.
START_CPU = 0.6
# A JVM, a session and its first stage: eight seconds, of which it keeps two cores busy for most.
SPARK_CPU = 12.0
# What one more session adds to any figure: starts, page faults, the scheduler of the machine.
JITTER = 0.1
# How much a single earlier run weighs beside the probes. Measured: one run is off by 6 % in the
# middle (18 % at the 90th percentile), first probes by 12 (36).
ONE_RUN = 0.85
# Where they differ by more than a factor of two, it is the probes that were wrong.
UNLIKELY = math.log(2.0)
RUNS = 5
# Beyond so many times the largest sample the spread grows, by so much for each factor of e.
FAR, FURTHER = 100.0, 0.1
# The largest sample is to be called three times: a first call alone is often a cold one. So much
# more spread for each call that is missing.
CALLS, MISSING = 3, 0.15
# Beside probes, an earlier run is asked about so many times its rows and no more.
NEAR = 30.0
# Earlier runs on another backend tell little more than the order of magnitude.
FOREIGN = math.log(1.5)
# Spilling to disk took 1.5 times the line of probes that did not spill.
SPILL = 1.5
SPILLS = frozenset({"duckdb", "spark"})
# The share of a machine's memory that an engine gives its state before it spills.
ROOM = 0.8
# Styles whose code may sleep; a query does not.
SLEEPERS = frozenset({*BY_ROWS, "table"})
# Families whose state grows with their rows; the others hold a few row groups, or a bucket of
# keys, at a time.
GROWING = frozenset({"hash", "sort", "table"})
MEMORY_SPREAD = math.log(1.5)
# A part of a group array reads all rows to find its keys: CPU seconds per byte, not compressed
# (1.07 for 143 MB in 16 columns, whichever share of the keys is kept).
READ = 7.5e-9
MOST_GROUP_PARTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one backend takes for all rows in so many processes: `fixed` CPU seconds of each and
    `asleep` seconds until it is ready, and `varying` of the rows. `line` is what the probes alone
    say, with `start` in it for all processes; `spread` is half the 90 % interval in logs."""

    cpu: Interval
    fixed: float
    varying: float
    waits: float
    asleep: float
    memory: float
    line: float
    start: float
    spread: float
    basis: str
    seen: bool
    spills: bool = False


@dataclass(frozen=True)
class Model:
    """Everything that is known about one function, asked for `rows` rows (0: as many as it has)."""

    facts: Facts
    asked: int = 0

    @cached_property
    def learned(self) -> Learned:
        """From all earlier outcomes."""
        return learn(self.facts.outcomes)

    @cached_property
    def line(self) -> Line | None:
        """From the probes."""
        return line_of(self.facts.probed) if self.facts.probed is not None else None

    @cached_property
    def family(self) -> str:
        """Of its operators; a function of which nothing is known is opaque."""
        return self.facts.probed.family if self.facts.probed is not None else "table"

    @cached_property
    def style(self) -> str:
        """How it is written; empty where neither a probe nor its spec has told."""
        return self.facts.probed.style if self.facts.probed is not None else self.facts.style

    @cached_property
    def rows(self) -> int:
        """How many it is asked for; 0 where nobody knows."""
        probed = self.facts.probed
        known = probed.rows if probed is not None else self.facts.rows
        return self.asked or known or next((p.rows for p in self.facts.history if p.rows), 0)

    @cached_property
    def counted(self) -> float:
        """The same as an earlier run counts them: with the small tables that no sample is taken
        of."""
        probed = self.facts.probed
        if probed is None or not probed.rows or not self.facts.rows:
            return self.rows
        return self.rows * max(1.0, self.facts.rows / probed.rows)

    @cached_property
    def group_rows(self) -> float:
        """Rows of one row group, which no part divides."""
        probed = self.facts.probed
        return probed.rows / probed.groups if probed is not None and probed.groups else 0.0

    @cached_property
    def groups(self) -> int:
        """Row groups of so many rows; 0 where nobody knows."""
        return max(1, math.ceil(self.rows / self.group_rows)) if self.group_rows else 0

    @property
    def load(self) -> float:
        """Cores that others kept busy beside the probes."""
        return self.facts.probed.load if self.facts.probed is not None else 0.0

    def work(self, backend: str, processes: int = 1, room: float = math.inf) -> Work | None:
        """What it takes on a backend in so many processes, each with `room` bytes of memory; None
        where nothing is known."""
        fixed = SPARK_CPU if backend == "spark" else self._started + self._base
        fixed += self._read(backend)
        drawn, past = self._drawn(backend, fixed, processes), self._past(backend, fixed, processes)
        if drawn is None and past is None:
            return None
        runs = len(past[0]) if past else 0
        seen = past is not None and not past[1]
        middle = _weighed(drawn, median(past[0]) if past else None, runs if seen else 0)
        spread = self.learned.spread(backend, self.family, seen=seen)
        spread += self._further() if not runs else 0.0
        spread += FOREIGN if past is not None and past[1] and drawn is None else 0.0
        memory = self.memory(backend, processes)
        spills = self.family in GROWING and memory * math.exp(MEMORY_SPREAD) > room * ROOM
        if spills:
            spread += math.log(SPILL)
            middle *= SPILL if memory > room * ROOM else 1.0
        start = min(middle, fixed * processes)
        return Work(
            cpu=_interval(middle, spread),
            fixed=start / processes,
            varying=middle - start,
            waits=self._waits(backend, fixed),
            asleep=self._asleep,
            memory=memory,
            line=0.0 if seen and runs > 1 else self._line(backend, fixed, processes),
            start=fixed * processes,
            spread=spread,
            basis=self._basis(middle, runs, seen, spills),
            seen=seen,
            spills=spills,
        )

    @property
    def _started(self) -> float:
        """CPU seconds of a process that no probe has measured: with them they are in its line."""
        probed = self.facts.probed
        return 0.0 if self.line is not None and probed is not None and probed.start else START_CPU

    @property
    def _asleep(self) -> float:
        return self.facts.probed.asleep if self.facts.probed is not None else 0.0

    @property
    def _base(self) -> float:
        return self.line.base if self.line is not None else 0.0

    def _read(self, backend: str) -> float:
        probed = self.facts.probed
        if backend != "partitions" or self.style != "group" or probed is None or not probed.rows:
            return 0.0
        return READ * probed.bytes * self.rows / probed.rows

    def _varying(self, backend: str) -> float:
        """What the rows take by the line; what every part reads again is in it once."""
        if self.line is None:
            return 0.0
        keys = shown(self.line.domain, self.rows) if self.line.domain else self._keys
        work = self.line.each * self.rows + self.line.key * keys
        work += self.line.call * self._times
        return max(0.0, work - self._read(backend))

    @property
    def _keys(self) -> float:
        """How many groups there are in so many rows."""
        probed = self.facts.probed
        if probed is None or not probed.keys:
            return 0.0
        return probed.keys * float((self.rows / max(1, probed.rows)) ** probed.growth)

    @property
    def _times(self) -> float:
        """How often the function is called for so many rows; 0 where it was not counted."""
        probed = self.facts.probed
        if probed is None or probed.keys:
            return self._keys
        return probed.times * (self.rows / max(1, probed.rows) if probed.style == "batch" else 1)

    def _waits(self, backend: str, fixed: float) -> float:
        """Seconds asleep, in all processes together. An earlier run tells it, or at least how much
        it cannot be."""
        line = self.line
        drawn = line.waits * self.rows + line.pause * self._times if line is not None else 0.0
        if backend == "spark" or self.style not in SLEEPERS:
            return drawn
        past, _ = self._alike(backend)
        return median(self._slept(run, fixed, drawn) for run in past) if past else drawn

    def _slept(self, run: PastRun, fixed: float, drawn: float) -> float:
        """The seconds that an earlier run slept, brought to these rows: those of its processes in
        which they did not compute, nor wait for a core. Where a neighbour of whom nobody told may
        be why, what was drawn, and no more than these."""
        parts = max(1, run.parts)
        seconds = crowd.quiet(run) * parts / math.ceil(parts / max(1, run.width))
        cores = self.line.cores if self.line is not None else 1.0
        worked = max(0.0, run.cpu - fixed * parts) / cores
        beyond = max(0.0, seconds - (fixed + self._asleep) * parts - worked)
        scale = self.counted / run.rows if run.rows and self.rows else 1.0
        asleep = seconds - self._asleep * parts > ASLEEP * run.cpu / cores + TELLING
        return beyond * scale if asleep else min(drawn, beyond * scale)

    def _line(self, backend: str, fixed: float, processes: int) -> float:
        return fixed * processes + self._varying(backend) if self.line is not None else 0.0

    def _drawn(self, backend: str, fixed: float, processes: int) -> float | None:
        """By the probes' line and what was learned of it."""
        if self.line is None:
            return None
        factor = self.learned.factor(backend, self.family)
        return fixed * processes + self._varying(backend) * factor

    def _past(self, backend: str, fixed: float, processes: int) -> tuple[list[float], bool] | None:
        """Earlier runs' CPU seconds brought to these rows and processes, newest first; and whether
        they ran on another backend. A run of fewer rows than the probes' says less than they do,
        and one of far fewer than are asked for little but its start."""
        past, foreign = self._alike(backend)
        return ([self._scaled(run, fixed, processes) for run in past], foreign) if past else None

    def _alike(self, backend: str) -> tuple[list[PastRun], bool]:
        """Earlier runs to go by, and whether they are of another backend: those are asked only
        where no probe has told anything."""
        past = [run for run in self._telling if run.cpu > 0]
        own = [run for run in past if run.backend in ("", backend)]
        chosen = own if own or self.line is not None else past
        return chosen[:RUNS], not own

    @cached_property
    def _telling(self) -> list[PastRun]:
        least = max(self.line.rows if self.line is not None else 0, self.counted / NEAR)
        telling = [run for run in self.facts.history if not run.rows or run.rows >= least]
        return telling if telling or self.line is not None else list(self.facts.history)

    @property
    def unknown(self) -> bool:
        """Whether neither a probe nor an earlier run of nearly as many rows has told anything."""
        near = (not run.rows or run.rows * NEAR >= self.counted for run in self.facts.history)
        return self.facts.probed is None and not any(near)

    def _scaled(self, run: PastRun, fixed: float, processes: int) -> float:
        scale = self.counted / run.rows if run.rows and self.rows else 1.0
        start = min(run.cpu, fixed * max(1, run.parts))
        return start / max(1, run.parts) * processes + (run.cpu - start) * scale

    def _further(self) -> float:
        """The spread that a line as short as this one has on top."""
        if self.line is None:
            return 0.0
        missing = MISSING * max(0, CALLS - self.line.calls)
        return missing + FURTHER * math.log(max(1.0, self.rows / (FAR * self.line.rows)))

    def memory(self, backend: str, processes: int = 1) -> float:
        """Peak bytes of one process; 0 where nothing is known."""
        share = processes if backend == "partitions" else 1
        past = [
            run.memory * (max(1.0, self.counted / run.rows) if run.rows and self.rows else 1.0)
            for run in self._telling[:RUNS]
            if run.memory and run.backend in ("", backend)
        ]
        if past:
            return max(past)
        if self.line is None:
            return 0.0
        line = self.line
        rows = self.rows / share if self.family in GROWING else min(self.rows, line.rows)
        if line.domain:  # what is held are keys, and of those there are few
            keys = shown(line.domain, rows) / shown(line.domain, line.rows)
            rows = min(rows, line.rows * max(1.0, keys))
        return line.memory + line.memory_each * rows

    def _basis(self, cpu: float, runs: int, seen: bool, spills: bool) -> str:
        parts = []
        if self.line is not None and (runs < 2 or not seen):
            parts.append("probes")
        if runs:
            count = f"the last {runs} runs" if runs > 1 else "the run before"
            parts.append(count if seen else f"{count} on another backend")
        text = " and ".join(parts)
        text += f" for {self.rows:,} rows" if self.asked else ""
        if self.line is not None and runs < 2 and self.rows > FAR * self.line.rows:
            text += f", {self.rows / self.line.rows:,.0f} times the largest sample"
        text += ", under 1 s of CPU" if cpu < TELLING else ""
        text += ", may spill to disk" if spills else ""
        return text


def _weighed(drawn: float | None, past: float | None, runs: int) -> float:
    """The line and earlier runs of the same function together, in logs."""
    if drawn is None or past is None:
        found = drawn if past is None else past
        assert found is not None
        return found
    weight = 0.0 if not runs else ONE_RUN if runs == 1 else 1.0
    if runs and abs(math.log(past / drawn)) > UNLIKELY:
        weight = 1.0
    return math.exp(weight * math.log(past) + (1 - weight) * math.log(drawn))


def _interval(middle: float, spread: float) -> Interval:
    """What is under a second is only that: nothing so short is predicted closer."""
    return Interval(p50=middle, p90=max(TELLING, middle * math.exp(spread)) + JITTER)
