"""When a waiting run starts: the estimate, its interval, and what both rest on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.test_cluster import NODES, asks, started
from tests.unit.scheduler.test_whatif import LIMITED, OTHER, history, settled
from tradewind.scheduler.cluster import Cluster
from tradewind.scheduler.events import (
    Decided,
    Occupied,
    Place,
    PoolChanged,
    PoolGone,
    QueuesChanged,
    Released,
    SchedulerEvent,
    Waiting,
    Withdrawn,
)
from tradewind.scheduler.forecast import Calibration, Estimate, Forecast, Lifetimes, quantiles
from tradewind.scheduler.nodes import Ask
from tradewind.scheduler.order import Shortest
from tradewind.scheduler.rows import FirstFit
from tradewind.scheduler.value import Value
from tradewind.simulator.replay import Job, Replay


def a_cluster(*held: Waiting, count: int = 1) -> Cluster:
    cluster = Cluster(Value, Shortest())
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:count]), *held])
    cluster.decide(0.0)
    return cluster


def feed(cluster: Cluster, now: float, *events: SchedulerEvent) -> list[str]:
    cluster.feed(events, now)
    return started(cluster.decide(now))


def rolled(cluster: Cluster, run: str) -> float:
    found = Forecast().ask(cluster, run)
    assert found is not None
    assert found.low <= found.wait <= found.high
    return found.rolled


# --- the estimate --------------------------------------------------------------------------------


def test_it_starts_when_those_ahead_of_it_have_ended() -> None:
    cluster = a_cluster(asks("a", 4, left=100.0, restart=20.0))
    assert feed(cluster, 40.0, asks("b", 4, left=50.0), asks("c", 4, left=60.0)) == []
    assert rolled(cluster, "b") == 80.0
    assert rolled(cluster, "c") == pytest.approx(130.0, rel=0.09)
    assert cluster.now == 40.0 and feed(cluster, 120.0, Released(run="a")) == ["b"]


def test_what_came_lately_comes_again_and_goes_first_where_it_is_shorter() -> None:
    cluster, forecast = a_cluster(asks("a", 4, left=100.0)), Forecast()
    for at in range(10):
        forecast.came(asks(f"short{at}", 4, left=10.0), 5.0 * at)
    feed(cluster, 50.0, asks("b", 4, left=1000.0))
    with_them, without = forecast.ask(cluster, "b"), Forecast().ask(cluster, "b")
    assert with_them and without and without.rolled == 50.0 and with_them.rolled > 140.0


def test_nothing_is_said_of_what_does_not_wait_or_never_starts() -> None:
    cluster = a_cluster(asks("service", 2, stands=True), asks("a", 2))
    feed(cluster, 1.0, asks("b", 3), Waiting(run="c", pool="else", parts=(), since=0.0))
    assert all(Forecast().ask(cluster, run) is None for run in ("a", "b", "c", "x"))
    feed(cluster, 2.0, asks("d", 2), Released(run="service"))
    assert rolled(cluster, "b") > 0.0
    cluster.feed([PoolGone(pool="one")], 3.0)
    assert Forecast().ask(cluster, "b") is None


def test_those_that_were_told_to_go_go() -> None:
    cluster = a_cluster(asks("a", 4, left=100.0, keeps=True))
    feed(cluster, 1.0, asks("urgent", 4, priority=1))
    assert rolled(cluster, "urgent") == 0.0


def test_whoever_was_told_to_go_takes_as_long_as_others_did() -> None:
    cluster = a_cluster(asks("a", 4, left=1000.0, keeps=True))
    feed(cluster, 1.0, asks("urgent", 4, priority=1))
    assert feed(cluster, 11.0, Released(run="a", ended=False)) == ["urgent"]
    assert feed(cluster, 100.0, Released(run="urgent"), asks("b", 4, left=1000.0)) == ["b"]
    feed(cluster, 104.0, asks("x", 4, priority=1))
    assert rolled(cluster, "x") == 10.0
    feed(cluster, 110.0)
    assert rolled(cluster, "x") == 4.0
    feed(cluster, 130.0)
    assert rolled(cluster, "x") == 0.0, "it can be any moment"
    assert feed(cluster, 134.0, Released(run="b", ended=False)) == ["x"]
    assert cluster.parting == 15.0


def test_how_long_runs_live_is_learned_from_those_that_ended() -> None:
    cluster = a_cluster()
    for at in range(40):
        feed(cluster, 100.0 * at, asks(f"r{at}", 1))
        feed(cluster, 100.0 * at + 50.0 + at, Released(run=f"r{at}"))
    lives = Lifetimes()
    assert 50.0 < lives.left(cluster, 1.0, 0.0, 0.1) < 60.0
    assert 80.0 < lives.left(cluster, 1.0, 0.0, 0.9) < 90.0
    assert lives.left(cluster, 1.0, 80.0, 0.5) < 8.0
    assert lives.left(cluster, 1.0, 1000.0, 0.5) >= 1000.0, "longer than any: nobody knows"
    feed(cluster, 5000.0, asks("a", 4))
    feed(cluster, 5010.0, asks("b", 4))
    assert 2.0 < rolled(cluster, "b") < 13.0


def test_without_an_order_it_is_as_likely_to_go_on_as_to_have_come_so_far() -> None:
    cluster = Cluster(FirstFit)
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:1])])
    cluster.feed([Occupied(asked=asks("a", 4))])
    feed(cluster, 200.0, asks("b", 4))
    assert rolled(cluster, "b") == 200.0


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 32), limited=st.booleans())
def test_asking_fails_never_and_changes_nothing(seed: int, limited: bool) -> None:
    cluster, forecast = Cluster(Value, Shortest()), Forecast()
    cluster.feed([PoolChanged(pool="one", nodes=NODES), PoolChanged(pool="two", nodes=OTHER)])
    if limited:
        cluster.feed([QueuesChanged(queues=LIMITED)])
    for events, now in history(Random(seed)):
        for event in events:
            if isinstance(event, Waiting):
                forecast.came(event, now)
        cluster.feed(events, now)
        settled(cluster, now)
        twin = cluster.copy()
        for run in [*cluster.line.waiting, *cluster.due, *cluster.held][:4]:
            found = forecast.ask(cluster, run)
            assert found == forecast.ask(cluster, run), "the same state, another answer"
            assert found is None or 0 <= found.low <= found.wait <= found.high
        ends: list[SchedulerEvent] = [Released(run=run) for run in [*cluster.held][:2]]
        twin.feed(ends, now + 1)
        again = cluster.copy()
        again.feed(ends, now + 1)
        assert twin.decide(now + 1) == again.decide(now + 1)


# --- what it is worth ----------------------------------------------------------------------------


def test_quantiles_count_those_that_still_wait() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    every = np.ones(4, dtype=np.bool_)
    assert quantiles(values, every, (0.25, 0.5, 1.0)) == (1.0, 2.0, 4.0)
    # By hand: 1 ends (3/4 left), 2 is lost of sight, 3 ends (3/8), 4 ends (0).
    some = np.array([True, False, True, True])
    assert quantiles(values, some, (0.25, 0.5, 0.9)) == (1.0, 3.0, 4.0)
    none = np.zeros(4, dtype=np.bool_)
    assert quantiles(values, none, (0.1, 0.5, 0.9))[2] == 4.0 + math.log(2)


def an_estimate(run: str, at: float, rolled: float, calibration: Calibration) -> Estimate:
    low, wait, high = calibration.span(rolled, 1.0, at)
    return Estimate(run=run, at=at, wait=wait, low=low, high=high, rolled=rolled, width=1.0)


def test_intervals_hold_for_any_error_and_for_errors_that_change() -> None:
    for factor, spread in ((1.0, 0.2), (5.0, 1.0), (0.2, 0.5)):
        random, calibration, held = Random(1), Calibration(), []
        for at in range(1500):
            sharp = spread * (2 if at > 750 else 1)
            rolled = random.uniform(10, 1000)
            calibration.expect(an_estimate("r", 0.0, rolled, calibration))
            [(told, wait)] = calibration.started(
                "r", rolled * factor * random.lognormvariate(0, sharp)
            )
            held.append(told.low <= wait <= told.high)
        assert 0.86 < sum(held[:750]) / 750 < 0.96
        assert 0.8 < sum(held[750:]) / 750 < 0.95
        low, middle, high = calibration.span(100.0, 1.0, 0.0)
        assert low < 100 * factor < high and middle == pytest.approx(100 * factor, rel=0.6)


def test_who_still_waits_makes_what_is_expected_longer() -> None:
    calibration = Calibration()
    for at in range(100):
        calibration.expect(an_estimate(f"r{at}", 0.0, 100.0, calibration))
        calibration.started(f"r{at}", 100.0)
    before = calibration.span(100.0, 1.0, 0.0)[2]
    for at in range(50):
        calibration.expect(an_estimate(f"w{at}", 0.0, 100.0, calibration))
    assert calibration.span(100.0, 1.0, 1000.0)[2] > 9 * before
    for at in range(50):
        calibration.withdrawn(f"w{at}")
    assert calibration.span(100.0, 1.0, 1000.0)[2] == before


class Asker:
    """Asks at a run's arrival, and learns."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.forecast = cluster, Forecast()
        self.found: list[tuple[Estimate, float]] = []

    def hear(self, events: Sequence[SchedulerEvent], decisions: Sequence[Decided]) -> None:
        for each in decisions:
            if isinstance(each, Place):
                self.found += self.forecast.started(each.run, self.cluster.now)
        for event in events:
            if isinstance(event, Waiting):
                self.forecast.came(event, self.cluster.now)
                estimate = self.forecast.ask(self.cluster, event.run)
                if estimate is not None:
                    self.forecast.expect(estimate)


