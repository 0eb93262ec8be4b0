"""Queues: never beyond a limit, a guarantee comes back in one step, and what is over is shared."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tradewind.base.errors import InvalidSpec
from tradewind.scheduler.answers import Answering
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Place,
    PoolChanged,
    Preempt,
    QueuesChanged,
    Reject,
    Released,
    Resize,
    Shrunk,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.nodes import Ask, Node
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.queues import Queue, Queues
from tradewind.scheduler.rows import FirstFit

NODES = tuple(
    Node(name=f"n{at}", cpu=8000, memory=64, devices=(("T4", 4),) if at < 3 else (("A10", 4),))
    for at in range(4)
)


def t4(count: int) -> tuple[tuple[str, int], ...]:
    return (("T4", count * 1000),)


TREE = (
    Queue(name="vision", parent="lab", guarantee=t4(4), borrow=t4(4)),
    Queue(name="speech", parent="lab", guarantee=t4(4), lend=t4(2)),
    Queue(name="lab"),
    Queue(name="web", guarantee=t4(4), weight=2.0),
    Queue(name="free"),
)
GUARANTEED = {"vision": 4, "speech": 4, "web": 4, "free": 0}
# Of all its runs together.
CAPPED = 3
RUNS = [f"r{at}" for at in range(16)]
ONE: Any = frozenset({"T4"})


class History(RuleBasedStateMachine):
    """Random histories of single devices beside a plain account."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.cluster = Cluster(FirstFit, Shortest())
        told = QueuesChanged(queues=TREE, caps=(("capped", t4(CAPPED)),))
        self.cluster.feed([PoolChanged(pool="one", nodes=NODES), told])
        self.waiting: dict[str, Waiting] = {}
        self.held: dict[str, Waiting] = {}
        self.going: dict[str, str] = {}
        self.grown = Counter[str]()
        self.shrinks: dict[str, Resize] = {}
        self.placed = False

    @rule(run=st.sampled_from(RUNS), queue=st.sampled_from(sorted(GUARANTEED)),
          project=st.sampled_from(["a", "b", "capped"]), count=st.integers(1, 2),
          keeps=st.booleans(), grows=st.sampled_from([0, 0, 3]), priority=st.integers(0, 1),
          left=st.one_of(st.none(), st.floats(1, 100)))  # fmt: skip
    def waits(self, run: str, count: int, **more: Any) -> None:
        if run in self.held or run in self.waiting:
            return
        parts = ((Ask(devices=1, models=ONE), count),)
        self.waiting[run] = Waiting(run=run, pool="one", parts=parts, since=self.now, **more)
        self.cluster.feed([self.waiting[run]], self.now)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[run], self.grown[run]
        self.going.pop(run, None)
        self.shrinks.pop(run, None)
        self.cluster.feed([Released(run=run)], self.now)

    @rule()
    def a_step(self) -> None:
        """Whoever is asked to go has gone half a minute later, and then all is settled."""
        self.now += 30
        self.decide()
        for run, told in self.shrinks.items():
            self.grown[run] = told.grown
            self.cluster.feed([Shrunk(run=run, grown=told.grown)], self.now)
        for run in self.going:
            asked = replace(self.held.pop(run), since=self.now)
            del self.grown[run]
            self.waiting[run] = asked
            self.cluster.feed([Released(run=run, ended=False), asked], self.now)
        self.going, self.shrinks = {}, {}
        self.decide()
        assert not self.waiting or not self.placed or self.cluster.alarm() <= self.now + 1
        self.now += 1
        self.decide()
        used, for_whom = self.used(grown=False), {*self.going.values()}
        for_whom |= {each.by for each in self.shrinks.values()}
        for run, asked in self.waiting.items():
            within = used[asked.queue] + self.count(asked) <= GUARANTEED[asked.queue]
            if asked.project == "capped":
                within = within and self.capped() + self.count(asked) <= CAPPED
            assert not within or run in for_whom, f"{run} is guaranteed its place"

    def decide(self) -> None:
        twin = self.cluster.copy()
        decisions = self.cluster.decide(self.now)
        self.placed = any(isinstance(each, Place) for each in decisions)
        assert twin.decide(self.now) == decisions
        for each in decisions:
            assert not isinstance(each, Reject), each
            if isinstance(each, Place):
                self.held[each.run] = self.waiting.pop(each.run)
                assert len(each.spots) == self.count(self.held[each.run])
            elif isinstance(each, Resize):
                self.resize(each)
            else:
                assert each.run in self.held and each.by in self.waiting
                self.going[each.run] = each.by
        used = self.used()
        assert used.total() <= 12 and used["vision"] <= 8, "over a limit"
        assert used.total() - used["speech"] <= 10, "what is not lent was taken"
        assert self.capped(grown=True) <= CAPPED, "over what a project may hold"

    def resize(self, told: Resize) -> None:
        assert 0 <= told.grown <= self.held[told.run].grows and told.run not in self.going
        if told.by:
            assert told.by in self.waiting and told.grown < self.grown[told.run]
            self.shrinks[told.run] = told
        else:
            assert told.grown > self.grown[told.run] and told.run not in self.shrinks
            self.grown[told.run] = told.grown

    def used(self, grown: bool = True) -> Counter[str]:
        found = Counter[str]()
        for run, asked in self.held.items():
            found[asked.queue] += self.count(asked) + grown * self.grown[run]
        return found

    def capped(self, grown: bool = False) -> int:
        mine = [run for run, asked in self.held.items() if asked.project == "capped"]
        return sum(self.count(self.held[run]) + grown * self.grown[run] for run in mine)

    @staticmethod
    def count(asked: Waiting) -> int:
        return asked.parts[0][1]


