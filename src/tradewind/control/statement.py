"""What the pools cost over a time, and who pays for it: each project what it held, and for the rest
nobody but those who keep the pool ("idle"). Both together are the price of the pools, exactly.

A project holds of a pool the largest part that it holds of any one resource (its dominant share:
Ghodsi et al., NSDI 2011), as on the bill of a run. Where these come to more than the whole pool,
since one holds the cores and another the memory, or since machines are gone that still hold work,
the price is divided in proportion: nobody pays for the pool twice. So a project may pay less than
its runs' bills together, and never more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from tradewind.base.errors import UserError
from tradewind.base.units import apportion
from tradewind.compiler import price
from tradewind.control import bill
from tradewind.records import codec
from tradewind.records.placements import Placement
from tradewind.records.tasks import Resources
from tradewind.store.base import Store
from tradewind.store.rows import Capacity, Usage

# Shares are whole numbers of this: what is added and taken away again leaves nothing behind.
WHOLE = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A run of a project held so much of a pool from `since` until before `until`."""

    project: str
    pool: str
    demand: Resources
    since: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Of one pool, in nanodollars: the `total` is the sum of `idle` and of what the `projects` pay.
    `unpriced` are the seconds in which anybody held anything of it while it had no price; not those
    in which nothing was there."""

    pool: str
    total: int
    idle: int
    projects: Mapping[str, int]
    unpriced: float = 0.0


@dataclass(slots=True)
class _Account:
    """One pool, swept from one moment to the next at which anything changes."""

    now: float
    had: Capacity | None = None
    paid: dict[str, float] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    unpriced: float = 0.0
    _holding: dict[int, Held] = field(default_factory=dict)
    _shares: dict[int, int] = field(default_factory=dict)

    def until(self, at: float) -> None:
        """Nothing changes before that."""
        seconds, self.now = at - self.now, max(self.now, at)
        if self.had is None or seconds <= 0:
            return
        there = self.had.capacity != Resources(cpu=0.0)
        self.unpriced += seconds if self._shares and there and not self.had.price else 0.0
        money = self.had.price * seconds / price.HOUR
        held = sum(self._shares.values())
        whole = max(WHOLE, held)
        for number, share in self._shares.items():
            project = self._holding[number].project
            self.paid[project] = self.paid.get(project, 0.0) + money * share / whole
        self.idle.append(money * (whole - held) / whole)
        self.total.append(money)

    def changes(self, had: Capacity) -> None:
        """It has this from now on."""
        self.had = had
        self._shares = {number: self._share(held) for number, held in self._holding.items()}

    def begins(self, number: int, held: Held) -> None:
        self._holding[number], self._shares[number] = held, self._share(held)

    def ends(self, number: int) -> None:
        del self._holding[number], self._shares[number]

    def _share(self, held: Held) -> int:
        return round(price.share(held.demand, self.had.capacity) * WHOLE) if self.had else 0

    def statement(self, pool: str) -> Statement:
        """In whole nanodollars that add up."""
        total = round(math.fsum(self.total))
        names, parts = sorted(self.paid), [round(math.fsum(self.idle))]
        parts += [round(self.paid[name]) for name in names]
        idle, *paid = apportion(total, parts) if any(parts) else [total, *(0 for _ in names)]
        return Statement(pool=pool, total=total, idle=idle, unpriced=self.unpriced,
                         projects=dict(zip(names, paid, strict=True)))  # fmt: skip


def statements(
    had: Iterable[Capacity], held: Iterable[Held], since: float, until: float
) -> list[Statement]:
    """One for each pool of which anything is known from `since` until before `until`. `had` tells
    from when on a pool has had what, in the order in which it was told."""
    found = []
    holders: dict[str, list[Held]] = {}
    for each in held:
        holders.setdefault(each.pool, []).append(each)
    for pool, mine in groupby(sorted(had, key=_pool), _pool):
        account = _Account(since)
        for at, _, _, change in _changes([*mine], holders.get(pool, []), since, until):
            account.until(at)
            change(account)
        account.until(until)
        if account.total:
            found.append(account.statement(pool))
    return found


def _pool(had: Capacity) -> str:
    return had.pool


_Change = tuple[float, int, int, Callable[[_Account], None]]


def _changes(
    had: Sequence[Capacity], held: Sequence[Held], since: float, until: float
) -> list[_Change]:
    """By time; at one moment what ends goes before what begins."""
    found: list[_Change] = [
        (max(since, each.at), 1, number, partial(_Account.changes, had=each))
        for number, each in enumerate(had)
        if each.at < until
    ]
    for number, each in enumerate(held):
        first, last = max(since, each.since), min(until, each.until)
        if first < last:
            begins = partial(_Account.begins, number=number, held=each)
            found.append((first, 2, number, begins))
            found.append((last, 0, number, partial(_Account.ends, number=number)))
    return sorted(found, key=lambda change: change[:3])


def told(store: Store, since: float, until: float, now: float) -> list[Statement]:
    """Of all pools of this database; of what still works, what it has held until `now`. Raises
    UserError for a time that ends before it begins."""
    until = min(until, now)
    if not since < until:
        raise UserError("there is nothing between these times", hint="--from is before --until, "
                        "and before now")  # fmt: skip
    had = store.ledger.capacities()
    # What ends between the two questions is in both answers, and not in none.
    live = store.placements.live(*{each.pool for each in had})
    paid = store.ledger.since(since)
    parts = {each.part for each in paid}
    going = [each for each in live if each.id not in parts]
    return statements(had, [*_ended(paid), *_going(store, going, now)], since, until)


def _ended(paid: Iterable[Usage]) -> Iterator[Held]:
    for usage in paid:
        steps = usage.detail.get("held") or [[usage.at - usage.seconds, usage.detail["demand"]]]
        end = usage.detail.get("ended", usage.at)
        for at, last, demand in bill.spans(steps, end):
            yield Held(project=usage.project, pool=str(usage.detail["pool"]), since=at, until=last,
                       demand=codec.from_json(Resources, demand))  # fmt: skip


def _going(store: Store, live: Sequence[Placement], now: float) -> Iterator[Held]:
    runs = store.runs.get_many({each.run for each in live})
    for placement in live:
        run = runs.get(placement.run)
        if run is None or not placement.started:
            continue
        for at, last, demand in bill.spans(bill.held(run, placement), now):
            yield Held(project=run.project, pool=placement.pool, demand=demand, since=at,
                       until=last)  # fmt: skip
