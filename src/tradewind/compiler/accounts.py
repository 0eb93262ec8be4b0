"""How often quotes were right, by function and backend. Pure: settled promises in, figures out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from tradewind.records.plans import Interval

# What was said, and what came.
Figure = tuple[Interval | None, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One promise: `outcome` is kept, broken or none (it failed, was stopped, goes on). `predicted`
    is the figure that was quoted and `actual` what came: CPU seconds where they were predicted,
    else seconds in tasks; without either its quote proves nothing. `time` and `price` are the same
    of seconds and nanodollars. `likely`: it was said to be likely, not sure."""

    function: str
    backend: str
    outcome: str
    likely: bool = False
    predicted: Interval | None = None
    actual: float = 0.0
    time: Figure = (None, 0.0)
    price: Figure = (None, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Of `checked` figures there was a prediction and an outcome: so many were `inside` the
    interval, so many `over` its upper end, and the middle one was off by the share `error`."""

    checked: int = 0
    inside: int = 0
    over: int = 0
    error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """What was said to be likely, not sure: so many promises, so many of them kept and broken."""

    promises: int = 0
    kept: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All promises about one function on one backend. `promises`, `kept` and `broken` are of those
    that were sure; what was only `likely` is counted apart. Figures are of both: of `checked` there
    was a prediction and an outcome; so many were `inside` the interval, and the middle one was off
    by the share `error`. `time` and `price` say it of seconds and money."""

    function: str
    backend: str
    promises: int
    kept: int
    broken: int
    checked: int
    inside: int
    error: float | None
    likely: Likely = field(default_factory=Likely)
    time: Right = field(default_factory=Right)
    price: Right = field(default_factory=Right)


def accounts(promises: Iterable[Settled]) -> list[Account]:
    """One for each function and backend, by name; last that of all, which has no names."""
    groups: defaultdict[tuple[str, str], list[Settled]] = defaultdict(list)
    for each in promises:
        groups[each.function, each.backend].append(each)
    found = [_account(*names, group) for names, group in sorted(groups.items())]
    return [*found, _account("", "", [each for group in groups.values() for each in group])]


def _account(function: str, backend: str, promises: list[Settled]) -> Account:
    work = _right((each.predicted, each.actual) for each in promises)
    sure = Counter(each.outcome for each in promises if not each.likely)
    likely = Counter(each.outcome for each in promises if each.likely)
    return Account(
        function=function,
        backend=backend,
        promises=sure.total(),
        kept=sure["kept"],
        broken=sure["broken"],
        checked=work.checked,
        inside=work.inside,
        error=work.error,
        likely=Likely(promises=likely.total(), kept=likely["kept"], broken=likely["broken"]),
        time=_right(each.time for each in promises),
        price=_right(each.price for each in promises),
    )


def _right(figures: Iterable[Figure]) -> Right:
    checked = [
        (said, actual) for said, actual in figures if said is not None and said.p50 > 0 < actual
    ]
    errors = [abs(said.p50 / actual - 1) for said, actual in checked]
    return Right(
        checked=len(checked),
        inside=sum(said.low <= actual <= said.p90 for said, actual in checked),
        over=sum(actual > said.p90 for said, actual in checked),
        error=median(errors) if errors else None,
    )