TestHistory: Any = History.TestCase
TestHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def a_cluster(*queues: Queue, nodes: int = 3, order: Shortest | None = None) -> Cluster:
    cluster = Cluster(FirstFit, order)
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:nodes]), QueuesChanged(queues=queues)])
    return cluster


def asks(run: str, devices: int = 1, model: str = "T4", count: int = 1, **more: Any) -> Waiting:
    models = frozenset({model}) if model else frozenset[str]()
    parts = ((Ask(devices=devices, models=models), count),)
    return Waiting(run=run, pool="one", parts=parts, **{"since": 0.0, **more})


def started(decisions: list[Decided]) -> list[str]:
    return [each.run for each in decisions if isinstance(each, Place)]


def test_what_is_over_is_shared_by_weight() -> None:
    cluster = a_cluster(Queue(name="a", weight=2.0), Queue(name="b"))
    cluster.feed(asks(f"{queue}{at}", queue=queue) for queue in "ba" for at in range(12))
    names = Counter(run[0] for run in started(cluster.decide()))
    assert names == {"a": 8, "b": 4}


def test_what_is_guaranteed_does_not_count_as_a_share() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(6)), Queue(name="b"))
    cluster.feed(asks(f"{queue}{at}", queue=queue) for queue in "ba" for at in range(12))
    names = Counter(run[0] for run in started(cluster.decide()))
    assert names == {"a": 9, "b": 3}


def test_projects_of_a_queue_share_it_by_their_dominant_resource() -> None:
    """Ghodsi et al., figure 1: 9 CPU and 18 GB, 1 CPU and 4 GB against 3 CPU and 1 GB."""
    cluster = Cluster(FirstFit)
    cluster.feed([PoolChanged(pool="one", nodes=(Node(name="n", cpu=9000, memory=18),))])
    for at in range(9):
        for project, cpu, memory in (("a", 1000, 4), ("b", 3000, 1)):
            parts = ((Ask(cpu=cpu, memory=memory), 1),)
            cluster.feed([Waiting(run=f"{project}{at}", pool="one", parts=parts, since=at,
                                  project=project)])  # fmt: skip
    names = Counter(run[0] for run in started(cluster.decide()))
    assert names == {"a": 3, "b": 2}


