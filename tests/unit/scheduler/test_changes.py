"""Nodes that are lost, come back, grow and shrink, and clocks that are set back, while runs wait
and hold: whatever happens, in whatever order, these hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.scheduler.test_queues import TREE
from tradewind.scheduler.amounts import each
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Place,
    PoolChanged,
    PoolGone,
    Preempt,
    QueuesChanged,
    Released,
    SchedulerEvent,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.nodes import Ask, Node, Nodes
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.value import Value

RUNS = [f"r{at}" for at in range(14)]
NAMES = [f"n{at}" for at in range(3)]
MODEL = frozenset({"T4"})
GUARANTEED = {"vision": 4, "speech": 4, "web": 2, "free": 0}


def node(name: str, devices: int) -> Node:
    return Node(name=name, cpu=8000, memory=64, devices=(("T4", devices),) if devices else ())


class Changes(RuleBasedStateMachine):
    """Beside a plain account of who waits, who holds what where, and which nodes there are.
    `seats` are by the names of nodes, as they were when a run got its place, of those runs only
    whose places have been there ever since."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(Value, Shortest())
        self.now = self.back = 0.0
        self.there: dict[str, int] | None = dict.fromkeys(NAMES, 4)
        self.waiting: dict[str, Waiting] = {}
        self.held: dict[str, Waiting] = {}
        self.seats: dict[str, list[tuple[str, Ask, tuple[int, ...]]]] = {}
        self.going: dict[str, str] = {}
        self.feed(QueuesChanged(queues=TREE))
        self.changed()

    def feed(self, *events: SchedulerEvent) -> None:
        self.cluster.feed(events, self.now - self.back)

    def changed(self) -> None:
        """Say which nodes there are."""
        there = self.there or {}
        self.nodes = tuple(node(name, count) for name, count in sorted(there.items()))
        self.feed(PoolChanged(pool="one", nodes=self.nodes, firm=False))
        for run, seats in [*self.seats.items()]:
            if any(name not in there or any(at >= there[name] for at in devices)
                   for name, _, devices in seats):  # fmt: skip
                del self.seats[run]
        # Whoever made room on these nodes may have to go for another one, or for nobody.
        by = {run: held.by for run, held in self.cluster.held.items()}
        self.going = {run: to for run, to in self.going.items() if by[run] == to}

    # --- what happens ------------------------------------------------------------------------

    @rule(asked=st.lists(st.tuples(st.sampled_from(RUNS), st.sampled_from(sorted(GUARANTEED)),
                                   st.integers(1, 3), st.sampled_from([1, 1, 1, 2, 4]),
                                   st.booleans(), st.integers(0, 1),
                                   st.one_of(st.none(), st.floats(1, 1e4))),
                         min_size=1, max_size=10))  # fmt: skip
    def some_wait(self, asked: list[tuple[str, str, int, int, bool, int, float | None]]) -> None:
        for run, queue, count, wide, keeps, priority, left in asked:
            if run in self.held or run in self.waiting:
                continue
            one = Ask(cpu=500, devices=1, models=MODEL)
            first = replace(one, devices=wide)
            parts = ((first, 1), (one, count)) if wide > 1 else ((one, count),)
            self.waiting[run] = Waiting(run=run, pool="one", parts=parts, since=self.now,
                                        queue=queue, keeps=keeps, priority=priority,
                                        left=left)  # fmt: skip
            self.feed(self.waiting[run])

    @rule(run=st.sampled_from(RUNS), ended=st.booleans(), waits=st.booleans())
    def is_over(self, run: str, ended: bool, waits: bool) -> None:
        if waits and run not in self.held:
            self.feed(Withdrawn(run=run))
        else:
            self.feed(Released(run=run, ended=ended))
        self.forget(run)

    def forget(self, run: str) -> None:
        for known in (self.waiting, self.held, self.seats, self.going):
            known.pop(run, None)
        self.going = {one: by for one, by in self.going.items() if by != run}

    @precondition(lambda self: self.there is not None)
    @rule(name=st.sampled_from(NAMES), devices=st.sampled_from([None, 0, 1, 2, 4, 6, 8]))
    def a_node_changes(self, name: str, devices: int | None) -> None:
        """It is lost, comes back, grows or shrinks."""
        assert self.there is not None
        self.there.pop(name, None)
        if devices is not None:
            self.there[name] = devices
        self.changed()

    @rule(goes=st.sampled_from([False, False, True]))
    def all_is_there_again(self, goes: bool) -> None:
        """The pool is gone, or has all its nodes."""
        if not goes:
            self.there = dict.fromkeys(NAMES, 4)
            self.changed()
            return
        self.there, self.nodes = None, ()
        self.feed(PoolGone(pool="one", why="it does not answer"))
        self.seats, self.going = {}, {}

    @precondition(lambda self: self.going)
    @rule()
    def one_goes(self) -> None:
        self.feed(Released(run=(run := min(self.going))))
        self.forget(run)

    @precondition(lambda self: self.going)
    @rule()
    def whom_they_go_for_withdraws(self) -> None:
        by = min(self.going.values())
        self.feed(Withdrawn(run=by))
        self.forget(by)

    @rule(by=st.sampled_from(sorted(GUARANTEED)))
    def begins_anew(self, by: str) -> None:
        """All nodes are there, and one queue has filled them: others want their part."""
        for run in [*self.held, *self.waiting]:
            self.feed(Released(run=run))
            self.forget(run)
        self.all_is_there_again(goes=False)
        self.now, self.back = self.now + 1, 0.0
        for at in range(12):
            self.some_wait([(RUNS[at], by, 1, 1, at % 2 == 0, 0, None)])
        self.decides()
        for at, queue in enumerate(sorted(GUARANTEED)):
            self.some_wait([(f"late{at}", queue, 2, 1, False, 0, None)])
        self.now += 1
        self.decides()

    @rule(seconds=st.floats(0, 1e4))
    def the_clock_is_set_back(self, seconds: float) -> None:
        self.back = seconds

    @rule(seconds=st.floats(1, 1e4))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.back = 0.0

    @rule()
    def decides(self) -> None:
        twin, now = self.cluster.copy(), self.now - self.back
        decisions = self.cluster.decide(now)
        assert twin.decide(now) == decisions, "the same state, other decisions"
        for decision in decisions:
            self.check(decision)

    @rule()
    def a_step(self) -> None:
        """All who were asked to go have gone, and the clock goes on: then whoever is guaranteed
        its place has it, if everything is there that guarantees are about."""
        self.back, self.now = 0.0, self.now + 30
        self.decides()
        for run in sorted(self.going):
            asked = replace(self.held[run], since=self.now)
            self.forget(run)
            self.feed(Released(run=run, ended=False), asked)
            self.waiting[run] = asked
        self.decides()
        self.now += 1
        self.decides()
        if self.there != dict.fromkeys(NAMES, 4) or len(self.seats) < len(self.held):
            return
        used, for_whom = self.used(), {*self.going.values()}
        for run in for_whom:  # what they get is theirs already
            used[self.waiting[run].queue] += self.count(self.waiting[run])
        for run, asked in self.waiting.items():
            # Of wider ones what is free may lie apart.
            within = used[asked.queue] + self.count(asked) <= GUARANTEED[asked.queue]
            wide = len(asked.parts) > 1
            assert wide or not within or run in for_whom, f"{run} is guaranteed its place"

    # --- what has to hold --------------------------------------------------------------------

    def check(self, decision: Decided) -> None:
        if isinstance(decision, Preempt):
            assert decision.run in self.held and decision.by in self.waiting
            self.going[decision.run] = decision.by
            return
        waiting = self.waiting.pop(decision.run)
        # Nobody is refused: the largest gang of all is within every limit. No run may grow.
        assert isinstance(decision, Place) and self.there is not None
        asks_ = tuple(each(waiting.parts))
        assert len(decision.spots) == len(asks_), "a part of a gang"
        self.held[decision.run] = waiting
        self.seats[decision.run] = [
            (self.nodes[spot.node].name, ask, spot.devices)
            for ask, spot in zip(asks_, decision.spots, strict=True)
        ]
        nodes = self.cluster.pools["one"].nodes
        for spot in decision.spots:
            assert nodes.cpu[spot.node] >= 0, "more than there is"
            assert all(nodes.devices[spot.node, at] >= 0 for at in spot.devices)

    @invariant()
    def no_device_is_held_twice(self) -> None:
        held = Counter((name, at) for seats in self.seats.values()
                       for name, _, devices in seats for at in devices)  # fmt: skip
        assert max([0, *held.values()]) <= 1
        cpu = Counter[str]()
        for seats in self.seats.values():
            for name, ask, _ in seats:
                cpu[name] += ask.cpu
        assert max([0, *cpu.values()]) <= 8000

    @invariant()
    def no_queue_is_over_its_limit(self) -> None:
        used = self.used()
        assert used["vision"] <= 8, "guaranteed 4, may borrow 4"
        if self.there == dict.fromkeys(NAMES, 4) and len(self.seats) == len(self.held):
            assert used.total() <= 12
            assert used.total() - used["speech"] <= 10, "what is not lent was taken"

    @invariant()
    def the_books_are_what_runs_hold(self) -> None:
        """Nobody who waits holds anything, and nothing is lost when nodes change."""
        assert self.cluster.held.keys() == self.held.keys()
        assert self.cluster.line.waiting.keys() | self.cluster.due.keys() == self.waiting.keys()
        if "one" not in self.cluster.pools:
            assert not self.cluster.due
            return
        free, known = Nodes(self.nodes), self.cluster.pools["one"].nodes
        for held in self.cluster.held.values():
            for spot, ask in zip(held.spots, each(held.asked.parts), strict=False):
                free.take(spot, ask)
        for due in self.cluster.due.values():
            for row, reserve in due.reserved.items():
                free.reserve(row, reserve, +1)
        for name in ("cpu", "memory", "devices", "idle"):
            assert np.array_equal(getattr(free, name), getattr(known, name)), name

    @invariant()
    def queues_count_what_runs_hold(self) -> None:
        used = Counter[str]()
        for run, asked in self.held.items():
            used[asked.queue] += 0 if self.cluster.held[run].by else self.count(asked)
        for due in self.cluster.due.values():
            used[due.asked.queue] += self.count(due.asked)
        for queue in GUARANTEED:
            known = self.cluster.tree.leaf(queue, "default").used.get("T4", 0)
            assert known == 1000 * used[queue], queue

    @staticmethod
    def count(asked: Waiting) -> int:
        return sum(ask.devices * count for ask, count in asked.parts)

    def used(self) -> Counter[str]:
        found = Counter[str]()
        for asked in self.held.values():
            found[asked.queue] += self.count(asked)
        return found


TestChanges: Any = Changes.TestCase
TestChanges.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
