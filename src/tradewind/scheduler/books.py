"""The scheduler's books: what there is, who holds what and who waits, and what each event changes
of that. Who may ask reads them; only events and decisions change them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from tradewind.scheduler import amounts, room
from tradewind.scheduler.events import (
    Occupied,
    PoolChanged,
    PoolGone,
    QueuesChanged,
    Released,
    Saved,
    SchedulerEvent,
    Shrunk,
    Waiting,
    Widened,
    Withdrawn,
)
from tradewind.scheduler.held import Due, Held
from tradewind.scheduler.line import Key, Line, kind
from tradewind.scheduler.nodes import Nodes
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.pool import Make, Pool
from tradewind.scheduler.queues import Branch, Queues

# So much of what is known of how long it takes to go is by the last who did.
LATELY = 0.25


class Books:
    """`pools` are those that are there, `gone` says why others are not; `line` is who waits, `held`
    who has a place, `due` for whom others make room, `tree` who may use how much."""

    def __init__(self, make: Make, order: Shortest | None = None, shoves: bool = True) -> None:
        """`make` gives whoever chooses among the nodes of a pool; without an `order` first come is
        first. Unless it `shoves` nobody is interrupted beyond those who have been told."""
        self._make, self.order, self._shoves = make, order, shoves
        self.tree = Queues()
        self.pools: dict[str, Pool] = {}
        self.gone: dict[str, str] = {}
        self.line = Line()
        self.held: dict[str, Held] = {}
        self._elastic: dict[str, None] = {}
        self.due: dict[str, Due] = {}
        self._known = 0
        self._turn = 0
        self.now = 0.0
        # When somebody last began.
        self._began = -math.inf
        # Seconds that those take to go who are told to, lately.
        self.parting = 0.0

    def copy(self, make: Make | None = None, shoves: bool | None = None) -> Self:
        """An independent one in the same state; with others who choose, if they are given."""
        shoves = self._shoves if shoves is None else shoves
        twin = type(self)(make or self._make, self.order and self.order.copy(), shoves)
        twin.tree = self.tree.copy()
        twin.pools = {name: pool.copy(make) for name, pool in self.pools.items()}
        twin.gone, twin.line = {**self.gone}, self.line.copy()
        twin.held = {run: replace(held, grown=[*held.grown]) for run, held in self.held.items()}
        twin._elastic = {**self._elastic}
        twin.due = {run: replace(due, staying={*due.staying}) for run, due in self.due.items()}
        twin._known, twin._turn, twin.now = self._known, self._turn, self.now
        twin._began, twin.parting = self._began, self.parting
        return twin

    def asked(self, run: str) -> Waiting | None:
        """What a run asks for that waits, or for which room is made."""
        due = self.due.get(run)
        return due.asked if due is not None else self.line.waiting.get(run)

    # --- what happens ------------------------------------------------------------------------

    def feed(self, events: Iterable[SchedulerEvent], now: float = 0.0) -> None:
        """Take in what happened until `now`. A clock that was set back stands still here."""
        self.now = max(self.now, now)
        for event in events:
            match event:
                case PoolChanged():
                    self._change(event)
                case PoolGone():
                    self._stand_back(event.pool)
                    self._unseat(event.pool)
                    self.pools.pop(event.pool, None)
                    self.gone[event.pool] = event.why
                    self._measure()
                case QueuesChanged():
                    self._divide(event)
                case Waiting():
                    self._wait(event)
                case Withdrawn():
                    self._withdraw(event.run)
                case Occupied():
                    self._occupy(event)
                case Saved():
                    self._save(event)
                case Widened():
                    self._widen(event)
                case Shrunk():
                    self._shrink(event)
                case Released():
                    self._release(event)

    def _wait(self, event: Waiting) -> None:
        if event.run in self.held or event.run in self.line.waiting or event.run in self.due:
            return
        self.line.join(event, self.key(event))
        pool = self.pools.get(event.pool)
        if pool is not None:
            for ask, count in event.parts:
                pool.placer.arrived(ask, count)
            if pool.kept is not None:  # it may end before where those ahead of it do not
                self.line.files[kind(event)].tried = -1

    def _withdraw(self, run: str) -> None:
        self.line.leave(run)
        if run in self.due:
            self._give_up(run)

    def _give_up(self, run: str) -> Waiting:
        """Nobody makes room for it any more."""
        due = self.due.pop(run)
        self._turn += 1
        for name in due.staying:
            held = self.held[name]
            held.by = ""
            self._mark(held, leaving=False)
            self.tree.then(self.leaf(held.asked), held.amounts)
        self.tree.then(self.leaf(due.asked), due.amounts, -1)
        if due.asked.pool in self.pools:
            self.pools[due.asked.pool].reserve(due.reserved, -1)
        return due.asked

    def _release(self, event: Released) -> None:
        self._withdraw(event.run)
        held = self.held.get(event.run)
        if held is None:
            return
        for more in [*held.grown]:
            self._release(Released(run=more, ended=False))
        del self.held[event.run]
        if held.of in self.held:
            self.held[held.of].grown.remove(event.run)
        self._elastic.pop(event.run, None)
        self._turn += 1
        leaf, pool = self.leaf(held.asked), self.pools.get(held.asked.pool)
        self.tree.now(leaf, held.amounts, -1)
        if pool is not None:
            pool.free(held.asked.parts, held.spots)
            pool.going.drop(event.run)
        if held.by:
            self._parted(held)
            self.due[held.by].staying.discard(event.run)
            self._reserve(self.due[held.by])
        else:
            self.tree.then(leaf, held.amounts, -1)
        if event.ended and self.order is not None:
            self._learn(held)

    def _parted(self, held: Held) -> None:
        took = self.now - self.due[held.by].told
        if took >= 0:
            self.parting += (took - self.parting) * (LATELY if self.parting else 1.0)

    def _seat(self, held: Held) -> None:
        """It holds its place."""
        self.held[held.asked.run] = held
        if held.asked.grows:
            self._elastic[held.asked.run] = None
        pool = self.pools.get(held.asked.pool)
        if pool is not None:
            held.worth = pool.worth(held.asked, held.spots)
            pool.going.add(held)

    def _mark(self, held: Held, leaving: bool) -> None:
        pool = self.pools.get(held.asked.pool)
        if pool is not None:
            pool.going.leaves(held.asked.run, leaving)

    def _reserve(self, due: Due) -> None:
        """What those leave that still have to go is kept by them; the rest nobody may have."""
        pool = self.pools.get(due.asked.pool)
        if pool is not None:
            going = [self.held[run] for run in due.staying]
            pool.reserve(due.reserved, -1)
            left = [(held.asked.parts, held.spots) for held in going
                    if held.asked.pool == due.asked.pool]  # fmt: skip
            due.reserved = room.beyond(due.asked.parts, due.spots, left)
            pool.reserve(due.reserved)

    def _learn(self, ended: Held) -> None:
        assert self.order is not None
        if self.order.ended(ended.asked.width, ended.attained(self.now)):
            going = [(each.width, each.attained) for each in self.line.waiting.values()]
            going += [(each.asked.width, each.attained(self.now)) for each in self.held.values()
                      if not each.of]  # fmt: skip
            self.order.learn(going)

    def _stand_back(self, pool: str) -> None:
        """Its nodes are not what they were: who was to get room there joins the line again."""
        for run in [run for run, due in self.due.items() if due.asked.pool == pool]:
            asked = self._give_up(run)
            self.line.join(asked, self.key(asked))

    def _change(self, event: PoolChanged) -> None:
        self._stand_back(event.pool)
        self._unseat(event.pool)
        self.gone.pop(event.pool, None)
        nodes = Nodes(event.nodes)
        pool = Pool(nodes, self._make(nodes), event.firm, dict(event.most), dict(event.prices))
        self.pools[event.pool] = pool
        for held in self.held.values():
            if held.asked.pool == event.pool:
                self._again(held, pool)
                self._seat(held)
                self._count(held)
        self._measure()

    def _unseat(self, name: str) -> None:
        """Its nodes are not what they were: what is held of them is known by their names."""
        pool = self.pools.get(name)
        if pool is None:
            return
        for held in self.held.values():
            if held.asked.pool == name and held.spots:
                held.spots, held.seats = (), pool.seats(held.spots)

    def _again(self, held: Held, pool: Pool) -> None:
        held.spots = pool.again(held.asked.parts, held.seats)
        held.seats = () if held.spots else held.seats

    def _measure(self) -> None:
        """Nodes or queues are not what they were."""
        self._turn += 1
        for file in self.line.files.values():
            file.wants = None
        whole: dict[str, int] = {}
        for pool in self.pools.values():
            for name, amount in pool.limits().items():
                whole[name] = whole.get(name, 0) + amount
        self.tree.capacity(whole)

    def _divide(self, event: QueuesChanged) -> None:
        self.tree = Queues(event.queues, event.caps)
        self._measure()
        for held in self.held.values():
            self.tree.now(self.leaf(held.asked), held.amounts)
            if not held.by:
                self.tree.then(self.leaf(held.asked), held.amounts)
        for due in self.due.values():
            self.tree.then(self.leaf(due.asked), due.amounts)

    def leaf(self, asked: Waiting) -> Branch:
        """What it holds counts there."""
        return self.tree.leaf(asked.queue, asked.project)

    def _count(self, held: Held) -> None:
        """What it holds of its queues anew."""
        leaf, pool = self.leaf(held.asked), self.pools.get(held.asked.pool)
        count = self.tree.now if held.by else self.tree.hold
        count(leaf, held.amounts, -1)
        if pool is not None:
            held.amounts = amounts.held(held.asked.parts, held.spots, pool.nodes)
        else:
            held.amounts, _ = amounts.asked(held.asked.parts, ())
        count(leaf, held.amounts)

    def _occupy(self, event: Occupied) -> None:
        asked = event.asked
        self.line.leave(asked.run)
        if asked.run not in self.held:
            began = self.now if event.began is None else min(event.began, self.now)
            least = sum(count for _, count in asked.parts)
            held = Held(asked, (), began, {}, seats=event.seats[:least], resized=self.now)
            self._return(held)
            for at in range(least, least + event.grown):
                seats = event.seats[at : at + 1]
                self._return(Held(self._more(held), (), self.now, {}, seats=seats, of=asked.run))

    def _return(self, held: Held) -> None:
        """It is known to be there."""
        pool = self.pools.get(held.asked.pool)
        if pool is not None:
            self._again(held, pool)
        self._seat(held)
        self._count(held)
        if held.of:
            self.held[held.of].grown.append(held.asked.run)

    @staticmethod
    def _more(held: Held) -> Waiting:
        """What one more process of an elastic run asks for."""
        run, ((ask, _), *_) = held.asked.run, held.asked.parts
        number = next(at for at in itertools.count(1) if f"{run}+{at}" not in held.grown)
        return replace(held.asked, run=f"{run}+{number}", parts=((ask, 1),), keeps=True, grows=0)

    def _shrink(self, event: Shrunk) -> None:
        """Of its processes those go first that have been told to."""
        held = self.held.get(event.run)
        if held is not None and len(held.grown) > event.grown:
            stays = sorted(held.grown, key=self._leaves)
            for more in stays[event.grown :]:
                self._release(Released(run=more, ended=False))
            held.resized = self.now

    def _leaves(self, more: str) -> tuple[bool, int]:
        """Whether it has been told to go; those for whom it was told first leave last of all."""
        by = self.held[more].by
        return self._told(more), -[*self.due].index(by) if by else 0

    def _told(self, run: str) -> bool:
        by = self.held[run].by
        return bool(by) and self.due[by].told <= self.now

    def _save(self, event: Saved) -> None:
        """What was saved before it got its place is nothing that it has done here."""
        held, at = self.held.get(event.run), min(event.at, self.now)
        if held is None or held.asked.keeps or at <= max(held.began, held.saved):
            return
        held.saved = at
        pool = self.pools.get(held.asked.pool)
        if pool is not None:
            pool.going.save(event.run, at)
        self._turn += 1

    def _widen(self, event: Widened) -> None:
        held = self.held.get(event.run)
        if held is None or held.asked.parts == event.parts:
            return
        pool = self.pools.get(held.asked.pool)
        if pool is not None:
            pool.going.drop(event.run)
            held.spots = pool.widen(held.asked.parts, held.spots, event.parts)
        held.asked = replace(held.asked, parts=event.parts)
        self._seat(held)
        self._count(held)
        self._turn += 1

    def key(self, waiting: Waiting) -> Key:
        """Where it stands in its line: the lowest first."""
        first = -float(waiting.priority)
        if self.order is None:
            return (first, waiting.since)
        index = self.order.index(waiting.width, waiting.attained, waiting.left)
        return (first, index, waiting.since)