def test_a_higher_priority_goes_before_the_share_of_projects_but_not_of_queues() -> None:
    cluster = a_cluster(Queue(name="a"), Queue(name="b"), nodes=1)
    cluster.feed([asks("a1", 2, queue="a", project="x"), asks("b1", 1, queue="b"),
                  asks("a2", 1, queue="a", project="x", priority=1),
                  asks("a3", 1, queue="a", project="y")])  # fmt: skip
    assert started(cluster.decide()) == ["a2", "b1", "a3"]


def test_lent_capacity_comes_back_even_from_what_loses_its_work() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(4)), Queue(name="b", guarantee=t4(4)), nodes=2)
    cluster.feed(asks(f"b{at}", queue="b") for at in range(8))
    assert len(started(cluster.decide())) == 8
    cluster.feed([asks("a0", 2, queue="a")], 5.0)
    leaving = cluster.decide(5.0)
    assert len(leaving) == 2 and {each.by for each in leaving if isinstance(each, Preempt)} == {
        "a0"
    }
    assert cluster.decide(6.0) == []
    cluster.feed([Released(run=each.run, ended=False) for each in leaving], 7.0)
    assert started(cluster.decide(7.0)) == ["a0"]


def test_what_one_leaves_is_for_all_who_find_room_in_it() -> None:
    """Each of four small runs had sent another large one away."""
    for apart in (0.0, 1.0):
        cluster = a_cluster(Queue(name="a"), Queue(name="b", guarantee=t4(12)), nodes=3)
        cluster.feed([asks(f"a{at}", 4, queue="a") for at in range(3)])
        assert len(started(cluster.decide(0.0))) == 3
        told: list[Decided] = []
        for at in range(4):
            cluster.feed([asks(f"b{at}", 1, queue="b")], 10.0 + at * apart)
            told += cluster.decide(10.0 + at * apart) if apart else []
        told += cluster.decide(20.0)
        [one] = told
        assert isinstance(one, Preempt)
        cluster.feed([Released(run=one.run, ended=False)], 30.0)
        assert sorted(started(cluster.decide(30.0))) == ["b0", "b1", "b2", "b3"]


def test_nobody_borrows_what_its_owner_asks_for_at_the_same_moment() -> None:
    """What had just begun could not be interrupted, and until something else happened the owner
    waited."""
    for order in (None, Shortest()):
        cluster = a_cluster(
            Queue(name="a", guarantee=t4(2)), Queue(name="b", guarantee=t4(2)), nodes=1, order=order
        )
        many = [asks(f"a{at}", queue="a") for at in range(9)]
        cluster.feed([*many, asks("b0", 1, queue="b"), asks("b1", 1, queue="b")])
        assert sorted(started(cluster.decide(0.0))) == ["a0", "a1", "b0", "b1"]
        cluster.feed([Released(run="b1"), asks("b2", 1, queue="b")])
        assert started(cluster.decide(1.0)) == ["b2"]


def test_who_is_within_its_guarantee_is_left_alone() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(2)), Queue(name="b", guarantee=t4(2)), nodes=1)
    cluster.feed([asks(f"b{at}", queue="b", keeps=True) for at in range(2)])
    cluster.feed([asks(f"a{at}", queue="a", keeps=True) for at in range(2)])
    assert len(started(cluster.decide())) == 4
    cluster.feed([asks("b2", queue="b", priority=1), asks("a2", queue="a")], 5.0)
    leaving = cluster.decide(5.0)
    assert [(each.run[0], each.by) for each in leaving if isinstance(each, Preempt)] == [
        ("b", "b2")
    ]


def test_what_keeps_its_work_gives_way_until_shares_are_equal_and_no_further() -> None:
    cluster = a_cluster(Queue(name="a"), Queue(name="b"), nodes=2, order=Shortest())
    cluster.feed(asks(f"a{at}", queue="a", keeps=True, left=50.0) for at in range(8))
    cluster.decide()
    cluster.feed((asks(f"b{at}", queue="b", keeps=True, left=50.0) for at in range(8)), 5.0)
    for at in range(1, 20):
        now = 5.0 + at
        leaving = [each for each in cluster.decide(now) if isinstance(each, Preempt)]
        for each in leaving:
            again = asks(each.run, queue=each.run[0], keeps=True, left=50.0)
            cluster.feed([Released(run=each.run, ended=False), again], now)
    used = cluster.tree  # the account itself: there is no other way to see it yet
    assert used.leaf("a", "default").used == used.leaf("b", "default").used


