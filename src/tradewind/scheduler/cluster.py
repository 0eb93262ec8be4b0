"""The scheduler over nodes, as a machine: it holds what there is, who holds what and who waits,
eats events, and returns decisions. The same events give the same state and the same decisions;
`copy()` gives one to ask "what if". Nothing here reads a clock or a store: times and ids come in
with the events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Self

from tradewind.scheduler import amounts, room
from tradewind.scheduler.amounts import Amounts, Parts
from tradewind.scheduler.events import (
    Decided,
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    Preempt,
    QueuesChanged,
    Reject,
    Released,
    SchedulerEvent,
    Waiting,
    Widened,
    Withdrawn,
)
from tradewind.scheduler.going import Cost, Foes, Shadow
from tradewind.scheduler.held import Due, Held
from tradewind.scheduler.line import File, Front, Key, Line, kind
from tradewind.scheduler.nodes import Mask, Nodes
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.pool import Make, Pool
from tradewind.scheduler.queues import Branch, Queues

# It is moved for one that waits if that loses no more than such a part of what the other takes.
MOVES = 0.01
# If that does not help, it is looked for again after so many seconds.
SHUFFLES = 900.0
# Whoever has waited so long (seconds) and finds no room has it kept, as soon as there will be some.
LONG = 300.0
# Of those who ask for the same so many are looked at, whether they end before.
PASSING = 64
# Those whose end is waited for go after all when it takes so many times as long.
LATE = 1.5


class Cluster:
    """The scheduler's whole state."""

    def __init__(self, make: Make, order: Shortest | None = None) -> None:
        """`make` gives whoever chooses among the nodes of a pool; without an `order` first come is
        first."""
        self._make, self._order = make, order
        self._queues = Queues()
        self._pools: dict[str, Pool] = {}
        self._gone: dict[str, str] = {}
        self._line = Line()
        self._held: dict[str, Held] = {}
        self._due: dict[str, Due] = {}
        self._known = 0
        self._turn = 0
        self.now = 0.0

    def copy(self) -> Self:
        """An independent one in the same state."""
        twin = type(self)(self._make, self._order and self._order.copy())
        twin._queues = self._queues.copy()
        twin._pools = {name: pool.copy() for name, pool in self._pools.items()}
        twin._gone, twin._line = {**self._gone}, self._line.copy()
        twin._held = {run: replace(held) for run, held in self._held.items()}
        twin._due = {run: replace(due, staying={*due.staying}) for run, due in self._due.items()}
        twin._known, twin._turn, twin.now = self._known, self._turn, self.now
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
                    self._name(event.pool)
                    self._pools.pop(event.pool, None)
                    self._gone[event.pool] = event.why
                    self._measure()
                case QueuesChanged():
                    self._divide(event)
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
            if pool.kept is not None:  # it may end before where those ahead of it do not
                self._line.files[kind(event)].tried = -1

    def _withdraw(self, run: str) -> None:
        self._line.leave(run)
        if run in self._due:
            self._give_up(run)

    def _give_up(self, run: str) -> Waiting:
        """Nobody makes room for it any more."""
        due = self._due.pop(run)
        self._turn += 1
        for name in due.staying:
            held = self._held[name]
            held.by = ""
            self._mark(held, leaving=False)
            self._queues.then(self._leaf(held.asked), held.amounts)
        self._queues.then(self._leaf(due.asked), due.amounts, -1)
        if due.asked.pool in self._pools:
            self._pools[due.asked.pool].reserve(due.reserved, -1)
        return due.asked

    def _release(self, event: Released) -> None:
        self._withdraw(event.run)
        held = self._held.pop(event.run, None)
        if held is None:
            return
        self._turn += 1
        leaf, pool = self._leaf(held.asked), self._pools.get(held.asked.pool)
        self._queues.now(leaf, held.amounts, -1)
        if pool is not None:
            pool.free(held.asked.parts, held.spots)
            pool.going.drop(event.run)
        if held.by:
            self._due[held.by].staying.discard(event.run)
            self._reserve(self._due[held.by])
        else:
            self._queues.then(leaf, held.amounts, -1)
        if event.ended and self._order is not None:
            self._learn(held)

    def _seat(self, held: Held) -> None:
        """It holds its place."""
        self._held[held.asked.run] = held
        pool = self._pools.get(held.asked.pool)
        if pool is not None:
            pool.going.add(held.asked, held.spots, held.began, bool(held.by))

    def _mark(self, held: Held, leaving: bool) -> None:
        pool = self._pools.get(held.asked.pool)
        if pool is not None:
            pool.going.leaves(held.asked.run, leaving)

    def _reserve(self, due: Due) -> None:
        """What those leave that still have to go is kept by them; the rest nobody may have."""
        pool = self._pools.get(due.asked.pool)
        if pool is not None:
            going = [self._held[run] for run in due.staying]
            pool.reserve(due.reserved, -1)
            left = [(held.asked.parts, held.spots) for held in going]
            due.reserved = room.beyond(due.asked.parts, due.spots, left)
            pool.reserve(due.reserved)

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
        self._name(event.pool)
        self._gone.pop(event.pool, None)
        nodes = Nodes(event.nodes)
        pool = Pool(nodes, self._make(nodes), event.firm, dict(event.most))
        self._pools[event.pool] = pool
        for held in self._held.values():
            if held.asked.pool == event.pool:
                self._sit(held, pool)
                self._seat(held)
                self._count(held)
        self._measure()

    def _name(self, name: str) -> None:
        """Its nodes are not what they were: what is held of them is known by their names."""
        pool = self._pools.get(name)
        for held in self._held.values() if pool is not None else ():
            if pool is not None and held.asked.pool == name and held.spots:
                held.spots, held.seats = (), pool.seats(held.spots)

    def _sit(self, held: Held, pool: Pool) -> None:
        held.spots = pool.again(held.asked.parts, held.seats)
        held.seats = () if held.spots else held.seats

    def _measure(self) -> None:
        """Nodes or queues are not what they were."""
        self._turn += 1
        whole: dict[str, int] = {}
        for pool in self._pools.values():
            for name, amount in pool.limits().items():
                whole[name] = whole.get(name, 0) + amount
        self._queues.capacity(whole)

    def _divide(self, event: QueuesChanged) -> None:
        self._queues = Queues(event.queues)
        self._measure()
        for held in self._held.values():
            self._queues.now(self._leaf(held.asked), held.amounts)
            if not held.by:
                self._queues.then(self._leaf(held.asked), held.amounts)
        for due in self._due.values():
            self._queues.then(self._leaf(due.asked), due.amounts)

    def _leaf(self, asked: Waiting) -> Branch:
        return self._queues.leaf(asked.queue, asked.project)

    def _count(self, held: Held) -> None:
        """What it holds of its queues anew."""
        leaf, pool = self._leaf(held.asked), self._pools.get(held.asked.pool)
        count = self._queues.now if held.by else self._queues.hold
        count(leaf, held.amounts, -1)
        if pool is not None:
            held.amounts = amounts.held(held.asked.parts, held.spots, pool.nodes)
        else:
            held.amounts, _ = amounts.asked(held.asked.parts, ())
        count(leaf, held.amounts)

    def _occupy(self, event: Occupied) -> None:
        self._line.leave(event.run)
        if event.run not in self._held:
            asked = Waiting(
                run=event.run,
                pool=event.pool,
                parts=event.parts,
                since=self.now,
                queue=event.queue,
                project=event.project,
                stands=event.stands,
            )
            pool = self._pools.get(event.pool)
            held = Held(asked, (), self.now, {}, seats=event.seats)
            if pool is not None:
                self._sit(held, pool)
            self._seat(held)
            self._count(held)

    def _widen(self, event: Widened) -> None:
        held = self._held.get(event.run)
        if held is None or held.asked.parts == event.parts:
            return
        pool = self._pools.get(held.asked.pool)
        if pool is not None:
            pool.going.drop(event.run)
            held.spots = pool.widen(held.asked.parts, held.spots, event.parts)
        held.asked = replace(held.asked, parts=event.parts)
        self._seat(held)
        self._count(held)
        self._turn += 1

    # --- what is decided ---------------------------------------------------------------------

    def decide(self, now: float = 0.0) -> list[Decided]:
        """Who starts now, who makes room, who never can."""
        self.now = max(self.now, now)
        decisions: list[Decided] = []
        self._settle(decisions)
        self._unkeep()
        self._sort()
        front = Front(self._queues)
        for file in list(self._line.files.values()):
            if file.pool in self._pools:
                self._push(front, file)
        foes: dict[str, Foes] = {}
        while (found := front.pop()) is not None:
            key, file = found
            pool, waiting = self._pools[file.pool], self._line.front(file)
            if file.tried != self._turn and self._place(pool, waiting, decisions):
                foes.pop(file.pool, None)
                self._push(front, file)
                continue
            if file.tried != self._turn and self._open(pool, waiting) is not None:
                for other in [*islice(self._line.rest(file), 1, PASSING)]:
                    if self._open(pool, other) is None and self._place(pool, other, decisions):
                        foes.pop(file.pool, None)
            file.tried = self._turn
            known = foes.get(file.pool)
            if known is None:
                known = foes[file.pool] = Foes(pool.going, pool.nodes, self._order, self.now)
            if self._interrupt(pool, file, key, known):
                del foes[file.pool]
                self._push(front, file)
            else:
                self._keep(pool, waiting)
        self._hurry(decisions)
        return decisions

    def _hurry(self, decisions: list[Decided]) -> None:
        """Whoever has been waited for long enough is told to go."""
        for due in self._due.values():
            if self.now >= due.until and not due.told:
                due.told = True
                decisions += [Preempt(run=run, by=due.asked.run) for run in sorted(due.staying)]

    def _push(self, front: Front, file: File) -> None:
        found = self._line.first(file)
        if found is not None:
            front.push(file, found)

    def _settle(self, decisions: list[Decided]) -> None:
        """Those for whom all have made room."""
        for run in [run for run, due in self._due.items() if not due.staying]:
            due = self._due[run]
            leaf, pool = self._leaf(due.asked), self._pools[due.asked.pool]
            self._queues.then(leaf, due.amounts, -1)
            full = self._queues.full(leaf, due.amounts)
            self._queues.then(leaf, due.amounts)
            if full:  # of its queues others still have to go, for others
                continue
            del self._due[run]
            self._queues.now(leaf, due.amounts)
            pool.reserve(due.reserved, -1)
            pool.hold(due.asked.parts, due.spots)
            self._seat(Held(due.asked, due.spots, self.now, due.amounts))
            decisions.append(Place(run=run, pool=due.asked.pool, spots=due.spots))

    def _lay(self, pool: Pool, asked: Waiting, decisions: list[Decided]) -> bool:
        """Give it a place, where its queues allow it."""
        leaf = self._leaf(asked)
        parts = self._allowed(pool, asked, leaf)
        spots = pool.lay(parts, self._open(pool, asked)) if parts is not None else None
        if spots is None:
            return False
        found = amounts.held(asked.parts, spots, pool.nodes)
        if self._queues.full(leaf, found):  # on the models that it got
            pool.free(asked.parts, spots)
            return False
        self._seat(Held(asked, spots, self.now, found))
        self._queues.hold(leaf, found)
        decisions.append(Place(run=asked.run, pool=asked.pool, spots=spots))
        return True

    def _open(self, pool: Pool, asked: Waiting) -> Mask | None:
        """The nodes on which it may begin: not on those that are kept for another one, unless it
        ends before, or can be interrupted without loss. None: all."""
        if pool.kept is None or pool.kept == asked.run or asked.keeps:
            return None
        shadow = self._shadow(pool)
        ends = math.inf if asked.left is None else self.now + asked.restart + asked.left
        return None if shadow is None or ends <= shadow.at else ~shadow.rows

    def _shadow(self, pool: Pool) -> Shadow | None:
        """Where and when there will be room for whom it is kept; found when somebody asks, and anew
        when it did not come."""
        kept = self._line.waiting.get(pool.kept or "")
        if kept is not None and (pool.shadow is None or self.now > pool.shadow.at):
            pool.shadow = Foes(pool.going, pool.nodes, self._order, self.now).shadow(kept.parts)
        return pool.shadow

    def _keep(self, pool: Pool, waiting: Waiting) -> None:
        """Of those that find no room the first one that has waited long gets the next room that
        there will be ("backfilling": Lifka, "The ANL/IBM SP Scheduling System", 1995)."""
        if pool.kept is None and self.now - waiting.since >= LONG:
            wants = amounts.asked(waiting.parts, pool.nodes.kinds)[0]
            pool.kept = None if self._queues.full(self._leaf(waiting), wants) else waiting.run

    def _unkeep(self) -> None:
        """Room that nobody waits for any more."""
        for pool in self._pools.values():
            if pool.kept is not None and pool.kept not in self._line.waiting:
                pool.kept = pool.shadow = None
                self._turn += 1

    def _allowed(self, pool: Pool, asked: Waiting, leaf: Branch) -> Parts | None:
        """What it wants, with devices of those models only of which its queues allow so many; None
        where they do not."""
        if not self._queues.limited:
            return asked.parts
        wants, open_ = amounts.asked(asked.parts, pool.nodes.kinds)
        if not open_:
            return None if self._queues.full(leaf, wants) else asked.parts
        kinds = pool.nodes.kinds
        each = ((kind, amounts.narrowed(asked.parts, frozenset({kind}))) for kind in kinds)
        found = [kind for kind, parts in each
                 if not self._queues.full(leaf, amounts.asked(parts, kinds)[0])]  # fmt: skip
        return amounts.narrowed(asked.parts, frozenset(found)) if found else None

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
        if self._lay(pool, waiting, decisions):
            self._line.leave(waiting.run)
            return True
        why = self._never(pool, waiting)
        if why:
            self._line.leave(waiting.run)
            decisions.append(Reject(run=waiting.run, why=why))
        return bool(why)

    def _never(self, pool: Pool, waiting: Waiting) -> str:
        """Why it could not start even if nothing else were there, in words; empty where it could,
        or more may come."""
        if pool.firm and not pool.could(waiting.parts):
            return pool.never(waiting.pool, waiting.parts)
        if not self._queues.limited:
            return ""
        wants, _ = amounts.asked(waiting.parts, pool.nodes.kinds)
        return self._queues.never(self._leaf(waiting), wants)

    def _victim(self, run: str, cost: Cost, moves: bool, foreign: bool) -> room.Victim:
        held = self._held[run]
        return room.Victim(
            run=run,
            parts=held.asked.parts,
            spots=held.spots,
            cost=cost,
            leaf=self._leaf(held.asked),
            amounts=held.amounts,
            moves=moves,
            foreign=foreign,
            keeps=held.asked.keeps,
        )

    def _interrupt(self, pool: Pool, file: File, key: Key, foes: Foes) -> bool:
        """Whether others make room for its first one."""
        waiting = self._line.front(file)
        known = foes.of(waiting, key)
        if known is None:
            return False
        own, others = known
        # Where those who go would not leave enough on all nodes together it does not help if others
        # move either: they need as much elsewhere.
        if not foes.enough(waiting.parts, own | others):
            return False
        among = foes.might(waiting.parts, own | others)
        found = among is not None and self._room(pool, waiting, foes, (own, others, None), among)
        if not found and self.now - file.moved >= SHUFFLES:
            movable = foes.movable(waiting, key, own, MOVES)
            if movable.any():
                among = foes.might(waiting.parts, own | others | movable)
                able = own, others, movable
                found = among is not None and self._room(pool, waiting, foes, able, among)
                file.moved = -math.inf if found else self.now
        if not found:
            return False
        self._make_room(pool, waiting, found)
        return True

    def _room(
        self,
        pool: Pool,
        waiting: Waiting,
        foes: Foes,
        able: tuple[Mask, Mask, Mask | None],
        among: Mask,
    ) -> room.Room | None:
        """Who goes where for it, on which of these nodes."""
        own, others, movable = able
        who = own | others if movable is None else own | others | movable
        leaf = self._leaf(waiting)
        wants = amounts.asked(waiting.parts, pool.nodes.kinds)[0]
        full = self._queues.full(leaf, wants)
        if full is None:
            who = foes.holding(who, among)  # else whoever holds anything may have to go
        elif not self._helps(foes, own, others, full[0], self._queues.claims(leaf, wants)):
            return None

        def victim(slot: int, cost: Cost) -> room.Victim:
            moves = movable is not None and bool(movable[slot])
            return self._victim(pool.going.name(slot), cost, moves, bool(others[slot]))

        # What others have borrowed goes first: one of its own would ask for that in its turn.
        foreign = who & others
        for some in (foreign, who) if (who & ~others).any() else (foreign,):
            if some.any():
                goes = room.Able(*foes.cheapest(some), pool.going.processes, victim)
                with room.Claim(self._queues, leaf, wants) as claim:
                    found = room.make(pool.nodes, waiting.parts, goes, claim, among)
                if found is not None and not self._spares(pool, wants, found.leaving):
                    return None
                if found is not None:
                    return found
        return None

    def _spares(self, pool: Pool, wants: Amounts, leaving: Iterable[str]) -> bool:
        """Whether no more than may be is held of the pool then."""
        left = dict(pool.spare(pool.nodes))
        for run in leaving:
            for name, amount in self._held[run].amounts.items():
                left[name] = left.get(name, 0) + amount
        return all(amount <= left.get(name, 0) for name, amount in wants.items() if pool.most)

    def _helps(self, foes: Foes, own: Mask, others: Mask, full: Branch, claims: bool) -> bool:
        """Whether anybody who may go holds anything of a queue that is full. Others who lose their
        work go only for one that `claims` what it is guaranteed."""
        inside = foes.inside(full, self._queues)
        return bool((own & inside).any() or (others & inside & (foes.keeps | claims)).any())

    def _make_room(self, pool: Pool, waiting: Waiting, found: room.Room) -> None:
        """Those who go are told so, or their end is waited for."""
        leaf = self._leaf(waiting)
        self._line.leave(waiting.run)
        takes = amounts.held(waiting.parts, found.spots, pool.nodes)
        until = self._patience(waiting, found.leaving)
        due = Due(waiting, found.spots, takes, {*found.leaving}, until)
        self._due[waiting.run] = due
        self._queues.then(leaf, takes)
        for run in found.leaving:
            held = self._held[run]
            held.by = waiting.run
            self._mark(held, leaving=True)
            self._queues.then(self._leaf(held.asked), held.amounts, -1)
        self._reserve(due)

    def _patience(self, waiting: Waiting, leaving: Iterable[str]) -> float:
        """Until when it only waits for the end of those who would lose their work: where that is
        known, and costs it less than they would lose. What it is guaranteed it gets at once."""
        going = [self._held[run] for run in leaving]
        lefts = [held.left(self.now) for held in going if not held.asked.keeps]
        mine = self._leaf(waiting).parent
        if not lefts or any(self._leaf(held.asked).parent is not mine for held in going):
            return 0.0
        most = max(math.inf if left is None else left for left in lefts)
        lost = sum(held.unsaved(self.now) for held in going)
        return self.now + most * LATE if most * waiting.width < lost else 0.0
