"""How often quotes were right, by function and backend. Pure: settled promises in, figures out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from tradewind.records.plans import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One promise: `outcome` is kept, broken or none (it failed, was stopped, goes on). `predicted`
    is the figure that was quoted and `actual` what came: CPU seconds where they were predicted,
    else seconds in tasks; without either its quote proves nothing."""

    function: str
    backend: str
    outcome: str
    predicted: Interval | None = None
    actual: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All promises about one function on one backend. Of `checked` there was a prediction and an
    outcome: so many were `inside` the interval, and the middle one was off by the share `error`."""

    function: str
    backend: str
    promises: int
    kept: int
    broken: int
    checked: int
    inside: int
    error: float | None


def accounts(promises: Iterable[Settled]) -> list[Account]:
    """One for each function and backend, by name; last that of all, which has no names."""
    groups: defaultdict[tuple[str, str], list[Settled]] = defaultdict(list)
    for each in promises:
        groups[each.function, each.backend].append(each)
    found = [_account(*names, group) for names, group in sorted(groups.items())]
    return [*found, _account("", "", [each for group in groups.values() for each in group])]


def _account(function: str, backend: str, promises: list[Settled]) -> Account:
    checked = [
        (each.predicted, each.actual)
        for each in promises
        if each.predicted is not None and each.predicted.p50 > 0 and each.actual > 0
    ]
    errors = [abs(said.p50 / actual - 1) for said, actual in checked]
    return Account(
        function=function,
        backend=backend,
        promises=len(promises),
        kept=sum(each.outcome == "kept" for each in promises),
        broken=sum(each.outcome == "broken" for each in promises),
        checked=len(checked),
        inside=sum(said.low <= actual <= said.p90 for said, actual in checked),
        error=median(errors) if errors else None,
    )