def test_a_queue_of_one_device_class_does_not_spend_the_other() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(1), borrow=(("T4", 0),)), nodes=4)
    cluster.feed([asks(f"a{at}", model="", queue="a") for at in range(5)])
    decisions = [each for each in cluster.decide() if isinstance(each, Place)]
    assert sum(each.spots[0].node < 3 for each in decisions) == 1 and len(decisions) == 5


def test_more_than_a_queue_may_ever_use_is_refused() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(1), borrow=t4(1)))
    cluster.feed([asks("a0", 3, queue="a")])
    [decision] = cluster.decide()
    assert isinstance(decision, Reject) and decision.why == (
        "queue 'a' may use at most 2 T4 at the same time; this needs 3 T4"
    )


def test_queues_that_change_while_runs_wait_and_hold() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(1), borrow=t4(0)), nodes=1)
    cluster.feed([asks(f"a{at}", queue="a") for at in range(4)])
    assert len(started(cluster.decide())) == 1
    cluster.feed([QueuesChanged(queues=())], 1.0)
    assert len(started(cluster.decide(1.0))) == 3
    cluster.feed([QueuesChanged(queues=(Queue(name="b", guarantee=t4(4)),)),
                  asks("b0", 4, queue="b")], 2.0)  # fmt: skip
    leaving = {each.run for each in cluster.decide(2.0) if isinstance(each, Preempt)}
    assert leaving == {"a0", "a1", "a2", "a3"}


