"""Elastic gangs: they grow into what is idle, and give it back before anybody is interrupted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tradewind.records.placements import Seat
from tradewind.scheduler import whatif
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.cluster import PAUSE
from tradewind.scheduler.events import (
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    Preempt,
    QueuesChanged,
    Released,
    Resize,
    Saved,
    Shrunk,
    Waiting,
)
from tradewind.scheduler.nodes import Ask, Node
from tradewind.scheduler.queues import Queue
from tradewind.scheduler.rows import FirstFit

GPU = Ask(devices=1)
NODES = tuple(Node(name=f"n{at}", cpu=8000, devices=(("T4", 4),)) for at in range(2))
LATER = PAUSE + 1


def asks(run: str, count: int = 1, grows: int = 0, ask: Ask = GPU, **more: Any) -> Waiting:
    """One that grows keeps its work, where nothing else is said."""
    said = {"since": 0.0, "keeps": grows > 0, **more}
    return Waiting(run=run, pool="one", parts=((ask, count),), grows=grows, **said)


def a_cluster(*queues: Queue) -> Answering:
    cluster = Answering(FirstFit)
    cluster.feed([PoolChanged(pool="one", nodes=NODES), QueuesChanged(queues=queues)])
    return cluster


def grown(cluster: Answering, *runs: Waiting) -> None:
    """These have started and have grown as far as they can."""
    cluster.feed(runs)
    cluster.decide()
    cluster.decide(LATER)


def test_it_grows_into_what_is_idle_but_not_at_once() -> None:
    cluster = a_cluster()
    cluster.feed([asks("e", 2, grows=10)])
    [placed] = cluster.decide()
    assert isinstance(placed, Place) and len(placed.spots) == 2
    assert cluster.decide(PAUSE - 1) == []
    assert cluster.decide(LATER) == [Resize(run="e", grown=6)]
    assert len(cluster.seats("e")) == 8 and cluster.holders("one") == {"e"}
    assert cluster.decide(LATER + 1) == []


def test_it_grows_when_it_has_just_saved_and_not_while_it_would_lose_more() -> None:
    cluster = a_cluster()
    cluster.feed([asks("e", 2, grows=6, keeps=False)])
    cluster.decide()
    assert cluster.decide(LATER) == cluster.decide(5 * LATER) == []
    cluster.feed([Saved(run="e", at=4 * LATER)], 5 * LATER + 1)
    assert cluster.decide(5 * LATER + 1) == [], "too long ago"
    cluster.feed([Saved(run="e", at=6 * LATER - 10)], 6 * LATER)
    assert cluster.decide(6 * LATER) == [Resize(run="e", grown=6)]


def test_it_gives_back_what_another_wants_and_no_more() -> None:
    cluster = a_cluster()
    grown(cluster, asks("e", 2, grows=6), asks("f", 1))
    cluster.feed([asks("x", 2)], LATER + 1)
    assert cluster.decide(LATER + 1) == [Resize(run="e", grown=3, by="x")]
    assert cluster.why("x") == "pool 'one': others make room for it"
    assert cluster.decide(LATER + 2) == []
    cluster.feed([Shrunk(run="e", grown=3)], LATER + 3)
    [placed] = cluster.decide(LATER + 3)
    assert isinstance(placed, Place) and placed.run == "x"
    cluster.feed([Released(run="x")], LATER + 4)
    assert cluster.decide(LATER + 4) == [], "it has just been resized"
    assert cluster.decide(2 * LATER + 4) == [Resize(run="e", grown=5)]


def test_what_has_grown_goes_before_borrowed_places_and_lower_priorities() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=(("T4", 4000),)), Queue(name="b"))
    grown(cluster, asks("e", 1, grows=3, queue="a"), *(asks(f"b{at}", queue="b", keeps=True)
                                                      for at in range(4)))  # fmt: skip
    cluster.feed([asks("a", 2, queue="a", priority=1)], LATER + 1)
    assert cluster.decide(LATER + 1) == [Resize(run="e", grown=1, by="a")]
    cluster.feed([asks("a2", 2, queue="a", priority=2)], LATER + 1)
    told = cluster.decide(LATER + 1)
    assert Counter(type(each) for each in told) == {Resize: 1, Preempt: 1}


def test_the_one_with_least_grows_first_and_never_beyond_its_queue() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=(("T4", 2000),), borrow=(("T4", 1000),)),
                        Queue(name="b"))  # fmt: skip
    cluster.feed([asks("ea", 1, grows=9, queue="a"), asks("eb", 1, grows=2, queue="b"),
                  asks("ec", 1, grows=9, queue="b", project="c")])  # fmt: skip
    cluster.decide()
    found = {each.run: each.grown for each in cluster.decide(LATER) if isinstance(each, Resize)}
    assert found == {"ea": 2, "eb": 1, "ec": 2} or found == {"ea": 2, "eb": 2, "ec": 1}


def test_who_ends_or_is_interrupted_gives_all_back() -> None:
    for ended in (True, False):
        cluster = a_cluster()
        grown(cluster, asks("e", 2, grows=6))
        cluster.feed([Released(run="e", ended=ended), asks("x", 8)], LATER + 1)
        [placed] = cluster.decide(LATER + 1)
        assert isinstance(placed, Place) and placed.run == "x"


def test_a_higher_priority_that_needs_all_takes_base_and_growth() -> None:
    cluster = a_cluster()
    grown(cluster, asks("e", 2, grows=6))
    cluster.feed([asks("x", 8, priority=1)], LATER + 1)
    assert cluster.decide(LATER + 1) == [Preempt(run="e", by="x")]
    cluster.feed([Released(run="e", ended=False)], LATER + 2)
    [placed] = cluster.decide(LATER + 2)
    assert isinstance(placed, Place) and placed.run == "x"


def test_it_grows_while_another_waits_who_could_not_use_it() -> None:
    cluster = a_cluster()
    grown(cluster, asks("e", 1, grows=2), asks("x", 8))
    assert len(cluster.seats("e")) == 3
    cluster.feed([Released(run="e")], LATER + 1)
    [placed] = cluster.decide(LATER + 1)
    assert isinstance(placed, Place) and placed.run == "x"


def test_what_is_known_after_a_restart() -> None:
    cluster = a_cluster()
    seats = tuple(Seat("n1", (at,)) for at in range(3))
    cluster.feed([Occupied(asked=asks("e", grows=3), grown=2, seats=seats)])
    assert cluster.seats("e") == seats
    cluster.feed([asks("x", 6, ask=GPU)])
    assert cluster.decide(1.0) == [Resize(run="e", grown=1, by="x")]


def test_nodes_that_go_and_come_back() -> None:
    cluster = a_cluster()
    grown(cluster, asks("e", 2, grows=6))
    before = cluster.seats("e")
    cluster.feed([PoolGone(pool="one")], LATER + 1)
    assert cluster.decide(2 * LATER + 1) == []
    cluster.feed([PoolChanged(pool="one", nodes=NODES)], 2 * LATER + 2)
    assert sorted(map(str, cluster.seats("e"))) == sorted(map(str, before))
    cluster.feed([Shrunk(run="e", grown=0), asks("x", 6)], 2 * LATER + 3)
    assert [each.run for each in cluster.decide(2 * LATER + 3)] == ["x"]


def test_what_if_counts_on_what_others_have_grown_by() -> None:
    cluster = a_cluster()
    grown(cluster, asks("e", 2, grows=6))
    cluster.feed([asks("x", 7)], LATER + 1)
    assert cluster.decide(LATER + 1) == []
    assert "with 6 processes instead of 7, once e has made room for it" in [
        str(each) for each in whatif.smallest(cluster, "x")
    ]


class History(RuleBasedStateMachine):
    """Without queues: nobody is interrupted where it would do that others shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster, self.now = a_cluster(), 0.0
        self.held: dict[str, tuple[Waiting, int]] = {}
        self.waiting: dict[str, Waiting] = {}

    @rule(run=st.sampled_from("abcdefgh"), count=st.integers(1, 4), grows=st.integers(0, 4),
          priority=st.integers(0, 1), keeps=st.booleans())  # fmt: skip
    def waits(self, run: str, **more: Any) -> None:
        if run not in self.held and run not in self.waiting:
            self.waiting[run] = asks(run, since=self.now, **more)
            self.cluster.feed([self.waiting[run]], self.now)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[run]
        self.cluster.feed([Released(run=run)], self.now)

    @rule(seconds=st.sampled_from([1.0, 30.0, 100.0]))
    def a_step(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(2):
            decisions = self.cluster.decide(self.now)
            for each in decisions:
                self.does(each)
            assert self.held_now() <= 8
            if any(isinstance(each, Preempt) for each in decisions):
                assert not any(count for run, (_, count) in self.held.items()), "shrink before kill"
        for run, asked in self.waiting.items():
            beyond = sum(count for _, count in self.held.values())
            free = 8 - self.held_now()
            assert asked.parts[0][1] > free + beyond, f"{run} waits, and others have grown"

    def does(self, told: Any) -> None:
        if isinstance(told, Place):
            self.held[told.run] = self.waiting.pop(told.run), 0
        elif isinstance(told, Resize):
            asked, before = self.held[told.run]
            assert (told.grown < before) == bool(told.by) and told.grown <= asked.grows
            self.held[told.run] = asked, told.grown
            if told.by:
                self.cluster.feed([Shrunk(run=told.run, grown=told.grown)], self.now)
        else:
            asked, _ = self.held.pop(told.run)
            self.waiting[told.run] = asked
            self.cluster.feed([Released(run=told.run, ended=False), asked], self.now)

    def held_now(self) -> int:
        return sum(asked.parts[0][1] + grown for asked, grown in self.held.values())


TestHistory: Any = History.TestCase
TestHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
