"""The scheduler over nodes, as a machine: it holds what there is, who holds what and who waits,
eats events, and returns decisions. The same events give the same state and the same decisions;
`copy()` gives one to ask "what if". Nothing here reads a clock or a store: times and ids come in
with the events.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from tradewind.scheduler import room
from tradewind.scheduler.events import (
    Decided,
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    Preempt,
    Reject,
    Released,
    SchedulerEvent,
    Waiting,
    Widened,
    Withdrawn,
)
from tradewind.scheduler.line import File, Key, Line
from tradewind.scheduler.nodes import Nodes, Spot
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.pool import Make, Pool

# A run that works is interrupted for one that is due so much sooner.
SOONER = 0.8
# It is moved for one that waits if that loses no more than such a part of what the other takes.
MOVES = 0.01


@dataclass(slots=True)
class Held:
    """A run that has a place. `asked` is what it waited with, `began` when it got it, `by` the run
    that gets its place next."""

    asked: Waiting
    spots: tuple[Spot, ...]
    began: float
    by: str = ""

    def attained(self, now: float) -> float:
        """Seconds of work it has had."""
        return self.asked.attained + max(0.0, now - self.began - self.asked.restart)

    def left(self, now: float) -> float | None:
        """Seconds it still needs, if that is known."""
        if self.asked.left is None:
            return None
        return max(0.0, self.asked.left + self.asked.attained - self.attained(now))

    def unsaved(self, now: float) -> float:
        """The work that is lost when it is interrupted, in devices times seconds."""
        return 0.0 if self.asked.keeps else (now - self.began) * self.asked.width


@dataclass(slots=True)
class Due:
    """A run for which others make room on the nodes `rows`: who has not gone yet, and who has."""

    asked: Waiting
    rows: tuple[int, ...]
    staying: set[str]
    gone: list[Held]


class Cluster:
    """The scheduler's whole state."""

    def __init__(self, make: Make, order: Shortest | None = None) -> None:
        """`make` gives whoever chooses among the nodes of a pool; without an `order` first come is
        first."""
        self._make, self._order = make, order
        self._pools: dict[str, Pool] = {}
        self._gone: dict[str, str] = {}
        self._line = Line()
        self._held: dict[str, Held] = {}
        self._due: dict[str, Due] = {}
        self._known = 0
        self.now = 0.0

    def copy(self) -> Self:
        """An independent one in the same state."""
        twin = type(self)(self._make, self._order and self._order.copy())
        twin._pools = {name: pool.copy() for name, pool in self._pools.items()}
        twin._gone, twin._line = {**self._gone}, self._line.copy()
        twin._held = {run: replace(held) for run, held in self._held.items()}
        twin._due = {
            run: replace(due, staying={*due.staying}, gone=[*due.gone])
            for run, due in self._due.items()
        }
        twin._known, twin.now = self._known, self.now
        return twin

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
                    self._pools.pop(event.pool, None)
                    self._gone[event.pool] = event.why
                case Waiting():
                    self._wait(event)
                case Withdrawn():
                    self._withdraw(event.run)
                case Occupied():
                    self._occupy(event)
                case Widened():
                    self._widen(event)
                case Released():
                    self._release(event)

    def _wait(self, event: Waiting) -> None:
        if event.run in self._held or event.run in self._line.waiting or event.run in self._due:
            return
        self._line.join(event, self._key(event))
        pool = self._pools.get(event.pool)
        if pool is not None:
            for ask, count in event.parts:
                pool.placer.arrived(ask, count)

    def _withdraw(self, run: str) -> None:
        self._line.leave(run)
        if run in self._due:
            self._give_up(run)

    def _give_up(self, run: str) -> Waiting:
        """Nobody makes room for it any more; who has gone meanwhile leaves the place free."""
        due = self._due.pop(run)
        for held in due.gone:
            self._free(held)
        for name in due.staying:
            self._held[name].by = ""
        if due.asked.pool in self._pools:
            self._pools[due.asked.pool].close(due.rows, -1)
        return due.asked

    def _release(self, event: Released) -> None:
        self._withdraw(event.run)
        held = self._held.pop(event.run, None)
        if held is None:
            return
        if event.ended and self._order is not None:
            self._learn(held)
        if held.by in self._due:
            due = self._due[held.by]
            due.staying.discard(event.run)
            due.gone.append(held)
        else:
            self._free(held)

    def _free(self, held: Held) -> None:
        pool = self._pools.get(held.asked.pool)
        if pool is not None:
            pool.free(held.asked.parts, held.spots)
            pool.turn += 1

    def _learn(self, ended: Held) -> None:
        assert self._order is not None
        if self._order.ended(ended.asked.width, ended.attained(self.now)):
            going = [(each.width, each.attained) for each in self._line.waiting.values()]
            going += [(each.asked.width, each.attained(self.now)) for each in self._held.values()]
            self._order.learn(going)

    def _stand_back(self, pool: str) -> None:
        """Its nodes are not what they were: who was to get room there joins the line again."""
        for run in [run for run, due in self._due.items() if due.asked.pool == pool]:
            asked = self._give_up(run)
            self._line.join(asked, self._key(asked))

    def _change(self, event: PoolChanged) -> None:
        self._stand_back(event.pool)
        self._gone.pop(event.pool, None)
        nodes = Nodes(event.nodes)
        pool = Pool(nodes, self._make(nodes), event.firm)
        known = self._pools.get(event.pool)
        self._pools[event.pool] = pool
        for held in self._held.values():
            if held.asked.pool == event.pool:
                held.spots = pool.again(held.asked.parts, held.spots, known)
        pool.turn = known.turn + 1 if known else 0

    def _occupy(self, event: Occupied) -> None:
        self._line.leave(event.run)
        if event.run not in self._held:
            asked = Waiting(run=event.run, pool=event.pool, parts=event.parts, since=self.now,
                            stands=event.stands)  # fmt: skip
            pool = self._pools.get(event.pool)
            spots = pool.force(event.parts) if pool else ()
            self._held[event.run] = Held(asked, spots, self.now)

    def _widen(self, event: Widened) -> None:
        held = self._held.get(event.run)
        if held is None or held.asked.parts == event.parts:
            return
        pool = self._pools.get(held.asked.pool)
        if pool is not None:
            pool.free(held.asked.parts, held.spots)
            held.spots = pool.force(event.parts)
            pool.turn += 1
        held.asked = replace(held.asked, parts=event.parts)

    # --- what is decided ---------------------------------------------------------------------

    def decide(self, now: float = 0.0) -> list[Decided]:
        """Who starts now, who makes room, who never can."""
        self.now = max(self.now, now)
        decisions: list[Decided] = []
        self._settle(decisions)
        self._sort()
        front: list[tuple[Key, int, File]] = []
        for file in list(self._line.files.values()):
            if file.kind[0] in self._pools:
                self._push(front, file)
        dues: dict[str, Key] | None = None
        latest: dict[str, Key] = {}
        while front:
            key, _, file = heapq.heappop(front)
            pool, waiting = self._pools[file.kind[0]], self._line.front(file)
            if file.tried != pool.turn and self._place(pool, waiting, decisions):
                self._push(front, file)
                continue
            file.tried = pool.turn
            if dues is None:
                dues = self._dues()
                latest = self._latest(dues)
            if key < latest.get(waiting.pool, ()):
                leaving = self._interrupt(pool, waiting, self._victims(waiting, key, dues))
                decisions += [Preempt(run=run, by=waiting.run) for run in leaving]
                if leaving:
                    self._push(front, file)
        return decisions

    def _push(self, front: list[tuple[Key, int, File]], file: File) -> None:
        found = self._line.first(file)
        if found is not None:
            heapq.heappush(front, (*found, file))

    def _settle(self, decisions: list[Decided]) -> None:
        """Those for whom all have made room."""
        for run in [run for run, due in self._due.items() if not due.staying]:
            rows = self._due[run].rows
            asked = self._give_up(run)
            pool = self._pools.get(asked.pool)
            spots = pool.lay(asked.parts, pool.only(rows)) if pool else None
            if spots is None:
                self._line.join(asked, self._key(asked))  # the pool is not what it was
            else:
                self._hold(asked, spots, decisions)

    def _hold(self, asked: Waiting, spots: tuple[Spot, ...], decisions: list[Decided]) -> None:
        self._held[asked.run] = Held(asked, spots, self.now)
        decisions.append(Place(run=asked.run, pool=asked.pool, spots=spots))

    def _key(self, waiting: Waiting) -> Key:
        first = -float(waiting.priority)
        if self._order is None:
            return (first, waiting.since)
        index = self._order.index(waiting.width, waiting.attained, waiting.left)
        return (first, index, waiting.since)

    def _sort(self) -> None:
        """All anew where the order has learned."""
        if self._order is None or self._order.version == self._known:
            return
        self._known = self._order.version
        self._line.sort(self._key)

    def _place(self, pool: Pool, waiting: Waiting, decisions: list[Decided]) -> bool:
        """Whether it has left the line: it starts, or never can."""
        spots = pool.lay(waiting.parts, pool.open())
        if spots is not None:
            self._line.leave(waiting.run)
            self._hold(waiting, spots, decisions)
            return True
        if pool.firm and not pool.could(waiting.parts):
            self._line.leave(waiting.run)
            why = pool.never(waiting.pool, waiting.parts)
            decisions.append(Reject(run=waiting.run, why=why))
            return True
        return False

    def _dues(self) -> dict[str, Key]:
        """Of those that may be interrupted, the key that each would have if it waited; for another
        one of the same priority only those go that are due later. Whoever began at this very moment
        stays: so a moment comes to an end."""
        found: dict[str, Key] = {}
        order = self._order
        if order is None:
            return found
        for run, held in self._held.items():
            asked = held.asked
            if held.by or asked.stands or held.began == self.now:
                continue
            first, due = -float(asked.priority), 0.0
            if asked.keeps:
                left = held.left(self.now)
                index = order.index(asked.width, held.attained(self.now), left)
                sooner = SOONER if left is None else 1.0
                due = index * sooner - asked.restart * asked.width
            found[run] = (first, due)
        return found

    def _latest(self, dues: dict[str, Key]) -> dict[str, Key]:
        """The last of them, by pool: whoever is due later still interrupts nobody."""
        found: dict[str, Key] = {}
        for run, due in dues.items():
            pool = self._held[run].asked.pool
            found[pool] = max(due, found.get(pool, due))
        return found

    def _victims(self, waiting: Waiting, key: Key, dues: dict[str, Key]) -> list[room.Victim]:
        found = []
        costs = waiting.restart * waiting.width
        for run, (first, due) in dues.items():
            held = self._held[run]
            asked = held.asked
            if held.by or asked.pool != waiting.pool or first < key[0]:
                continue
            moves = first == key[0] and (not asked.keeps or due <= key[1] + costs)
            if moves and not (asked.keeps and asked.restart * asked.width <= MOVES * key[1]):
                continue
            loss = held.unsaved(self.now)
            found.append(room.Victim(run, asked.parts, held.spots, loss, due, moves))
        return found

    def _interrupt(self, pool: Pool, waiting: Waiting, victims: list[room.Victim]) -> list[str]:
        """Who makes room for it; nobody where that does not help."""
        stay = [victim for victim in victims if not victim.moves]
        if not room.enough(pool.nodes, waiting.parts, stay):
            return []  # nor would it help if others moved: they need as much elsewhere
        among = pool.open()
        found = room.make(pool.nodes, waiting.parts, stay, among) if stay else None
        if found is None and len(stay) < len(victims):
            found = room.make(pool.nodes, waiting.parts, victims, among)
        if found is None:
            return []
        self._line.leave(waiting.run)
        self._due[waiting.run] = Due(waiting, found.rows, {*found.leaving}, [])
        pool.close(found.rows, 1)
        for run in found.leaving:
            self._held[run].by = waiting.run
        return sorted(found.leaving)
