"""What a change to code did to its price, and which line: two profiles and their sources compared.

Lines are matched through a difference of the texts; lines that were changed together are one place.
A difference is said only where it is larger than what two equal runs differ by: by the clock of the
machine, which repeats side by side show and an assumption stands for where there are none, and by
how often was looked. Where that is too much to see `NOTABLE`, the verdict is `unclear` and not
`same`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from statistics import median
from typing import Literal

Verdict = Literal["dearer", "cheaper", "same", "unclear"]
Line = tuple[str, int]

# A smaller part of the whole is never said.
LEAST = 0.05
# What has to be seen, or the verdict says that it cannot be.
NOTABLE = 0.10
# Two runs of the same code on one machine differ by this (standard deviation of the logarithm),
# until repeats say otherwise; and how many of them chance may reach once in twenty times.
REPEAT = 0.02
TAIL = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One version of the code as it was run: the work of each run (core-seconds and waiting; as
    many as of the other version, the n-th of both side by side), seconds by line over all of them,
    how often was looked."""

    works: Sequence[float]
    lines: Mapping[Line, float]
    looks: int
    sources: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of the work of before a line of now (of before, if `gone`) does more or less. `was`
    is the line of before that it stands for; 0: it is new."""

    file: str
    line: int
    change: float
    changed: bool
    gone: bool = False
    was: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """`change`: the work of now as a part more (or less) than before. `noise`: what it had to pass.
    `lines`: who did it, the most first."""

    verdict: Verdict
    change: float
    noise: float
    lines: tuple[Share, ...]


def blame(before: Side, now: Side, least: float = 0.0, repeat: float = REPEAT) -> Blame:
    """What the change did. Works of less than `least` seconds say nothing; `repeat` is what two
    equal works differ by, until they say otherwise."""
    old, new = (median(each.works) if each.works else 0.0 for each in (before, now))
    if min((*before.works, *now.works), default=0.0) <= 0 or max(old, new) < least:
        return Blame(verdict="unclear", change=0.0, noise=math.inf, lines=())
    ratios = [math.log(b / a) for a, b in zip(before.works, now.works, strict=True)]
    shift = median(ratios)
    change = math.expm1(shift)
    noise = max(LEAST, TAIL * _error(ratios, repeat))
    verdict: Verdict = "dearer" if shift > 0 else "cheaper"
    if abs(shift) <= noise:
        verdict = "same" if noise <= NOTABLE else "unclear"
    shares = _shares(before, now, old, new)
    told = [
        share
        for _score, share in sorted(shares, key=lambda each: -abs(each[0]))
        if abs(share.change) >= LEAST / 5
        and (share.change > 0) == (change > 0)
        and (share.changed or verdict in ("dearer", "cheaper"))
    ]
    return Blame(verdict=verdict, change=change, noise=noise, lines=tuple(told[:5]))


def _error(ratios: Sequence[float], repeat: float) -> float:
    """The standard error of their median. Few repeats say little, so the assumption counts as two
    of them."""
    middle, count = sum(ratios) / len(ratios), len(ratios)
    squares = 2 * 2 * repeat**2 + sum((each - middle) ** 2 for each in ratios)
    # A median of three and more is a little less sharp than a mean.
    return math.sqrt(squares / (2 + count - 1) * (1.0 if count < 3 else 1.35) / count)


def _shares(before: Side, now: Side, old: float, new: float) -> list[tuple[float, Share]]:
    """Every place with what it does more. What was changed is believed first: of the others only
    that counts which is more than what looks and the clock are wrong by."""
    was, held = sum(before.lines.values()) or 1.0, sum(now.lines.values()) or 1.0
    places = _places(before, now)
    found = []
    for key, (olds, news, changed) in places.items():
        first = sum(before.lines.get(each, 0.0) for each in olds) / was
        second = sum(now.lines.get(each, 0.0) for each in news) / held
        gain = second * new / old - first
        error = math.hypot(_look(first, before.looks), _look(second, now.looks) * new / old)
        error = math.hypot(error, REPEAT * first)
        score = gain if changed else math.copysign(max(0.0, abs(gain) - 2 * error), gain)
        (file, line), gone = key
        if score or changed:
            was_at = max(
                olds, key=lambda each: (before.lines.get(each, 0.0), -each[1]), default=None
            )
            share = Share(
                file=file, line=line, change=gain, changed=changed, gone=gone,
                was=was_at[1] if was_at else 0,
            )  # fmt: skip
            found.append((score, share))
    return found


def _look(part: float, looks: int) -> float:
    return math.sqrt(max(part * (1.0 - part), 0.0) / max(looks, 1))


_Places = dict[tuple[Line, bool], tuple[list[Line], list[Line], bool]]


def _places(before: Side, now: Side) -> _Places:
    """A line of now, or of before if it is gone → the lines of both sides that it stands for, and
    whether its text was changed."""
    found: _Places = {}
    files = {file for file, _line in (*before.lines, *now.lines)}
    for file in sorted(files):
        one, other = before.sources.get(file, ()), now.sources.get(file, ())
        plain = [[line.strip() for line in text] for text in (one, other)]
        matcher = SequenceMatcher(None, plain[0], plain[1], autojunk=False)
        for tag, i, k, j, m in matcher.get_opcodes():
            if tag == "equal":
                for step in range(k - i):
                    _put(found, [(file, i + step + 1)], [(file, j + step + 1)], False, now)
            else:
                olds = [(file, n) for n in range(i + 1, k + 1)]
                _put(found, olds, [(file, n) for n in range(j + 1, m + 1)], True, now)
        for line in sorted({*before.lines, *now.lines}):
            if line[0] == file and line[1] > max(len(one), len(other)):  # its text is not here
                _put(found, [line], [line], False, now)
    return found


def _put(found: _Places, olds: list[Line], news: list[Line], changed: bool, now: Side) -> None:
    if news:
        top = max(news, key=lambda each: (now.lines.get(each, 0.0), -each[1]))
        found[top, False] = (olds, news, changed)
    else:
        found[olds[0], True] = (olds, news, changed)
