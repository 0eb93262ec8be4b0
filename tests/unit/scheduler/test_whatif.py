"""What would start a waiting run: whatever is named really starts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.test_cluster import NODES, ONE, PARTS, started
from tradewind.scheduler.amounts import Parts
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    PoolChanged,
    Preempt,
    QueuesChanged,
    Released,
    SchedulerEvent,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.nodes import Ask, Node
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.queues import Queue
from tradewind.scheduler.value import Value
from tradewind.scheduler.whatif import (
    HIGHEST,
    AnyModel,
    Cpu,
    Memory,
    OtherPool,
    Priority,
    Processes,
    Share,
    Start,
    smallest,
    would,
)

GIB = 1 << 30
OTHER = (Node(name="o0", cpu=16000, memory=64, devices=(("L4", 2), ("T4", 1))),)
WANTED: list[Parts] = [
    *PARTS,
    ((Ask(cpu=6000, memory=40, devices=1), 3),),
    ((Ask(devices=2, models=frozenset({"L4"})), 1),),
]


def waiting(run: str, parts: Parts, **more: Any) -> Waiting:
    return Waiting(run=run, parts=parts, **{"pool": "one", "since": 0.0, **more})


def history(random: Random) -> Iterator[tuple[list[SchedulerEvent], float]]:
    """Events with their times: more comes than there is room for."""
    now, number = 0.0, 0
    for _ in range(12):
        now += random.choice([0.0, 1.0, 50.0])
        events: list[SchedulerEvent] = []
        for _ in range(random.randrange(1, 5)):
            number += 1
            more: dict[str, Any] = {"priority": random.choice([0, 0, 1, 2])}
            more |= {"left": random.choice([None, random.uniform(1, 1e4)])}
            more |= {"keeps": random.random() < 0.5, "stands": random.random() < 0.1}
            more |= {"pool": random.choice(["one", "one", "two"]), "restart": 5.0}
            more |= {"project": random.choice("pq"), "since": now}
            events.append(waiting(f"r{number}", random.choice(WANTED), **more))
        gone = f"r{random.randrange(1, number + 1)}"
        if random.random() < 0.5:
            events.append(Released(run=gone, ended=random.random() < 0.5))
        else:
            events.append(Withdrawn(run=gone))
        yield events, now


LIMITED = (Queue(name="default", guarantee=(("T4", 4000),), borrow=(("T4", 3000),)),)


def settled(cluster: Cluster, now: float) -> list[str]:
    """Who starts until nothing more happens, those that are interrupted having gone."""
    found: list[str] = []
    while decisions := cluster.decide(now):
        found += started(decisions)
        for each in decisions:
            if isinstance(each, Preempt):
                held = cluster.held[each.run]
                asked = replace(held.asked, attained=held.attained(now), left=held.left(now))
                cluster.feed([Released(run=each.run, ended=False), asked], now)
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), limited=st.booleans())
def test_whatever_is_named_starts_the_run(seed: int, limited: bool) -> None:
    cluster, now = Cluster(Value, Shortest()), 0.0
    cluster.feed([PoolChanged(pool="one", nodes=NODES), PoolChanged(pool="two", nodes=OTHER)])
    if limited:
        cluster.feed([QueuesChanged(queues=LIMITED)])
    for events, now in history(Random(seed)):
        cluster.feed(events, now)
        settled(cluster, now)
    for run, asked in [*cluster.line.waiting.items()]:
        for start in smallest(cluster, run):
            changed = start.change.of(asked)
            assert changed != asked and would(cluster, run, start.change) == start
            twin = cluster.copy()
            twin.feed([Withdrawn(run=run), changed], now)
            if start.interrupts:
                assert run in settled(twin, now), str(start)
            else:
                assert run in started(twin.decide(now)), str(start)


def a_cluster(*held: Waiting, nodes: tuple[Node, ...] = NODES[:1]) -> Cluster:
    cluster = Cluster(Value, Shortest())
    cluster.feed([PoolChanged(pool="one", nodes=nodes), *held])
    cluster.decide(0.0)
    return cluster


def words(cluster: Cluster, asked: Waiting) -> list[str]:
    cluster.feed([asked], 1.0)
    assert started(cluster.decide(1.0)) == []
    return [str(each) for each in smallest(cluster, asked.run)]


def test_fewer_processes_and_the_work_takes_longer() -> None:
    cluster = a_cluster(waiting("a", ((ONE, 1),), stands=True))
    asked = waiting("b", ((ONE, 4),), left=30.0)
    assert words(cluster, asked) == [
        "with 3 processes instead of 4",
        "with 0.5 of a device instead of 1 for each process",
    ]
    assert Processes(3, 4).of(asked).left == 40.0
    assert would(cluster, "b", Processes(3, 4)) and not would(cluster, "b", Processes(4, 4))


def test_less_cpu_or_memory_for_each_process() -> None:
    nodes = (Node(name="n", cpu=8000, memory=32 * GIB, devices=(("T4", 4),)),)
    held = waiting("a", ((Ask(cpu=2000, memory=8 * GIB), 1),), stands=True)
    cluster = a_cluster(held, nodes=nodes)
    assert words(cluster, waiting("b", ((Ask(cpu=4000, devices=1), 2),))) == [
        "with 1 process instead of 2",
        "with 3 CPU instead of 4 for each process",
    ]
    assert words(cluster, waiting("c", ((Ask(memory=16 * GIB, devices=1), 2),))) == [
        "with 1 process instead of 2",
        "with 12 GiB instead of 16 GiB of memory for each process",
    ]
    assert would(cluster, "c", Memory(12 * GIB, 16 * GIB))
    assert not would(cluster, "c", Memory(13 * GIB, 16 * GIB))
    assert would(cluster, "b", Cpu(1000, 4000))


def test_a_lesser_part_of_a_device() -> None:
    nodes = (Node(name="n", cpu=8000, devices=(("T4", 1),)),)
    held = waiting("a", ((Ask(devices=1, share=600), 1),), stands=True)
    cluster = a_cluster(held, nodes=nodes)
    asked = waiting("b", ((Ask(devices=1, share=700), 1),), left=60.0)
    assert words(cluster, asked) == ["with 0.4 of a device instead of 0.7 for each process"]
    assert Share(350, 700).of(asked).left == 120.0
    assert would(cluster, "b", Share(400, 700)) and not would(cluster, "b", Share(401, 700))
    assert words(cluster, waiting("c", ((Ask(devices=2), 1),))) == []


def test_another_model_or_pool() -> None:
    nodes = (*NODES[:1], Node(name="l", cpu=1000, memory=0, devices=(("L4", 1),)))
    one = ((Ask(devices=1, models=frozenset({"L4"})), 1),)
    cluster = a_cluster(waiting("a", one, stands=True), nodes=nodes)
    cluster.feed([PoolChanged(pool="two", nodes=OTHER)], 1.0)
    assert words(cluster, waiting("b", one)) == [
        "with devices of any model instead of L4",
        "on pool 'two' instead of 'one'",
    ]
    assert would(cluster, "b", AnyModel(("L4",))) and would(cluster, "b", OtherPool("two", "one"))
    assert would(cluster, "b", OtherPool("three", "one")) is None


def test_no_priority_above_the_highest_is_proposed() -> None:
    cluster = a_cluster(waiting("a", ((ONE, 4),), priority=HIGHEST), nodes=NODES[:1])
    assert words(cluster, waiting("b", ((ONE, 4),), priority=HIGHEST)) == []
    assert words(cluster, waiting("c", ((ONE, 4),))) == []


def test_the_least_priority_that_does_and_who_makes_room() -> None:
    cluster = a_cluster(
        waiting("a", ((ONE, 4),), priority=2), waiting("c", ((ONE, 4),), priority=5),
        nodes=NODES[:2],
    )  # fmt: skip
    asked = waiting("b", ((ONE, 4),))
    assert words(cluster, asked) == ["with priority 3 instead of 0, once a has made room for it"]
    assert would(cluster, "b", Priority(2, 0)) is None
    assert would(cluster, "b", Priority(9, 0)) in (
        Start(Priority(9, 0), ("a",)),
        Start(Priority(9, 0), ("c",)),
    )
    wide = waiting("wide", ((ONE, 8),))
    assert words(cluster, wide) == ["with priority 6 instead of 0, once a, c have made room for it"]


def test_nothing_is_named_for_one_that_does_not_wait_or_starts_as_it_is() -> None:
    cluster = a_cluster(waiting("a", ((ONE, 1),)))
    cluster.feed([waiting("b", ((ONE, 1),))], 1.0)
    assert smallest(cluster, "a") == smallest(cluster, "b") == smallest(cluster, "x") == []
    assert would(cluster, "x", Processes(1, 2)) is None
    with pytest.raises(IndexError):
        would(cluster, "b", Processes(1, 2, part=1))


def test_asking_changes_nothing() -> None:
    cluster = a_cluster(waiting("a", ((ONE, 4),), left=1e4, keeps=True))
    cluster.feed([waiting("b", ((ONE, 4),), left=2e4)], 1.0)
    cluster.decide(1.0)
    before = (dict(cluster.line.waiting), dict(cluster.held), cluster._turn)
    assert smallest(cluster, "b")
    assert (dict(cluster.line.waiting), dict(cluster.held), cluster._turn) == before