def jobs(seed: int) -> list[Job]:
    random, found, at = Random(seed), list[Job](), 0.0
    for number in range(300):
        at += random.expovariate(1 / 33)
        more: dict[str, Any] = {"parts": ((Ask(devices=random.choice([1, 1, 2, 4])), 1),)}
        seconds = random.lognormvariate(4, 1.2)
        found.append(Job(name=str(number), at=at, seconds=seconds, keeps=False, **more))
    return found


@pytest.mark.parametrize("known", [True, False])
def test_in_a_simulated_queue_nine_of_ten_intervals_hold(known: bool) -> None:
    cluster = Cluster(FirstFit, Shortest())
    cluster.feed([PoolChanged(pool="one", nodes=NODES[:2])])
    asker = Asker(cluster)
    Replay(cluster, "one", jobs(3), known, hear=asker.hear).run()
    found = asker.found
    assert len(found) > 100
    assert 0.8 <= sum(each.low <= wait <= each.high for each, wait in found) / len(found) <= 0.97


def test_a_run_that_is_withdrawn_teaches_nothing() -> None:
    cluster, forecast = a_cluster(asks("a", 4, left=100.0)), Forecast()
    feed(cluster, 1.0, asks("b", 4))
    estimate = forecast.ask(cluster, "b")
    assert estimate is not None
    forecast.expect(estimate)
    forecast.withdrawn("b")
    feed(cluster, 2.0, Withdrawn(run="b"))
    assert forecast.started("b", 3.0) == [] and forecast.ask(cluster, "b") is None


def test_what_was_learned_can_be_kept_and_taken_up_again() -> None:
    known = Calibration()
    for number in range(200):
        wait = 50.0 + number % 7
        known.expect(Estimate(run=f"r{number}", at=0.0, wait=0.0, low=0.0, high=1.0, rolled=50.0,
                              width=1.0))  # fmt: skip
        known.started(f"r{number}", wait)
    again = Calibration.of(json.loads(json.dumps(known.told())))
    assert again.span(50.0, 1.0, 0.0) == known.span(50.0, 1.0, 0.0)
    assert again.told() == known.told() and again.span(50.0, 1.0, 0.0)[2] < 100