@pytest.mark.parametrize(
    ("queues", "why"),
    [
        (
            (Queue(name="a", parent="b"), Queue(name="b", parent="a")),
            "it is below itself: a < b < a",
        ),
        ((Queue(name="a", parent="a"),), "it is below itself: a < a"),
        ((Queue(name="a", parent="gone"),), "there is no queue 'gone'"),
        ((Queue(name="a"), Queue(name="a")), "there are two queues of this name"),
        (
            (Queue(name="a", guarantee=t4(1)), Queue(name="b", parent="a", guarantee=t4(2))),
            "the queues below it are guaranteed 2 T4, it 1 T4",
        ),
    ],
)
def test_what_is_no_tree(queues: tuple[Queue, ...], why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        Queues(queues)


def test_a_run_that_names_no_model_gets_only_those_of_which_its_queue_may_have_more() -> None:
    """What it holds counts for the model that it got, and limits of both hold."""
    limit = (("A10", 2000), ("T4", 1000))
    for nodes in (NODES, NODES[::-1]):
        cluster = Cluster(FirstFit)
        queue = Queue(name="q", borrow=limit)
        cluster.feed([PoolChanged(pool="one", nodes=nodes), QueuesChanged(queues=(queue,))])
        cluster.feed(asks(f"r{at}", model="", queue="q", since=float(at)) for at in range(5))
        cluster.feed([asks("gang", model="", count=2, queue="q", since=9.0)])
        assert len(started(cluster.decide())) == 3
        leaf = cluster.tree.leaf("q", "default")
        assert leaf.used["T4"] == 1000 and leaf.used["A10"] == 2000
        [t4_run] = [run for run, held in cluster.held.items() if held.amounts.get("T4")]
        cluster.feed([Released(run=t4_run)], 1.0)
        assert len(started(cluster.decide(1.0))) == 1 and leaf.used["T4"] == 1000
        cluster.feed([Released(run=run) for run in [*cluster.held]], 2.0)
        cluster.feed([Withdrawn(run=run) for run in [*cluster.line.waiting] if run != "gang"], 2.0)
        assert started(cluster.decide(2.0)) == ["gang"], "two of the model of which it may have two"
        assert leaf.used.get("T4", 0) == 0 and leaf.used["A10"] == 2000


def test_the_projects_of_a_queue_with_any_model_stay_within_the_quota_of_the_project() -> None:
    cluster = Cluster(FirstFit)
    told = QueuesChanged(queues=(), caps=(("p", (("A10", 1000), ("T4", 1000))),))
    cluster.feed([PoolChanged(pool="one", nodes=NODES), told])
    cluster.feed(asks(f"r{at}", model="", queue=f"q{at}", project="p") for at in range(4))
    assert len(started(cluster.decide())) == 2
    assert Counter(name for held in cluster.held.values() for name in held.amounts) == {
        "T4": 1, "A10": 1
    }  # fmt: skip


def test_a_run_that_names_no_model_is_told_which_limit_binds() -> None:
    cluster = Answering(FirstFit)
    queue = Queue(name="q", borrow=(("A10", 1000), ("T4", 1000)))
    cluster.feed([PoolChanged(pool="one", nodes=NODES), QueuesChanged(queues=(queue,))])
    cluster.feed([asks("gang", model="", count=2, queue="q")])
    assert cluster.decide() == []
    why = "queue 'q' holds 0 of the 1 T4 that it may use, this needs 2"
    assert cluster.why("gang").replace("A10", "T4") == why


def test_what_was_borrowed_on_one_pool_comes_back_for_a_run_on_another() -> None:
    lab = Queue(name="lab", guarantee=t4(8), borrow=t4(0))
    cluster = Cluster(FirstFit)
    cluster.feed(PoolChanged(pool=pool, nodes=NODES[:2]) for pool in ("one", "two"))
    below = (Queue(name=name, parent="lab", guarantee=t4(4)) for name in "ab")
    cluster.feed([QueuesChanged(queues=(lab, *below))])
    cluster.feed(replace(asks(f"b{at}", queue="b"), pool="two") for at in range(8))
    assert len(started(cluster.decide())) == 8
    cluster.feed([asks("a0", 2, queue="a")], 5.0)
    leaving = [each for each in cluster.decide(5.0) if isinstance(each, Preempt)]
    assert len(leaving) == 2 and {each.by for each in leaving} == {"a0"}
    assert cluster.decide(6.0) == []
    cluster.feed([Released(run=leaving[0].run, ended=False)], 7.0)
    assert cluster.decide(7.0) == [], "its queues would hold more than they may"
    cluster.feed([Released(run=leaving[1].run, ended=False)], 7.0)
    assert started(cluster.decide(7.0)) == ["a0"]


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    cluster = a_cluster(Queue(name="a", guarantee=t4(4)), Queue(name="b", guarantee=t4(4)), nodes=2)
    cluster.feed((asks(f"b{at}", queue="b") for at in range(8)), 1000.0)
    assert len(started(cluster.decide(1000.0))) == 8
    cluster.feed([asks("a0", 2, queue="a")], 401.0)
    assert len([each for each in cluster.decide(401.0) if isinstance(each, Preempt)]) == 2


def test_what_others_below_keep_for_themselves_is_never_there() -> None:
    """Of one device of `a` its `own` part lends none: nobody else below ever gets any."""
    one = (("T4", 1000),)
    tree = Queues([Queue(name="a", guarantee=one, borrow=(("T4", 0),)),
                   Queue(name="own", parent="a", guarantee=one, lend=(("T4", 0),)),
                   Queue(name="guest", parent="a")])  # fmt: skip
    assert tree.never(tree.leaf("own", "p"), {"T4": 1000}) == ""
    assert tree.never(tree.leaf("guest", "p"), {"T4": 500}) == (
        "queue 'a' may use at most 1 T4 at the same time, of which other queues keep 1 T4; this "
        "needs 0.5 T4"
    )
    tree = Queues([Queue(name="a", guarantee=(("T4", 2000),), borrow=(("T4", 0),)),
                   Queue(name="b", parent="a", guarantee=one, lend=(("T4", 0),)),
                   Queue(name="b1", parent="b"), Queue(name="b2", parent="b")])  # fmt: skip
    assert tree.never(tree.leaf("b1", "p"), {"T4": 2000}) == ""
    assert tree.never(tree.leaf("a", "p"), {"T4": 2000}).startswith("queue 'a' may use at most 2")


def test_what_a_queue_keeps_for_itself_is_held_by_those_above_it() -> None:
    """`speech` lends half of its four: with that, `lab` holds what `vision` borrows of others."""
    cluster = a_cluster(*TREE)
    cluster.feed(asks(f"v{at}", queue="vision") for at in range(9))
    assert len(started(cluster.decide(0.0))) == 8
    cluster.feed([asks(f"w{at}", queue="web") for at in range(4)], 10.0)
    decisions = cluster.decide(10.0)
    assert len(started(decisions)) == 2
    gone = [each.run for each in decisions if isinstance(each, Preempt)]
    assert len(gone) == 2
    cluster.feed([Released(run=run, ended=False) for run in gone], 11.0)
    assert len(started(cluster.decide(11.0))) == 2


def test_who_borrows_of_a_sibling_takes_nothing_that_the_sibling_keeps() -> None:
    cluster = a_cluster(
        Queue(name="org", guarantee=t4(8)),
        Queue(name="vision", parent="org", guarantee=t4(4), borrow=t4(2)),
        Queue(name="nlp", parent="org", guarantee=t4(4), lend=t4(0)), Queue(name="scrap"),
    )  # fmt: skip
    cluster.feed(
        [*(asks(f"v{at}", queue="vision") for at in range(4)), asks("s", 4, queue="scrap")]
    )
    assert len(started(cluster.decide(0.0))) == 5
    cluster.feed([asks("v4", queue="vision")], 10.0)
    assert cluster.decide(10.0) == cluster.decide(5000.0) == []
    cluster.feed([asks("n", 4, queue="nlp")], 5001.0)
    assert started(cluster.decide(5001.0)) == ["n"]


def test_what_is_guaranteed_is_kept_though_nobody_is_guaranteed_memory() -> None:
    cpu = (("cpu", 4000),)
    cluster = Cluster(FirstFit)
    cluster.feed([
        PoolChanged(pool="one", nodes=(Node(name="n", cpu=12000, memory=64),)),
        QueuesChanged(queues=(Queue(name="a", guarantee=cpu), Queue(name="b", guarantee=cpu))),
    ])  # fmt: skip
    each = ((Ask(cpu=4000, memory=1), 1),)
    for at, queue in enumerate(("free", "free", "a", "b")):
        run = Waiting(run=f"{queue}{at}", pool="one", parts=each, since=at, queue=queue)
        cluster.feed([run], 10.0 * at)
        told = cluster.decide(10.0 * at)
    [gone] = told
    assert isinstance(gone, Preempt) and gone.run.startswith("free")


def test_who_would_never_get_a_place_again_is_not_sent_away_for_his_own() -> None:
    """What its project may hold was lowered below what it holds: it ends where it is."""
    cluster = a_cluster(Queue(name="a"), Queue(name="b", guarantee=t4(2)))
    cluster.feed([asks(f"r{at}", 6, count=1) if at else asks("r0", 3, count=2) for at in range(1)])
    assert started(cluster.decide(0.0)) == ["r0"]
    cluster.feed([QueuesChanged(queues=cluster.tree.given, caps=(("default", t4(4)),))], 10.0)
    cluster.feed([asks("r1", priority=1)], 10.0)
    assert cluster.decide(10.0) == cluster.decide(10000.0) == []
    cluster.feed([asks("b0", 4, count=2, queue="b", project="other")], 10001.0)
    assert cluster.decide(10001.0) == []


def test_what_other_queues_keep_of_a_whole_that_does_not_grow_is_never_there() -> None:
    cluster = a_cluster(Queue(name="own", guarantee=t4(4), lend=t4(0)))
    cluster.feed([asks("wide", 3, count=3), asks("fits", 2, count=4)])
    told = {each.run: each for each in cluster.decide()}
    assert isinstance(told["fits"], Place)
    assert isinstance(told["wide"], Reject) and told["wide"].why == (
        "the pools have 12 T4 at the same time, of which other queues keep 4 T4; this needs 9 T4"
    )
