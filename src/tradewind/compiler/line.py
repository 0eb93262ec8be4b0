"""The line of a probe: what a function takes for any number of rows, by calls on samples.

Two points: the empty call, which is the start, and the largest sample of whole row groups. What a
call takes beside its rows has a term of its own where the calls tell it: a key, a call of the
function, memory that is given once, keys that a whole table shows again and again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from tradewind.compiler import crowd
from tradewind.compiler.facts import Call, Probed

# Two samples tell a group's own time from that of its rows if they differ by so much in rows for
# each.
UNLIKE = 0.3
# Styles that a database carries out, and spreads over cores; of any other the function decides.
ENGINE = frozenset({"sql", "expression"})
# Of the memory that a call on a sample is given, a run of a hundred times its rows is given this
# part once and fills it again; what a sort holds grows. Measured: 80 to 92 %, and 60 (DuckDB). It
# was 10 to 40 % of such a call.
ONCE = {"stream": 0.85, "sort": 0.6}
# A row whose key a query has not met takes so many times as long as one more of a key that it has:
# 1.5 to 3.8 by grouping 13 million rows by 12,000 and by a million keys (DuckDB).
FRESH = 2.5
# So near to keys that are equally likely are those of two samples, and no more than this part of
# the new ones for each row that a sample shows are left in the whole table.
NEARLY, SATURATED = 0.1, 0.4
# What takes more than so many times the seconds that it computes sleeps.
ASLEEP = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The points of a probe, as `base + each * rows + key * keys + call * calls`: CPU seconds,
    seconds waited (asleep, not computing; `pause` of each call of the function), bytes of memory.
    `domain` is how many keys there are that a query groups by (0: as many as there are rows for
    them). `cores` is what the largest call kept busy, `calls` how often it was made, with one of
    another size that came before it."""

    base: float
    each: float
    waits: float
    memory: float
    memory_each: float
    rows: int
    cores: float
    calls: int
    key: float = 0.0
    call: float = 0.0
    pause: float = 0.0
    domain: float = 0.0


def line_of(probed: Probed) -> Line | None:
    """Two points, or None where no call with rows came back. Calls of one size: the least."""
    worked = [call for call in probed.calls if call.rows > 0]
    if not worked:
        return None
    most = max(call.rows for call in worked)
    least = min(call.rows for call in probed.calls)
    largest = [call for call in worked if call.rows == most]
    big = _least_of(largest)
    small = _least_of([call for call in probed.calls if call.rows == least])
    if least == most:  # the empty call did not come back: all of it is taken for work
        small = Call(rows=0, bytes=0, groups=0, wall=0.0, cpu=0.0, memory=0)
    rows = big.rows - small.rows
    batch = probed.style == "batch"
    outside = [one.cpu - one.inside_cpu if batch else one.cpu for one in (small, big)]
    once = _once(probed, small, big)
    outside[1] -= once
    each = max(0.0, outside[1] - outside[0]) / rows
    base = max(0.0, outside[0] - each * small.rows)
    call, inner = _parted(worked[0], big, [one.inside_cpu for one in (worked[0], big)])
    if not batch:
        call = inner = 0.0
    key = _of_a_key(big, worked[0], base) if probed.keys else 0.0
    each = max(0.0, each - key * big.keys / rows)
    domain = _domain(probed, worked[0], big)
    if domain:
        each *= rows / (rows + FRESH * (big.out_rows - small.out_rows))
        key = FRESH * each
    memory_each = max(0, big.memory - small.memory) / rows
    had = big.cpu / big.wall if big.wall > 0 else 1.0
    cores = max(1.0, crowd.wanted(had, probed.beside))
    pause, waits = _waited(probed, small, worked[0], big, crowd.slower(probed.beside, cores))
    return Line(
        base=base + probed.start + once,
        each=each + inner,
        waits=waits,
        memory=max(0.0, small.memory - memory_each * small.rows),
        memory_each=memory_each,
        rows=big.rows,
        cores=cores,
        calls=len(largest) + any(call.rows < most for call in worked[1:]),
        key=key,
        call=call,
        pause=pause,
        domain=domain,
    )


def _once(probed: Probed, small: Call, big: Call) -> float:
    """CPU seconds of a query's call on a sample that a run takes once, whatever its rows: for
    memory that it is given, and fills again and again."""
    if probed.style not in ENGINE:
        return 0.0
    taken = ONCE.get(probed.family, 0.0) * probed.page * max(0, big.pages - small.pages)
    return min(taken, max(0.0, big.cpu - small.cpu) / 2)


