"""The scheduler over nodes: whatever happens, in whatever order, these hold."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tradewind.records.tasks import Layout
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    Preempt,
    Reject,
    Released,
    Saved,
    SchedulerEvent,
    Waiting,
    Widened,
    Withdrawn,
)
from tradewind.scheduler.nodes import Ask, Node
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value

NODES = tuple(Node(name=f"n{at}", cpu=8000, memory=64, devices=(("T4", 4),)) for at in range(3))
RUNS = [f"r{at}" for at in range(9)]
ONE = Ask(cpu=1000, devices=1)
PARTS: list[Parts] = [
    ((ONE, 1),),
    ((Ask(devices=4), 1),),
    ((Ask(devices=4), 2),),
    ((Ask(devices=4), 3),),
    ((ONE, 7),),
    ((Ask(devices=1, share=400), 2), (Ask(cpu=3000), 1)),
    ((Ask(devices=4), 4),),
    ((Ask(cpu=8000, memory=64), 2),),
]


class History(RuleBasedStateMachine):
    """Random histories beside a plain account of who waits and who holds what."""

    nodes = NODES
    layouts: ClassVar[list[Layout | None]] = [None]

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(Value, Shortest())
        self.log: list[tuple[list[SchedulerEvent], float, list[Decided]]] = []
        self.now = 0.0
        self.waiting: dict[str, Waiting] = {}
        self.held: dict[str, Place] = {}
        self.asked: dict[str, Waiting] = {}
        self.going: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.saved: dict[str, float] = {}
        self.feed(PoolChanged(pool="one", nodes=self.nodes))

    def feed(self, *events: SchedulerEvent) -> None:
        self.log.append((list(events), self.now, []))
        self.cluster.feed(events, self.now)

    @rule(run=st.sampled_from(RUNS), parts=st.sampled_from(PARTS), priority=st.integers(0, 1),
          left=st.one_of(st.none(), st.floats(1, 1e4)), keeps=st.booleans(),
          layout=st.integers(0, 9))  # fmt: skip
    def waits(
        self, run: str, parts: Parts, priority: int, left: float | None, keeps: bool, layout: int
    ) -> None:
        event = Waiting(run=run, pool="one", parts=parts, since=self.now, priority=priority,
                        left=left, keeps=keeps, restart=5.0,
                        layout=self.layouts[layout % len(self.layouts)])  # fmt: skip
        self.feed(event)
        if run not in self.held and run not in self.waiting:
            self.waiting[run] = event

    @rule(run=st.sampled_from(RUNS))
    def withdraws(self, run: str) -> None:
        self.feed(Withdrawn(run=run))
        self.waiting.pop(run, None)
        self.going = {v: by for v, by in self.going.items() if by != run}

    @rule(run=st.sampled_from(RUNS), ended=st.booleans())
    def releases(self, run: str, ended: bool) -> None:
        self.feed(Released(run=run, ended=ended))
        self.waiting.pop(run, None)
        self.held.pop(run, None)
        self.going.pop(run, None)
        self.going = {v: by for v, by in self.going.items() if by != run}

    @precondition(lambda self: self.held)
    @rule(data=st.data(), ago=st.floats(-10, 1e4))
    def saves(self, data: st.DataObject, ago: float) -> None:
        run = data.draw(st.sampled_from(sorted(self.held)))
        self.feed(Saved(run=run, at=self.now - ago))
        self.saved[run] = max(self.saved.get(run, -math.inf), min(self.now, self.now - ago))

    @precondition(lambda self: self.going)
    @rule()
    def makes_room(self) -> None:
        """All who were asked to go have gone: then those they went for start."""
        for_whom = set(self.going.values())
        for run in sorted(self.going):
            asked = replace(self.asked[run], since=self.now)
            self.feed(Released(run=run, ended=False), asked)
            del self.held[run]
            self.waiting[run] = asked
        self.going = {}
        self.decides()
        assert for_whom <= self.held.keys(), "interrupted for one that did not start"

    @rule(seconds=st.floats(0, 1e4))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def decides(self) -> None:
        twin = self.cluster.copy()
        decisions = self.cluster.decide(self.now)
        assert twin.decide(self.now) == decisions, "the same state, other decisions"
        self.log.append(([], self.now, decisions))
        for each in decisions:
            self.check(each)

    def check(self, decision: Decided) -> None:
        if isinstance(decision, Preempt):
            assert decision.run in self.held and decision.by in self.waiting
            victim, by = self.asked[decision.run], self.waiting[decision.by]
            began, saved = self.began[decision.run], self.saved.get(decision.run, -math.inf)
            half = self.now - saved <= saved - began and saved > began
            assert by.priority > victim.priority or victim.keeps or half
            self.going[decision.run] = decision.by
            return
        waiting = self.waiting.pop(decision.run)
        if isinstance(decision, Reject):
            self.refused(waiting, decision)
            return
        assert isinstance(decision, Place)
        assert len(decision.spots) == sum(count for _, count in waiting.parts), "a part of a gang"
        self.held[decision.run], self.asked[decision.run] = decision, waiting
        self.began[decision.run] = self.now
        self.saved.pop(decision.run, None)

    def refused(self, waiting: Waiting, decision: Reject) -> None:
        assert sum(ask.devices * count for ask, count in waiting.parts) > 12 and decision.why

    @invariant()
    def never_more_than_there_is(self) -> None:
        cpu, memory = Counter[int](), Counter[int]()
        devices: Counter[tuple[int, int]] = Counter()
        for run, place in self.held.items():
            asks = [ask for ask, count in self.asked[run].parts for _ in range(count)]
            for ask, spot in zip(asks, place.spots, strict=True):
                cpu[spot.node] += ask.cpu
                memory[spot.node] += ask.memory
                for device in spot.devices:
                    devices[spot.node, device] += ask.share
        assert max([0, *cpu.values()]) <= 8000 and max([0, *memory.values()]) <= 64
        assert max([0, *devices.values()]) <= 1000
        assert {device for _, device in devices} <= set(range(4))

    def teardown(self) -> None:
        again = Cluster(Value, Shortest())
        for events, now, decisions in self.log:
            if events:
                again.feed(events, now)
            else:
                assert again.decide(now) == decisions, "the same events, other decisions"


TestHistory: Any = History.TestCase
TestHistory.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def a_cluster(order: Shortest | None = None, count: int = 2) -> Cluster:
    cluster = Cluster(FirstFit, order)
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:count])])
    return cluster


def asks(run: str, devices: int, count: int = 1, **more: Any) -> Waiting:
    parts = ((Ask(devices=devices), count),)
    return Waiting(run=run, pool="one", parts=parts, since=0.0, **more)


def started(decisions: list[Decided]) -> list[str]:
    return [each.run for each in decisions if isinstance(each, Place)]


def test_without_an_order_first_come_is_first_and_smaller_ones_pass() -> None:
    cluster = a_cluster()
    cluster.feed([asks("a", 3), asks("b", 3), asks("gang", 4, 2), asks("c", 1)])
    assert started(cluster.decide()) == ["a", "b", "c"]
    cluster.feed([Released(run=run) for run in "ab"])
    assert started(cluster.decide()) == [], "one device of the first node is held"
    cluster.feed([Released(run="c")])
    assert started(cluster.decide()) == ["gang"]


def test_what_is_known_to_be_short_goes_first_and_interrupts_what_is_long() -> None:
    cluster = a_cluster(Shortest())
    cluster.feed([asks("long", 4, 2, left=1000.0, keeps=True, restart=1.0)])
    assert started(cluster.decide(0.0)) == ["long"]
    cluster.feed([asks("short", 1, left=10.0), asks("middle", 1, left=100.0)], 5.0)
    decisions = cluster.decide(5.0)
    assert decisions == [Preempt(run="long", by="short")]
    assert cluster.decide(6.0) == [], "it has not gone yet"
    cluster.feed([Released(run="long", ended=False)], 7.0)
    assert started(cluster.decide(7.0)) == ["short", "middle"]


def test_what_loses_its_work_is_not_interrupted_for_what_is_only_shorter() -> None:
    cluster = a_cluster(Shortest())
    cluster.feed([asks("long", 4, 2, left=1000.0)])
    cluster.decide(0.0)
    cluster.feed([asks("short", 1, left=1.0)], 5.0)
    assert cluster.decide(5.0) == []
    cluster.feed([asks("urgent", 1, left=1.0, priority=1)], 5.0)
    assert cluster.decide(5.0) == [Preempt(run="long", by="urgent")]


def test_of_several_whoever_loses_least_makes_room() -> None:
    cluster = a_cluster(Shortest())
    for run, at in (("old", 0.0), ("young", 50.0)):
        cluster.feed([asks(run, 4, left=1000.0)], at)
        cluster.decide(at)
    cluster.feed([asks("urgent", 2, priority=1)], 60.0)
    assert cluster.decide(60.0) == [Preempt(run="young", by="urgent")]


def test_what_is_saved_is_not_lost_and_what_is_dear_is_lost_last() -> None:
    prices = (("T4", 1.0), ("cpu", 0.1))
    for saved, priced, goes in (
        ((), (), "young"),
        ((("old", 90.0),), (), "old"),
        ((("old", 90.0), ("young", 95.0)), (), "young"),
        ((("old", 60.0),), (), "old"),  # as long as the other one: the first of them
        ((("wide", 80.0), ("young", 70.0)), (), "young"),
        ((("wide", 80.0), ("young", 70.0)), prices, "young"),
    ):
        cluster = Cluster(FirstFit)
        cluster.feed([PoolChanged(pool="one", nodes=NODES[:1], prices=priced)])
        for run, devices, at in (("old", 1, 0.0), ("wide", 2, 20.0), ("young", 1, 60.0)):
            cluster.feed([asks(run, devices)], at)
            assert started(cluster.decide(at)) == [run]
        cluster.feed([Saved(run=run, at=at) for run, at in saved], 95.0)
        cluster.feed([asks("urgent", 1, priority=1)], 100.0)
        assert cluster.decide(100.0) == [Preempt(run=goes, by="urgent")], (saved, priced)


def test_of_equal_projects_who_has_saved_gives_way_once_and_gets_on_between() -> None:
    """They do not interrupt each other for ever: who comes back has to have saved first."""
    cluster = a_cluster(count=1)
    cluster.feed([asks("a", 2, project="x"), asks("b", 2, project="x")])
    cluster.decide(0.0)
    cluster.feed([asks("c", 2, project="y")], 1.0)
    cluster.feed([Saved(run="a", at=99.0), Saved(run="b", at=40.0)], 100.0)
    assert cluster.decide(100.0) == [Preempt(run="a", by="c")], "the other one loses more"
    cluster.feed([Released(run="a", ended=False), asks("a", 2, project="x")], 101.0)
    assert started(cluster.decide(101.0)) == ["c"]
    for now in range(110, 1000, 10):
        cluster.feed([Saved(run=run, at=now) for run in "bc"], now)
        assert cluster.decide(now) == []


def test_what_was_saved_before_it_began_counts_for_nothing() -> None:
    cluster = a_cluster(count=1)
    cluster.feed([asks("a", 4, project="x")], 10.0)
    cluster.decide(10.0)
    cluster.feed([asks("b", 2, project="y"), Saved(run="a", at=9.0), Saved(run="b", at=5.0)], 11.0)
    assert cluster.decide(12.0) == []


def test_nobody_goes_for_one_that_would_not_start() -> None:
    cluster = a_cluster(Shortest())
    cluster.feed([asks("stays", 1, priority=2), asks("low", 4)])
    cluster.decide(0.0)
    cluster.feed([asks("gang", 4, 2, priority=1)], 1.0)
    assert cluster.decide(1.0) == []


def test_nobody_takes_the_room_that_is_being_made() -> None:
    cluster = a_cluster(Shortest(), count=1)
    cluster.feed([asks("a", 2), asks("b", 1)])
    cluster.decide(0.0)
    cluster.feed([asks("urgent", 4, priority=1)], 1.0)
    assert {each.run for each in cluster.decide(1.0)} == {"a", "b"}
    cluster.feed([Released(run="a"), asks("small", 1, left=0.1)], 2.0)
    assert cluster.decide(2.0) == []
    cluster.feed([Withdrawn(run="urgent")], 3.0)
    assert started(cluster.decide(3.0)) == ["small"], "nobody needs the room any more"


def test_a_gang_larger_than_the_pool_is_refused_with_the_largest_that_could_be() -> None:
    cluster = a_cluster()
    cluster.feed([asks("gang", 4, 3)])
    [decision] = cluster.decide()
    assert isinstance(decision, Reject)
    assert decision.why == (
        "the machines of pool 'one' hold 2 processes of this at the same time, not 3: each needs "
        "4 devices, all on one machine"
    )
    cluster.feed([asks("wide", 5)])
    [decision] = cluster.decide()
    assert isinstance(decision, Reject) and decision.why == (
        "no machine of pool 'one' can hold one process of this: it needs 5 devices, the largest "
        "machine has 8 CPU, 64 B, 4 T4"
    )


def test_a_lost_node_keeps_what_it_held_on_the_books_and_takes_nothing() -> None:
    cluster = a_cluster()
    cluster.feed([asks("a", 4, 2)])
    cluster.decide()
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:1]), asks("b", 1)])
    assert cluster.decide() == []
    cluster.feed([Released(run="a")])
    assert started(cluster.decide()) == ["b"]
    cluster.feed([PoolGone(pool="one"), asks("c", 1)])
    assert cluster.decide() == []
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:2])])
    assert started(cluster.decide()) == ["c"]


def test_nodes_that_change_while_room_is_made_on_them() -> None:
    for left in (NODES[1:2], ()):
        change = PoolChanged(pool="one", nodes=left, firm=False)
        cluster = a_cluster(Shortest())
        cluster.feed([asks("a", 4), asks("b", 4)])
        cluster.decide(0.0)
        cluster.feed([asks("urgent", 4, priority=1, keeps=True)], 1.0)
        [preempt] = cluster.decide(1.0)
        cluster.feed([change, Released(run=preempt.run, ended=False)], 2.0)
        cluster.feed([asks("nothing", 0, priority=2)], 2.0)
        before = started(cluster.decide(2.0))
        cluster.feed([PoolChanged(pool="one", nodes=NODES[:2]), Released(run="a")], 3.0)
        cluster.feed([Released(run="b")], 3.0)
        assert "urgent" in {*before, *started(cluster.decide(3.0))}


def test_what_is_known_to_be_there_is_held() -> None:
    cluster = a_cluster()
    cluster.feed([Occupied(asked=asks("a", 4)), asks("b", 4, 2)])
    assert cluster.decide() == []
    cluster.feed([Widened(run="a", parts=((Ask(devices=4), 2),)), asks("c", 1)])
    assert cluster.decide() == []
    cluster.feed([Released(run="a")])
    assert started(cluster.decide()) == ["b"]


def test_a_clock_that_is_set_back_hardly_moves_and_holds_nobody_up() -> None:
    cluster = a_cluster(Shortest())
    cluster.feed([asks("a", 4, 2, left=100.0, keeps=True)], 50.0)
    cluster.decide(50.0)
    cluster.feed([asks("b", 1, left=1.0)], 10.0)
    assert cluster.decide(10.0) == [Preempt(run="a", by="b")]
    assert 50.0 < cluster.now < 50.1


def test_a_gang_that_has_waited_long_is_not_passed_for_ever_by_smaller_ones() -> None:
    cluster = a_cluster()
    cluster.feed([asks("a", 2, left=500.0), asks("b", 4, left=2000.0)])
    cluster.decide(0.0)
    cluster.feed([asks("gang", 4, 2, left=100.0)], 1.0)
    assert cluster.decide(1.0) == []
    cluster.feed([asks("early", 1, left=300.0)], 2.0)
    assert started(cluster.decide(2.0)) == ["early"], "it has not waited long"
    cluster.feed([asks("long", 1, left=9000.0), asks("nobody knows", 1)], 400.0)
    assert cluster.decide(400.0) == [], "until 2000 all is kept for the gang"
    cluster.feed([asks("short", 1, left=900.0)], 401.0)
    assert started(cluster.decide(401.0)) == ["short"], "it ends before"
    cluster.feed([asks("keeps", 1, left=9000.0, keeps=True)], 402.0)
    assert cluster.decide(402.0) == [], "there is no device left"
    cluster.feed([Released(run="early")], 500.0)
    assert started(cluster.decide(500.0)) == ["keeps"], "it loses nothing when it is interrupted"
    cluster.feed([Withdrawn(run="gang"), Released(run="a")], 600.0)
    assert started(cluster.decide(600.0)) == ["long", "nobody knows"]


def test_room_that_does_not_come_when_it_was_expected_is_kept_anew() -> None:
    cluster = a_cluster(count=1)
    cluster.feed([asks("late", 1, left=400.0)])
    cluster.decide(0.0)
    cluster.feed([asks("gang", 4, left=10.0)], 1.0)
    cluster.decide(1.0)
    for now in (399.0, 401.0, 900.0):
        cluster.feed([asks(f"long at {now}", 1, left=5000.0)], now)
        assert cluster.decide(now) == []
    cluster.feed([Released(run="late")], 901.0)
    assert started(cluster.decide(901.0)) == ["gang"]


def test_before_much_is_lost_it_is_waited_whether_anybody_ends() -> None:
    """A burst of short urgent runs had ended what had worked for weeks, one after the other, and
    each of them was over in minutes."""
    cluster = a_cluster(count=1)
    cluster.feed([asks("old", 2), asks("short", 2)])
    assert started(cluster.decide(0.0)) == ["old", "short"]
    day = 86_400.0
    cluster.feed([asks("urgent", 2, priority=1)], day)
    assert cluster.decide(day) == []
    until = cluster.alarm()
    assert until == pytest.approx(day + 0.02 * day)
    twin = cluster.copy()
    twin.feed([Released(run="short")], day + 60.0)
    assert started(twin.decide(day + 60.0)) == ["urgent"], "nobody had to go"
    assert cluster.decide(until - 1.0) == []
    [told] = cluster.decide(until)
    assert isinstance(told, Preempt) and told.by == "urgent"


def test_nobody_waits_for_longer_than_half_an_hour_first() -> None:
    cluster = a_cluster(count=1)
    cluster.feed([asks("old", 4)])
    cluster.decide(0.0)
    cluster.feed([asks("urgent", 4, priority=1)], 1e7)
    assert cluster.decide(1e7) == [] and cluster.alarm() == 1e7 + 1800.0
    assert cluster.decide(1e7 + 1800.0) == [Preempt(run="old", by="urgent")]


def test_what_has_not_worked_for_long_goes_at_once() -> None:
    cluster = a_cluster(count=1)
    cluster.feed([asks("new", 4)])
    cluster.decide(0.0)
    cluster.feed([asks("urgent", 4, priority=1)], 5_000.0)
    assert cluster.decide(5_000.0) == [Preempt(run="new", by="urgent")]


def test_who_asks_for_nothing_that_has_a_price_does_not_wait_for_others() -> None:
    cluster = Cluster(FirstFit)
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:1], prices=(("cpu", 1.0),))])
    full = ((Ask(cpu=1000, memory=64), 1),)
    cluster.feed([replace(asks("old", 0), parts=full)])
    cluster.decide(0.0)
    memory = ((Ask(memory=32), 1),)
    cluster.feed([replace(asks("urgent", 0, priority=1), parts=memory)], 1e6)
    assert cluster.decide(1e6) == [Preempt(run="old", by="urgent")]
