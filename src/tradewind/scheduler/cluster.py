"""The scheduler over nodes, as a machine: it holds what there is, who holds what and who waits,
eats events, and returns decisions. The same events give the same state and the same decisions;
`copy()` gives one to ask "what if". Nothing here reads a clock or a store: times and ids come in
with the events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from tradewind.scheduler import amounts, room
from tradewind.scheduler.amounts import Amounts, Parts
from tradewind.scheduler.books import Books
from tradewind.scheduler.events import Decided, Place, Preempt, Reject, Resize, Waiting
from tradewind.scheduler.going import Cost, Foes, Shadow
from tradewind.scheduler.held import Due, Held
from tradewind.scheduler.layout import Plan
from tradewind.scheduler.line import File, Front, Key
from tradewind.scheduler.nodes import Mask, Spot
from tradewind.scheduler.pool import Pool
from tradewind.scheduler.queues import Branch

# It is moved for one that waits if that loses no more than such a part of what the other takes.
MOVES = 0.01
# If that does not help, it is looked for again after so many seconds.
SHUFFLES = 900.0
# Whoever has waited so long (seconds) and finds no room has it kept, as soon as there will be some.
LONG = 300.0
# Of so many domains in which others could make room for one that must be in one of them that is
# taken where least is lost.
ROOMS = 4
# Of those who ask for the same so many are looked at, whether they end before.
PASSING = 64
# An elastic run that began or was resized so short a time ago (seconds) does not grow: to begin an
# epoch takes a while, and what is short ends before that pays. Nor one that would lose the work of
# so long a time: it goes on from what it has saved.
PAUSE = 60.0
# Whoever has just begun may be interrupted after so many seconds: so a moment comes to an end.
MOMENT, TICK = 0.1, 0.001
# Before others lose their work it is waited whether anybody ends: for so much of what they would
# lose, by the price of what waits; not for less than so many seconds, nor longer than so many.
PATIENCE, SHORTLY, LONGEST = 0.02, 150.0, 1800.0
# Those whose end is waited for go after all when it takes so many times as long.
LATE = 1.5


class Cluster(Books):
    """Who starts, who makes room, who never can."""

    def decide(self, now: float = 0.0) -> list[Decided]:
        """Who starts now, who makes room, who never can. While a clock that was set back is behind,
        a little time passes all the same: nobody began only just for ever."""
        self.now = self.now + TICK if 0 < now < self.now else max(self.now, now)
        decisions: list[Decided] = []
        self._settle(decisions)
        self._unkeep()
        self._sort()
        front = Front(self.tree, self._wants)
        for file in list(self.line.files.values()):
            if file.pool in self.pools:
                self._push(front, file)
        foes: dict[str, Foes] = {}
        while (found := front.pop()) is not None:
            key, file = found
            pool, waiting = self.pools[file.pool], self.line.front(file)
            if file.tried != self._turn and self._place(pool, waiting, decisions):
                foes.pop(file.pool, None)
                self._push(front, file)
                continue
            if file.tried != self._turn and self._open(pool, waiting) is not None:
                for other in [*islice(self.line.rest(file), 1, PASSING)]:
                    if self._open(pool, other) is None and self._place(pool, other, decisions):
                        foes.pop(file.pool, None)
            file.tried = self._turn
            if not self._refused(pool, file):
                if self._interrupt(pool, file, key, foes):
                    foes.pop(file.pool, None)
                    self._push(front, file)
                    continue
                if self._began != self.now:
                    file.refused = self._state(waiting)
            self._keep(pool, waiting)
        self._hurry(decisions)
        if self._elastic and self._shoves:
            self._grow(decisions)
        return decisions

    def _wants(self, file: File) -> Amounts:
        if file.wants is None:
            file.wants = self.pools[file.pool].wants(file.kind[3])
        return file.wants

    def _foes(self, pool: Pool) -> Foes:
        """Whom those of a pool may interrupt now; a peer's rule stands in its place."""
        return Foes(pool.going, pool.nodes, self.order, self.now)

    def _state(self, waiting: Waiting) -> tuple[str, int, int, float]:
        """While this is the same, and all is known, nobody new can be interrupted for it: who works
        is due ever sooner, and has ever more to lose."""
        return waiting.run, self._turn, self._known, self._began

    def _refused(self, pool: Pool, file: File) -> bool:
        """Whether it is known that nobody can make room for its first one."""
        if file.refused != self._state(self.line.front(file)):
            return False
        guessed = self.order is not None and pool.going.guesses()
        return not guessed and self.now < file.again

    def alarm(self) -> float:
        """When it would decide something even if nothing happened; infinite where never."""
        times = [due.until for due in self.due.values() if due.told > self.now]
        times += [self.now + MOMENT] if self._began == self.now and self.line.waiting else []
        settled = (self._settled(self.held[run]) for run in self._elastic)
        times += [at for at in settled if at > self.now]
        times += [each.again for each in self.line.files.values() if each.again > self.now]
        return min(times, default=math.inf)

    def _hurry(self, decisions: list[Decided]) -> None:
        """Whoever has been waited for long enough is told to go."""
        for due in self.due.values():
            if self.now >= due.until and due.told > self.now:
                due.told = self.now
                decisions += self._tell(due)

    def _tell(self, due: Due) -> Iterator[Decided]:
        """Who goes for it, and who gives back by what he has grown."""
        by, shrinks = due.asked.run, set[str]()
        for run in sorted(due.staying):
            of = self.held[run].of
            if not of:
                yield Preempt(run=run, by=by)
            elif not self.held[of].by:  # else it goes as a whole
                shrinks.add(of)
        for run in sorted(shrinks):
            self.held[run].resized = self.now
            told = sum(map(self._told, self.held[run].grown))
            yield Resize(run=run, grown=len(self.held[run].grown) - told, by=by)

    def _grow(self, decisions: list[Decided]) -> None:
        """What nobody who waits could use goes to elastic runs, one process after the other, to
        those first whose queue and project have least."""
        able = [held for held in map(self.held.__getitem__, self._elastic) if self._may_grow(held)]
        grew: dict[str, Held] = {}
        while able:
            held = min(able, key=self._least)
            more = self._lay(self.pools[held.asked.pool], self._more(held), of=held.asked.run)
            if more is not None:
                held.grown.append(more.asked.run)
                held.resized, grew[held.asked.run] = self.now, held
            if more is None or len(held.grown) == held.asked.grows:
                able.remove(held)
        decisions += [Resize(run=run, grown=len(held.grown)) for run, held in grew.items()]

    def _may_grow(self, held: Held) -> bool:
        staying = not held.by and not any(self.held[more].by for more in held.grown)
        return (staying and len(held.grown) < held.asked.grows and held.asked.pool in self.pools
                and self._settled(held) <= self.now
                and held.since_saved(self.now) < PAUSE)  # fmt: skip

    @staticmethod
    def _settled(held: Held) -> float:
        return max(held.began, held.resized) + PAUSE

    def _least(self, held: Held) -> tuple[float, int, float, str]:
        leaf = self.leaf(held.asked)
        above = leaf.parent or leaf
        share = max(self.tree.share(above), self.tree.share(leaf))
        return share, len(held.grown), held.began, held.asked.run

    def _push(self, front: Front, file: File) -> None:
        found = self.line.first(file)
        if found is not None:
            front.push(file, found)

    def _settle(self, decisions: list[Decided]) -> None:
        """Those for whom all have made room."""
        for run in [run for run, due in self.due.items() if not due.staying]:
            due = self.due[run]
            leaf, pool = self.leaf(due.asked), self.pools[due.asked.pool]
            if self.tree.full(leaf, due.amounts, ("now",)):  # others still have to go, for others
                continue
            del self.due[run]
            self.tree.now(leaf, due.amounts)
            pool.reserve(due.reserved, -1)
            pool.hold(due.asked.parts, due.spots)
            self._began = self.now
            self._seat(Held(due.asked, due.spots, self.now, due.amounts))
            decisions.append(Place(run=run, pool=due.asked.pool, spots=due.spots))

    def _lay(self, pool: Pool, asked: Waiting, of: str = "") -> Held | None:
        """Give it a place, where its queues allow it."""
        leaf = self.leaf(asked)
        parts = self._allowed(pool, asked, leaf)
        if parts is None:
            return None
        beside = self._beside(of) if of and asked.layout is not None else ()
        spots = pool.lay(parts, self._open(pool, asked), asked.layout, beside)
        if spots is None:
            return None
        found = amounts.held(asked.parts, spots, pool.nodes)
        if self.tree.full(leaf, found):  # on the models that it got
            pool.free(asked.parts, spots)
            return None
        self._began = self.now
        held = Held(asked, spots, self.now, found, of=of)
        self._seat(held)
        self.tree.hold(leaf, found)
        return held

    def _beside(self, run: str) -> tuple[Spot, ...]:
        """Where the processes of a run are, with those by which it has grown."""
        held = self.held[run]
        others = [spot for more in held.grown for spot in self.held[more].spots]
        return (*held.spots, *others)

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
        kept = self.line.waiting.get(pool.kept or "")
        if kept is not None and (pool.shadow is None or self.now > pool.shadow.at):
            pool.shadow = self._foes(pool).shadow(kept.parts, *pool.bounds(kept.layout))
        return pool.shadow

    def _keep(self, pool: Pool, waiting: Waiting) -> None:
        """Of those that find no room the first one that has waited long gets the next room that
        there will be ("backfilling": Lifka, "The ANL/IBM SP Scheduling System", 1995)."""
        if pool.kept is None and self.now - waiting.since >= LONG:
            full = self.tree.full(self.leaf(waiting), pool.wants(waiting.parts))
            pool.kept = None if full else waiting.run

    def _unkeep(self) -> None:
        """Room that nobody waits for any more."""
        for pool in self.pools.values():
            if pool.kept is not None and pool.kept not in self.line.waiting:
                pool.kept = pool.shadow = None
                self._turn += 1

    def _allowed(self, pool: Pool, asked: Waiting, leaf: Branch) -> Parts | None:
        """What it wants, with devices of those models only of which its queues allow so many; None
        where they do not."""
        if not self.tree.limited:
            return asked.parts
        wants, open_ = amounts.asked(asked.parts, pool.nodes.kinds)
        if not open_:
            return None if self.tree.full(leaf, wants) else asked.parts
        kinds = pool.nodes.kinds
        each = ((kind, amounts.narrowed(asked.parts, frozenset({kind}))) for kind in kinds)
        found = [kind for kind, parts in each if not self.tree.full(leaf, pool.wants(parts))]
        return amounts.narrowed(asked.parts, frozenset(found)) if found else None

    def _sort(self) -> None:
        """All anew where the order has learned."""
        if self.order is None or self.order.version == self._known:
            return
        self._known = self.order.version
        self.line.sort(self.key)

    def _place(self, pool: Pool, waiting: Waiting, decisions: list[Decided]) -> bool:
        """Whether it has left the line: it starts, or never can."""
        held = self._lay(pool, waiting)
        if held is not None:
            self.line.leave(waiting.run)
            decisions.append(Place(run=waiting.run, pool=waiting.pool, spots=held.spots))
            return True
        why = self._never(pool, waiting)
        if why:
            self.line.leave(waiting.run)
            decisions.append(Reject(run=waiting.run, why=why))
        return bool(why)

    def _never(self, pool: Pool, waiting: Waiting) -> str:
        """Why it could not start even if nothing else were there, in words; empty where it could,
        or more may come."""
        if pool.firm and not pool.could(waiting.parts, waiting.layout):
            return pool.never(waiting.pool, waiting.parts, waiting.layout)
        if not self.tree.limited:
            return ""
        firm = all(each.firm for each in self.pools.values())
        return self.tree.never(self.leaf(waiting), pool.wants(waiting.parts), firm)

    def _victim(self, run: str, cost: Cost, moves: bool, foreign: bool) -> room.Victim:
        held = self.held[run]
        return room.Victim(
            run=run,
            parts=held.asked.parts,
            spots=held.spots,
            cost=cost,
            leaf=self.leaf(held.asked),
            amounts=held.amounts,
            moves=moves,
            foreign=foreign,
            keeps=held.keeps(self.now),
        )

    def _interrupt(self, pool: Pool, file: File, key: Key, foes: dict[str, Foes]) -> bool:
        """Whether others make room for its first one."""
        waiting = self.line.front(file)
        if not self._shoves:
            return False
        found = self._here(pool, file, key, foes)
        if found is None and self.tree.limited and len(self.pools) > 1:
            found = self._elsewhere(pool, waiting, key)
        if found is None:
            return False
        going = [self.held[run] for run in found.leaving]
        if self._gone_for_good(waiting, going):
            return False
        # Who keeps all work makes room all the same: it loses little, and the other starts sooner.
        if any(held.of or held.unsaved(self.now) for held in going) and self._coming(pool, waiting):
            return False
        until = self._known_ends(pool, waiting, found)
        if not until and self._patient(pool, file, found):
            return False
        self._make_room(pool, waiting, found, until)
        return True

    def _coming(self, pool: Pool, waiting: Waiting) -> bool:
        """Whether there will be room for it beside those for whom others are going already."""
        dues = [due for due in self.due.values()
                if due.asked.pool == waiting.pool and due.until <= self.now]  # fmt: skip
        if not dues or self.tree.full(self.leaf(waiting), pool.wants(waiting.parts), ("load",)):
            return False
        nodes = pool.nodes.copy()
        for due in dues:
            for row, reserve in due.reserved.items():
                nodes.reserve(row, reserve, -1)
            going = [self.held[run] for run in due.staying]
            for held in going:
                if held.asked.pool == waiting.pool:
                    room.give(nodes, held.asked.parts, held.spots)
            for spot, ask in zip(due.spots, amounts.each(due.asked.parts), strict=True):
                nodes.take(spot, ask)
        return pool.holds(waiting.parts, nodes, waiting.layout)

    def _patient(self, pool: Pool, file: File, found: room.Room) -> bool:
        """Whether its first one waits a while: maybe somebody ends, and nobody has to lose so much.
        Where many short runs come at once, one of them ends long before this costs anything."""
        waiting, going = self.line.front(file), [self.held[run] for run in found.leaving]
        if self._reclaims(waiting, going) or any(held.asked.stands for held in going):
            return False
        if file.patient is None or file.patient[0] != waiting.run:
            file.patient = waiting.run, self.now
        since, worth = file.patient[1], pool.worth(waiting, found.spots)
        lost = sum(held.unsaved(since) for held in going)
        waits = min(PATIENCE * lost / worth, LONGEST) if worth else 0.0
        if waits < SHORTLY or self.now >= since + waits:
            return False
        file.again = min(file.again, since + waits)
        return True

    def _gone_for_good(self, waiting: Waiting, going: Iterable[Held]) -> bool:
        """Whether one of them would never get a place again, since its queues or its project were
        given less meanwhile: it ends where it is, unless what it holds is another one's."""
        return not self._reclaims(waiting, going) and any(
            self.tree.never(self.leaf(held.asked), held.amounts) for held in going if not held.of
        )

    def _reclaims(self, waiting: Waiting, going: Iterable[Held]) -> bool:
        """Whether it gets back what others had borrowed: that it gets at once."""
        mine = self.leaf(waiting).parent
        return any(self.leaf(held.asked).parent is not mine for held in going)

    def _here(self, pool: Pool, file: File, key: Key, every: dict[str, Foes]) -> room.Room | None:
        """Who of its own pool goes for it."""
        waiting, file.again = self.line.front(file), math.inf
        if pool.going.calm(waiting, key):
            return None
        foes = every.get(file.pool)
        if foes is None:
            foes = every[file.pool] = self._foes(pool)
        known = foes.of(waiting, key)
        if known is None:
            if self._began != self.now:
                pool.going.calms(waiting, key, foes.latest(waiting, key))
            return None
        own, others = known
        # Where those who go would not leave enough on all nodes together it does not help if others
        # move either: they need as much elsewhere.
        if not foes.enough(waiting.parts, own | others):
            return None
        among = foes.might(waiting.parts, own | others)
        if among is None:
            found = None
        else:
            found = self._room(pool, waiting, foes, (own, others, None), among)
        if found is None and self.now - file.moved >= SHUFFLES:
            movable = foes.movable(waiting, key, own, MOVES)
            if movable.any():
                among = foes.might(waiting.parts, own | others | movable)
                if among is not None:
                    found = self._room(pool, waiting, foes, (own, others, movable), among)
                file.moved = -math.inf if found else self.now
                file.again = file.moved + SHUFFLES
        elif found is None:
            file.again = file.moved + SHUFFLES
        return found

    def _elsewhere(self, pool: Pool, waiting: Waiting, key: Key) -> room.Room | None:
        """Who of other pools goes for it, where there is room and only its queues do not allow it:
        quotas are of all pools together."""
        leaf, wants = self.leaf(waiting), pool.wants(waiting.parts)
        full = self.tree.full(leaf, wants)
        spots = pool.lay(waiting.parts, self._open(pool, waiting), waiting.layout) if full else None
        if full is None or spots is None:
            return None
        pool.free(waiting.parts, spots)
        able: list[room.Victim] = []
        for other in self.pools.values():
            foes = self._foes(other)
            known = foes.of(waiting, key) if other is not pool else None
            if known is not None:
                inside = (known[0] | known[1]) & foes.inside(full[0], self.tree)
                for slot, cost in zip(*foes.cheapest(inside), strict=True):
                    foreign = bool(known[1][slot])
                    able.append(self._victim(other.going.name(slot), cost, False, foreign))
        with room.Claim(self.tree, leaf, wants) as claim:
            gone = claim.quota(sorted(able, key=lambda victim: victim.cost))
        return room.leaves(gone, spots) if gone else None

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
        leaf = self.leaf(waiting)
        wants = pool.wants(waiting.parts)
        full = self.tree.full(leaf, wants)
        if full is None:
            who = foes.holding(who, among)  # else whoever holds anything may have to go
        elif not self._helps(foes, own, others, full[0], self.tree.claims(leaf, wants)):
            return None

        def victim(slot: int, cost: Cost) -> room.Victim:
            moves = movable is not None and bool(movable[slot])
            return self._victim(pool.going.name(slot), cost, moves, bool(others[slot]))

        # First by what runs have grown; then what others have borrowed: one of its own would ask
        # for that in its turn.
        more, tried = who & foes.more, 0
        for some in (more, more | (who & others), who):
            if tried < (tried := int(some.sum())):
                found, rooms = None, 0
                for there, plan, least in self._domains(pool, waiting, foes, some, among):
                    if found is not None and (rooms == ROOMS or found.cost[0] <= least):
                        break
                    here = some if plan is None or full else foes.holding(some, there)
                    goes = room.Able(*foes.cheapest(here), pool.going.processes, victim)
                    with room.Claim(self.tree, leaf, wants) as claim:
                        made = room.make(pool.nodes, waiting.parts, goes, claim, there, plan)
                    rooms += made is not None
                    if made is not None and (found is None or made.cost < found.cost):
                        found = made
                if found is not None and not self._spares(pool, wants, found.leaving):
                    return None
                if found is not None:
                    return found
        return None

    def _domains(
        self, pool: Pool, waiting: Waiting, foes: Foes, who: Mask, among: Mask
    ) -> Iterator[tuple[Mask, Plan | None, float]]:
        """Where these might make room for it, and what is lost at least: anywhere among these
        nodes, or in one domain after the other."""
        if waiting.layout is None or not waiting.layout.binds:
            yield among, None, 0.0
            return
        losses = partial(foes.least, waiting.parts, who)
        for plan, least in pool.search(waiting.parts, waiting.layout, among).making(losses):
            there = foes.might(waiting.parts, who, plan.masks[-1])
            if there is not None and foes.holding(who, there).any():
                yield there, plan, least

    def _spares(self, pool: Pool, wants: Amounts, leaving: Iterable[str]) -> bool:
        """Whether no more than may be is held of the pool then."""
        left = dict(pool.spare(pool.nodes))
        for run in leaving:
            for name, amount in self.held[run].amounts.items():
                left[name] = left.get(name, 0) + amount
        return all(amount <= left.get(name, 0) for name, amount in wants.items() if pool.most)

    def _helps(self, foes: Foes, own: Mask, others: Mask, full: Branch, claims: bool) -> bool:
        """Whether anybody who may go holds anything of a queue that is full. Others who lose their
        work go only for one that `claims` what it is guaranteed."""
        inside = foes.inside(full, self.tree)
        return bool((own & inside).any() or (others & inside & (foes.keeps | claims)).any())

    def _make_room(self, pool: Pool, waiting: Waiting, found: room.Room, until: float) -> None:
        """Those who go are told so, or until then their end is waited for."""
        leaf = self.leaf(waiting)
        self.line.leave(waiting.run)
        takes = amounts.held(waiting.parts, found.spots, pool.nodes)
        due = Due(waiting, found.spots, takes, {*found.leaving}, until)
        self.due[waiting.run] = due
        self.tree.then(leaf, takes)
        for run in found.leaving:
            held = self.held[run]
            held.by = waiting.run
            self._mark(held, leaving=True)
            self.tree.then(self.leaf(held.asked), held.amounts, -1)
        self._reserve(due)

    def _known_ends(self, pool: Pool, waiting: Waiting, found: room.Room) -> float:
        """Until when it only waits for the end of those who would lose their work: where that is
        known, and costs it less than they would lose."""
        going = [self.held[run] for run in found.leaving]
        lefts = [held.left(self.now) for held in going if not held.asked.keeps]
        if not lefts or self._reclaims(waiting, going):
            return 0.0
        most = max(math.inf if left is None else left for left in lefts)
        lost = sum(held.unsaved(self.now) for held in going)
        worth = pool.worth(waiting, found.spots)
        return self.now + most * LATE if most * worth < lost else 0.0