def _domain(probed: Probed, few: Call, many: Call) -> float:
    """How many keys a query groups its rows by, where a table of so many rows as there are shows
    far fewer new ones for each row than a sample does; else 0. Of `domain` keys, each as likely,
    n rows show domain * (1 - exp(-n / domain)); what two samples show must be near that."""
    groups = any("GROUP_BY" in name for name in probed.operators)
    if not groups or few.rows >= many.rows or not 0 < many.out_rows < many.rows:
        return 0.0
    domain = _drawn_from(many.rows, many.out_rows)
    first = shown(domain, few.rows)
    if abs(few.out_rows - first) > NEARLY * first:
        return 0.0  # some are far more likely than others, or rows are left out
    whole = shown(domain, probed.rows) * many.rows
    return domain if whole < SATURATED * many.out_rows * probed.rows else 0.0


def shown(domain: float, rows: float) -> float:
    """How many different of so many equally likely keys this many rows show."""
    return -domain * math.expm1(-rows / domain)


def _drawn_from(rows: int, keys: int) -> float:
    """The `domain` of which so many rows show this many."""
    least, most = float(keys), float(rows) ** 2
    for _ in range(100):
        middle = math.sqrt(least * most)
        least, most = (middle, most) if shown(middle, rows) < keys else (least, middle)
    return most


def _waited(
    probed: Probed, small: Call, first: Call, big: Call, slow: float
) -> tuple[float, float]:
    """Seconds asleep, of a call of the function and of a row. A neighbour doubles wall at most,
    where we do not know how many there were; what takes longer than that sleeps."""
    if probed.beside is None and probed.load >= 1:
        return 0.0, 0.0
    pause = waits = 0.0
    if big.inside > ASLEEP * big.inside_cpu * slow:
        asleep = [max(0.0, one.inside - one.inside_cpu * slow) for one in (first, big)]
        pause, waits = _parted(first, big, asleep)
    wall, cpu = big.wall - big.inside, big.cpu - big.inside_cpu
    if wall > ASLEEP * cpu * slow:  # reading, or a function whose calls are not counted
        before = small.wall - small.inside, small.cpu - small.inside_cpu
        beside = (wall - before[0]) - (cpu - before[1]) * slow
        waits += max(0.0, beside) / (big.rows - small.rows)
    return pause, waits


def _parted(few: Call, many: Call, took: Sequence[float]) -> tuple[float, float]:
    """What a call of the function takes whatever its rows, and what a row takes, by two samples.
    Where a call has as many rows in both, as it then has in a run, all of it is of the call. Where
    the smaller one took more, it met cold caches, and the rows' time cannot be told from the
    call's: then it is taken for the rows', of which a run has more."""
    if not few.times or not many.times:
        return 0.0, 0.0
    least, most = few.rows / few.times, many.rows / many.times
    small, large = took[0] / few.times, took[1] / many.times
    if abs(most - least) < UNLIKE * max(most, least):
        return large, 0.0
    if large < small:
        return 0.0, large / most
    row = min(max(0.0, (large - small) / (most - least)), large / most)
    return max(0.0, large - row * most), row


def _of_a_key(big: Call, first: Call, base: float) -> float:
    """CPU seconds of a group whatever its rows: what a sample of few rows for each takes more than
    one of many. None of it where both are alike."""
    unlike = first.keys * big.rows - big.keys * first.rows
    if not first.keys or unlike < UNLIKE * first.keys * big.rows:
        return 0.0
    few, many = max(0.0, first.cpu - base), max(0.0, big.cpu - base)
    found = (few * big.rows - many * first.rows) / unlike
    return min(max(0.0, found), many / max(1, big.keys))


def _least_of(calls: Sequence[Call]) -> Call:
    """The least of each: a first call touches its memory afresh and meets cold caches, which a run
    does once, and whoever shares the machine's cores only adds. On 39 functions the middle of three
    was off by 11 % in the middle and 43 at the 90th percentile, the least by 8 and 14."""
    return replace(
        calls[0],
        wall=min(call.wall for call in calls),
        cpu=min(call.cpu for call in calls),
        memory=round(median(call.memory for call in calls)),
        inside=min(call.inside for call in calls),
        inside_cpu=min(call.inside_cpu for call in calls),
    )
